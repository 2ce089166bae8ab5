"""What a kubelet counts of its own work, under the names that upstream's dashboards ask for."""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from minikube_py.agent.kubelet.errors import StartRefusedError, SyncError
from minikube_py.lib.clock import Clock
from minikube_py.lib.tallies import Metric, Tallies

STARTS = (0.5, 1, 2, 3, 4, 5, 6, 8, 10, 20, 30, 45, 60, 120, 180, 240, 300, 360, 480, 600, 900)
"""Bounds of what includes pulls of images, in seconds."""
CALLS = (0.005, 0.0125, 0.031, 0.078, 0.195, 0.488, 1.22, 3.05, 7.63, 19.07, 47.68, 119.2, 298)
"""Bounds of calls of a runtime, in seconds."""
POD_STARTS = Metric(
    "kubelet_pod_start_duration_seconds",
    "[ALPHA] Duration in seconds from kubelet seeing a pod for the first time to the pod"
    " starting to run",
    bounds=STARTS,
)
STARTED_PODS = Metric("kubelet_started_pods_total", "[ALPHA] Cumulative number of pods started")
STARTED_PODS_ERRORS = Metric(
    "kubelet_started_pods_errors_total", "[ALPHA] Cumulative number of errors when starting pods"
)
STARTED_CONTAINERS = Metric(
    "kubelet_started_containers_total",
    "[ALPHA] Cumulative number of containers started",
    ("container_type",),
)
STARTED_CONTAINERS_ERRORS = Metric(
    "kubelet_started_containers_errors_total",
    "[ALPHA] Cumulative number of errors when starting containers",
    ("container_type", "code"),
)
OPERATIONS = Metric(
    "kubelet_runtime_operations_total",
    "[ALPHA] Cumulative number of runtime operations by operation type.",
    ("operation_type",),
)
OPERATIONS_ERRORS = Metric(
    "kubelet_runtime_operations_errors_total",
    "[ALPHA] Cumulative number of runtime operation errors by operation type.",
    ("operation_type",),
)
OPERATIONS_SECONDS = Metric(
    "kubelet_runtime_operations_duration_seconds",
    "[ALPHA] Duration in seconds of runtime operations. Broken down by operation type.",
    ("operation_type",),
    CALLS,
)
_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])")


def operation(method: str) -> str:
    """Return what upstream calls a call of CRI: RunPodSandbox is run_podsandbox."""
    return _WORD.sub("_", method.replace("PodSandbox", "Podsandbox")).lower()


@contextmanager
def counted(tallies: Tallies, method: str) -> Iterator[None]:
    """Count a call of the runtime, how long it took, and that it failed."""
    name, began = operation(method), time.monotonic()
    tallies.count(OPERATIONS, name)
    try:
        yield
    except Exception:
        tallies.count(OPERATIONS_ERRORS, name)
        raise
    finally:
        tallies.observe(OPERATIONS_SECONDS, time.monotonic() - began, name)


@contextmanager
def pod_start(tallies: Tallies) -> Iterator[None]:
    """Count the start of a pod's sandbox, or that it failed."""
    try:
        yield
    except SyncError:
        tallies.count(STARTED_PODS_ERRORS)
        raise
    tallies.count(STARTED_PODS)


@contextmanager
def container_start(tallies: Tallies, kind: str) -> Iterator[None]:
    """Count the start of a container, or why it was not started."""
    try:
        yield
    except StartRefusedError as error:
        tallies.count(STARTED_CONTAINERS_ERRORS, kind, error.reason)
        raise
    tallies.count(STARTED_CONTAINERS, kind)


class PodStarts:
    """Measures how long pods take from the first look at them until they run."""

    def __init__(self, tallies: Tallies, clock: Clock) -> None:
        self._tallies = tallies
        self._clock = clock
        self._pending: dict[str, float] = {}

    def hear(self, uid: str, status: Mapping[str, Any] | None) -> None:
        """Take a pod's newest status, None where it is gone."""
        phase = None if status is None else status.get("phase")
        if phase == "Pending":
            self._pending.setdefault(uid, self._clock.monotonic())
            return
        began = self._pending.pop(uid, None)
        if began is not None and phase == "Running":
            self._tallies.observe(POD_STARTS, self._clock.monotonic() - began)

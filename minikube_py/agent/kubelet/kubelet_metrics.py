"""What a kubelet counts of its own work, under the names that upstream's dashboards ask for."""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from minikube_py.agent.cri.errors import CriError
from minikube_py.agent.kubelet.errors import StartRefusedError, SyncError
from minikube_py.agent.kubelet.static.manifest import is_static
from minikube_py.api import times
from minikube_py.api.object import Obj, get
from minikube_py.lib.clock import Clock
from minikube_py.lib.tallies import Metric, Tallies

STARTS = (
    *(0.5, 1, 2, 3, 4, 5, 6, 8, 10, 20, 30, 45, 60, 120, 180, 240, 300, 360, 480, 600, 900),
    *(1200, 1800, 2700, 3600),
)
"""Bounds of what includes pulls of images, in seconds."""
DEFAULT = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Bounds of what has none of its own, in seconds."""
CALLS = (0.005, 0.0125, 0.031, 0.078, 0.195, 0.488, 1.22, 3.05, 7.63, 19.07, 47.68, 119.2, 298)
"""Bounds of calls of a runtime, in seconds."""
POD_STARTS = Metric(
    "kubelet_pod_start_duration_seconds",
    "[ALPHA] Duration in seconds from kubelet seeing a pod for the first time to the pod"
    " starting to run",
    bounds=STARTS,
)
POD_STARTS_SLI = Metric(
    "kubelet_pod_start_sli_duration_seconds",
    "[ALPHA] Duration in seconds to start a pod, excluding time to pull images and run init"
    " containers, measured from pod creation timestamp to when all its containers are reported as"
    " started and observed via watch",
    bounds=STARTS,
)
POD_STARTS_TOTAL = Metric(
    "kubelet_pod_start_total_duration_seconds",
    "[ALPHA] Duration in seconds to start a pod since creation, including time to pull images and"
    " run init containers, measured from pod creation timestamp to when all its containers are"
    " reported as started and observed via watch",
    bounds=STARTS,
)
WORKER_SECONDS = Metric(
    "kubelet_pod_worker_duration_seconds",
    "[ALPHA] Duration in seconds to sync a single pod. Broken down by operation type: create,"
    " update, or sync",
    ("operation_type",),
    DEFAULT,
)
RELIST_DURATION = Metric(
    "kubelet_pleg_relist_duration_seconds",
    "[ALPHA] Duration in seconds for relisting pods in PLEG.",
    bounds=DEFAULT,
)
RELIST_INTERVAL = Metric(
    "kubelet_pleg_relist_interval_seconds",
    "[ALPHA] Interval in seconds between relisting in PLEG.",
    bounds=DEFAULT,
)
EVICTIONS = Metric(
    "kubelet_evictions",
    "[ALPHA] Cumulative number of pod evictions by eviction signal",
    ("eviction_signal",),
)
ADMISSION_REJECTIONS = Metric(
    "kubelet_admission_rejections_total",
    "[ALPHA] Cumulative number pod admission rejections by the Kubelet.",
    ("reason",),
)
IMAGE_PULLS = Metric(
    "kubelet_image_pull_duration_seconds",
    "[ALPHA] Duration in seconds to pull an image.",
    ("image_size_in_bytes",),
    (1, 5, 10, 20, 30, 60, 180, 300, 600, 900, 1200, 1800, 2700, 3600),
)
SANDBOX_SECONDS = Metric(
    "kubelet_run_podsandbox_duration_seconds",
    "[ALPHA] Duration in seconds of the run_podsandbox operations. Broken down by RuntimeClass"
    " handler.",
    ("runtime_handler",),
    DEFAULT,
)
SANDBOX_ERRORS = Metric(
    "kubelet_run_podsandbox_errors_total",
    "[ALPHA] Cumulative number of the run_podsandbox operation errors by RuntimeClass handler.",
    ("runtime_handler",),
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
def sandbox_start(tallies: Tallies, clock: Clock, handler: str) -> Iterator[None]:
    """Count how long the runtime takes for a sandbox, or that it failed."""
    began = clock.monotonic()
    try:
        yield
    except CriError:
        tallies.count(SANDBOX_ERRORS, handler)
        raise
    finally:
        tallies.observe(SANDBOX_SECONDS, clock.monotonic() - began, handler)


@contextmanager
def worker_step(tallies: Tallies, clock: Clock, kind: str) -> Iterator[None]:
    """Count how long a look at a pod takes, with all that is done; `kind` is why it was due."""
    began = clock.monotonic()
    try:
        yield
    finally:
        tallies.observe(WORKER_SECONDS, clock.monotonic() - began, kind)


@contextmanager
def container_start(tallies: Tallies, kind: str) -> Iterator[None]:
    """Count the start of a container, or why it was not started."""
    try:
        yield
    except StartRefusedError as error:
        tallies.count(STARTED_CONTAINERS_ERRORS, kind, error.reason)
        raise
    tallies.count(STARTED_CONTAINERS, kind)


SIZES = (
    (10 << 20, "0-10MB"),
    (100 << 20, "10MB-100MB"),
    (500 << 20, "100MB-500MB"),
    (1 << 30, "500MB-1GB"),
    (5 << 30, "1GB-5GB"),
    (10 << 30, "5GB-10GB"),
    (20 << 30, "10GB-20GB"),
    (30 << 30, "20GB-30GB"),
    (40 << 30, "30GB-40GB"),
    (60 << 30, "40GB-60GB"),
    (100 << 30, "60GB-100GB"),
)
"""Sizes of images below so many bytes, as upstream calls them."""


def size_name(size: int) -> str:
    """Return the class of sizes that an image of so many bytes is counted in."""
    return next((name for bound, name in SIZES if size < bound), "GT100GB")


@dataclass
class _Start:
    """A pod that has yet to run."""

    seen: float
    pulling: float = 0.0
    """Seconds that images have taken so far."""


class PodStarts:
    """Measures how long pods take until they run: from the first look at them, and altogether."""

    def __init__(self, tallies: Tallies, clock: Clock) -> None:
        self._tallies = tallies
        self._clock = clock
        self._pending: dict[str, _Start] = {}

    def pulled(self, uid: str, size: int, seconds: float) -> None:
        """Count a pull of an image for a pod."""
        self._tallies.observe(IMAGE_PULLS, seconds, size_name(size))
        if start := self._pending.get(uid):
            start.pulling += seconds

    def hear(self, uid: str, status: Mapping[str, Any] | None, pod: Obj | None = None) -> None:
        """Take a pod's newest status, None where it is gone; and the pod, where it is known."""
        phase = None if status is None else status.get("phase")
        if phase == "Pending":
            self._pending.setdefault(uid, _Start(self._clock.monotonic()))
            return
        start = self._pending.pop(uid, None)
        if start is None or status is None or phase != "Running":
            return
        self._tallies.observe(POD_STARTS, self._clock.monotonic() - start.seen)
        created = get(pod or {}, "metadata.creationTimestamp")
        if created is None or is_static(pod or {}):
            return
        total = (self._clock.now() - times.parse(created)).total_seconds()
        own = total - start.pulling - _initializing(status)
        self._tallies.observe(POD_STARTS_TOTAL, max(total, 0.0))
        self._tallies.observe(POD_STARTS_SLI, max(own, 0.0))


def _initializing(status: Mapping[str, Any]) -> float:
    """Return the seconds that init containers have run, to their own end."""
    ends = [get(one, "state.terminated", {}) for one in status.get("initContainerStatuses") or ()]
    return sum(
        (times.parse(one["finishedAt"]) - times.parse(one["startedAt"])).total_seconds()
        for one in ends
        if one.get("startedAt") and one.get("finishedAt")
    )

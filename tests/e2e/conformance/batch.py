"""Many small pods that run to their end, at once: what each says is checked one by one.

A module lists its pods in CASES and asks the fixture `said` what each printed. All are applied
together when the first is asked for, so that a hundred requirements cost what a hundred pods cost.
"""

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest

from tests.e2e.cluster import Cluster

SECONDS_MAX = 480.0
IMAGE = "kpy.local/busybox:1"


class Case(NamedTuple):
    """A pod and what it must print; lines may be in any order."""

    spec: dict[str, Any]
    lines: tuple[str, ...]
    labels: dict[str, str] = {}  # noqa: RUF012 -- never changed
    annotations: dict[str, str] = {}  # noqa: RUF012
    phase: str = "Succeeded"


def entry(text: str, case: Case) -> Any:
    """Return a row of CASES that covers a requirement of conformance.yaml."""
    return pytest.param(case, id=text.replace(" ", "-"), marks=pytest.mark.conformance(text))


def pod(script: str, *, container: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """Return the spec of a pod with one container that runs a shell script."""
    only = {"name": "c", "image": IMAGE, "command": ["sh", "-c", script], **(container or {})}
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "containers": [only],
        **spec,
    }


class Batch:
    """The pods of one module in one namespace."""

    def __init__(
        self, cluster: Cluster, namespace: str, objects: Sequence[Any], cases: Sequence[Case]
    ) -> None:
        """Take what is applied before the pods, and the pods; equal ones are made once."""
        self._cluster = cluster
        self._namespace = namespace
        self._objects = objects
        self._cases = [case for n, case in enumerate(cases) if case not in cases[:n]]
        self._pods: dict[str, Any] = {}
        self._lines: dict[str, list[str]] = defaultdict(list)

    def run(self) -> None:
        """Apply all and wait until each has ended or time is up."""
        pods = [self._pod(number, case) for number, case in enumerate(self._cases)]
        self._cluster.apply(*self._objects, *pods, namespace=self._namespace)
        end = time.monotonic() + SECONDS_MAX
        while time.monotonic() < end:
            found = self._cluster.get("pods", "-n", self._namespace, "-l", "batch=yes")["items"]
            self._pods = {one["metadata"]["name"]: one for one in found}
            phases = [one["status"].get("phase") for one in found]
            if all(phase in ("Succeeded", "Failed") for phase in phases):
                break
            time.sleep(0.5)
        self._read()

    @staticmethod
    def _pod(number: int, case: Case) -> dict[str, Any]:
        metadata = {
            "name": f"p{number}",
            "labels": {"batch": "yes", **case.labels},
            "annotations": case.annotations,
        }
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": case.spec}

    def _read(self) -> None:
        """Read all logs with one command."""
        shown = self._cluster.run(
            "logs", "-n", self._namespace, "-l", "batch=yes", "--prefix", "--tail=-1",
            "--all-containers", "--ignore-errors", "--max-log-requests=200",
        )  # fmt: skip
        for line in shown.stdout.splitlines():
            prefix, _, text = line.partition("] ")
            self._lines[prefix.split("/")[1]].append(text)

    def check(self, case: Case) -> None:
        """Fail unless the pod ended and printed as it must."""
        name = f"p{self._cases.index(case)}"
        status = self._pods[name]["status"]
        said = self._lines[name]
        assert status.get("phase") == case.phase, (said, status)
        missing = [line for line in case.lines if line not in said]
        assert not missing, f"{missing} is not in {said}"

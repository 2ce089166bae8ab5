"""Pods that live side by side: each is watched until what its requirement says has come true."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest

from tests.e2e.cluster import Cluster

SECONDS_MAX = 480.0
Status = dict[str, Any]


class Life(NamedTuple):
    """A pod, what must come true of its status, and what must never."""

    spec: dict[str, Any]
    until: Callable[[Status], Any]
    never: Callable[[Status], Any] = lambda _: False


def entry(text: str, life: Life) -> Any:
    """Return a row of LIVES that covers a requirement of conformance.yaml."""
    return pytest.param(life, id=text.replace(" ", "-"), marks=pytest.mark.conformance(text))


def first(status: Status) -> Status:
    """Return the status of the first container, empty while there is none."""
    return next(iter(status.get("containerStatuses", ())), {})


def restarts(status: Status) -> int:
    return int(first(status).get("restartCount", 0))


def ended(status: Status) -> Status:
    """Return how the first container ended, empty where it did not."""
    return dict(first(status).get("state", {}).get("terminated") or {})


def runs(status: Status) -> bool:
    return "running" in first(status).get("state", {})


class Lives:
    """The pods of one module, looked at together."""

    def __init__(self, cluster: Cluster, namespace: str, lives: Sequence[Life]) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._lives = list(lives)
        self._left = dict(enumerate(lives))
        self.last: dict[int, Status] = {}
        self.broken: dict[int, Status] = {}

    def run(self) -> None:
        """Make all pods and look until all has come true or time is up."""
        pods = [self._pod(number, life) for number, life in enumerate(self._lives)]
        self._cluster.apply(*pods, namespace=self._namespace)
        end = time.monotonic() + SECONDS_MAX
        while self._left and time.monotonic() < end:
            self._look()
            time.sleep(0.5)
        self._look()

    @staticmethod
    def _pod(number: int, life: Life) -> dict[str, Any]:
        metadata = {"name": f"p{number}", "labels": {"lives": "yes"}}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": life.spec}

    def _look(self) -> None:
        found = self._cluster.get("pods", "-n", self._namespace, "-l", "lives=yes")["items"]
        for pod in found:
            number, status = int(pod["metadata"]["name"][1:]), pod["status"]
            self.last[number] = status
            life = self._lives[number]
            if life.never(status):
                self.broken.setdefault(number, status)
            if number in self._left and life.until(status):
                del self._left[number]

    def check(self, life: Life) -> None:
        """Fail unless it came true, and what must never be never was."""
        number = self._lives.index(life)
        assert number not in self.broken, self.broken[number]
        assert number not in self._left, self.last.get(number)

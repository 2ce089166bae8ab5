"""A kubelet's page /metrics/resource, read: how much each container has used so far."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

_LINE = re.compile(r"([a-z_]+)(?:\{([^}]*)\})? (\S+)(?: (\d+))?")
_LABEL = re.compile(r'(\w+)="([^"]*)"')
CPU, MEMORY = "cpu_usage_seconds_total", "memory_working_set_bytes"
START = "container_start_time_seconds"


class Point(NamedTuple):
    """What something has used up to a moment."""

    cpu_nanoseconds: int
    memory_bytes: int
    at: float
    """Seconds since the epoch."""
    started: float = 0.0
    """The same of its start; 0 where that is not known."""


Containers = Mapping[str, Point]


@dataclass(frozen=True)
class Page:
    """What one kubelet says."""

    node: Point | None = None
    pods: Mapping[tuple[str, str], Containers] = field(default_factory=dict)
    """(namespace, name) -> its containers; only those of which all is known."""


@dataclass
class _Half:
    """A point while its lines are read."""

    cpu: float | None = None
    memory: float | None = None
    at: float = 0.0
    started: float = 0.0

    def point(self) -> Point | None:
        if self.cpu is None or self.memory is None:
            return None
        return Point(round(self.cpu * 1e9), int(self.memory), self.at, self.started)


def parse(text: str, now: float) -> Page:
    """Return what a page says; `now` stands in where a value has no moment."""
    node = _Half(at=now)
    found: dict[tuple[str, str], dict[str, _Half]] = {}
    for name, labels, value, millis in _samples(text):
        if name.startswith("node_"):
            half = node
        elif name.startswith("container_"):
            pod = labels.get("namespace", ""), labels.get("pod", "")
            containers = found.setdefault(pod, {})
            half = containers.setdefault(labels.get("container", ""), _Half(at=now))
        else:
            continue
        _take(half, name, value, millis)
    return Page(
        node.point(), {pod: made for pod, halves in found.items() if (made := _all(halves))}
    )


def _all(halves: Mapping[str, _Half]) -> Containers:
    """Return the points of a pod, none where one of its containers is not known whole."""
    points = {name: half.point() for name, half in halves.items()}
    return {} if None in points.values() else {n: p for n, p in points.items() if p is not None}


def _take(half: _Half, name: str, value: float, millis: int) -> None:
    if name == START:
        half.started = value
    elif name.endswith(CPU):
        half.cpu = value
        half.at = millis / 1000 if millis else half.at
    elif name.endswith(MEMORY):
        half.memory = value


def _samples(text: str) -> Iterator[tuple[str, Mapping[str, str], float, int]]:
    for line in text.splitlines():
        if not line.startswith(("node_", "container_")):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        try:
            value = float(match[3])
        except ValueError:
            continue
        yield match[1], dict(_LABEL.findall(match[2] or "")), value, int(match[4] or 0)

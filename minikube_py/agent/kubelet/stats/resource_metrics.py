"""The page /metrics/resource: processor time and memory of the node, its pods and containers.

Names, labels and meanings are those of upstream's kubelet; metrics-server and everything that
scrapes in its way reads this page. Every value carries the moment at which it was read.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from minikube_py.agent.kubelet.stats.sample import ContainerSample, PodSample, Sample
from minikube_py.agent.kubelet.stats.usage import Usage
from minikube_py.lib.prometheus import metric, timed_metric

NANOSECONDS = 1e9
Point = tuple[Mapping[str, str], float, int]


class _Place(NamedTuple):
    """Something whose use is measured."""

    labels: Mapping[str, str]
    usage: Usage
    millis: int


def lines(now: Sample | None) -> Iterator[str]:
    """Yield the lines of the page; None where reading failed."""
    if now is not None:
        node = [_Place({}, now.usage, now.at // 1_000_000)]
        pods = [_pod(pod) for pod in now.pods]
        containers = [_container(pod, one) for pod in now.pods for one in pod.containers]
        yield from _starts(now)
        yield from _of("container", "container", containers)
        yield from _of("node", "node", node)
        yield from _of("pod", "pod", pods)
    failed = int(now is None)
    meaning = "1 if there was an error while getting container metrics, 0 otherwise"
    yield from metric("resource_scrape_error", "gauge", f"[STABLE] {meaning}", [({}, failed)])
    deprecated = f"[ALPHA] (Deprecated since 1.29.0) {meaning}"
    yield from metric("scrape_error", "gauge", deprecated, [({}, failed)])


def _of(prefix: str, what: str, places: Iterable[_Place]) -> Iterator[str]:
    known = list(places)
    yield from timed_metric(
        f"{prefix}_cpu_usage_seconds_total",
        "counter",
        f"[STABLE] Cumulative cpu time consumed by the {what} in core-seconds",
        _points(known, lambda u: None if u.cpu is None else u.cpu.nanoseconds / NANOSECONDS),
    )
    yield from timed_metric(
        f"{prefix}_memory_working_set_bytes",
        "gauge",
        f"[STABLE] Current working set of the {what} in bytes",
        _points(known, lambda u: None if u.memory is None else u.memory.working_set),
    )
    if prefix == "container":
        yield from timed_metric(
            "container_swap_limit_bytes",
            "gauge",
            "[ALPHA] Current amount of the container swap limit in bytes. Reported only on "
            "non-windows systems",
            _points(known, lambda u: None if u.memory is None else u.memory.swap_limit),
        )
    swap = f"Current amount of the {what} swap usage"
    if prefix == "node":
        swap = "Current swap usage of the node"
    yield from timed_metric(
        f"{prefix}_swap_usage_bytes",
        "gauge",
        f"[ALPHA] {swap} in bytes. Reported only on non-windows systems",
        _points(known, lambda u: None if u.memory is None else u.memory.swap),
    )


def _points(places: Iterable[_Place], value: Callable[[Usage], float | None]) -> Iterator[Point]:
    for place in places:
        found = value(place.usage)
        if found is not None:
            yield place.labels, found, place.millis


def _starts(now: Sample) -> Iterator[str]:
    yield from metric(
        "container_start_time_seconds",
        "gauge",
        "[STABLE] Start time of the container since unix epoch in seconds",
        (
            (_container(pod, one).labels, one.container.started_at / NANOSECONDS)
            for pod in now.pods
            for one in pod.containers
            if one.container.started_at > 0
        ),
    )


def _pod(pod: PodSample) -> _Place:
    metadata = pod.pod["metadata"]
    labels = {"namespace": metadata["namespace"], "pod": metadata["name"]}
    return _Place(labels, pod.usage, pod.at // 1_000_000)


def _container(pod: PodSample, one: ContainerSample) -> _Place:
    labels = {"container": one.container.name, **_pod(pod).labels}
    return _Place(labels, one.usage, one.at // 1_000_000)

"""Two looks at a kubelet's page make a rate: the documents of the metrics API, pure.

The rules are metrics-server's: memory is that of the later look; a container that began between
the two counts from its start, once it has run for ten seconds; a pod of which one container has no
rate is left out.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from minikube_py.api import quantity, times
from minikube_py.api.metrics import NODEMETRICS, PODMETRICS
from minikube_py.api.resource import Resource
from minikube_py.server.metrics_api.page import Containers, Page, Point

FRESH_CONTAINER_SECONDS = 10.0
_SUFFIXES = ((10**9, ""), (10**6, "m"), (10**3, "u"), (1, "n"))


class Looks(NamedTuple):
    """The last two looks at one node."""

    latest: Page
    earlier: Page | None = None


class Use(NamedTuple):
    """What was used over some time."""

    cpu_nanocores: int
    memory_bytes: int
    at: float
    window: float


def use(earlier: Point | None, latest: Point) -> Use | None:
    """Return what was used between two moments, None where that cannot be told."""
    begun_anew = earlier is not None and (
        earlier.started != latest.started or earlier.cpu_nanoseconds > latest.cpu_nanoseconds
    )
    if earlier is None or begun_anew:
        since = latest.at - latest.started
        if not latest.started or since < FRESH_CONTAINER_SECONDS:
            return None
        earlier = Point(0, 0, latest.started)
    window = latest.at - earlier.at
    if window <= 0:
        return None
    rate = (latest.cpu_nanoseconds - earlier.cpu_nanoseconds) / window
    return Use(round(rate), latest.memory_bytes, latest.at, window)


def node_metrics(name: str, labels: Mapping[str, str], looks: Looks | None) -> Any:
    """Return the metrics of a node, None where they are not known."""
    if looks is None or looks.latest.node is None or looks.earlier is None:
        return None
    used = use(looks.earlier.node, looks.latest.node) if looks.earlier.node else None
    if used is None:
        return None
    return {**_head(NODEMETRICS, {"name": name}, labels, used), "usage": _usage(used)}


def pod_metrics(namespace: str, name: str, labels: Mapping[str, str], looks: Looks | None) -> Any:
    """Return the metrics of a pod, None where they are not known."""
    if looks is None:
        return None
    containers = looks.latest.pods.get((namespace, name), {})
    before: Containers = {}
    if looks.earlier is not None:
        before = looks.earlier.pods.get((namespace, name), {})
    used = {one: use(before.get(one), point) for one, point in containers.items()}
    known = {one: found for one, found in used.items() if found is not None}
    if not known or len(known) < len(used):
        return None
    earliest = min(known.values(), key=lambda one: one.at)
    metadata = {"name": name, "namespace": namespace}
    return {
        **_head(PODMETRICS, metadata, labels, earliest),
        "containers": [{"name": one, "usage": _usage(found)} for one, found in known.items()],
    }


def _head(
    resource: Resource, metadata: Mapping[str, str], labels: Mapping[str, str], used: Use
) -> dict[str, Any]:
    moment = times.format_seconds(datetime.fromtimestamp(used.at, UTC))
    marks = {"labels": dict(labels)} if labels else {}
    return {
        "kind": resource.kind,
        "apiVersion": resource.api_version,
        "metadata": {**metadata, "creationTimestamp": moment, **marks},
        "timestamp": moment,
        "window": times.format_duration(round(used.window * 1000) * 1_000_000),
    }


def _usage(used: Use) -> dict[str, str]:
    memory = str(quantity.of(used.memory_bytes, "BinarySI"))
    return {"cpu": nanos(used.cpu_nanocores), "memory": memory}


def nanos(amount: int) -> str:
    """Return billionths as a quantity with the largest suffix that keeps it whole."""
    for size, suffix in _SUFFIXES:
        if amount % size == 0:
            return f"{amount // size}{suffix}"
    raise AssertionError("unreachable")

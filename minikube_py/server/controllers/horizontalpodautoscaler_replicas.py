"""How many replicas the metrics of some pods, or of something else, call for: pure arithmetic.

The number that is wanted is the present one times how far the metric is from its target. What is
not known is taken for whatever changes least: a pod without metrics uses all of its target where
that would scale down and nothing where that would scale up, and a pod that is not ready yet uses
nothing. Whatever turns around when this is filled in, or is within the tolerance, changes nothing.
Names and numbers are those of upstream's `replica_calculator.go`; amounts are in thousandths.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from minikube_py.api import quantity, times
from minikube_py.api.core.quota_pods import pod_requests
from minikube_py.api.object import Obj, condition_of, get, has_condition, is_deleting

CPU_INITIALIZATION_SECONDS = 300.0
INITIAL_READINESS_SECONDS = 30.0
REPLICAS_MAX = 2**31 - 1
MILLIS_MAX = 2**63 - 1


class MetricError(Exception):
    """What a metric calls for cannot be told; the text says why, in upstream's words."""


class PodMetric(NamedTuple):
    """What one pod uses."""

    value: int
    at: float
    """Seconds since the epoch."""
    window: float


Metrics = Mapping[str, PodMetric]
"""By the names of pods."""


class Tolerances(NamedTuple):
    """How far from its target a metric may be before anything changes."""

    down: float = 0.1
    up: float = 0.1

    def hold(self, ratio: float) -> bool:
        """Tell whether a ratio is near enough to 1."""
        return 1.0 - self.down <= ratio <= 1.0 + self.up


class Groups(NamedTuple):
    """The pods by what is known of them; names."""

    ready: int
    unready: frozenset[str]
    missing: frozenset[str]
    ignored: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is scaled, as it is now."""

    replicas: int
    """Wanted now."""
    status_replicas: int
    pods: Sequence[Obj]
    tolerances: Tolerances
    now: float


class Proposal(NamedTuple):
    """How many replicas a metric calls for, and what it is now."""

    replicas: int
    usage: int
    """On average, in thousandths."""
    utilization: int | None = None
    """In percent of what is requested."""


def group_pods(pods: Iterable[Obj], metrics: Metrics, resource: str, now: float) -> Groups:
    """Sort the pods by whether their metrics count."""
    groups: dict[str, set[str]] = {"ready": set(), "unready": set(), "missing": set()}
    ignored: set[str] = set()
    for pod in pods:
        name = pod["metadata"]["name"]
        phase = get(pod, "status.phase", "")
        if is_deleting(pod) or phase == "Failed":
            ignored.add(name)
            continue
        groups[_group(pod, phase, metrics.get(name), resource, now)].add(name)
    return Groups(
        len(groups["ready"]),
        frozenset(groups["unready"]),
        frozenset(groups["missing"]),
        frozenset(ignored),
    )


def _group(pod: Obj, phase: str, metric: PodMetric | None, resource: str, now: float) -> str:
    if phase == "Pending":
        return "unready"
    if metric is None:
        return "missing"
    if resource == "cpu" and _is_unready(pod, metric, now):
        return "unready"
    return "ready"


def _is_unready(pod: Obj, metric: PodMetric, now: float) -> bool:
    """Tell whether the processor that a pod uses is that of its start."""
    ready, begun = condition_of(pod, "Ready"), get(pod, "status.startTime")
    if ready is None or not begun:
        return True
    start, changed = _seconds(begun), _seconds(ready.get("lastTransitionTime"))
    says_no = ready.get("status") == "False"
    if start + CPU_INITIALIZATION_SECONDS > now:
        return says_no or metric.at < changed + metric.window
    return says_no and start + INITIAL_READINESS_SECONDS > changed


def _seconds(moment: str | None) -> float:
    return times.parse(moment).timestamp() if moment else 0.0


def counted(metrics: Metrics, groups: Groups) -> dict[str, int]:
    """Return the values of those pods whose metrics count.

    Raises MetricError where there is none.
    """
    left = {
        name: metric.value
        for name, metric in metrics.items()
        if name not in groups.ignored and name not in groups.unready
    }
    if not left:
        raise MetricError("did not receive metrics for targeted pods (pods might be unready)")
    return left


Ratio = Callable[[Mapping[str, int]], float]


def proportional(
    current: int,
    values: Mapping[str, int],
    groups: Groups,
    tolerances: Tolerances,
    ratio: Ratio,
    missing_value: Callable[[str], int],
) -> int:
    """Return how many replicas the values call for."""
    first = ratio(values)
    up_with_unready = bool(groups.unready) and first > 1.0
    if not up_with_unready and not groups.missing:
        return current if tolerances.hold(first) else _ceil(first * groups.ready)
    filled = dict(values)
    if first < 1.0:
        filled |= {name: missing_value(name) for name in groups.missing}
    elif first > 1.0:
        filled |= dict.fromkeys(groups.missing, 0)
    if up_with_unready:
        filled |= dict.fromkeys(groups.unready, 0)
    second = ratio(filled)
    if tolerances.hold(second) or (first - 1.0) * (second - 1.0) < 0:
        return current
    wanted = _ceil(second * len(filled))
    turned = (second < 1.0 and wanted > current) or (second > 1.0 and wanted < current)
    return current if turned else wanted


def _ceil(value: float) -> int:
    return REPLICAS_MAX if value > REPLICAS_MAX else math.ceil(value)


def by_utilization(
    target: Target, metrics: Metrics, resource: str, percent: int, container: str = ""
) -> Proposal:
    """Return what a share of the requested amount calls for; raises MetricError."""
    groups = _known_groups(target, metrics, resource)
    values = counted(metrics, groups)
    requests = {pod["metadata"]["name"]: requested(pod, resource, container) for pod in target.pods}

    def utilization(of: Mapping[str, int]) -> int:
        known = [name for name in of if name in requests]
        total = sum(requests[name] for name in known)
        if not total:
            raise MetricError("no metrics returned matched known pods")
        return sum(of[name] for name in known) * 100 // total

    replicas = proportional(
        target.replicas,
        values,
        groups,
        target.tolerances,
        lambda of: utilization(of) / percent,
        lambda name: requests[name] * max(100, percent) // 100,
    )
    matched = [value for name, value in values.items() if name in requests]
    return Proposal(replicas, sum(matched) // len(matched), utilization(values))


def by_average(target: Target, metrics: Metrics, wanted: int, resource: str = "") -> Proposal:
    """Return what an amount for each pod calls for; raises MetricError."""
    groups = _known_groups(target, metrics, resource)
    values = counted(metrics, groups)

    def average(of: Mapping[str, int]) -> int:
        return sum(of.values()) // len(of)

    replicas = proportional(
        target.replicas,
        values,
        groups,
        target.tolerances,
        lambda of: average(of) / wanted,
        lambda _: wanted,
    )
    return Proposal(replicas, average(values))


def _known_groups(target: Target, metrics: Metrics, resource: str) -> Groups:
    if not target.pods:
        raise MetricError("no pods returned by selector while calculating replica count")
    return group_pods(target.pods, metrics, resource, target.now)


def by_value(target: Target, usage: int, wanted: int) -> Proposal:
    """Return what one value for all pods calls for; raises MetricError."""
    ratio = usage / wanted
    if target.replicas == 0:  # from nothing there is no proportion
        return Proposal(_ceil(ratio), usage)
    if target.tolerances.hold(ratio):
        return Proposal(target.replicas, usage)
    if not target.pods:
        raise MetricError(
            "unable to calculate ready pods: no pods returned by selector while calculating "
            "replica count"
        )
    ready = sum(
        get(pod, "status.phase") == "Running" and has_condition(pod, "Ready") for pod in target.pods
    )
    return Proposal(_ceil(ratio * ready), usage)


def by_share(target: Target, usage: int, wanted: int) -> Proposal:
    """Return what a value that all pods share calls for."""
    replicas = target.status_replicas
    ratio = usage / (wanted * replicas) if replicas else math.inf
    if not target.tolerances.hold(ratio):
        replicas = _ceil(usage / wanted)
    share = math.ceil(usage / target.status_replicas) if target.status_replicas else usage
    return Proposal(replicas, min(share, MILLIS_MAX))


def requested(pod: Obj, resource: str, container: str = "") -> int:
    """Return what a pod or one container of it requests; raises MetricError where that is nothing.

    What is requested for the whole pod goes before what its containers request.
    """
    name = pod["metadata"]["name"]
    if not container and get(pod, "spec.resources.requests"):
        amount = pod_requests(pod).get(resource)
        if amount is None:
            raise MetricError(f"missing pod-level request for {resource} in Pod {name}")
        return amount.milli_value()
    inits = get(pod, "spec.initContainers") or ()
    sidecars = [one for one in inits if one.get("restartPolicy") == "Always"]
    lasting = [*pod["spec"]["containers"], *sidecars]
    chosen = [one for one in lasting if container in ("", one["name"])]
    if container and not chosen:
        raise MetricError(f"container {container} not found in Pod {name}")
    total = 0
    for one in chosen:
        amount_text = (get(one, "resources.requests") or {}).get(resource)
        if amount_text is None:
            raise MetricError(
                f"missing request for {resource} in container {one['name']} of Pod {name}"
            )
        total += quantity.milli_value(amount_text)
    return total

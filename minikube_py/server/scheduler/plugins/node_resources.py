"""A pod goes to nodes that have what it asks for; rather to empty and evenly used ones."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from minikube_py.api.core import NODES, PODS
from minikube_py.api.resource_k8s import DEVICECLASSES
from minikube_py.client.store import ItemStore
from minikube_py.server.scheduler.cluster_events import Action, ClusterEvent, Registered
from minikube_py.server.scheduler.devices.extended import missing_on
from minikube_py.server.scheduler.framework import SCORE_MAX, Cycle, Question, Rejection
from minikube_py.server.scheduler.node_info import NodeInfo
from minikube_py.server.scheduler.plugins.device_books import classes_for, resources_as
from minikube_py.server.scheduler.plugins.resource_scores import (
    BOTH,
    amounts,
    evenness,
    least,
    most,
    resources_of,
    shape_of,
    shaped,
    weighted,
)
from minikube_py.server.scheduler.pod_info import Amounts, PodInfo

Scores = Callable[[PodInfo, Sequence[NodeInfo]], Sequence[float]]
STRATEGIES = ("LeastAllocated", "MostAllocated", "RequestedToCapacityRatio")


class NodeResourcesFit:
    """Asks whether what is left of the node is enough; prefers by default where most is left."""

    name = "NodeResourcesFit"
    own_node = True
    absolute = True

    def __init__(
        self, args: Mapping[str, Any] | None = None, classes: ItemStore | None = None
    ) -> None:
        """Take the configuration, and the device classes, which may stand for resources."""
        given = args or {}
        self._classes = classes
        self._ignored = frozenset(given.get("ignoredResources") or ())
        self._ignored_groups = frozenset(given.get("ignoredResourceGroups") or ())
        if any("/" in group for group in self._ignored_groups):
            raise ValueError(
                "ignoredResourceGroups: Invalid value: resource group name can't contain '/'"
            )
        self._scores = scores_of(given.get("scoringStrategy") or {})

    def events_to_register(self) -> Iterable[Registered]:
        """Room that is freed or added helps, or a pod that asks for less."""
        return (
            Registered(PODS, Action.DELETE | Action.POD_SCALE_DOWN, _frees_something),
            Registered(NODES, Action.ADD | Action.NODE_ALLOCATABLE, self._is_large_enough),
            Registered(DEVICECLASSES, Action.ADD | Action.UPDATE, _stands_for_something),
        )

    def filter(self, cycle: Cycle) -> Question | None:
        """Return the question."""
        wanted = self._wanted(cycle.pod)
        devices = self._devices(cycle.pod)

        def check(node: NodeInfo) -> Rejection | None:
            allocatable, requested = node.allocatable, node.requested
            if len(node.pods) < allocatable.get("pods", 0):
                for name, amount in wanted:
                    if amount > allocatable.get(name, 0) - requested.get(name, 0):
                        break
                else:
                    return None
            left_out = missing_on(allocatable, devices)
            return _shortages([one for one in wanted if one[0] not in left_out], node)

        return check

    def _wanted(self, pod: PodInfo) -> Sequence[tuple[str, int]]:
        """Return what the pod asks for, without what is not to be looked at."""
        if not self._ignored and not self._ignored_groups:
            return tuple(pod.requests.items())
        return tuple(
            (name, amount)
            for name, amount in pod.requests.items()
            if name not in self._ignored
            and ("/" not in name or name.partition("/")[0] not in self._ignored_groups)
        )

    def _devices(self, pod: PodInfo) -> Collection[str]:
        """Return the resources that devices may stand for: DynamicResources looks for those."""
        return () if self._classes is None else classes_for(self._classes, pod.requests)

    def score(self, cycle: Cycle, nodes: Sequence[NodeInfo]) -> Sequence[float] | None:
        """Return what the strategy makes of the use that the nodes would have."""
        return self._scores(cycle.pod, nodes)

    def _is_large_enough(self, pod: PodInfo, event: ClusterEvent) -> bool:
        """Tell whether the pod would fit on the node alone, and has gained something."""
        before, after = event.old_node, event.new_node
        if after is None:
            return False
        left_out = missing_on(after.allocatable, self._devices(pod))
        wanted = [one for one in self._wanted(pod) if one[0] not in left_out]
        if _shortages(wanted, after) is not None:
            return False
        if before is None:
            return True
        return any(
            after.allocatable.get(name, 0) > before.allocatable.get(name, 0)
            for name in ("pods", *pod.requests)
        )


def _stands_for_something(pod: PodInfo, event: ClusterEvent) -> bool:
    """Tell whether devices of a class are a resource that the pod asks for."""
    return event.new is not None and any(name in pod.requests for name in resources_as(event.new))


def _frees_something(pod: PodInfo, event: ClusterEvent) -> bool:
    """Tell whether a pod gives back of what another one asks for; its own change always may."""
    before, after = event.old_pod, event.new_pod
    if before is None or before.uid == pod.uid:
        return True
    if after is None and before.node:
        return True  # a place for a pod is freed in any case
    left = {} if after is None else after.requests
    return any(before.requests.get(name, 0) > left.get(name, 0) for name in pod.requests)


def _shortages(wanted: Sequence[tuple[str, int]], node: NodeInfo) -> Rejection | None:
    """Name everything that the node has too little of."""
    full = len(node.pods) >= node.allocatable.get("pods", 0)
    short = [
        (name, amount)
        for name, amount in wanted
        if amount > node.allocatable.get(name, 0) - node.requested.get(name, 0)
    ]
    reasons = (
        *(("Too many pods",) if full else ()),
        *(f"Insufficient {name}" for name, _ in short),
    )
    if not reasons:
        return None
    return Rejection(reasons, any(amount > node.allocatable.get(name, 0) for name, amount in short))


def scores_of(strategy: Mapping[str, Any]) -> Scores:
    """Return the scores of a scoringStrategy.

    Raises:
        ValueError: it is none of the three, or its parameters make no sense.

    """
    kind = strategy.get("type", "LeastAllocated")
    if kind not in STRATEGIES:
        known = ", ".join(f'"{one}"' for one in STRATEGIES)
        raise ValueError(
            f'scoringStrategy.type: Unsupported value: "{kind}": supported values: {known}'
        )
    resources = resources_of(strategy.get("resources"), "scoringStrategy.resources")
    if kind == "LeastAllocated" and resources == BOTH:
        return _left
    if kind == "RequestedToCapacityRatio":
        field = "scoringStrategy.requestedToCapacityRatio"
        share = shaped(shape_of(strategy.get("requestedToCapacityRatio"), field))
        return lambda pod, nodes: [
            weighted(amounts(pod, node, resources, defaults=False), share, empty_counts=False)
            for node in nodes
        ]
    one = least if kind == "LeastAllocated" else most
    return lambda pod, nodes: [
        weighted(amounts(pod, node, resources, defaults=True), one) for node in nodes
    ]


def _left(pod: PodInfo, nodes: Sequence[NodeInfo]) -> Sequence[float]:
    """Return the mean share of CPU and memory that would be left: what is asked for most often."""
    half = SCORE_MAX / 2
    return [(2.0 - cpu - memory) * half for cpu, memory in usage(pod, nodes)]


class NodeResourcesBalancedAllocation:
    """Prefers nodes where resources would be used in equal shares."""

    name = "NodeResourcesBalancedAllocation"
    absolute = True

    def __init__(self, args: Mapping[str, Any] | None = None) -> None:
        self._resources = resources_of((args or {}).get("resources"), "resources")
        for place, one in enumerate(self._resources):
            if one.weight != 1:
                raise ValueError(
                    f"resources[{place}].weight: Invalid value: {one.weight}: must be 1"
                )

    def score(self, cycle: Cycle, nodes: Sequence[NodeInfo]) -> Sequence[float] | None:
        """Return how little the shares differ; a pod that asks for nothing does not care."""
        pod = cycle.pod
        if not any(pod.requests.get(one.name) for one in self._resources):
            return None
        if self._resources == BOTH:
            return [_evenness_of_both(pod.requests, node) for node in nodes]
        return [
            evenness(
                [
                    min(used / there, 1.0)
                    for _, used, there in amounts(pod, node, self._resources, defaults=False)
                ]
            )
            for node in nodes
        ]


def _evenness_of_both(requests: Amounts, node: NodeInfo) -> float:
    """Return the same for CPU and memory alone, which is what is asked for most often."""
    used = node.requested
    cpu_total, memory_total = node.capacity
    cpu = (used.get("cpu", 0) + requests.get("cpu", 0)) / cpu_total
    memory = (used.get("memory", 0) + requests.get("memory", 0)) / memory_total
    return (2.0 - abs(min(cpu, 1.0) - min(memory, 1.0))) * SCORE_MAX / 2


def usage(pod: PodInfo, nodes: Sequence[NodeInfo]) -> Iterator[tuple[float, float]]:
    """Yield which share of each node's CPU and memory would be used with the pod on it.

    This runs for every node that fits every pod: no calls in the loop.
    """
    own_cpu, own_memory = pod.weight
    for node in nodes:
        cpu, memory = node.weight
        cpu_total, memory_total = node.capacity
        cpu_share = (cpu + own_cpu) / cpu_total
        memory_share = (memory + own_memory) / memory_total
        yield (
            cpu_share if cpu_share < 1.0 else 1.0,  # noqa: FURB136
            memory_share if memory_share < 1.0 else 1.0,  # noqa: FURB136
        )

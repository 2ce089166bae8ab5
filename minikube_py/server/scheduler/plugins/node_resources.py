"""A pod goes to nodes that have what it asks for; rather to empty and evenly used ones."""

from collections.abc import Iterable, Iterator, Sequence

from minikube_py.api.core import NODES, PODS
from minikube_py.server.scheduler.cluster_events import Action, ClusterEvent, Registered
from minikube_py.server.scheduler.framework import SCORE_MAX, Cycle, Question, Rejection
from minikube_py.server.scheduler.node_info import NodeInfo
from minikube_py.server.scheduler.pod_info import PodInfo


class NodeResourcesFit:
    """Asks whether what is left of the node is enough; prefers where most is left."""

    name = "NodeResourcesFit"
    own_node = True
    absolute = True

    def events_to_register(self) -> Iterable[Registered]:
        """Room that is freed or added helps, or a pod that asks for less."""
        return (
            Registered(PODS, Action.DELETE | Action.POD_SCALE_DOWN, _frees_something),
            Registered(NODES, Action.ADD | Action.NODE_ALLOCATABLE, _is_large_enough),
        )

    def filter(self, cycle: Cycle) -> Question | None:
        """Return the question."""
        pod = cycle.pod
        wanted = tuple(pod.requests.items())

        def check(node: NodeInfo) -> Rejection | None:
            allocatable, requested = node.allocatable, node.requested
            if len(node.pods) < allocatable.get("pods", 0):
                for name, amount in wanted:
                    if amount > allocatable.get(name, 0) - requested.get(name, 0):
                        break
                else:
                    return None
            return _shortages(pod, node)

        return check

    def score(self, cycle: Cycle, nodes: Sequence[NodeInfo]) -> Sequence[float] | None:
        """Return the mean share of CPU and memory that would be left."""
        half = SCORE_MAX / 2
        return [(2.0 - cpu - memory) * half for cpu, memory in usage(cycle.pod, nodes)]


def _frees_something(pod: PodInfo, event: ClusterEvent) -> bool:
    """Tell whether a pod gives back of what another one asks for; its own change always may."""
    before, after = event.old_pod, event.new_pod
    if before is None or before.uid == pod.uid:
        return True
    if after is None and before.node:
        return True  # a place for a pod is freed in any case
    left = {} if after is None else after.requests
    return any(before.requests.get(name, 0) > left.get(name, 0) for name in pod.requests)


def _is_large_enough(pod: PodInfo, event: ClusterEvent) -> bool:
    """Tell whether the pod would fit on the node alone, and has gained something."""
    before, after = event.old_node, event.new_node
    if after is None or _shortages(pod, after) is not None:
        return False
    if before is None:
        return True
    return any(
        after.allocatable.get(name, 0) > before.allocatable.get(name, 0)
        for name in ("pods", *pod.requests)
    )


def _shortages(pod: PodInfo, node: NodeInfo) -> Rejection | None:
    """Name everything that the node has too little of."""
    full = len(node.pods) >= node.allocatable.get("pods", 0)
    short = [
        name
        for name, amount in pod.requests.items()
        if amount > node.allocatable.get(name, 0) - node.requested.get(name, 0)
    ]
    reasons = (*(("Too many pods",) if full else ()), *(f"Insufficient {name}" for name in short))
    if not reasons:
        return None
    return Rejection(
        reasons, any(pod.requests[name] > node.allocatable.get(name, 0) for name in short)
    )


class NodeResourcesBalancedAllocation:
    """Prefers nodes where CPU and memory would be used in equal shares."""

    name = "NodeResourcesBalancedAllocation"
    absolute = True

    def score(self, cycle: Cycle, nodes: Sequence[NodeInfo]) -> Sequence[float] | None:
        """Return how little the two shares differ."""
        half = SCORE_MAX / 2
        return [(2.0 - abs(cpu - memory)) * half for cpu, memory in usage(cycle.pod, nodes)]


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

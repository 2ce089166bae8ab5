"""A pod goes to nodes that have what it asks for; rather to empty and evenly used ones."""

from collections.abc import Iterator, Sequence

from minikube_py.server.scheduler.cache import Cache
from minikube_py.server.scheduler.framework import SCORE_MAX, Change, NodeFilter, Reasons
from minikube_py.server.scheduler.node_info import NodeInfo
from minikube_py.server.scheduler.pod_info import PodInfo


class NodeResourcesFit:
    """Asks whether what is left of the node is enough; prefers where most is left."""

    name = "NodeResourcesFit"
    weight = 1
    cured_by = frozenset({Change.NODE_ADDED, Change.NODE_CHANGED, Change.POD_GONE})
    preemptable = True

    def filter(self, pod: PodInfo, _: Cache) -> NodeFilter | None:
        """Return the question."""
        wanted = tuple(pod.requests.items())

        def check(node: NodeInfo) -> Reasons | None:
            allocatable, requested = node.allocatable, node.requested
            if len(node.pods) < allocatable.get("pods", 0):
                for name, amount in wanted:
                    if amount > allocatable.get(name, 0) - requested.get(name, 0):
                        break
                else:
                    return None
            return _shortages(pod, node)

        return check

    def score(self, pod: PodInfo, nodes: Sequence[NodeInfo], _: Cache) -> Sequence[float] | None:
        """Return the mean share of CPU and memory that would be left."""
        half = SCORE_MAX / 2
        return [(2.0 - cpu - memory) * half for cpu, memory in usage(pod, nodes)]


def _shortages(pod: PodInfo, node: NodeInfo) -> Reasons:
    """Name everything that the node has too little of."""
    full = len(node.pods) >= node.allocatable.get("pods", 0)
    short = (
        f"Insufficient {name}"
        for name, amount in pod.requests.items()
        if amount > node.allocatable.get(name, 0) - node.requested.get(name, 0)
    )
    return (*(("Too many pods",) if full else ()), *short)


class NodeResourcesBalancedAllocation:
    """Prefers nodes where CPU and memory would be used in equal shares."""

    name = "NodeResourcesBalancedAllocation"
    weight = 1

    def score(self, pod: PodInfo, nodes: Sequence[NodeInfo], _: Cache) -> Sequence[float] | None:
        """Return how little the two shares differ."""
        half = SCORE_MAX / 2
        return [(2.0 - abs(cpu - memory)) * half for cpu, memory in usage(pod, nodes)]


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

"""A pod goes to nodes that have what it asks for; rather to empty and evenly used ones."""

from collections.abc import Sequence

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
            full = len(node.pods) + 1 > allocatable.get("pods", 0)
            short = [
                f"Insufficient {name}"
                for name, amount in wanted
                if amount > allocatable.get(name, 0) - requested.get(name, 0)
            ]
            if not full and not short:
                return None
            return (*(("Too many pods",) if full else ()), *short)

        return check

    def score(self, pod: PodInfo, nodes: Sequence[NodeInfo], _: Cache) -> Sequence[float] | None:
        """Return the mean share of CPU and memory that would be left."""
        return [sum(1 - used for used in usage(pod, node)) * SCORE_MAX / 2 for node in nodes]


class NodeResourcesBalancedAllocation:
    """Prefers nodes where CPU and memory would be used in equal shares."""

    name = "NodeResourcesBalancedAllocation"
    weight = 1

    def score(self, pod: PodInfo, nodes: Sequence[NodeInfo], _: Cache) -> Sequence[float] | None:
        """Return how little the two shares differ."""
        return [_balance(*usage(pod, node)) for node in nodes]


def _balance(cpu: float, memory: float) -> float:
    return (1 - abs(cpu - memory) / 2) * SCORE_MAX


def usage(pod: PodInfo, node: NodeInfo) -> tuple[float, float]:
    """Return which share of CPU and memory would be used with the pod on the node."""
    cpu = _share(node.weight[0] + pod.weight[0], node.allocatable.get("cpu", 0))
    return cpu, _share(node.weight[1] + pod.weight[1], node.allocatable.get("memory", 0))


def _share(used: int, total: int) -> float:
    return min(used / total, 1.0) if total else 1.0

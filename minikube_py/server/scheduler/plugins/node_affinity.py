"""A pod goes to nodes that its nodeSelector and node affinity mean."""

from collections.abc import Sequence

from minikube_py.server.scheduler.cache import Cache
from minikube_py.server.scheduler.framework import NODES, NodeFilter, scaled_to_max
from minikube_py.server.scheduler.node_info import NodeInfo
from minikube_py.server.scheduler.pod_info import PodInfo

REASON = ("node(s) didn't match Pod's node affinity/selector",)


class NodeAffinity:
    """Asks whether the pod means the node, and how much it likes it."""

    name = "NodeAffinity"
    weight = 2
    cured_by = NODES
    preemptable = False

    def filter(self, pod: PodInfo, _: Cache) -> NodeFilter | None:
        """Return the question, where the pod asks for certain nodes."""
        test = pod.required_nodes
        if test is None:
            return None
        return lambda node: None if test(node.name, node.labels) else REASON

    def score(self, pod: PodInfo, nodes: Sequence[NodeInfo], _: Cache) -> Sequence[float] | None:
        """Sum up the weights of the preferences that hold."""
        preferred = pod.preferred_nodes
        if not preferred:
            return None
        return scaled_to_max(
            [
                sum(weight for weight, test in preferred if test(node.name, node.labels))
                for node in nodes
            ]
        )

"""A pod that names its node goes nowhere else."""

from minikube_py.server.scheduler.cache import Cache
from minikube_py.server.scheduler.framework import NODES, NodeFilter
from minikube_py.server.scheduler.pod_info import PodInfo

REASON = ("node(s) didn't match the requested node name",)


class NodeName:
    """Asks whether the node has the requested name."""

    name = "NodeName"
    cured_by = NODES
    preemptable = False

    def filter(self, pod: PodInfo, _: Cache) -> NodeFilter | None:
        """Return the question, where the pod names a node."""
        if not pod.node:
            return None
        return lambda node: None if node.name == pod.node else REASON

"""A pod does not go to a cordoned node unless it tolerates that."""

from minikube_py.api.taints import NO_SCHEDULE, UNSCHEDULABLE, tolerated
from minikube_py.server.scheduler.cache import Cache
from minikube_py.server.scheduler.framework import NODES, NodeFilter, Reasons
from minikube_py.server.scheduler.node_info import NodeInfo
from minikube_py.server.scheduler.pod_info import PodInfo

REASON = ("node(s) were unschedulable",)
TAINT = {"key": UNSCHEDULABLE, "effect": NO_SCHEDULE}


class NodeUnschedulable:
    """Asks whether the node is cordoned."""

    name = "NodeUnschedulable"
    cured_by = NODES
    preemptable = False

    def filter(self, pod: PodInfo, _: Cache) -> NodeFilter | None:
        """Return the question, unless the pod tolerates cordoned nodes."""
        if tolerated(TAINT, pod.tolerations):
            return None
        return _check


def _check(node: NodeInfo) -> Reasons | None:
    return REASON if node.unschedulable else None

"""A pod goes to nodes where its host ports are free."""

from minikube_py.server.scheduler.cache import Cache
from minikube_py.server.scheduler.framework import Change, NodeFilter, Reasons
from minikube_py.server.scheduler.node_info import NodeInfo
from minikube_py.server.scheduler.pod_info import PodInfo

REASON = ("node(s) didn't have free ports for the requested pod ports",)


class NodePorts:
    """Asks whether the node's other pods leave the ports free."""

    name = "NodePorts"
    cured_by = frozenset({Change.NODE_ADDED, Change.POD_GONE})
    preemptable = True

    def filter(self, pod: PodInfo, _: Cache) -> NodeFilter | None:
        """Return the question, where the pod takes ports of its node."""
        wanted = pod.ports
        if not wanted:
            return None

        def check(node: NodeInfo) -> Reasons | None:
            taken = (port for other in node.pods.values() for port in other.ports)
            return REASON if any(t.collides(w) for t in taken for w in wanted) else None

        return check

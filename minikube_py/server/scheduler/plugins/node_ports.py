"""A pod goes to nodes where its host ports are free."""

from collections.abc import Iterable

from minikube_py.api.core import NODES, PODS
from minikube_py.server.scheduler.cluster_events import Action, ClusterEvent, Registered
from minikube_py.server.scheduler.framework import Cycle, Question, Rejection, rejection
from minikube_py.server.scheduler.node_info import NodeInfo
from minikube_py.server.scheduler.pod_info import PodInfo

TAKEN = rejection("node(s) didn't have free ports for the requested pod ports")


class NodePorts:
    """Asks whether the node's other pods leave the ports free."""

    name = "NodePorts"
    own_node = True

    def events_to_register(self) -> Iterable[Registered]:
        """A pod that frees one of the ports helps, or another node."""
        return (
            Registered(PODS, Action.DELETE, _frees_a_port),
            Registered(NODES, Action.ADD),
        )

    def filter(self, cycle: Cycle) -> Question | None:
        """Return the question, where the pod takes ports of its node."""
        wanted = cycle.pod.ports
        if not wanted:
            return None

        def check(node: NodeInfo) -> Rejection | None:
            taken = (port for other in node.pods.values() for port in other.ports)
            return TAKEN if any(t.collides(w) for t in taken for w in wanted) else None

        return check


def _frees_a_port(pod: PodInfo, event: ClusterEvent) -> bool:
    gone = event.old_pod
    return gone is not None and any(t.collides(w) for t in gone.ports for w in pod.ports)

"""A pod goes to nodes that its nodeSelector and node affinity mean."""

from collections.abc import Iterable, Sequence

from minikube_py.api.core import NODES
from minikube_py.server.scheduler.cluster_events import Action, ClusterEvent, Registered
from minikube_py.server.scheduler.framework import Cycle, Question, rejection, scaled_to_max
from minikube_py.server.scheduler.node_info import NodeInfo
from minikube_py.server.scheduler.pod_info import PodInfo

MISMATCH = rejection("node(s) didn't match Pod's node affinity/selector", final=True)


class NodeAffinity:
    """Asks whether the pod means the node, and how much it likes it."""

    name = "NodeAffinity"

    def events_to_register(self) -> Iterable[Registered]:
        """A node that the pod means and did not mean before helps."""
        return (Registered(NODES, Action.ADD | Action.NODE_LABEL, _is_meant),)

    def filter(self, cycle: Cycle) -> Question | None:
        """Return the question, where the pod asks for certain nodes."""
        test = cycle.pod.required_nodes
        if test is None:
            return None
        return lambda node: None if test(node.name, node.labels) else MISMATCH

    def score(self, cycle: Cycle, nodes: Sequence[NodeInfo]) -> Sequence[float] | None:
        """Sum up the weights of the preferences that hold."""
        preferred = cycle.pod.preferred_nodes
        if not preferred:
            return None
        return scaled_to_max(
            [
                sum(weight for weight, test in preferred if test(node.name, node.labels))
                for node in nodes
            ]
        )


def _is_meant(pod: PodInfo, event: ClusterEvent) -> bool:
    test, old, new = pod.required_nodes, event.old, event.new
    if test is None or new is None:
        return True
    if not test(new.key.name, new.labels):
        return False
    return old is None or not test(old.key.name, old.labels)

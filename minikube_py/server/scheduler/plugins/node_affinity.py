"""A pod goes to nodes that its nodeSelector and node affinity mean."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from minikube_py.api.core import NODES
from minikube_py.api.node_selectors import NodeTest
from minikube_py.server.scheduler.cluster_events import Action, ClusterEvent, Registered
from minikube_py.server.scheduler.framework import Cycle, Question, rejection, scaled_to_max
from minikube_py.server.scheduler.node_info import NodeInfo
from minikube_py.server.scheduler.pod_info import PodInfo

MISMATCH = rejection("node(s) didn't match Pod's node affinity/selector", final=True)


class NodeAffinity:
    """Asks whether the pod means the node, and how much it likes it."""

    name = "NodeAffinity"
    own_node = True

    def events_to_register(self) -> Iterable[Registered]:
        """A node that the pod means and did not mean before helps."""
        return (Registered(NODES, Action.ADD | Action.NODE_LABEL, _is_meant),)

    def filter(self, cycle: Cycle) -> Question | None:
        """Return the question, where the pod asks for certain nodes."""
        test = cycle.pod.required_nodes
        if test is None:
            return None
        return lambda node: None if test(node.name, node.labels) else MISMATCH

    def grouped(self, cycle: Cycle) -> "Preference | None":
        """Group nodes by how much the pod prefers them."""
        preferred = cycle.pod.preferred_nodes
        return Preference(preferred) if preferred else None

    def score(self, cycle: Cycle, nodes: Sequence[NodeInfo]) -> Sequence[float] | None:
        """Sum up the weights of the preferences that hold."""
        preference = self.grouped(cycle)
        if preference is None:
            return None
        return scaled_to_max([preference.group(node) for node in nodes])


@dataclass(frozen=True)
class Preference:
    """How much a pod prefers nodes."""

    preferred: Sequence[tuple[int, NodeTest]]
    basis = "NodeAffinity"

    def group(self, node: NodeInfo) -> int:
        """Return the sum of the weights that hold."""
        return sum(weight for weight, test in self.preferred if test(node.name, node.labels))


def _is_meant(pod: PodInfo, event: ClusterEvent) -> bool:
    test, old, new = pod.required_nodes, event.old, event.new
    if test is None or new is None:
        return True
    if not test(new.key.name, new.labels):
        return False
    return old is None or not test(old.key.name, old.labels)

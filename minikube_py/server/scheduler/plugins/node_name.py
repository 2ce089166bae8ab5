"""A pod that names its node goes nowhere else."""

from collections.abc import Iterable

from minikube_py.api.core import NODES
from minikube_py.server.scheduler.cluster_events import Action, Registered
from minikube_py.server.scheduler.framework import Cycle, Question, rejection

MISMATCH = rejection("node(s) didn't match the requested node name", final=True)


class NodeName:
    """Asks whether the node has the requested name."""

    name = "NodeName"
    own_node = True

    def events_to_register(self) -> Iterable[Registered]:
        """A node that comes may be the one."""
        return (Registered(NODES, Action.ADD),)

    def filter(self, cycle: Cycle) -> Question | None:
        """Return the question, where the pod names a node."""
        wanted = cycle.pod.node
        if not wanted:
            return None
        return lambda node: None if node.name == wanted else MISMATCH

"""A pod goes to nodes that say they can do what it asks for, of what not every kubelet can do."""

from collections.abc import Iterable, Iterator

from minikube_py.api.core import NODES
from minikube_py.api.object import Obj, get
from minikube_py.server.scheduler.cluster_events import Action, ClusterEvent, Registered
from minikube_py.server.scheduler.framework import Cycle, Question, rejection
from minikube_py.server.scheduler.pod_info import PodInfo

LACKING = rejection("node(s) didn't match Pod's required features", final=True)
RESTART_ALL = "RestartAllContainersOnContainerExits"


class NodeDeclaredFeatures:
    """Asks whether the node declares the features that the pod needs."""

    name = "NodeDeclaredFeatures"

    def events_to_register(self) -> Iterable[Registered]:
        """A node that declares what the pod needs, and did not before, helps."""
        return (Registered(NODES, Action.ADD | Action.NODE_DECLARED_FEATURE, _declares),)

    def filter(self, cycle: Cycle) -> Question | None:
        """Return the question, where the pod needs any feature."""
        needed = frozenset(features_of(cycle.pod.obj))
        if not needed:
            return None
        return lambda node: None if needed <= declared(node.node) else LACKING


def features_of(pod: Obj) -> Iterator[str]:
    """Yield the features that a node must have for a pod."""
    containers = (*get(pod, "spec.containers", ()), *get(pod, "spec.initContainers", ()))
    rules = (rule for one in containers for rule in one.get("restartPolicyRules") or ())
    if any(rule.get("action") == "RestartAllContainers" for rule in rules):
        yield RESTART_ALL


def declared(node: Obj | None) -> frozenset[str]:
    """Return the features that a node declares."""
    return frozenset(get(node, "status.declaredFeatures", ()))


def _declares(pod: PodInfo, event: ClusterEvent) -> bool:
    needed = frozenset(features_of(pod.obj))
    return event.new is not None and needed <= declared(event.new.obj)

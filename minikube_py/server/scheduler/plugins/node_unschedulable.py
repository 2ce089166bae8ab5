"""A pod does not go to a cordoned node unless it tolerates that."""

from collections.abc import Iterable

from minikube_py.api.core import NODES, PODS
from minikube_py.api.taints import NO_SCHEDULE, UNSCHEDULABLE, tolerated
from minikube_py.server.scheduler.cluster_events import Action, ClusterEvent, Registered
from minikube_py.server.scheduler.framework import Cycle, Question, Rejection, rejection
from minikube_py.server.scheduler.node_info import NodeInfo
from minikube_py.server.scheduler.pod_info import PodInfo

CORDONED = rejection("node(s) were unschedulable", final=True)
TAINT = {"key": UNSCHEDULABLE, "effect": NO_SCHEDULE}


class NodeUnschedulable:
    """Asks whether the node is cordoned."""

    name = "NodeUnschedulable"
    own_node = True

    def events_to_register(self) -> Iterable[Registered]:
        """A node that is no longer cordoned helps, or a toleration of it."""
        return (
            Registered(NODES, Action.ADD | Action.NODE_TAINT, _became_schedulable),
            Registered(PODS, Action.POD_TOLERATION, _tolerates),
        )

    def filter(self, cycle: Cycle) -> Question | None:
        """Return the question, unless the pod tolerates cordoned nodes."""
        return None if tolerated(TAINT, cycle.pod.tolerations) else _check


def _check(node: NodeInfo) -> Rejection | None:
    return CORDONED if node.unschedulable else None


def _became_schedulable(_: PodInfo, event: ClusterEvent) -> bool:
    before, after = event.old_node, event.new_node
    return (
        after is not None and not after.unschedulable and (before is None or before.unschedulable)
    )


def _tolerates(pod: PodInfo, event: ClusterEvent) -> bool:
    after = event.new_pod
    return after is not None and after.uid == pod.uid and tolerated(TAINT, after.tolerations)

"""A pod keeps off nodes whose taints it does not tolerate, and rather off those it should."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from minikube_py.api.core import NODES, PODS
from minikube_py.api.object import Obj
from minikube_py.api.taints import PREFER_NO_SCHEDULE, untolerated
from minikube_py.server.scheduler.cluster_events import Action, ClusterEvent, Registered
from minikube_py.server.scheduler.framework import (
    Cycle,
    Question,
    Rejection,
    rejection,
    scaled_to_max,
)
from minikube_py.server.scheduler.node_info import NodeInfo
from minikube_py.server.scheduler.pod_info import PodInfo

TAINTED = rejection("node(s) had untolerated taint(s)", final=True)


class TaintToleration:
    """Asks for taints that the pod does not tolerate."""

    name = "TaintToleration"
    own_node = True

    def events_to_register(self) -> Iterable[Registered]:
        """A node whose taints the pod tolerates helps, or a new toleration."""
        return (
            Registered(NODES, Action.ADD | Action.NODE_TAINT, _is_tolerated),
            Registered(PODS, Action.POD_TOLERATION, _is_the_pod),
        )

    def filter(self, cycle: Cycle) -> Question | None:
        """Return the question."""
        tolerations = cycle.pod.tolerations

        def check(node: NodeInfo) -> Rejection | None:
            hard = node.hard_taints
            return TAINTED if hard and any(untolerated(hard, tolerations)) else None

        return check

    def grouped(self, cycle: Cycle) -> "Counted | None":
        """Group nodes by how many of their soft taints the pod does not tolerate."""
        return Counted(soft_tolerations(cycle.pod)) if cycle.cache.soft_tainted else None

    def score(self, cycle: Cycle, nodes: Sequence[NodeInfo]) -> Sequence[float] | None:
        """Count the soft taints that the pod does not tolerate; fewer are better."""
        if not cycle.cache.soft_tainted:
            return None
        counted = Counted(soft_tolerations(cycle.pod))
        counts = [counted.group(node) for node in nodes]
        return scaled_to_max(counts, reverse=True)


@dataclass(frozen=True)
class Counted:
    """Counts the soft taints of nodes that some tolerations do not mean."""

    tolerations: Sequence[Obj]

    def basis(self, *, exact: bool) -> Hashable:
        """Return what tells these groups from others; the pod's signature tells the rest."""
        del exact
        return "TaintToleration"

    def group(self, node: NodeInfo, *, exact: bool = True) -> int:
        """Return how many there are."""
        del exact
        return sum(1 for _ in untolerated(node.soft_taints, self.tolerations))


def soft_tolerations(pod: PodInfo) -> Sequence[Obj]:
    """Return the tolerations that mean taints which pods rather avoid."""
    effects = (None, "", PREFER_NO_SCHEDULE)
    return [one for one in pod.tolerations if one.get("effect") in effects]


def _is_tolerated(pod: PodInfo, event: ClusterEvent) -> bool:
    """Tell whether a node that the pod did not tolerate is one that it does."""
    before, after = event.old_node, event.new_node
    if after is None or any(untolerated(after.hard_taints, pod.tolerations)):
        return False
    return before is None or any(untolerated(before.hard_taints, pod.tolerations))


def _is_the_pod(pod: PodInfo, event: ClusterEvent) -> bool:
    return event.new is not None and event.new.uid == pod.uid

"""A pod goes to nodes that its nodeSelector and node affinity mean."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minikube_py.api import node_selectors
from minikube_py.api.core import NODES
from minikube_py.api.item import Item
from minikube_py.api.node_selectors import NodeTest
from minikube_py.api.object import Obj, get
from minikube_py.server.scheduler.cluster_events import Action, ClusterEvent, Registered
from minikube_py.server.scheduler.framework import (
    Cycle,
    Narrowed,
    Question,
    Rejection,
    rejection,
    scaled_to_max,
)
from minikube_py.server.scheduler.node_info import NodeInfo
from minikube_py.server.scheduler.pod_info import PodInfo

NOT_ENFORCED = rejection("node(s) didn't match scheduler-enforced node affinity", final=True)
CONFLICT = rejection("pod affinity terms conflict", final=True)
MISMATCH = rejection("node(s) didn't match Pod's node affinity/selector", final=True)


class NodeAffinity:
    """Asks whether the pod means the node, and how much it likes it."""

    name = "NodeAffinity"
    own_node = True

    def __init__(self, args: Mapping[str, Any] | None = None) -> None:
        added: Obj = (args or {}).get("addedAffinity") or {}
        spec = {"spec": {"affinity": {"nodeAffinity": added}}}
        self._added = node_selectors.required(spec)
        self._added_preferred = tuple(node_selectors.preferred(spec))

    def events_to_register(self) -> Iterable[Registered]:
        """A node that the pod means and did not mean before helps."""
        return (Registered(NODES, Action.ADD | Action.NODE_LABEL, self._is_meant),)

    def pre_filter(self, cycle: Cycle) -> Rejection | Narrowed | None:
        """Name the nodes that alone come into question, where the pod names them itself."""
        if not get(cycle.pod.obj, "spec.affinity.nodeAffinity"):
            return None
        names = named_nodes(cycle.pod.obj)
        if names is None:
            return None
        return Narrowed(names) if names else CONFLICT

    def filter(self, cycle: Cycle) -> Question | None:
        """Return the question, where the pod asks for certain nodes."""
        test, added = cycle.pod.required_nodes, self._added
        if test is None and added is None:
            return None

        def check(node: NodeInfo) -> Rejection | None:
            if added is not None and not added(node.name, node.labels):
                return NOT_ENFORCED
            return None if test is None or test(node.name, node.labels) else MISMATCH

        return check

    def grouped(self, cycle: Cycle) -> "Preference | None":
        """Group nodes by how much the pod prefers them."""
        preferred = (*cycle.pod.preferred_nodes, *self._added_preferred)
        return Preference(preferred) if preferred else None

    def score(self, cycle: Cycle, nodes: Sequence[NodeInfo]) -> Sequence[float] | None:
        """Sum up the weights of the preferences that hold."""
        preference = self.grouped(cycle)
        if preference is None:
            return None
        return scaled_to_max([preference.group(node) for node in nodes])

    def _is_meant(self, pod: PodInfo, event: ClusterEvent) -> bool:
        old, new = event.old, event.new
        if new is None or not self._means(pod, new):
            return False
        return old is None or not self._means(pod, old)

    def _means(self, pod: PodInfo, item: Item) -> bool:
        tests = (pod.required_nodes, self._added)
        return all(test is None or test(item.key.name, item.labels) for test in tests)


def named_nodes(pod: Obj) -> frozenset[str] | None:
    """Return the names of the nodes that a pod's required affinity means, None for any name.

    The pods of a DaemonSet name their node so, and no other node need be asked.
    """
    path = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
    found: frozenset[str] = frozenset()
    terms = get(pod, f"{path}.nodeSelectorTerms", ())
    for term in terms:
        named = [
            frozenset(one.get("values") or ())
            for one in term.get("matchFields") or ()
            if one.get("key") == "metadata.name" and one.get("operator") == "In"
        ]
        if not named:
            return None
        found |= frozenset.intersection(*named)
    return found if terms else None


@dataclass(frozen=True)
class Preference:
    """How much a pod prefers nodes."""

    preferred: Sequence[tuple[int, NodeTest]]

    def basis(self, *, exact: bool) -> Hashable:
        """Return what tells these groups from others; the pod's signature tells the rest."""
        del exact
        return "NodeAffinity"

    def group(self, node: NodeInfo, *, exact: bool = True) -> int:
        """Return the sum of the weights that hold."""
        del exact
        return sum(weight for weight, test in self.preferred if test(node.name, node.labels))

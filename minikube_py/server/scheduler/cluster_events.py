"""What happens in the cluster that may let a pod fit that did not: typed events and their hints.

A plugin registers for the events that may help pods which it rejected. Where it gives a hint, that
function looks at the pod and at what changed and says whether it helps; the pod is tried again on
exactly those events. An object's change is one event for each kind of change that it holds.
"""

import enum
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import NamedTuple

from minikube_py.api.core import PODS
from minikube_py.api.item import Item
from minikube_py.api.object import Obj, get
from minikube_py.api.resource import Resource
from minikube_py.server.scheduler.node_info import NodeInfo
from minikube_py.server.scheduler.pod_info import PodInfo


class Action(enum.Flag):
    """What happened to an object; all that begin with NODE are of nodes, with POD of pods."""

    ADD = enum.auto()
    """Came; of a pod: got its node."""
    DELETE = enum.auto()
    """Went; of a pod: also when it finished, or lost the node that it was to have."""
    NODE_ALLOCATABLE = enum.auto()
    NODE_LABEL = enum.auto()
    NODE_TAINT = enum.auto()
    """Taints, and being cordoned."""
    NODE_CONDITION = enum.auto()
    NODE_ANNOTATION = enum.auto()
    NODE_DECLARED_FEATURE = enum.auto()
    POD_LABEL = enum.auto()
    POD_SCALE_DOWN = enum.auto()
    """Asks for less than before."""
    POD_GATES_ELIMINATED = enum.auto()
    POD_TOLERATION = enum.auto()
    POD_GENERATED_CLAIM = enum.auto()
    """The status names the ResourceClaims that were made for it."""
    OTHER = enum.auto()
    """Any other change; of another kind than nodes and pods: every change."""
    UPDATE = (
        NODE_ALLOCATABLE
        | NODE_LABEL
        | NODE_TAINT
        | NODE_CONDITION
        | NODE_ANNOTATION
        | NODE_DECLARED_FEATURE
        | POD_LABEL
        | POD_SCALE_DOWN
        | POD_GATES_ELIMINATED
        | POD_TOLERATION
        | POD_GENERATED_CLAIM
        | OTHER
    )
    ALL = ADD | DELETE | UPDATE


SINGLE: tuple[Action, ...] = tuple(Action.ALL)
"""Each action by itself."""


class ClusterEvent:
    """One thing that happened; what hints ask of it is made once for all of them."""

    def __init__(
        self, resource: Resource, action: Action, old: Item | None, new: Item | None
    ) -> None:
        self.resource = resource
        self.action = action
        """A single one."""
        self.old = old
        self.new = new

    @cached_property
    def old_pod(self) -> PodInfo | None:
        """The pod before; only of events of pods."""
        return None if self.old is None else PodInfo(self.old)

    @cached_property
    def new_pod(self) -> PodInfo | None:
        """The pod after; only of events of pods."""
        return None if self.new is None else PodInfo(self.new)

    @cached_property
    def old_node(self) -> NodeInfo | None:
        """The node before, without its pods; only of events of nodes."""
        return None if self.old is None else alone(self.old)

    @cached_property
    def new_node(self) -> NodeInfo | None:
        """The node after, without its pods; only of events of nodes."""
        return None if self.new is None else alone(self.new)

    def __repr__(self) -> str:
        return f"ClusterEvent({self.resource.plural} {self.action.name})"


def pod_event(action: Action, old: PodInfo | None, new: PodInfo | None) -> ClusterEvent:
    """Return the event of a pod of which everything is known already."""
    before, after = (None if one is None else one.item for one in (old, new))
    event = ClusterEvent(PODS, action, before, after)
    event.old_pod, event.new_pod = old, new
    return event


def alone(item: Item) -> NodeInfo:
    """Return what is known of a node, as if it had no pods."""
    info = NodeInfo(item.key.name)
    info.set_node(item)
    return info


Hint = Callable[[PodInfo, ClusterEvent], bool]
"""Tell whether an event may let the pod fit; in doubt it does."""


class Registered(NamedTuple):
    """Events of one kind that may help, and who knows more exactly which."""

    resource: Resource
    actions: Action
    hint: Hint | None = None
    """None: each of them helps."""


def node_actions(old: Item, new: Item) -> Iterator[Action]:
    """Yield how a node has changed, in what concerns pods."""
    before, after = old.obj, new.obj
    if old.labels != new.labels:
        yield Action.NODE_LABEL
    if get(before, "status.allocatable", {}) != get(after, "status.allocatable", {}):
        yield Action.NODE_ALLOCATABLE
    if _cordon(before) != _cordon(after):
        yield Action.NODE_TAINT
    if _statuses(before) != _statuses(after):
        yield Action.NODE_CONDITION
    if before["metadata"].get("annotations") != after["metadata"].get("annotations"):
        yield Action.NODE_ANNOTATION
    features = "status.declaredFeatures"
    if get(before, features, ()) != get(after, features, ()):
        yield Action.NODE_DECLARED_FEATURE


def _cordon(node: Obj) -> object:
    return get(node, "spec.taints", ()), bool(get(node, "spec.unschedulable"))


def _statuses(node: Obj) -> object:
    return {one["type"]: one.get("status") for one in get(node, "status.conditions", ())}


def pod_actions(old: PodInfo, new: PodInfo) -> Iterator[Action]:
    """Yield how a pod has changed, in what concerns it or others; OTHER where in none of them."""
    found = list(_found(old, new))
    yield from found or (Action.OTHER,)


def _found(old: PodInfo, new: PodInfo) -> Iterator[Action]:
    if old.labels != new.labels:
        yield Action.POD_LABEL
    if old.requests is new.requests:  # the same pod, of which nothing else was read anew
        return
    if _asks_less(old, new):
        yield Action.POD_SCALE_DOWN
    if old.gates and not new.gates:
        yield Action.POD_GATES_ELIMINATED
    if old.tolerations != new.tolerations:
        yield Action.POD_TOLERATION
    if _claims(old) != _claims(new):
        yield Action.POD_GENERATED_CLAIM


def _asks_less(old: PodInfo, new: PodInfo) -> bool:
    return any(new.requests.get(name, 0) < amount for name, amount in old.requests.items())


def _claims(pod: PodInfo) -> object:
    return get(pod.obj, "status.resourceClaimStatuses", ())

"""A pod goes to the zones and regions of its volumes, as their labels tell them.

Volumes of today say by node affinity where they are, which VolumeBinding asks for; labels are what
older ones have. A node that has no such labels is in no zone and takes them all.
"""

from collections.abc import Iterable, Sequence
from typing import cast

from minikube_py.api.core import NODES, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES
from minikube_py.api.core.volume_matching import waits_for_consumer
from minikube_py.api.object import Key, Obj, get, labels_of
from minikube_py.api.storage import STORAGECLASSES
from minikube_py.server.scheduler.cluster_events import Action, Registered
from minikube_py.server.scheduler.framework import Cycle, Handle, Question, Rejection, rejection
from minikube_py.server.scheduler.node_info import NodeInfo
from minikube_py.server.scheduler.plugins.volume_stores import VolumeStores

ELSEWHERE = rejection("node(s) had no available volume zone", final=True)
NEWER = {
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
}
LABELS = (*NEWER, *NEWER.values())
SEPARATOR = "__"
"""Between the zones of a volume that is in several."""
Place = tuple[str, frozenset[str]]
"""A label and the values of it that will do."""


class VolumeZone:
    """Asks for the zones of volumes."""

    name = "VolumeZone"

    def __init__(self, handle: Handle) -> None:
        self._stores = VolumeStores(handle)

    def events_to_register(self) -> Iterable[Registered]:
        """Nodes with other labels; volumes, claims and classes that come or change."""
        both = Action.ADD | Action.UPDATE
        return (
            Registered(STORAGECLASSES, Action.ADD),
            Registered(NODES, Action.ADD | Action.NODE_LABEL),
            Registered(PERSISTENTVOLUMECLAIMS, both),
            Registered(PERSISTENTVOLUMES, both),
        )

    def pre_filter(self, cycle: Cycle) -> Rejection | None:
        """Find where the volumes of the pod are."""
        places: list[Place] = []
        for _, key in cycle.pod.claims:
            found = self._places(key)
            if isinstance(found, str):
                return rejection(found, final=True)
            places += found
        cycle.state[self.name] = tuple(places)
        return None

    def _places(self, key: Key) -> Sequence[Place] | str:
        claim = self._stores.claims.get(key)
        if claim is None:
            return f'persistentvolumeclaim "{key.name}" not found'
        name = get(claim, "spec.volumeName")
        if not name:
            storage_class = self._stores.class_of(claim)
            if waits_for_consumer(storage_class):
                return ()
            if storage_class is None:
                return "PersistentVolumeClaim had no pv name and storageClass name"
            return "PersistentVolume had no name"
        volume = self._stores.volumes.get(Key("", name))
        return f'persistentvolume "{name}" not found' if volume is None else places_of(volume)

    def filter(self, cycle: Cycle) -> Question | None:
        """Return the question, where the labels of a volume name a zone or region."""
        places = cast("tuple[Place, ...]", cycle.state.get(self.name, ()))
        if not places:
            return None

        def ask(node: NodeInfo) -> Rejection | None:
            if not any(label in node.labels for label in LABELS):
                return None
            return None if all(_is_in(node, place) for place in places) else ELSEWHERE

        return ask


def places_of(volume: Obj) -> Sequence[Place]:
    """Return where a volume is, as its labels tell."""
    labels = labels_of(volume)
    return [
        (label, frozenset(labels[label].split(SEPARATOR))) for label in LABELS if label in labels
    ]


def _is_in(node: NodeInfo, place: Place) -> bool:
    label, values = place
    value = node.labels.get(label, node.labels.get(NEWER.get(label, label)))
    return value in values

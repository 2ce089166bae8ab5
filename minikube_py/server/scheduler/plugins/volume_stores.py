"""What volume plugins look up: claims and volumes by index, with what is assumed beside them.

A pod that has found its node has chosen volumes, but the cluster does not know yet. Until it does,
the choice stands here, so that the next decision sees volumes as taken and claims as settled.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, cast

from minikube_py.api import quantity, selectors
from minikube_py.api.core import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES
from minikube_py.api.core.persistentvolume import class_of
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, get
from minikube_py.api.resource import Resource
from minikube_py.api.selectors import LabelSelector
from minikube_py.api.storage import CSIDRIVERS, CSISTORAGECAPACITIES, STORAGECLASSES
from minikube_py.client.store import ItemStore
from minikube_py.server.scheduler.framework import Handle

FREE, CLAIMED, PLACES = "free-volumes", "claimed-volumes", "capacities"
ANYWHERE = "*"


class Capacity(NamedTuple):
    """How large a volume can be, and where."""

    limit: int | None
    topology: LabelSelector | None


@dataclass
class Assumed:
    """The choices of pods whose binding is under way."""

    volumes: dict[str, Key] = field(default_factory=dict)
    """Name of a volume -> the claim that it was chosen for."""
    nodes: dict[Key, str] = field(default_factory=dict)
    """A claim that needs a new volume -> the node on which that is to be made."""

    def volume_of(self, claim: Key) -> str | None:
        """Return the volume that was chosen for a claim."""
        return next((name for name, key in self.volumes.items() if key == claim), None)


class VolumeStores:
    """The caches of all kinds that volumes depend on."""

    def __init__(self, handle: Handle) -> None:
        self.claims = _store(handle, PERSISTENTVOLUMECLAIMS)
        self.volumes = _store(handle, PERSISTENTVOLUMES)
        self.classes = _store(handle, STORAGECLASSES)
        self.drivers = _store(handle, CSIDRIVERS)
        self.capacities = _store(handle, CSISTORAGECAPACITIES)
        self.volumes.add_index(FREE, _free)
        self.volumes.add_index(CLAIMED, _claimed)
        self.capacities.add_index(PLACES, _places)

    def class_of(self, claim: Obj) -> Obj | None:
        """Return the storage class of a claim."""
        name = class_of(claim)
        return self.classes.get(Key("", name)) if name else None

    def candidates(self, claim: Key, class_name: str) -> Iterator[Item]:
        """Yield the volumes that are meant for a claim, and those of its class that are free."""
        yield from self.volumes.indexed(CLAIMED, str(claim))
        yield from self.volumes.indexed(FREE, class_name)

    def has_room(self, class_name: str, size: int, labels: Mapping[str, str]) -> bool:
        """Tell whether there is word of enough room for a volume of a class near a node."""
        places = (ANYWHERE, *map("=".join, labels.items()))
        return any(
            _suffices(item.derived(capacity_of), size, labels)
            for place in places
            for item in self.capacities.indexed(PLACES, f"{class_name} {place}")
        )


def _store(handle: Handle, resource: Resource) -> ItemStore:
    return cast("ItemStore", handle.lister(resource))


def _suffices(capacity: Capacity, size: int, labels: Mapping[str, str]) -> bool:
    if capacity.limit is None or capacity.limit < size or capacity.topology is None:
        return False
    return capacity.topology.matches(labels)


def capacity_of(item: Item) -> Capacity:
    """Return what a CSIStorageCapacity says."""
    obj = item.obj
    limit, topology = obj.get("maximumVolumeSize") or obj.get("capacity"), obj.get("nodeTopology")
    return Capacity(
        None if limit is None else quantity.value(limit),
        None if topology is None else selectors.from_object(topology),
    )


def _places(item: Item) -> tuple[str, ...]:
    """Index a capacity by its class and one label that nodes must have, so that few are asked."""
    labels = get(item.obj, "nodeTopology.matchLabels") or {}
    place = next((f"{key}={value}" for key, value in sorted(labels.items())), ANYWHERE)
    return (f"{item.obj.get('storageClassName', '')} {place}",)


def _free(item: Item) -> tuple[str, ...]:
    return () if get(item.obj, "spec.claimRef") else (class_of(item.obj),)


def _claimed(item: Item) -> tuple[str, ...]:
    ref = get(item.obj, "spec.claimRef")
    return (str(Key(ref.get("namespace", ""), ref.get("name", ""))),) if ref else ()

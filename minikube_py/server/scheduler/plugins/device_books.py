"""Which devices are taken: by claims as the cluster has them, and by pods on their way to a node.

A choice stands here from the moment that a node is found until the cluster's claims show it, so
that the next decision does not give the same device away. What is derived from caches is derived
anew when they have changed.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import cast

from minikube_py.api import quantity
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, get, key_of, uid_of
from minikube_py.api.resource_k8s import DEVICECLASSES, RESOURCECLAIMS, RESOURCESLICES
from minikube_py.client.informer import Informer
from minikube_py.client.store import ItemStore
from minikube_py.server.scheduler.devices.capacity import Amounts
from minikube_py.server.scheduler.devices.extended import CLASS_PREFIX, may_be_devices
from minikube_py.server.scheduler.devices.inventory import DeviceId, Inventory, read
from minikube_py.server.scheduler.devices.search import Choice, Taken
from minikube_py.server.scheduler.framework import Handle

RESOURCE = "extended-resource"
"""Name of the index of classes by the resource that their devices stand for."""
POOLS = "pools"
"""Name of the index of slices; for its sake each is read when it comes, and not all at once."""
Held = tuple[DeviceId, Amounts | None]
"""A device, and how much of it; None: the whole."""


class DeviceBooks:
    """The caches of claims, slices and classes, with what is not in them yet."""

    def __init__(self, handle: Handle) -> None:
        self.claims = cast("Informer", handle.lister(RESOURCECLAIMS))
        self._slices = cast("Informer", handle.lister(RESOURCESLICES))
        self._slices.add_index(POOLS, _pool)
        self._classes = device_classes(handle)
        self._written: dict[Key, Obj] = {}
        """Claims as we have written them, as long as the cache has older ones."""
        self.pending: dict[str, Sequence[Held]] = {}
        """By uid of the claim: devices that were chosen and are not written yet."""
        self._read: dict[Key, tuple[Item, Sequence[Held]]] = {}
        """What each claim of the cache has: read once for each version of it."""
        self._changes = 0
        self._taken: tuple[tuple[int, int, int], Taken] | None = None
        self._inventory: tuple[tuple[int, int], Inventory] | None = None

    def claim(self, key: Key) -> Obj | None:
        """Return the newest version of a claim that is known."""
        cached, written = self.claims.get(key), self._written.get(key)
        if written is None:
            return cached
        if (
            cached is None
            or uid_of(cached) != uid_of(written)
            or revision(cached) >= revision(written)
        ):
            del self._written[key]
            return cached
        return written

    def wrote(self, claim: Obj) -> None:
        """Keep a claim as the server has answered."""
        self._written[key_of(claim)] = claim
        self._changes += 1

    def set_aside(self, claim: Obj, choices: Sequence[Choice]) -> None:
        """Count devices as taken by a claim."""
        self.pending[uid_of(claim)] = [(one.device.id, one.amounts) for one in choices]
        self._changes += 1

    def give_back(self, claim: Obj) -> None:
        """Count devices as free, or as what the claim itself says by now."""
        if self.pending.pop(uid_of(claim), None) is not None:
            self._changes += 1

    def device_class(self, name: str) -> Obj | None:
        """Return a device class."""
        return self._classes.get(Key("", name))

    def classes_for(self, requests: Iterable[str]) -> Mapping[str, str]:
        """Return the classes whose devices stand for resources, by resource."""
        return classes_for(self._classes, requests)

    def inventory(self) -> Inventory:
        """Return the devices that there are."""
        state = (self._slices.revision, len(self._slices))
        if self._inventory is None or self._inventory[0] != state:
            before = None if self._inventory is None else self._inventory[1]
            self._inventory = (state, Inventory.of(map(read, self._slices.items()), before))
        return self._inventory[1]

    def taken(self) -> Taken:
        """Return which devices are taken."""
        state = (self.claims.revision, len(self.claims), self._changes)
        if self._taken is None or self._taken[0] != state:
            self._taken = (state, self._reckoned())
        return self._taken[1]

    def _reckoned(self) -> Taken:
        whole: set[DeviceId] = set()
        shares: dict[DeviceId, list[Amounts]] = {}
        for device, amounts in self._held():
            if amounts is None:
                whole.add(device)
            else:
                shares.setdefault(device, []).append(amounts)
        return Taken(frozenset(whole), shares)

    def _held(self) -> Iterator[Held]:
        known, self._read = self._read, {}
        for item in self.claims.items():
            if item.key in self._written:
                yield from held_by(self.claim(item.key) or {})
                continue
            before = known.get(item.key)
            read = before if before is not None and before[0] is item else None
            self._read[item.key] = read or (item, tuple(held_by(item.obj)))
            yield from self._read[item.key][1]
        for held in self.pending.values():
            yield from held


def device_classes(handle: Handle) -> ItemStore:
    """Return the device classes, indexed by the resources that they stand for."""
    classes = cast("ItemStore", handle.lister(DEVICECLASSES))
    classes.add_index(RESOURCE, _resource)
    return classes


def classes_for(classes: ItemStore, requests: Iterable[str]) -> Mapping[str, str]:
    """Return the names of the classes whose devices stand for resources, by resource.

    Of several classes the youngest counts, of those of one second the first by name.
    """
    if not len(classes):
        return {}
    found = {}
    for name in filter(may_be_devices, requests):
        prefix, _, own = name.rpartition("/")
        if f"{prefix}/" == CLASS_PREFIX and classes.item(Key("", own)) is not None:
            found[name] = own
        listed = sorted((one.key.name, _born(one)) for one in classes.indexed(RESOURCE, name))
        if listed:
            found[name] = max(listed, key=lambda pair: pair[1])[0]
    return found


def resources_as(device_class: Item) -> tuple[str, ...]:
    """Return the resources that devices of a class stand for."""
    return (f"{CLASS_PREFIX}{device_class.key.name}", *_resource(device_class))


def _born(item: Item) -> str:
    return str(item.obj["metadata"].get("creationTimestamp", ""))


def _resource(item: Item) -> tuple[str, ...]:
    name = get(item.obj, "spec.extendedResourceName")
    return (name,) if name else ()


def held_by(claim: Obj) -> Iterator[Held]:
    """Yield the devices that a claim has to itself; administrators only look on."""
    for result in get(claim, "status.allocation.devices.results") or ():
        if result.get("adminAccess"):
            continue
        device = DeviceId(result["driver"], result["pool"], result["device"])
        consumed = result.get("consumedCapacity")
        if result.get("shareID") is None:
            yield device, None
        else:
            yield device, {name: quantity.parse(each) for name, each in (consumed or {}).items()}


def revision(obj: Obj) -> int:
    """Return the revision of an object."""
    text = str(obj["metadata"].get("resourceVersion", ""))
    return int(text) if text.isdigit() else 0


def _pool(piece: Item) -> tuple[str]:
    return ("/".join(read(piece).key),)

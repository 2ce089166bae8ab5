"""Local volumes of one node: which to make, which to take away, and how much room is left.

Pure. The executor is local_storage.py. A volume is a promise of room on a file system that others
use too, so what is left is the smaller of two numbers: what is free now, and what has not been
promised yet.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minikube_py.api import quantity
from minikube_py.api.core import NODES, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES
from minikube_py.api.core.persistentvolume import class_of
from minikube_py.api.core.volume_matching import (
    PROVISIONED_BY,
    SELECTED_NODE,
    capacity_of,
    requested,
    waits_for_consumer,
)
from minikube_py.api.local_storage import (
    ON_NODE,
    PROVISIONER,
    UNWANTED,
    Offer,
    offer_of,
    unwanted_of,
    unwanted_text,
)
from minikube_py.api.object import (
    Key,
    Obj,
    annotations_of,
    evolve,
    get,
    is_deleting,
    key_of,
    labels_of,
    uid_of,
)
from minikube_py.api.storage import CSISTORAGECAPACITIES
from minikube_py.client.actions import Action, Create, Delete, Emit, Patch, Update
from minikube_py.client.events import reference

FINALIZER = "external-provisioner.volume.kubernetes.io/finalizer"
"""Keeps a volume until its data is gone; all provisioners use this one."""
NAMESPACE = "kube-system"
HOSTNAME = "kubernetes.io/hostname"
VOLUMES_MAX = 1000
"""On one node; their names have to fit into an annotation."""
STEPS = 100
"""What is left is told to schedulers in steps of so many parts of the file system."""
MI = 1 << 20
MODES = frozenset({"ReadWriteOnce", "ReadWriteOncePod"})


@dataclass(frozen=True, kw_only=True)
class NodeView:
    """What is known of one node's volumes at one moment."""

    name: str
    node: Obj | None
    claims: Sequence[Obj] = ()
    """Those that wait for a volume on this node."""
    volumes: Sequence[Obj] = ()
    """Those that were made for it."""
    classes: Mapping[str, Obj]
    """All classes whose volumes are made here, by name."""
    capacities: Mapping[str, Obj]
    """The CSIStorageCapacity objects of this node, by name."""

    @property
    def offer(self) -> Offer | None:
        """What the node has for volumes."""
        return None if self.node is None else offer_of(self.node)


def plan(view: NodeView) -> Iterator[Action]:
    """Decide on all that is to be done for a node."""
    yield from _plan_claims(view)
    yield from _plan_removal(view)
    yield from _plan_capacities(view)


def room(offer: Offer, volumes: Sequence[Obj]) -> int:
    """Return how many bytes of a node may still be promised."""
    promised = sum(capacity_of(volume).value() for volume in volumes)
    return max(min(offer.available, offer.total - promised), 0)


# --- making ---


def _plan_claims(view: NodeView) -> Iterator[Action]:
    offer = view.offer
    left = room(offer, view.volumes) if offer else 0
    there = {volume["metadata"]["name"] for volume in view.volumes}
    for claim in sorted(view.claims, key=lambda one: (str(created(one)), key_of(one))):
        name = volume_name(claim)
        if name in there or is_deleting(claim):
            continue
        why = _refusal(claim, view, left)
        if why or offer is None or view.node is None:
            yield from _refuse(claim, why)
            continue
        text = f'External provisioner is provisioning volume for claim "{key_of(claim)}"'
        yield Emit(claim, "Normal", "Provisioning", text)
        yield Create(PERSISTENTVOLUMES, new_volume(claim, view.node, offer, view.classes))
        text = f"Successfully provisioned volume {name}"
        yield Emit(claim, "Normal", "ProvisioningSucceeded", text)
        left -= requested(claim).value()


def plan_placing(
    claims: Iterable[Obj], classes: Mapping[str, Obj], left: Mapping[str, int]
) -> Iterator[Action]:
    """Choose nodes for claims that do not wait for a pod; `left` is the room on each node.

    Schedulers choose for all others. The emptiest node is taken, the first by name among equals.
    """
    for claim in claims:
        if is_deleting(claim) or waits_for_consumer(classes.get(class_of(claim))):
            continue
        size = requested(claim).value()
        rooms = {name: amount for name, amount in left.items() if amount >= size}
        why = _impossible(claim, classes)
        if not rooms and not why:
            why = f"no node has {_shown(size)} left for volumes"
        if why:
            yield _failed(claim, why)
            continue
        chosen = min(rooms, key=lambda name: (-rooms[name], name))
        notes = {**annotations_of(claim), SELECTED_NODE: chosen}
        yield Update(PERSISTENTVOLUMECLAIMS, evolve(claim, "metadata.annotations", notes))


def _failed(claim: Obj, why: str) -> Emit:
    text = f'failed to provision volume with StorageClass "{class_of(claim)}": {why}'
    return Emit(claim, "Warning", "ProvisioningFailed", text)


def created(obj: Obj) -> Any:
    """Return when an object was made."""
    return obj["metadata"].get("creationTimestamp", "")


def volume_name(claim: Obj) -> str:
    """Return the name of the volume that is made for a claim; the same at every try."""
    return f"pvc-{uid_of(claim)}"


def _refusal(claim: Obj, view: NodeView, left: int) -> str:
    """Return why a claim cannot have a volume on the node, "" where it can."""
    wanted = requested(claim).value()
    if trouble := _impossible(claim, view.classes):
        return trouble
    if view.node is None:
        return f'node "{view.name}" not found'
    if view.offer is None:
        return f'node "{view.name}" offers no local storage'
    if len(view.volumes) >= VOLUMES_MAX:
        return f'node "{view.name}" has {VOLUMES_MAX} volumes, which is the limit'
    if wanted > left:
        return f'node "{view.name}" has {_shown(left)} left for volumes, {_shown(wanted)} requested'
    return ""


def _impossible(claim: Obj, classes: Mapping[str, Obj]) -> str:
    """Return why no node can have the volume that a claim asks for, "" where one can."""
    spec = claim["spec"]
    if class_of(claim) not in classes:
        return f'storageclass.storage.k8s.io "{class_of(claim)}" not found'
    if not MODES.issuperset(spec.get("accessModes") or ()):
        return "only ReadWriteOnce and ReadWriteOncePod are possible on the disk of one node"
    if spec.get("volumeMode", "Filesystem") != "Filesystem":
        return "only volumes with a file system are possible, no block devices"
    return "claim Selector is not supported" if spec.get("selector") is not None else ""


def _shown(amount: int) -> str:
    return str(quantity.of(amount, "BinarySI"))


def _refuse(claim: Obj, why: str) -> Iterator[Action]:
    """Say why there is no volume, and let the scheduler choose again."""
    yield _failed(claim, why)
    kept = {k: v for k, v in annotations_of(claim).items() if k != SELECTED_NODE}
    yield Update(PERSISTENTVOLUMECLAIMS, evolve(claim, "metadata.annotations", kept))


def new_volume(claim: Obj, node: Obj, offer: Offer, classes: Mapping[str, Obj]) -> Obj:
    """Return the volume of a claim: a folder on the disk of one node."""
    name, node_name = volume_name(claim), node["metadata"]["name"]
    storage_class = classes[class_of(claim)]
    hostname = labels_of(node).get(HOSTNAME, node_name)
    term = {"matchExpressions": [{"key": HOSTNAME, "operator": "In", "values": [hostname]}]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": name,
            "annotations": {PROVISIONED_BY: PROVISIONER, ON_NODE: node_name},
            "finalizers": [FINALIZER],
        },
        "spec": {
            "accessModes": claim["spec"]["accessModes"],
            "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
            "claimRef": reference(claim),
            "local": {"path": f"{offer.path}/{name}"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
            "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy", "Delete"),
            "storageClassName": storage_class["metadata"]["name"],
            "volumeMode": "Filesystem",
        },
    }


# --- taking away ---


def _plan_removal(view: NodeView) -> Iterator[Action]:
    """Have the data of volumes removed that nobody wants, then let the volumes go."""
    ended = [volume for volume in view.volumes if _is_over(volume)]
    going = {v["metadata"]["name"]: v for v in ended if is_deleted_with_its_data(v)}
    removed = set(view.offer.removed) if view.offer is not None else set()
    if view.node is not None:
        known = unwanted_of(view.node)
        if known != going.keys():
            annotations = {UNWANTED: unwanted_text(going) or None}
            patch = {"metadata": {"annotations": annotations}}
            yield Patch(NODES, Key("", view.name), patch, missing_ok=True)
        removed &= known
    for volume in ended:
        name = volume["metadata"]["name"]
        # What was on a node that is gone is out of reach; what is to be retained is let be.
        if view.node is None or name in removed or name not in going:
            kept = [one for one in volume["metadata"]["finalizers"] if one != FINALIZER]
            yield Update(PERSISTENTVOLUMES, evolve(volume, "metadata.finalizers", kept))
    for volume in view.volumes:
        if is_released(volume) and not is_deleting(volume):
            yield Delete(PERSISTENTVOLUMES, key_of(volume), uid_of(volume))


def is_deleted_with_its_data(volume: Obj) -> bool:
    """Tell whether the data of a volume goes with it."""
    return bool(get(volume, "spec.persistentVolumeReclaimPolicy") == "Delete")


def is_released(volume: Obj) -> bool:
    """Tell whether a volume has lost its claim and is to go with it."""
    return get(volume, "status.phase") == "Released" and is_deleted_with_its_data(volume)


def _is_over(volume: Obj) -> bool:
    """Tell whether a volume is deleted, and only we hold it; one in use is not."""
    mine = FINALIZER in (volume["metadata"].get("finalizers") or ())
    return mine and is_deleting(volume) and get(volume, "status.phase") != "Bound"


# --- telling schedulers ---


def _plan_capacities(view: NodeView) -> Iterator[Action]:
    """Say how much room there is, for each class."""
    wanted = {one["metadata"]["name"]: one for one in capacities(view)}
    for name, obj in wanted.items():
        found = view.capacities.get(name)
        if found is None:
            yield Create(CSISTORAGECAPACITIES, obj)
        elif found.get("capacity") != obj["capacity"]:
            yield Update(CSISTORAGECAPACITIES, {**found, "capacity": obj["capacity"]})
    for name, found in view.capacities.items():
        if name not in wanted:
            yield Delete(CSISTORAGECAPACITIES, key_of(found), uid_of(found))


def capacities(view: NodeView) -> Iterator[dict[str, Any]]:
    """Yield what schedulers are told of a node."""
    node, offer = view.node, view.offer
    if node is None or offer is None:
        return
    step = max(offer.total // STEPS // MI, 1) * MI
    left = room(offer, view.volumes) // step * step
    hostname = labels_of(node).get(HOSTNAME, view.name)
    for name in view.classes:
        metadata = {
            "name": capacity_name(view.name, name),
            "namespace": NAMESPACE,
            "annotations": {ON_NODE: view.name},
        }
        yield {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "CSIStorageCapacity",
            "metadata": metadata,
            "storageClassName": name,
            "nodeTopology": {"matchLabels": {HOSTNAME: hostname}},
            "capacity": _shown(left),
        }


def capacity_name(node: str, class_name: str) -> str:
    """Return the name of the object that tells of one class on one node."""
    return f"local-{hashlib.sha256(f'{node}/{class_name}'.encode()).hexdigest()[:32]}"

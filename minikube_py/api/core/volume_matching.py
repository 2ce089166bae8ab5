"""Which volume suits a claim: the rules that the binder and the scheduler share.

The rules and their order are those of upstream's `component-helpers/storage/volume`; the words of
`mismatch` are those of its `pv_controller.go`.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from minikube_py.api import quantity, selectors
from minikube_py.api.core.persistentvolume import class_of
from minikube_py.api.node_selectors import NodeTest, compile_selector
from minikube_py.api.object import (
    Key,
    Obj,
    annotations_of,
    evolve,
    get,
    is_deleting,
    labels_of,
    uid_of,
)

BIND_COMPLETED: Final = "pv.kubernetes.io/bind-completed"
"""On a claim: it was bound once; without its volume it is lost."""
BOUND_BY_CONTROLLER: Final = "pv.kubernetes.io/bound-by-controller"
"""On a volume or claim: this side was bound by a controller, not by the user."""
PROVISIONED_BY: Final = "pv.kubernetes.io/provisioned-by"
"""On a volume: the name of who made it."""
SELECTED_NODE: Final = "volume.kubernetes.io/selected-node"
"""On a claim: the node on which the scheduler wants the volume."""
STORAGE_PROVISIONER: Final = "volume.kubernetes.io/storage-provisioner"
"""On a claim: the name of who is to make the volume."""
BETA_STORAGE_PROVISIONER: Final = "volume.beta.kubernetes.io/storage-provisioner"
NO_PROVISIONER: Final = "kubernetes.io/no-provisioner"
"""The provisioner of classes whose volumes people make."""
_VAC: Final = "spec.volumeAttributesClassName"


def is_bound_to(volume: Obj, claim: Obj) -> bool:
    """Tell whether a volume is bound, or by its user pre-bound, to this claim."""
    ref, metadata = get(volume, "spec.claimRef"), claim["metadata"]
    if ref is None or ref.get("name") != metadata["name"]:
        return False
    if ref.get("namespace") != metadata.get("namespace", ""):
        return False
    return ref.get("uid", "") in ("", uid_of(claim))


def waits_for_consumer(storage_class: Obj | None) -> bool:
    """Tell whether volumes of the class are bound when a pod that uses them is scheduled."""
    return bool(get(storage_class, "volumeBindingMode") == "WaitForFirstConsumer")


def requested(claim: Obj) -> quantity.Quantity:
    """Return how much storage a claim wants."""
    return quantity.parse(get(claim, "spec.resources.requests.storage", "0"))


def capacity_of(volume: Obj) -> quantity.Quantity:
    """Return how much storage a volume has."""
    return quantity.parse(get(volume, "spec.capacity.storage", "0"))


def has_modes(volume: Obj, claim: Obj) -> bool:
    """Tell whether a volume can be accessed in each way that the claim wants."""
    return set(get(claim, "spec.accessModes", ())) <= set(get(volume, "spec.accessModes", ()))


def reach_of(volume: Obj) -> NodeTest | None:
    """Return the test for nodes from which a volume can be reached; None where from all."""
    wanted = get(volume, "spec.nodeAffinity.required")
    return None if wanted is None else compile_selector(wanted)


def mismatch(volume: Obj, claim: Obj) -> str:
    """Return why a claim cannot have the volume that it names, "" where it can."""
    if is_deleting(volume):
        return f'the volume is marked for deletion "{volume["metadata"]["name"]}"'
    if capacity_of(volume) < requested(claim):
        return "requested PV is too small"
    if class_of(volume) != class_of(claim):
        return "storageClassName does not match"
    if _mode(volume) != _mode(claim):
        return "incompatible volumeMode"
    if get(volume, _VAC, "") != get(claim, _VAC, ""):
        return "volumeAttributesClassName does not match"
    return "" if has_modes(volume, claim) else "incompatible accessMode"


def _mode(obj: Obj) -> Any:
    return get(obj, "spec.volumeMode", "Filesystem")


def best_match(
    claim: Obj,
    volumes: Iterable[Obj],
    *,
    reaches: Callable[[Obj], bool] | None = None,
    taken: Collection[str] = (),
    delayed: bool = False,
) -> Obj | None:
    """Return the volume that is already meant for a claim, else the smallest that suits it.

    `reaches` is given by the scheduler, which wants volumes that can be reached from a node;
    `taken` are the names of those it has chosen for other claims. `delayed`, for the binder, is
    that the scheduler is to choose: then only what is meant for the claim already is returned. The
    binder spares volumes with more access modes than are asked for. Of equal volumes the first by
    name is taken, so that the order of events makes no difference.
    """
    suits = suitability(claim)
    free: list[tuple[int, Rank, Obj]] = []
    for volume in volumes:
        facts = facts_of(volume)
        if facts.name in taken or not suits(facts):
            continue
        reachable = has_modes(volume, claim) if reaches is None else reaches(volume)
        if facts.is_for(claim):
            return volume if reachable else None
        if (reaches is not None or not delayed) and reachable:
            free.append((len(facts.modes) if reaches is None else 0, facts.rank, volume))
    return min(free, key=lambda found: found[:2])[2] if free else None


Rank = tuple[quantity.Quantity, str]


class Facts(NamedTuple):
    """What decides whether a claim may have a volume, nodes left aside."""

    name: str
    size: quantity.Quantity
    class_name: str
    mode: str
    attributes_class: str
    modes: frozenset[str]
    claim: tuple[str, str, str] | None
    """Namespace, name and uid ("" for any) of the claim that it is meant for."""
    labels: Mapping[str, str]
    is_free: bool
    is_going: bool

    @property
    def rank(self) -> Rank:
        """What volumes that suit alike are ordered by; the least is taken."""
        return self.size, self.name

    def is_for(self, claim: Obj) -> bool:
        """Tell whether the volume is bound, or by its user pre-bound, to a claim."""
        metadata = claim["metadata"]
        if self.claim is None or self.claim[:2] != (metadata.get("namespace"), metadata["name"]):
            return False
        return self.claim[2] in ("", uid_of(claim))


def facts_of(volume: Obj) -> Facts:
    """Return the facts of a volume."""
    ref = get(volume, "spec.claimRef")
    return Facts(
        volume["metadata"]["name"],
        capacity_of(volume),
        class_of(volume),
        _mode(volume),
        get(volume, _VAC, ""),
        frozenset(get(volume, "spec.accessModes", ())),
        ref and (ref.get("namespace"), ref.get("name"), ref.get("uid", "")),
        labels_of(volume),
        get(volume, "status.phase") == "Available",
        is_deleting(volume),
    )


def suitability(claim: Obj) -> Callable[[Facts], bool]:
    """Return the test whether a claim may have a volume, as far as no node is concerned.

    A volume that is meant for the claim has to pass less than one that belongs to nobody.
    """
    size, mode, vac = requested(claim), _mode(claim), get(claim, _VAC, "")
    name, modes = class_of(claim), frozenset(get(claim, "spec.accessModes", ()))
    asked = get(claim, "spec.selector")
    selector = None if asked is None else selectors.from_object(asked)

    def is_free(volume: Facts) -> bool:
        if not volume.is_free or volume.class_name != name:
            return False
        if selector is not None and not selector.matches(volume.labels):
            return False
        return modes <= volume.modes

    def suits(volume: Facts) -> bool:
        meant = volume.claim is not None
        if meant and not volume.is_for(claim):
            return False
        if volume.is_going or volume.mode != mode or volume.attributes_class != vac:
            return False
        return not volume.size < size and (meant or is_free(volume))

    return suits


def is_bound(claim: Obj) -> bool:
    """Tell whether the binding of a claim is complete on its own side."""
    return bool(get(claim, "spec.volumeName")) and BIND_COMPLETED in annotations_of(claim)


def bound_volume(volume: Obj, claim: Obj) -> Obj:
    """Return the volume with the claim in its spec; the same where it is there already."""
    annotations, new = annotations_of(volume), volume
    if get(volume, "spec.claimRef.uid") != uid_of(claim) or not is_bound_to(volume, claim):
        new = evolve(new, "spec.claimRef", _reference(claim))
    if not is_bound_to(volume, claim) and BOUND_BY_CONTROLLER not in annotations:
        new = evolve(new, "metadata.annotations", {**annotations, BOUND_BY_CONTROLLER: "yes"})
    return new


def _reference(claim: Obj) -> dict[str, Any]:
    metadata = claim["metadata"]
    found = {
        "kind": "PersistentVolumeClaim",
        "namespace": metadata.get("namespace"),
        "name": metadata["name"],
        "uid": metadata.get("uid"),
        "apiVersion": "v1",
        "resourceVersion": metadata.get("resourceVersion"),
    }
    return {name: value for name, value in found.items() if value}


def claims_of(pod: Obj) -> Iterator[tuple[Obj, Key]]:
    """Yield the volumes of a pod that have claims, and where those are."""
    metadata = pod["metadata"]
    for volume in get(pod, "spec.volumes", ()):
        name = get(volume, "persistentVolumeClaim.claimName")
        if volume.get("ephemeral") is not None:
            name = f"{metadata['name']}-{volume['name']}"
        if name:
            yield volume, Key(metadata.get("namespace", ""), name)

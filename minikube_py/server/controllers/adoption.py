"""Which objects belong to a controller: its own that still match, and orphans that do.

An object that a controller owns and no longer matches its selector is released; one that matches
and has no controller is adopted. Both are patches of ownerReferences that fail where the object
has changed meanwhile.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from minikube_py.api.item import Item
from minikube_py.api.object import (
    Key,
    Obj,
    controller_of,
    evolve,
    get,
    is_deleting,
    key_of,
    owner_reference,
    owners_of,
    uid_of,
)
from minikube_py.api.resource import Resource
from minikube_py.api.selectors import LabelSelector
from minikube_py.client.actions import Action, Patch
from minikube_py.client.controller import Context, KeysOf
from minikube_py.client.informer import Informer
from minikube_py.server.controllers.pods import ORPHANS, orphans


@dataclass(frozen=True)
class Claim:
    """What belongs to an owner, and what has to be written so that everybody can see it."""

    owned: Sequence[Item]
    actions: Sequence[Action]


def claim(
    owner: Obj,
    selector: LabelSelector,
    resource: Resource,
    lister: Informer,
    finalizer: str = "",
) -> Claim:
    """Decide what belongs to the owner; an owner that is being deleted claims nothing new.

    What is adopted gets the finalizer.
    """
    uid = uid_of(owner)
    owned: list[Item] = []
    actions: list[Action] = []
    for item in lister.items_owned_by(uid):
        if item.controller != uid:
            continue
        if selector.matches(item.labels):
            owned.append(item)
        elif not is_deleting(owner):
            actions.append(release(resource, item.obj, uid))
    if not is_deleting(owner):
        actions.extend(
            adopt(resource, item.obj, owner, finalizer)
            for item in lister.indexed(ORPHANS, owner["metadata"]["namespace"])
            if selector.matches(item.labels) and not item.deleting
        )
    return Claim(owned, actions)


def adopt(resource: Resource, obj: Obj, owner: Obj, finalizer: str = "") -> Patch:
    """Make the owner the controller of the object, and give it a finalizer where one is named."""
    patch = _patch(resource, obj, [*owners_of(obj), owner_reference(owner)])
    there: Sequence[str] = obj["metadata"].get("finalizers") or ()
    if not finalizer or finalizer in there:
        return patch
    return replace(patch, patch=evolve(patch.patch, "metadata.finalizers", [*there, finalizer]))


def release(resource: Resource, obj: Obj, uid: str) -> Patch:
    """Take an owner out of the object's ownerReferences."""
    return _patch(resource, obj, [one for one in owners_of(obj) if one.get("uid") != uid])


def _patch(resource: Resource, obj: Obj, owners: Sequence[Obj]) -> Patch:
    metadata = {
        "uid": uid_of(obj),
        "resourceVersion": obj["metadata"].get("resourceVersion"),
        "ownerReferences": owners or None,
    }
    return Patch(resource, key_of(obj), {"metadata": metadata})


def index_orphans(*resources: Resource) -> Callable[[Context], None]:
    """Return the start hook that makes orphans of these kinds findable."""

    def start(context: Context) -> None:
        for resource in resources:
            context.lister(resource).add_index(ORPHANS, orphans)

    return start


def adopters(owners: Resource, selector_of: Callable[[Obj], LabelSelector]) -> KeysOf:
    """Return the function that finds who would adopt an orphan that came or changed its labels."""

    def keys(old: Item | None, new: Item | None, context: Context) -> Iterator[Key]:
        if new is None or new.deleting or not orphans(new):
            return
        if old is not None and old.labels == new.labels and old.owners == new.owners:
            return
        yield from _matching(context.lister(owners).items(new.key.namespace), new, selector_of)

    return keys


def _matching(
    candidates: Iterable[Item], orphan: Item, selector_of: Callable[[Obj], LabelSelector]
) -> Iterator[Key]:
    for candidate in candidates:
        if selector_of(candidate.obj).matches(orphan.labels):
            yield candidate.key


def is_controlled_by(obj: Obj, owner: Obj) -> bool:
    """Tell whether the object's controller is that owner."""
    return bool(get(controller_of(obj), "uid") == uid_of(owner))

"""Objects whose owners are gone go too; what an owner's deletion means for its dependents.

The graph is the informers' own index of uids and owner uids; nothing is kept beside it. An object
is looked at when an owner of it is not known, when an owner goes or waits for its dependents
(foreground deletion), and when it is being deleted with a finalizer of ours. An owner that no
cache knows is asked for at the server before anybody is deleted for it.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from minikube_py.api.errors import NotFoundError
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, owners_of, uid_of
from minikube_py.api.resource import Resource
from minikube_py.client.controller import Context, Controller
from minikube_py.client.everything import Found

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"
ABSENT_MAX = 500
"""Owners known to be gone that are remembered, as upstream does."""


class Node(NamedTuple):
    """One object in the graph."""

    resource: Resource
    key: Key
    uid: str

    def __str__(self) -> str:
        return f"{self.resource.group_resource} {self.key}"


@dataclass(frozen=True)
class Owners:
    """The ownerReferences of one object by what became of the owner."""

    solid: Sequence[Obj]
    """Exists, or cannot be known."""
    dangling: Sequence[Obj]
    """Is gone."""
    waiting: Sequence[Obj]
    """Is being deleted in the foreground and waits for its dependents."""


async def reconcile(node: Node, ctx: Context) -> None:
    """Look at one object."""
    found = ctx.everything.with_uid(node.uid)
    if found is None:
        return
    item = found.item
    if item.deleting:
        if ORPHAN in item.finalizers:
            await orphan_dependents(found, ctx)
        elif FOREGROUND in item.finalizers:
            await finish_foreground(found, ctx)
    elif item.owners:
        await follow_owners(found, ctx)


async def follow_owners(found: Found, ctx: Context) -> None:
    """Delete the object where no owner holds it; drop references to owners that are gone."""
    obj = found.item.obj
    owners = await classify(obj, ctx)
    if owners.solid:
        if owners.dangling or owners.waiting:
            lost = {ref["uid"] for ref in (*owners.dangling, *owners.waiting)}
            await drop_owners(found, lost, ctx)
    elif owners.waiting and any(ctx.everything.owned_by(found.item.uid)):
        await break_cycle(found, ctx)
        await delete(found, "Foreground", ctx)
    elif owners.waiting or owners.dangling:
        await delete(found, policy_of(found.item), ctx)


async def classify(obj: Obj, ctx: Context) -> Owners:
    """Sort the object's owners by what became of them."""
    solid: list[Obj] = []
    dangling: list[Obj] = []
    waiting: list[Obj] = []
    for ref in owners_of(obj):
        owner = ctx.everything.with_uid(ref["uid"])
        if owner is not None and not _can_own(owner, obj):
            report_namespace(ref, obj, ctx)
        if owner is None or not _can_own(owner, obj):
            (dangling if await is_absent(ref, obj, ctx) else solid).append(ref)
        elif is_waiting(owner.item):
            waiting.append(ref)
        else:
            solid.append(ref)
    return Owners(solid, dangling, waiting)


def _can_own(owner: Found, obj: Obj) -> bool:
    """An owner is cluster-scoped or in the namespace of what it owns."""
    return owner.item.key.namespace in ("", obj["metadata"].get("namespace", ""))


async def is_absent(ref: Obj, dependent: Obj, ctx: Context) -> bool:
    """Ask the server whether an owner exists; remember the ones that do not."""
    absent: OrderedDict[tuple[str, str], None] = ctx.memory.setdefault("absent", OrderedDict())
    namespace = dependent["metadata"].get("namespace", "")
    known = (ref["uid"], namespace)
    if known in absent:
        return True
    resource = ctx.everything.scheme.by_kind(ref["apiVersion"], ref["kind"])
    if resource is None:
        return False  # a kind that is not served may come back with its objects
    if resource.namespaced and not namespace:
        report_namespace(ref, dependent, ctx)
        return False
    try:
        owner = await ctx.client.get(
            resource, ref["name"], namespace if resource.namespaced else ""
        )
    except NotFoundError:
        pass
    else:
        if uid_of(owner) == ref["uid"]:
            return False
    absent[known] = None
    if len(absent) > ABSENT_MAX:
        absent.popitem(last=False)
    return True


def report_namespace(ref: Obj, dependent: Obj, ctx: Context) -> None:
    """Tell that an owner is not where the dependent may have one: in its namespace, or in none."""
    where = dependent["metadata"].get("namespace", "")
    text = (
        f"ownerRef [{ref['apiVersion']}/{ref['kind']}, namespace: {where}, name: {ref['name']}, "
        f'uid: {ref["uid"]}] does not exist in namespace "{where}"'
    )
    ctx.events.record(dependent, "Warning", "OwnerRefInvalidNamespace", text)


def policy_of(item: Item) -> str:
    """Return how the object's own dependents are to be deleted."""
    if ORPHAN in item.finalizers:
        return "Orphan"
    return "Foreground" if FOREGROUND in item.finalizers else "Background"


async def delete(found: Found, policy: str, ctx: Context) -> None:
    """Delete the object if it is still the one that was looked at."""
    item = found.item
    preconditions = {"uid": item.uid, "resourceVersion": str(item.revision)}
    options = {"propagationPolicy": policy, "preconditions": preconditions}
    try:
        await ctx.client.delete(found.resource, item.key.name, item.key.namespace, options=options)
    except NotFoundError:
        return


async def break_cycle(found: Found, ctx: Context) -> None:
    """Let an owner go that waits for this object while this object would wait for it.

    The object's dependents include one that is being deleted in the foreground itself: a circle.
    """
    dependents = ctx.everything.owned_by(found.item.uid)
    if not any(is_waiting(dependent.item) for dependent in dependents):
        return
    obj = found.item.obj
    refs = [{**ref, "blockOwnerDeletion": False} for ref in owners_of(obj)]
    if refs != list(owners_of(obj)):
        await patch_metadata(found, {"ownerReferences": refs}, ctx)


async def drop_owners(found: Found, uids: set[str], ctx: Context) -> None:
    """Take owners out of the object's ownerReferences."""
    kept = [ref for ref in owners_of(found.item.obj) if ref["uid"] not in uids]
    await patch_metadata(found, {"ownerReferences": kept or None}, ctx)


async def patch_metadata(found: Found, metadata: Obj, ctx: Context) -> None:
    """Change the object's metadata if it has not changed meanwhile."""
    item = found.item
    guard = {"uid": item.uid, "resourceVersion": str(item.revision)}
    try:
        await ctx.client.patch(
            found.resource, item.key.name, {"metadata": {**guard, **metadata}}, item.key.namespace
        )
    except NotFoundError:
        return


async def orphan_dependents(found: Found, ctx: Context) -> None:
    """Make the dependents of an object that goes ownerless, then let it go."""
    for dependent in ctx.everything.owned_by(found.item.uid):
        await drop_owners(dependent, {found.item.uid}, ctx)
    await remove_finalizer(found, ORPHAN, ctx)


async def finish_foreground(found: Found, ctx: Context) -> None:
    """Let an object go that waits for its dependents, where none holds it any more.

    The dependents are not told here: each of them is looked at because its owner waits.
    """
    for dependent in ctx.everything.owned_by(found.item.uid):
        if blocks(dependent.item.obj, found.item.uid):
            return
    await remove_finalizer(found, FOREGROUND, ctx)


def blocks(dependent: Obj, uid: str) -> bool:
    """Tell whether the dependent holds up the deletion of that owner."""
    return any(r.get("blockOwnerDeletion") for r in owners_of(dependent) if r["uid"] == uid)


async def remove_finalizer(found: Found, name: str, ctx: Context) -> None:
    """Take a finalizer off the object."""
    left = [finalizer for finalizer in found.item.finalizers if finalizer != name]
    await patch_metadata(found, {"finalizers": left or None}, ctx)


def is_waiting(item: Item) -> bool:
    """Tell whether the object is being deleted and waits for its dependents."""
    return item.deleting and FOREGROUND in item.finalizers


def to_look_at(
    resource: Resource, old: Item | None, new: Item | None, ctx: Context
) -> Iterator[Node]:
    """Return which objects a change concerns."""
    if new is not None:
        if new.deleting:
            if ORPHAN in new.finalizers or FOREGROUND in new.finalizers:
                yield Node(resource, new.key, new.uid)
        elif new.owners and needs_look(new, ctx):
            yield Node(resource, new.key, new.uid)
        if is_waiting(new) and (old is None or not is_waiting(old)):
            yield from dependents_of(new.uid, ctx)
    elif old is not None:
        yield from dependents_of(old.uid, ctx)
    if old is not None:
        yield from waiting_owners(old, ctx)


def needs_look(item: Item, ctx: Context) -> bool:
    """Tell whether an owner of the object is not known or waits for it."""
    for uid in item.owners:
        owner = ctx.everything.with_uid(uid)
        if owner is None or is_waiting(owner.item):
            return True
        if owner.item.key.namespace not in ("", item.key.namespace):
            return True
    return False


def dependents_of(uid: str, ctx: Context) -> Iterator[Node]:
    """Yield the objects that name the uid as owner."""
    for resource, item in ctx.everything.owned_by(uid):
        yield Node(resource, item.key, item.uid)


def waiting_owners(old: Item, ctx: Context) -> Iterator[Node]:
    """Yield the owners that wait for an object that has changed or gone."""
    for uid in old.owners:
        owner = ctx.everything.with_uid(uid)
        if owner is not None and is_waiting(owner.item):
            yield Node(owner.resource, owner.item.key, uid)


CONTROLLER = Controller(
    name="generic-garbage-collector",
    anything=to_look_at,
    reconcile=reconcile,
    workers=10,
)

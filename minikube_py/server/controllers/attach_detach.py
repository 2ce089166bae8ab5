"""Attaches volumes to the nodes whose pods need them: VolumeAttachments, for drivers to carry out.

A look at a node covers all its volumes. Attachments that somebody else made, under names of their
own, are nobody's business here.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from minikube_py.api.core import NODES, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS
from minikube_py.api.core.volume_matching import claims_of, is_bound
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, get, has_condition, is_deleting, uid_of
from minikube_py.api.storage import CSIDRIVERS, VOLUMEATTACHMENTS
from minikube_py.api.taints import taints_of
from minikube_py.client.controller import Also, Context, Controller
from minikube_py.server.controllers.attachments import (
    NodeView,
    Wanted,
    attachment_name,
    plan,
    seconds_to_force,
)
from minikube_py.server.controllers.pods import NODE, index_nodes, is_finished

USERS = "users-of-claims"
"""Index of pods that have a node by the claims that they use."""
OF_NODE, OF_VOLUME = "node", "volume"
"""Indexes of attachments."""


async def reconcile(name: str, ctx: Context) -> float | None:
    """See to the volumes of one node."""
    view = observe(name, ctx)
    await ctx.apply(plan(view))
    return seconds_to_force(view)


def observe(name: str, ctx: Context) -> NodeView:
    """Return what the caches hold of a node's volumes."""
    wanted = wanted_on(name, ctx)
    attached = attached_to(name, ctx)
    volumes = [one.volume for key, one in wanted.items() if key not in attached]
    return NodeView(
        name=name,
        node=ctx.lister(NODES).get(Key("", name)),
        wanted=wanted,
        attached=attached,
        elsewhere=dict(_elsewhere(name, volumes, ctx)),
        unwanted_seconds=_unwanted_seconds(name, attached.keys() - wanted.keys(), ctx),
    )


def wanted_on(node: str, ctx: Context) -> dict[str, Wanted]:
    """Return the volumes that pods of a node need to have attached."""
    found: dict[str, tuple[Obj, list[Obj]]] = {}
    for item in ctx.lister(PODS).indexed(NODE, node):
        if not _may_have_claims(item) or is_over(item.obj):
            continue
        for _, key in claims_of(item.obj):
            volume = volume_of(key, ctx)
            if volume is not None and is_attachable(volume, ctx):
                name = attachment_name(volume, node)
                found.setdefault(name, (volume, []))[1].append(item.obj)
    return {name: Wanted(volume, pods) for name, (volume, pods) in found.items()}


def is_over(pod: Obj) -> bool:
    """Tell whether nothing of a pod runs any more."""
    if is_finished(pod):
        return True
    statuses = get(pod, "status.containerStatuses", ())
    return is_deleting(pod) and not any(get(one, "state.running") for one in statuses)


def volume_of(key: Key, ctx: Context) -> Obj | None:
    """Return the volume of a claim that is bound."""
    claim = ctx.lister(PERSISTENTVOLUMECLAIMS).get(key)
    if claim is None or not is_bound(claim):
        return None
    volume = ctx.lister(PERSISTENTVOLUMES).get(Key("", claim["spec"]["volumeName"]))
    return volume if get(volume, "spec.claimRef.uid") == uid_of(claim) else None


def is_attachable(volume: Obj, ctx: Context) -> bool:
    """Tell whether a volume has a driver that wants it attached; all do that say nothing."""
    name = get(volume, "spec.csi.driver")
    if not name:
        return False
    driver = ctx.lister(CSIDRIVERS).get(Key("", name))
    return bool(get(driver, "spec.attachRequired", default=True))


def attached_to(node: str, ctx: Context) -> dict[str, tuple[Obj, Obj]]:
    """Return the attachments of a node that were made here, with their volumes."""
    found = {}
    for item in ctx.lister(VOLUMEATTACHMENTS).indexed(OF_NODE, node):
        name = get(item.obj, "spec.source.persistentVolumeName", "")
        volume = ctx.lister(PERSISTENTVOLUMES).get(Key("", name))
        if volume is None or get(volume, "spec.csi") is None:
            continue
        if attachment_name(volume, node) == item.key.name:
            found[item.key.name] = (item.obj, volume)
    return found


def _elsewhere(
    node: str, volumes: Iterable[Obj], ctx: Context
) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield those of the volumes that other nodes have, with the pods that use them there."""
    for volume in volumes:
        name = volume["metadata"]["name"]
        others = [
            get(item.obj, "spec.nodeName")
            for item in ctx.lister(VOLUMEATTACHMENTS).indexed(OF_VOLUME, name)
        ]
        if any(other != node for other in others):
            users = _users(volume, ctx)
            yield (
                name,
                sorted(item.key.name for item in users if item.fields["spec.nodeName"] != node),
            )


def _users(volume: Obj, ctx: Context) -> Sequence[Item]:
    ref = get(volume, "spec.claimRef") or {}
    key = Key(ref.get("namespace", ""), ref.get("name", ""))
    return ctx.lister(PODS).indexed(USERS, str(key))


def _unwanted_seconds(node: str, names: Iterable[str], ctx: Context) -> Mapping[str, float]:
    """Return for how long attachments have been unwanted; a restart counts anew."""
    now = ctx.clock.monotonic()
    before: Mapping[str, float] = ctx.memory.get(node, {})
    since = {name: before.get(name, now) for name in names}
    ctx.memory[node] = since
    return {name: now - then for name, then in since.items()}


# --- whom a change concerns ---


def _may_have_claims(item: Item) -> bool:
    return b'"persistentVolumeClaim"' in item.data or b'"ephemeral"' in item.data


def of_pod(old: Item | None, new: Item | None, _: Context) -> Iterator[str]:
    """Look at the node of a pod with claims."""
    item = new or old
    if item is not None and _may_have_claims(item) and item.fields.get("spec.nodeName"):
        yield item.fields["spec.nodeName"]


def of_claim(_old: Item | None, new: Item | None, ctx: Context) -> Iterator[str]:
    """Look at the nodes of the pods that use a claim."""
    if new is not None:
        for item in ctx.lister(PODS).indexed(USERS, str(new.key)):
            yield item.fields["spec.nodeName"]


def of_volume(_old: Item | None, new: Item | None, ctx: Context) -> Iterator[str]:
    """Look at the nodes of the pods that use a volume."""
    if new is not None and b'"csi"' in new.data:
        for item in _users(new.obj, ctx):
            yield item.fields["spec.nodeName"]


def of_attachment(old: Item | None, new: Item | None, ctx: Context) -> Iterator[str]:
    """Look at the node of an attachment, and where it is gone at those that wait for the volume."""
    item = new or old
    if item is None:
        return
    yield get(item.obj, "spec.nodeName", "")
    name = get(item.obj, "spec.source.persistentVolumeName", "")
    volume = ctx.lister(PERSISTENTVOLUMES).get(Key("", name)) if new is None else None
    if volume is not None:
        for user in _users(volume, ctx):
            yield user.fields["spec.nodeName"]


def of_node(old: Item | None, new: Item | None, ctx: Context) -> Iterator[str]:
    """Look at a node that has something else to say about its volumes."""
    item = new or old
    if item is None or not ctx.lister(VOLUMEATTACHMENTS).index_count(OF_NODE, item.key.name):
        return
    if _said(old) != _said(new):
        yield item.key.name


def _said(item: Item | None) -> object:
    if item is None:
        return None
    node = item.obj
    status = [get(node, f"status.{name}") for name in ("volumesInUse", "volumesAttached")]
    return status, taints_of(node), has_condition(node, "Ready")


def index(ctx: Context) -> None:
    """Make findable who uses what where."""
    index_nodes(ctx)
    ctx.lister(PODS).add_index(USERS, _claims)
    attachments = ctx.lister(VOLUMEATTACHMENTS)
    attachments.add_index(OF_NODE, lambda item: (get(item.obj, "spec.nodeName", ""),))
    attachments.add_index(
        OF_VOLUME, lambda item: (get(item.obj, "spec.source.persistentVolumeName", ""),)
    )


def _claims(item: Item) -> Iterator[str]:
    if item.fields.get("spec.nodeName") and _may_have_claims(item):
        yield from (str(key) for _, key in claims_of(item.obj))


CONTROLLER = Controller(
    name="attachdetach-controller",
    also=(
        Also(PODS, of_pod),
        Also(PERSISTENTVOLUMECLAIMS, of_claim),
        Also(PERSISTENTVOLUMES, of_volume),
        Also(VOLUMEATTACHMENTS, of_attachment),
        Also(NODES, of_node),
    ),
    reads=(CSIDRIVERS,),
    reconcile=reconcile,
    workers=1,  # two nodes that are looked at at once would both get a volume that is for one
    start=index,
)

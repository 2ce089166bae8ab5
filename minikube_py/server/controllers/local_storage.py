"""The provisioner of local volumes: folders on the disks of the nodes that the scheduler chose.

One look at a node covers all its volumes, and no two looks at one node run at a time, so that no
room is promised twice. The node itself makes the folder when the first pod mounts it, and removes
it when this loop says that nobody wants it; see api/local_storage.py for how they talk.
"""

from collections.abc import Iterator

from minikube_py.api.core import NODES, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES
from minikube_py.api.core.volume_matching import (
    PROVISIONED_BY,
    SELECTED_NODE,
    STORAGE_PROVISIONER,
)
from minikube_py.api.item import Item
from minikube_py.api.local_storage import OFFER, ON_NODE, PROVISIONER, UNWANTED, offer_of
from minikube_py.api.object import Key, Obj, annotations_of, get, labels_of
from minikube_py.api.storage import CSISTORAGECAPACITIES, STORAGECLASSES
from minikube_py.client.controller import Also, Context, Controller
from minikube_py.server.controllers.local_volumes import (
    HOSTNAME,
    NodeView,
    plan,
    plan_placing,
    room,
)

NODE = "local-volumes-of-node"
NOWHERE = ""
"""The key of claims without a node."""
_PROVISIONER = PROVISIONER.encode()


async def reconcile(name: str, ctx: Context) -> None:
    """See to the volumes of one node, or to the claims that nobody has chosen a node for."""
    if name == NOWHERE:
        claims = [item.obj for item in ctx.lister(PERSISTENTVOLUMECLAIMS).indexed(NODE, NOWHERE)]
        if claims:
            await ctx.apply(plan_placing(claims, our_classes(ctx), rooms(ctx)))
        return
    await ctx.apply(plan(observe(name, ctx)))


def our_classes(ctx: Context) -> dict[str, Obj]:
    """Return the classes whose volumes are made here, by name."""
    classes = (item.obj for item in ctx.lister(STORAGECLASSES).items())
    return {c["metadata"]["name"]: c for c in classes if c["provisioner"] == PROVISIONER}


def rooms(ctx: Context) -> dict[str, int]:
    """Return how many bytes each node can still promise."""
    found = {}
    for item in ctx.lister(NODES).items():
        offer = offer_of(item.obj)
        if offer is not None:
            volumes = ctx.lister(PERSISTENTVOLUMES).indexed(NODE, item.key.name)
            found[item.key.name] = room(offer, [volume.obj for volume in volumes])
    return found


def observe(name: str, ctx: Context) -> NodeView:
    """Return what the caches hold of one node's volumes."""
    return NodeView(
        name=name,
        node=ctx.lister(NODES).get(Key("", name)),
        claims=[item.obj for item in ctx.lister(PERSISTENTVOLUMECLAIMS).indexed(NODE, name)],
        volumes=[item.obj for item in ctx.lister(PERSISTENTVOLUMES).indexed(NODE, name)],
        classes=our_classes(ctx),
        capacities={
            item.key.name: item.obj for item in ctx.lister(CSISTORAGECAPACITIES).indexed(NODE, name)
        },
    )


def node_of_claim(item: Item) -> tuple[str, ...]:
    """Return the node that a claim waits for a volume on, NOWHERE where it is to be chosen."""
    if _PROVISIONER not in item.data:
        return ()
    annotations = annotations_of(item.obj)
    ours = annotations.get(STORAGE_PROVISIONER) == PROVISIONER
    node = annotations.get(SELECTED_NODE, NOWHERE)
    return (node,) if ours and not get(item.obj, "spec.volumeName") else ()


def node_of_volume(item: Item) -> tuple[str, ...]:
    """Return the node that has a volume of ours."""
    if _PROVISIONER not in item.data:
        return ()
    annotations = annotations_of(item.obj)
    ours = annotations.get(PROVISIONED_BY) == PROVISIONER
    return (annotations.get(ON_NODE, ""),) if ours else ()


def node_of_capacity(item: Item) -> tuple[str, ...]:
    """Return the node that a capacity of ours tells of."""
    node = annotations_of(item.obj).get(ON_NODE)
    return (node,) if node else ()


def of_claim(old: Item | None, new: Item | None, _: Context) -> Iterator[str]:
    """Look at the node that a claim waits for."""
    del old
    yield from () if new is None else node_of_claim(new)


def of_volume(old: Item | None, new: Item | None, _: Context) -> Iterator[str]:
    """Look at the node of a volume that came, changed or went."""
    item = new or old
    yield from () if item is None else node_of_volume(item)


def of_capacity(old: Item | None, new: Item | None, _: Context) -> Iterator[str]:
    """Look at the node of a capacity that somebody else changed."""
    item = new or old
    yield from () if item is None else node_of_capacity(item)


def of_node(old: Item | None, new: Item | None, _: Context) -> Iterator[str]:
    """Look at a node that comes, goes, or has something to say about its volumes."""
    item = new or old
    if item is not None and _said(old) != _said(new):
        yield item.key.name
        yield NOWHERE


def _said(item: Item | None) -> object:
    if item is None:
        return None
    annotations = annotations_of(item.obj)
    return (
        annotations.get(OFFER),
        annotations.get(UNWANTED),
        labels_of(item.obj).get(HOSTNAME),
    )


def of_class(old: Item | None, new: Item | None, ctx: Context) -> Iterator[str]:
    """Look at all nodes where a class of ours comes or goes."""
    item = new or old
    if item is None or (old is not None and new is not None):
        return
    if item.obj["provisioner"] == PROVISIONER:
        yield from (node.key.name for node in ctx.lister(NODES).items())


def index(ctx: Context) -> None:
    """Make findable what belongs to a node."""
    ctx.lister(PERSISTENTVOLUMECLAIMS).add_index(NODE, node_of_claim)
    ctx.lister(PERSISTENTVOLUMES).add_index(NODE, node_of_volume)
    ctx.lister(CSISTORAGECAPACITIES).add_index(NODE, node_of_capacity)


CONTROLLER = Controller(
    name="local-path-provisioner",
    also=(
        Also(NODES, of_node),
        Also(PERSISTENTVOLUMECLAIMS, of_claim),
        Also(PERSISTENTVOLUMES, of_volume),
        Also(STORAGECLASSES, of_class),
        Also(CSISTORAGECAPACITIES, of_capacity),
    ),
    reconcile=reconcile,
    start=index,
)

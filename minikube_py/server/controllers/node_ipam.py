"""Every node has a part of the cluster's network for its pods (upstream's range allocator).

One worker looks at one node at a time and waits for its own write, so no part is given twice.
"""

import ipaddress
from collections.abc import Iterable, Iterator

from minikube_py.api.core import NODES
from minikube_py.api.object import Key, Obj, get, is_deleting
from minikube_py.client.actions import Action, Emit, Patch
from minikube_py.client.controller import Context, Controller

NODE_MASK_V4 = 24
"""Room for 254 pods; upstream's `--node-cidr-mask-size`."""
NODE_MASK_V6 = 64


async def reconcile(key: Key, ctx: Context) -> None:
    """See to one node."""
    nodes = ctx.lister(NODES)
    node = nodes.get(key)
    if node is None or is_deleting(node) or get(node, "spec.podCIDR"):
        return
    taken = [get(item.obj, "spec.podCIDRs", ()) for item in nodes.items()]
    await ctx.apply(
        plan(node, (cidr for cidrs in taken for cidr in cidrs), ctx.settings.cluster_cidr)
    )


def plan(node: Obj, taken: Iterable[str], cluster_cidr: str) -> Iterator[Action]:
    """Give the node the first part that nobody has, or say that there is none."""
    if get(node, "spec.podCIDR"):
        return
    free = next(parts(cluster_cidr, frozenset(taken)), None)
    name = node["metadata"]["name"]
    if free is None:
        yield Emit(
            node, "Normal", "CIDRNotAvailable", f"Node {name} status is now: CIDRNotAvailable"
        )
    else:
        yield Patch(NODES, Key("", name), {"spec": {"podCIDR": free, "podCIDRs": [free]}})


def parts(cluster_cidr: str, taken: frozenset[str]) -> Iterator[str]:
    """Yield the parts of the cluster's network that are not taken, in order."""
    network = ipaddress.ip_network(cluster_cidr)
    mask = max(NODE_MASK_V4 if network.version == 4 else NODE_MASK_V6, network.prefixlen)
    for part in network.subnets(new_prefix=mask):
        if str(part) not in taken:
            yield str(part)


CONTROLLER = Controller(
    name="node-ipam-controller",
    user="node-controller",
    watches=NODES,
    reconcile=reconcile,
    workers=1,
)

"""Every node has a part of each of the cluster's networks for its pods (upstream: range allocator).

Several workers give parts at the same time: what one is about to give is reserved until the cache
shows it, so no part is given twice.
"""

import ipaddress
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

from minikube_py.api.core import NODES
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, get, is_deleting
from minikube_py.client.actions import Action, Emit, Patch
from minikube_py.client.controller import Also, Context, Controller
from minikube_py.client.informer import Informer

NODE_MASK_V4 = 24
"""Room for 254 pods; upstream's `--node-cidr-mask-size`."""
NODE_MASK_V6 = 64
PART = "pod-cidr"
"""Index of nodes by their parts: with thousands of nodes nobody can look at all for each."""
NONE = ""
"""In that index: nodes without a part."""
WAKE_MAX = 4
RESERVED = "reserved"
NEXT = "next"
"""Under what is remembered where to look for the next part; upstream goes round as well."""


async def reconcile(key: Key, ctx: Context) -> None:
    """See to one node."""
    nodes = ctx.lister(NODES)
    node = nodes.get(key)
    if node is None or is_deleting(node) or get(node, "spec.podCIDR"):
        return
    reserved: set[str] = ctx.memory.setdefault(RESERVED, set())
    found = free_parts(ctx.settings.cluster_cidr, Taken(nodes, reserved), ctx.memory)
    parts = [part for _, part in found.values()]
    reserved.update(parts)
    try:
        await ctx.apply(plan(node, parts))
    finally:
        reserved.difference_update(parts)
    for network, (number, _) in found.items():
        ctx.memory[NEXT, network] = number + 1


def free_parts(
    cluster_cidr: str, taken: Container[str], memory: Mapping[Any, int]
) -> Mapping[str, tuple[int, str]]:
    """Return number and part of each of the cluster's networks; none where one has none left."""
    parts = {}
    for network in cluster_cidr.split(","):
        found = free_part(network, taken, memory.get((NEXT, network), 0))
        if found is None:
            return {}
        parts[network] = found
    return parts


class Taken:
    """The parts that nodes have, or are about to get."""

    def __init__(self, nodes: Informer, reserved: Container[str]) -> None:
        self._nodes = nodes
        self._reserved = reserved

    def __contains__(self, part: object) -> bool:
        return part in self._reserved or self._nodes.index_count(PART, str(part)) > 0


def plan(node: Obj, free: Sequence[str]) -> Iterator[Action]:
    """Give the node parts that nobody has, or say that there are none."""
    name = node["metadata"]["name"]
    if not free:
        yield Emit(
            node, "Normal", "CIDRNotAvailable", f"Node {name} status is now: CIDRNotAvailable"
        )
    else:
        yield Patch(NODES, Key("", name), {"spec": {"podCIDR": free[0], "podCIDRs": list(free)}})


def free_part(cidr: str, taken: Container[str], start: int) -> tuple[int, str] | None:
    """Return the first part of the network that is not taken, and its number, from a number on."""
    network = ipaddress.ip_network(cidr)
    mask = max(NODE_MASK_V4 if network.version == 4 else NODE_MASK_V6, network.prefixlen)
    count, size = 1 << (mask - network.prefixlen), 1 << (network.max_prefixlen - mask)
    for number in range(start, start + count):
        part = f"{network.network_address + number % count * size}/{mask}"
        if part not in taken:
            return number % count, part
    return None


def _parts(item: Item) -> Iterable[str]:
    return tuple(get(item.obj, "spec.podCIDRs") or (NONE,))


def of_gone(_old: Item | None, new: Item | None, ctx: Context) -> Iterable[Key]:
    """Look at nodes that have no part when one is free again; a few, as one part is for one."""
    waiting = ctx.lister(NODES).indexed(PART, NONE) if new is None else ()
    return [item.key for item in waiting[:WAKE_MAX]]


def _start(ctx: Context) -> None:
    ctx.lister(NODES).add_index(PART, _parts)


CONTROLLER = Controller(
    name="node-ipam-controller",
    user="node-controller",
    watches=NODES,
    also=(Also(NODES, of_gone),),
    reconcile=reconcile,
    start=_start,
    workers=16,
)

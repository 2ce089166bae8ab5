"""Nodes that fall silent: their conditions become unknown, and taints keep pods off them.

A node lives as long as its Lease is renewed (or its status written) within the grace time. When
that runs out is a timer per node, set anew at each look; a heartbeat only notes the time. The
times are this process' own, so the clocks of nodes do not matter. How fast pods are driven off
silent nodes is up to `node_zones`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from minikube_py.api import times
from minikube_py.api.coordination import LEASES
from minikube_py.api.core import NODES, PODS
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, condition_of, evolve, get, key_of
from minikube_py.api.taints import (
    NO_EXECUTE,
    NO_SCHEDULE,
    NOT_READY,
    UNREACHABLE,
    UNSCHEDULABLE,
    taints_of,
)
from minikube_py.client.actions import Action, Emit, Patch, Update, update_status
from minikube_py.client.controller import Also, Context, Controller
from minikube_py.server.controllers.node_zones import Census, Seen, zone_of
from minikube_py.server.controllers.pods import NODE, index_nodes

LEASE_NAMESPACE = "kube-node-lease"
CONDITIONS = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
BY_CONDITION = {
    ("MemoryPressure", "True"): "node.kubernetes.io/memory-pressure",
    ("DiskPressure", "True"): "node.kubernetes.io/disk-pressure",
    ("PIDPressure", "True"): "node.kubernetes.io/pid-pressure",
    ("NetworkUnavailable", "True"): "node.kubernetes.io/network-unavailable",
    ("Ready", "False"): NOT_READY,
    ("Ready", "Unknown"): UNREACHABLE,
}
OURS = frozenset({*BY_CONDITION.values(), UNSCHEDULABLE})
EVICTING = (NOT_READY, UNREACHABLE)
CENSUS = ("census",)
"""Under what the census is remembered; no node is called so."""
STARTUP_SECONDS = 60.0
"""A node that never said how it is has at least this long."""
STOPPED = "Kubelet stopped posting node status."
NEVER = "Kubelet never posted node status."


@dataclass
class Heartbeat:
    """When a node was last heard of, on our own clock."""

    moment: float
    status_time: str = ""


async def reconcile(key: Key, ctx: Context) -> float | None:
    """See to one node; look again when its grace time is over, or when it may be given up."""
    node = ctx.lister(NODES).get(key)
    if node is None:
        ctx.memory.pop(key.name, None)
        return None
    beat = heard(node, ctx)
    left = beat.moment + grace_seconds(node, ctx) - ctx.clock.monotonic()
    now = times.now_string(ctx.clock)
    silent = left <= 0
    if silent and (lost := with_unknown(node, now)) is not node:
        await ctx.apply(plan_unknown(node, lost))
        node = ctx.lister(NODES).get(key) or lost
    wait = eviction_wait(node, ctx)
    await ctx.apply(plan_taints(node, now, evicts=wait == 0))
    if get(condition_of(node, "Ready"), "status") == "Unknown":
        await ctx.apply(plan_pods(node, ctx, now))
    return min((one for one in (wait, None if silent else left) if one), default=None)


def grace_seconds(node: Obj, ctx: Context) -> float:
    """Return for how long a node may be silent."""
    grace = ctx.settings.node_monitor_grace_seconds
    return grace if condition_of(node, "Ready") is not None else max(grace, STARTUP_SECONDS)


def plan_unknown(node: Obj, lost: Obj) -> Iterator[Action]:
    """Say that nobody knows how a node is, once."""
    yield update_status(NODES, lost)
    if get(condition_of(node, "Ready"), "status") == "True":
        name = node["metadata"]["name"]
        yield Emit(node, "Normal", "NodeNotReady", f"Node {name} status is now: NodeNotReady")


def eviction_wait(node: Obj, ctx: Context) -> float | None:
    """Return in how many seconds pods may be driven off a node; None for not as things are."""
    census, name = census_of(ctx), node["metadata"]["name"]
    if not any(key in EVICTING for key, _ in wanted_taints(node)):
        census.forget(name)
        return None
    if census.all_disrupted:
        return None
    given_up = any(one["key"] in EVICTING for one in taints_of(node, NO_EXECUTE))
    return 0.0 if given_up else census.wait(name, ctx.clock.monotonic())


def census_of(ctx: Context) -> Census:
    """Return the nodes by zone."""
    census: Census = ctx.memory.setdefault(CENSUS, Census())
    return census


def heard(node: Obj, ctx: Context) -> Heartbeat:
    """Return when the node was last heard of; a status with a new heartbeat counts."""
    name = node["metadata"]["name"]
    written = get(condition_of(node, "Ready"), "lastHeartbeatTime", "")
    beat: Heartbeat | None = ctx.memory.get(name)
    if beat is None or written > beat.status_time:
        beat = ctx.memory[name] = Heartbeat(ctx.clock.monotonic(), written)
    return beat


def with_unknown(node: Obj, now: str) -> Obj:
    """Return the node with conditions that say that nobody knows; itself where they do."""
    conditions: Sequence[Obj] = get(node, "status.conditions", ())
    known = {one["type"] for one in conditions}
    changed = [_unknown(one, now) if one["type"] in CONDITIONS else one for one in conditions]
    changed += [_never(kind, node, now) for kind in CONDITIONS if kind not in known]
    return evolve(node, "status.conditions", changed) if changed != list(conditions) else node


def _unknown(one: Obj, now: str) -> Obj:
    if one.get("status") == "Unknown":
        return one
    return {
        **one,
        "status": "Unknown",
        "reason": "NodeStatusUnknown",
        "message": STOPPED,
        "lastTransitionTime": now,
    }


def _never(kind: str, node: Obj, now: str) -> dict[str, Any]:
    return {
        "type": kind,
        "status": "Unknown",
        "reason": "NodeStatusNeverUpdated",
        "message": NEVER,
        "lastHeartbeatTime": node["metadata"].get("creationTimestamp"),
        "lastTransitionTime": now,
    }


def plan_taints(node: Obj, now: str, *, evicts: bool = True) -> Iterator[Action]:
    """Give the node the taints that its conditions and its cordon call for.

    `evicts` says whether pods may be driven off it now.
    """
    taints = list(taints_of(node))
    wanted = wanted_taints(node)
    if not evicts:
        wanted = {one for one in wanted if one[1] != NO_EXECUTE}
    kept = [one for one in taints if one["key"] not in OURS or _id(one) in wanted]
    there = {_id(one) for one in kept}
    added = [
        {"key": key, "effect": effect, "timeAdded": now} for key, effect in sorted(wanted - there)
    ]
    if added or len(kept) != len(taints):
        yield Update(NODES, evolve(node, "spec.taints", [*kept, *added]))


def _id(taint: Obj) -> tuple[str, str]:
    return taint["key"], taint["effect"]


def wanted_taints(node: Obj) -> set[tuple[str, str]]:
    """Return the keys and effects of the taints that this controller keeps on the node."""
    keys = {
        BY_CONDITION[one["type"], one["status"]]
        for one in get(node, "status.conditions", ())
        if (one["type"], one.get("status")) in BY_CONDITION
    }
    wanted = {(key, NO_SCHEDULE) for key in keys}
    wanted |= {(key, NO_EXECUTE) for key in keys if key in EVICTING}
    if get(node, "spec.unschedulable"):
        wanted.add((UNSCHEDULABLE, NO_SCHEDULE))
    return wanted


def plan_pods(node: Obj, ctx: Context, now: str) -> Iterator[Action]:
    """Mark the pods of a node that is not ready as not ready, so that nothing is sent to them."""
    for item in ctx.lister(PODS).indexed(NODE, node["metadata"]["name"]):
        pod = item.obj
        if get(condition_of(pod, "Ready"), "status") != "True":
            continue
        conditions = [
            {**one, "status": "False", "lastTransitionTime": now} if one["type"] == "Ready" else one
            for one in get(pod, "status.conditions", ())
        ]
        patch = {"status": {"conditions": conditions}}
        yield Patch(PODS, key_of(pod), patch, subresource="status")
        yield Emit(pod, "Warning", "NodeNotReady", "Node is not ready")


def of_node(old: Item | None, new: Item | None, ctx: Context) -> Iterator[Key]:
    """Look at the nodes whose lot another one's coming, going or change of mind changes."""
    item = new or old
    if item is None:
        return
    if old is None and new is not None:
        text = f"Node {item.key.name} event: Registered Node {item.key.name} in Controller"
        ctx.events.record(new.obj, "Normal", "RegisteredNode", text)
    elif new is None:
        text = f"Node {item.key.name} event: Removing Node {item.key.name} from Controller"
        ctx.events.record(item.obj, "Normal", "RemovingNode", text)
    for name in census_of(ctx).count(item.key.name, None if new is None else seen(new)):
        yield Key("", name)


def seen(item: Item) -> Seen:
    """Return what counts of a node for its zone."""
    ready = get(condition_of(item.obj, "Ready"), "status") == "True"
    return Seen(zone_of(item.labels), ready)


def of_lease(_old: Item | None, new: Item | None, ctx: Context) -> Iterable[Key]:
    """Note a heartbeat; nobody has to look for that."""
    if new is not None and new.key.namespace == LEASE_NAMESPACE:
        beat: Heartbeat | None = ctx.memory.get(new.key.name)
        if beat is not None:
            beat.moment = ctx.clock.monotonic()
    return ()


CONTROLLER = Controller(
    name="node-controller",
    watches=NODES,
    also=(Also(NODES, of_node), Also(LEASES, of_lease)),
    reads=(PODS,),
    reconcile=reconcile,
    start=index_nodes,
)

"""Pods that nobody will clean up, and finished ones beyond a number.

Nobody sees to the pods of a node that is gone; of one that is out of service, as its taint says,
while it is not ready; and to those that are to go and never came to a node. A node may come back
under its name, so its pods get some time; then the server is asked whether it is really not there.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from minikube_py.api import times
from minikube_py.api.core import NODES, PODS
from minikube_py.api.errors import NotFoundError
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, get, has_condition, is_deleting, key_of, uid_of
from minikube_py.api.taints import taints_of
from minikube_py.client.actions import Action, Delete, Patch
from minikube_py.client.controller import Also, Context, Controller
from minikube_py.server.controllers.pods import NODE, index_nodes, is_finished

QUARANTINE_SECONDS = 40.0
"""How long a node may be absent before its pods are deleted."""
INTERVAL_SECONDS = 20.0
"""How long those rest that put pods on a node that is not there; upstream looks as often."""
FINISHED = "finished"
"""Name of the index of finished pods."""
TERMINATED = Key("", "")
"""Stands for all finished pods."""
PHASES = frozenset({"Succeeded", "Failed"})
BATCH_MAX = 500
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"


class Unscheduled(NamedTuple):
    """A pod that is to go and is on no node."""

    key: Key


async def reconcile(key: Key | Unscheduled, ctx: Context) -> float | None:
    """See to one node and its pods, to one pod without a node, or to the finished pods."""
    if isinstance(key, Unscheduled):
        pod = ctx.lister(PODS).get(key.key)
        if pod is not None and is_deleting(pod) and not get(pod, "spec.nodeName"):
            await ctx.apply(plan_removal(pod))
        return None
    if key == TERMINATED:
        await ctx.apply(plan_finished(ctx))
        return None
    node = ctx.lister(NODES).get(key)
    if node is None:
        return await see_to_absent(key, ctx)
    ctx.memory.pop(key, None)
    if is_out_of_service(node):
        for item in ctx.lister(PODS).indexed(NODE, key.name):
            if item.deleting:
                await ctx.apply(plan_removal(item.obj))
    return None


async def see_to_absent(key: Key, ctx: Context) -> float | None:
    """Remove the pods of a node that has been absent for long enough."""
    pods = ctx.lister(PODS).indexed(NODE, key.name)
    if not pods:
        return None
    since = ctx.memory.setdefault(key, ctx.clock.monotonic())
    left = since + QUARANTINE_SECONDS - ctx.clock.monotonic()
    if left > 0:
        return float(left)
    try:
        await ctx.client.get(NODES, key.name)
    except NotFoundError:
        for item in pods:
            await ctx.apply(plan_orphan(item.obj, ctx.now()))
        ctx.memory[key] = ctx.clock.monotonic() + INTERVAL_SECONDS - QUARANTINE_SECONDS
    return None


def is_out_of_service(node: Obj) -> bool:
    """Tell whether somebody has said that a node that is not ready will not come back as it was."""
    marked = any(taint["key"] == OUT_OF_SERVICE for taint in taints_of(node))
    return marked and not has_condition(node, "Ready")


def plan_orphan(pod: Obj, now: datetime) -> Iterator[Action]:
    """Fail a pod whose node is gone, and delete it at once."""
    condition = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "DeletionByPodGC",
        "message": "PodGC: node no longer exists",
        "lastTransitionTime": times.format_seconds(now),
    }
    others = [c for c in get(pod, "status.conditions", ()) if c["type"] != "DisruptionTarget"]
    yield from plan_removal(pod, {"conditions": [*others, condition]})


def plan_removal(pod: Obj, status: Obj | None = None) -> Iterator[Action]:
    """Fail a pod where its end is open, and delete it at once."""
    if not is_finished(pod):
        patch = {"status": {"phase": "Failed", **(status or {})}}
        yield Patch(PODS, key_of(pod), patch, subresource="status", missing_ok=True)
    yield Delete(PODS, key_of(pod), uid_of(pod), options={"gracePeriodSeconds": 0})


def plan_finished(ctx: Context) -> Iterator[Action]:
    """Delete the oldest finished pods beyond the limit, evicted ones first."""
    surplus = surplus_of(ctx)
    if surplus <= 0:
        return
    items = ctx.lister(PODS).indexed(FINISHED, FINISHED)
    pods = [item.obj for item in items if not item.deleting]
    for pod in sorted(pods, key=_by_age)[: min(surplus, BATCH_MAX)]:
        yield Delete(PODS, key_of(pod), uid_of(pod), options={"gracePeriodSeconds": 0})


def _by_age(pod: Obj) -> tuple[bool, str]:
    evicted = get(pod, "status.reason") == "Evicted"
    return not evicted, pod["metadata"].get("creationTimestamp", "")


def of_pod(old: Item | None, new: Item | None, ctx: Context) -> Iterator[Key | Unscheduled]:
    """Look at a pod's node, at a pod that is to go without one, and at how many are finished."""
    if new is None:
        return
    name = new.fields.get("spec.nodeName")
    going = new.deleting and (old is None or not old.deleting)
    if going and not name:
        yield Unscheduled(new.key)
    if name and (going or ctx.lister(NODES).item(Key("", name)) is None):
        yield Key("", name)
    ended = new.fields.get("status.phase") in PHASES and (old is None or old.fields != new.fields)
    if ended and surplus_of(ctx) > 0:
        yield TERMINATED


def surplus_of(ctx: Context) -> int:
    """Return how many finished pods there are beyond the limit."""
    count = ctx.lister(PODS).index_count(FINISHED, FINISHED)
    return count - ctx.settings.terminated_pods_max


def start(ctx: Context) -> None:
    """Make pods findable by node, and the finished ones countable."""
    index_nodes(ctx)
    ctx.lister(PODS).add_index(FINISHED, _finished)


def _finished(item: Item) -> tuple[str, ...]:
    return (FINISHED,) if item.fields.get("status.phase") in PHASES else ()


CONTROLLER = Controller(
    name="pod-garbage-collector",
    watches=NODES,
    also=(Also(PODS, of_pod),),
    reconcile=reconcile,
    start=start,
    workers=1,
)

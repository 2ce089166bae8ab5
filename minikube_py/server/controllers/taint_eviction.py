"""Pods leave nodes with a NoExecute taint: at once, or after as long as they tolerate it.

The time runs from when the taint was put on the node, or the pod came there if that was later. It
is a timer per pod and only for pods on tainted nodes.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

from minikube_py.api import times
from minikube_py.api.core import NODES, PODS
from minikube_py.api.item import Item
from minikube_py.api.object import (
    Key,
    Obj,
    condition_of,
    get,
    is_deleting,
    key_of,
    uid_of,
)
from minikube_py.api.taints import NO_EXECUTE, matches, taints_of, tolerations_of
from minikube_py.client.actions import Action, Delete, Emit, Patch
from minikube_py.client.controller import Also, Context, Controller
from minikube_py.server.controllers.pods import NODE, index_nodes, is_finished

EVICTS = b'"NoExecute"'
WAITING = "waiting"
"""Under what is remembered since when whose time runs; a taint need not say when it came."""


async def reconcile(key: Key, ctx: Context) -> float | None:
    """Evict one pod when its time has come; look again when it will have."""
    waiting: dict[Key, tuple[str, datetime]] = ctx.memory.setdefault(WAITING, {})
    pod = ctx.lister(PODS).get(key)
    if pod is None or is_deleting(pod) or is_finished(pod):
        waiting.pop(key, None)
        return None
    node = ctx.lister(NODES).get(Key("", get(pod, "spec.nodeName", "")))
    now, uid = ctx.now(), uid_of(pod)
    if waiting.get(key, ("",))[0] not in ("", uid):
        del waiting[key]  # that was another pod of the name
    due = None if node is None else due_time(pod, node, now, waiting.get(key, (uid, now))[1])
    if due is None:
        if waiting.pop(key, None) is not None:
            text = f"Cancelling deletion of Pod {key}"
            await ctx.apply([Emit(pod, "Normal", "TaintManagerEviction", text)])
        return None
    left = (due - now).total_seconds()
    if left <= 0:
        waiting.pop(key, None)
        await ctx.apply(plan(pod, now))
        return None
    waiting.setdefault(key, (uid, now))
    return left


def due_time(pod: Obj, node: Obj, now: datetime, since: datetime | None = None) -> datetime | None:
    """Return when the pod has to leave; None where it tolerates the taints for ever.

    `since` is from when the time runs where neither taint nor pod says so.
    """
    taints = taints_of(node, NO_EXECUTE)
    if not taints:
        return None
    used: list[Obj] = []
    for taint in taints:
        tolerating = [one for one in tolerations_of(pod) if matches(one, taint)]
        if not tolerating:
            return now
        used += tolerating
    limits = [one["tolerationSeconds"] for one in used if one.get("tolerationSeconds") is not None]
    if not limits:
        return None
    start = starting(pod, taints, since or now)
    return start + times.span(max(min(limits), 0))


def starting(pod: Obj, taints: Sequence[Obj], now: datetime) -> datetime:
    """Return from when the tolerated time runs."""
    moments = [one["timeAdded"] for one in taints if one.get("timeAdded")]
    start = times.parse(min(moments)) if moments else now
    scheduled = get(condition_of(pod, "PodScheduled"), "lastTransitionTime")
    return max(start, times.parse(scheduled)) if scheduled else start


def plan(pod: Obj, now: datetime) -> Iterator[Action]:
    """Say why the pod goes, and delete it."""
    key = key_of(pod)
    condition = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "DeletionByTaintManager",
        "message": "Taint manager: deleting due to NoExecute taint",
        "lastTransitionTime": times.format_seconds(now),
    }
    others = [c for c in get(pod, "status.conditions", ()) if c["type"] != "DisruptionTarget"]
    patch = {"status": {"conditions": [*others, condition]}}
    yield Emit(pod, "Normal", "TaintManagerEviction", f"Marking for deletion Pod {key}")
    yield Patch(PODS, key, patch, subresource="status")
    yield Delete(PODS, key, uid_of(pod))


def of_pod(old: Item | None, new: Item | None, ctx: Context) -> Iterator[Key]:
    """Look at pods that are on, or come to, a tainted node."""
    if new is None or new.deleting:
        if old is not None and old.key in ctx.memory.get(WAITING, ()):
            yield old.key
        return
    name = new.fields.get("spec.nodeName")
    node = ctx.lister(NODES).item(Key("", name)) if name else None
    if node is not None and EVICTS in node.data:
        yield new.key


def of_node(old: Item | None, new: Item | None, ctx: Context) -> Iterator[Key]:
    """Look at the pods of a node that has, or had, such a taint."""
    if new is None or not any(EVICTS in item.data for item in (old, new) if item is not None):
        return
    if old is not None and taints_of(old.obj, NO_EXECUTE) == taints_of(new.obj, NO_EXECUTE):
        return
    for item in ctx.lister(PODS).indexed(NODE, new.key.name):
        yield item.key


CONTROLLER = Controller(
    name="taint-eviction-controller",
    user="node-controller",
    also=(Also(PODS, of_pod), Also(NODES, of_node)),
    reconcile=reconcile,
    start=index_nodes,
)

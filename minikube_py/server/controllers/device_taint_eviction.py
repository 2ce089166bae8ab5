"""Pods leave devices with a NoExecute taint: at once, or after as long as their claim tolerates it.

What a claim tolerates stands with its allocation. The time runs from when the driver put the taint
on. Upstream: pkg/controller/devicetainteviction.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime

from minikube_py.api import times
from minikube_py.api.core import PODS
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, get, is_deleting, key_of, uid_of
from minikube_py.api.resource_k8s import RESOURCECLAIMS, RESOURCESLICES
from minikube_py.api.resource_k8s.pod_claims import (
    is_reserved_for,
    key_in,
    may_have_claims,
    names_of,
    needs_claims,
    tolerates,
    users_of,
)
from minikube_py.api.taints import NO_EXECUTE
from minikube_py.client.actions import Action, Delete, Emit, Patch
from minikube_py.client.controller import Also, Context, Controller

BY_POOL = "by-device-pool"
WAITING = "waiting"
"""Under what is remembered since when whose time runs; a taint need not say when it came."""
EVENT = "DeviceTaintManagerEviction"


async def reconcile(key: Key, ctx: Context) -> float | None:
    """Evict one pod when its time has come; look again when it will have."""
    waiting: dict[Key, tuple[str, datetime]] = ctx.memory.setdefault(WAITING, {})
    pod = ctx.lister(PODS).get(key)
    if pod is None or is_deleting(pod) or not needs_claims(pod) or not get(pod, "spec.nodeName"):
        waiting.pop(key, None)
        return None
    uid, now = uid_of(pod), ctx.now()
    known = waiting.get(key)
    since = known[1] if known is not None and known[0] == uid else now
    due = min(_ends(pod, since, ctx), default=None)
    if due is None:
        if waiting.pop(key, None) is not None:
            await ctx.apply([Emit(pod, "Normal", EVENT, "Cancelling deletion")])
        return None
    left = (due - now).total_seconds()
    if left > 0:
        waiting[key] = (uid, since)
        return left
    waiting.pop(key, None)
    await ctx.apply(plan(pod, now))
    return None


def _ends(pod: Obj, since: datetime, ctx: Context) -> Iterator[datetime]:
    """Yield when a pod has to leave each of its tainted devices."""
    for name in names_of(pod):
        claim = ctx.lister(RESOURCECLAIMS).get(key_in(pod, name))
        if claim is None or not is_reserved_for(pod, claim):
            continue
        for result in get(claim, "status.allocation.devices.results") or ():
            pool = f"{result['driver']}/{result['pool']}"
            slices = (item.obj for item in ctx.lister(RESOURCESLICES).indexed(BY_POOL, pool))
            for taint in taints_of(slices, result["device"]):
                if (end := end_of(taint, result.get("tolerations") or (), since)) is not None:
                    yield end


def taints_of(slices: Iterable[Obj], device: str) -> Iterator[Obj]:
    """Yield the taints that drive pods from a device of a pool, as its newest slices say."""
    listed = list(slices)
    newest = max((_generation(piece) for piece in listed), default=0)
    for piece in listed:
        if _generation(piece) != newest:
            continue
        for one in piece["spec"].get("devices") or ():
            if one["name"] == device:
                yield from (t for t in one.get("taints") or () if t.get("effect") == NO_EXECUTE)


def _generation(piece: Obj) -> int:
    return int(piece["spec"]["pool"].get("generation") or 0)


def end_of(taint: Obj, tolerations: Iterable[Obj], since: datetime) -> datetime | None:
    """Return when a taint has to be left; None where it is tolerated for ever.

    `since` is from when the time runs where the taint does not say so.
    """
    start = times.parse(taint["timeAdded"]) if taint.get("timeAdded") else since
    bearing = [one for one in tolerations if tolerates(one, taint)]
    if not bearing:
        return start
    limits = [
        one["tolerationSeconds"] for one in bearing if one.get("tolerationSeconds") is not None
    ]
    return start + times.span(max(min(limits), 0)) if limits else None


def plan(pod: Obj, now: datetime) -> Iterator[Action]:
    """Say why the pod goes, and delete it."""
    key = key_of(pod)
    condition = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "DeletionByDeviceTaintManager",
        "message": "Device Taint manager: deleting due to NoExecute taint",
        "lastTransitionTime": times.format_seconds(now),
    }
    others = [c for c in get(pod, "status.conditions", ()) if c["type"] != "DisruptionTarget"]
    patch = {"status": {"conditions": [*others, condition]}}
    yield Emit(pod, "Normal", EVENT, "Marking for deletion")
    yield Patch(PODS, key, patch, subresource="status")
    yield Delete(PODS, key, uid_of(pod))


def _slice_pool(item: Item) -> Iterator[str]:
    spec = item.obj["spec"]
    yield f"{spec['driver']}/{spec['pool']['name']}"


def _claim_pools(item: Item) -> Iterable[str]:
    results = get(item.obj, "status.allocation.devices.results") or ()
    return {f"{result['driver']}/{result['pool']}" for result in results}


def _start(ctx: Context) -> None:
    ctx.lister(RESOURCESLICES).add_index(BY_POOL, _slice_pool)
    ctx.lister(RESOURCECLAIMS).add_index(BY_POOL, _claim_pools)


def _users(claim: Obj) -> Iterator[Key]:
    for user in users_of(claim):
        if user.get("resource") == "pods":
            yield key_in(claim, user["name"])


def of_pod(old: Item | None, new: Item | None, ctx: Context) -> Iterator[Key]:
    """Look at pods with devices that come to a node, and at those that were waited for."""
    item = new or old
    if item is None:
        return
    if item.key in ctx.memory.get(WAITING, ()):
        yield item.key
    elif new is None or not new.fields.get("spec.nodeName") or not may_have_claims(new):
        return
    elif names_of(new.obj):
        yield new.key


def of_claim(old: Item | None, new: Item | None, _: Context) -> Iterator[Key]:
    """Look at the pods that use a claim, or did."""
    for item in (old, new):
        if item is not None:
            yield from _users(item.obj)


def of_slice(old: Item | None, new: Item | None, ctx: Context) -> Iterator[Key]:
    """Look at the pods with devices of a pool in which taints came, changed or went."""
    tainted = [item for item in (old, new) if item is not None and b'"taints"' in item.data]
    for item in tainted[:1]:
        (pool,) = _slice_pool(item)
        for claim in ctx.lister(RESOURCECLAIMS).indexed(BY_POOL, pool):
            yield from _users(claim.obj)


CONTROLLER = Controller(
    name="device-taint-eviction",
    user="device-taint-eviction-controller",
    also=(Also(PODS, of_pod), Also(RESOURCECLAIMS, of_claim), Also(RESOURCESLICES, of_slice)),
    reconcile=reconcile,
    start=_start,
)

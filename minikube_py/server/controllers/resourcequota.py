"""Resource quotas are counted anew: at first, after changes of their limits and when room is made.

Admission adds to a quota before it lets a write in and takes nothing away. This loop does: it
counts all objects when some are deleted, finish or shrink, and once in a while, because a write
that was counted and then failed leaves too much in the status.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Final

from minikube_py.api.core import RESOURCEQUOTAS
from minikube_py.api.core.quota import IGNORED, added, amounts, masked, texts, used_by
from minikube_py.api.core.quota_kinds import attribute_classes, evaluator_of
from minikube_py.api.core.quota_pods import has_ended, is_terminating, usage
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, evolve, get
from minikube_py.api.quantity import ZERO, Quantity
from minikube_py.api.resource import Resource
from minikube_py.client.actions import Action, update_status
from minikube_py.client.controller import Also, Context, Controller
from minikube_py.client.everything import is_stored

RESYNC_SECONDS: Final = 300.0
"""How often all is counted anew, as upstream's `--resource-quota-sync-period`."""
DISCOVERY_SECONDS: Final = 30.0
"""How soon again where a quota counts a kind that there is not (yet)."""
RECOUNT_SECONDS: Final = 5.0
"""How soon again after less was counted than admission had: a write that is let in and not yet
seen here would be lost until the next count."""
SLICE: Final = 100
"""Objects that are counted before others have their turn: some 5 ms."""
COUNT: Final = "count/"

Releases = Callable[[Obj, Obj, datetime], bool]
"""(old, new, now) -> whether an update may make room."""


async def reconcile(key: Key, ctx: Context) -> float | None:
    """Count what a quota limits."""
    quota = ctx.lister(RESOURCEQUOTAS).get(key)
    if quota is None:
        return None
    used = await counted(quota, ctx)
    await ctx.apply(plan(quota, used))
    before = amounts(get(quota, "status.used"))
    if any(amount < before.get(name, ZERO) for name, amount in used.items()):
        return RECOUNT_SECONDS
    missing = {name for name in get(quota, "spec.hard", {}) if name not in used}
    return DISCOVERY_SECONDS if any(name.startswith(COUNT) for name in missing) else RESYNC_SECONDS


async def counted(quota: Obj, ctx: Context) -> dict[str, Quantity]:
    """Return the use of all that the quota limits and that can be counted."""
    hard, namespace = get(quota, "spec.hard", {}), quota["metadata"]["namespace"]
    total: dict[str, Quantity] = {}
    for resource in ctx.everything.scheme:
        evaluator = evaluator_of(resource.group_resource)
        if not is_countable(resource) or not evaluator.names(hard):
            continue
        items = tuple(ctx.lister(resource).items(namespace))
        for start in range(0, max(len(items), 1), SLICE):
            objects = (item.obj for item in items[start : start + SLICE])
            total = added(total, used_by(evaluator, quota, objects, ctx.now()))
            await asyncio.sleep(0)  # others' turn
    return total


def plan(quota: Obj, counted: Mapping[str, Quantity]) -> Iterator[Action]:
    """Write limits and use where they are not what the status says.

    What cannot be counted keeps the use that the status has for it.
    """
    hard = amounts(get(quota, "spec.hard"))
    status: Obj = quota.get("status") or {}
    used = masked({**amounts(status.get("used")), **counted}, hard)
    if (
        "hard" in status
        and "used" in status
        and amounts(status["hard"]) == hard
        and amounts(status["used"]) == used
    ):
        return
    yield update_status(
        RESOURCEQUOTAS, evolve(quota, "status", {"hard": texts(hard), "used": texts(used)})
    )


def is_countable(resource: Resource) -> bool:
    """Tell whether quotas count objects of this kind, in this version."""
    return resource.namespaced and is_stored(resource) and resource.group_resource not in IGNORED


def of_quota(old: Item | None, new: Item | None, _: Context) -> Iterator[Key]:
    """Look at a quota that is new or has other limits; its use is this loop's own doing."""
    if new is None:
        return
    if old is None or get(old.obj, "spec") != get(new.obj, "spec"):
        yield new.key


def of_released(
    resource: Resource, old: Item | None, new: Item | None, ctx: Context
) -> Iterator[Key]:
    """Look at the quotas that a change makes room in."""
    if old is None or not is_countable(resource):
        return
    quotas = list(ctx.lister(RESOURCEQUOTAS).items(old.key.namespace))
    if not quotas or not (new is None or _releases(resource, old.obj, new.obj, ctx.now())):
        return
    evaluator = evaluator_of(resource.group_resource)
    for quota in quotas:
        if evaluator.names(get(quota.obj, "spec.hard", {})):
            yield quota.key


def _releases(resource: Resource, old: Obj, new: Obj, now: datetime) -> bool:
    """Tell whether an update takes less than before, or counts in other quotas."""
    changed = _RELEASES.get(resource.group_resource)
    return changed is not None and changed(old, new, now)


def _pod(old: Obj, new: Obj, now: datetime) -> bool:
    if has_ended(old, now) != has_ended(new, now) or is_terminating(old) != is_terminating(new):
        return True
    return usage(old, now) != usage(new, now)


def _service(old: Obj, new: Obj, _now: datetime) -> bool:
    fields = ("spec.type", "spec.ports", "spec.allocateLoadBalancerNodePorts")
    return any(get(old, field) != get(new, field) for field in fields)


def _claim(old: Obj, new: Obj, _now: datetime) -> bool:
    storage = "status.allocatedResources"
    return get(old, storage) != get(new, storage) or attribute_classes(old) != attribute_classes(
        new
    )


_RELEASES: Final[Mapping[str, Releases]] = {
    "pods": _pod,
    "services": _service,
    "persistentvolumeclaims": _claim,
}

CONTROLLER = Controller(
    name="resourcequota-controller",
    reconcile=reconcile,
    also=(Also(RESOURCEQUOTAS, of_quota),),
    anything=of_released,
)

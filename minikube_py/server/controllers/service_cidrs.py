"""Ranges of service addresses: ready to be used, and not gone before their addresses are.

A range that another one contains may go at any time, because its addresses stay in a range.
"""

from collections.abc import Iterator, Mapping, Sequence

from minikube_py.api import addresses, times
from minikube_py.api.addresses import Network
from minikube_py.api.item import Item
from minikube_py.api.networking import IPADDRESSES, SERVICECIDRS
from minikube_py.api.networking.servicecidr import FINALIZER
from minikube_py.api.object import Key, Obj, get, is_deleting, key_of, uid_of
from minikube_py.client.actions import Action, Patch
from minikube_py.client.controller import Also, Context, Controller
from minikube_py.server.controllers.status import condition, with_condition

MANAGED_BY = "ipaddress.kubernetes.io/managed-by"
ALLOCATOR = "ipallocator.k8s.io"
GRACE_SECONDS = 10.0
"""An allocator may not know yet that a range is going; upstream waits as long."""
READY = condition("Ready", "True", "", "Kubernetes Service CIDR is ready")
BLOCKED = condition(
    "Ready",
    "False",
    "Terminating",
    "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new "
    "ServiceCIDR",
)


async def reconcile(key: Key, ctx: Context) -> float | None:
    """See to one range."""
    cidr = ctx.lister(SERVICECIDRS).get(key)
    if cidr is None:
        return None
    if not is_deleting(cidr):
        await ctx.apply(plan(cidr, ctx))
        return None
    if is_blocked(cidr, ranges(ctx), allocated(ctx)):
        await ctx.apply(plan_condition(cidr, BLOCKED, ctx))
        return None
    gone = (ctx.now() - times.parse(cidr["metadata"]["deletionTimestamp"])).total_seconds()
    if gone < GRACE_SECONDS:
        return GRACE_SECONDS - gone
    await ctx.apply(plan_finalizer(cidr, [one for one in finalizers(cidr) if one != FINALIZER]))
    return None


def plan(cidr: Obj, ctx: Context) -> Iterator[Action]:
    """Protect a range, and say that it is ready."""
    if FINALIZER not in finalizers(cidr):
        yield from plan_finalizer(cidr, [*finalizers(cidr), FINALIZER])
    yield from plan_condition(cidr, READY, ctx)


def plan_condition(cidr: Obj, wanted: Obj, ctx: Context) -> Iterator[Action]:
    """Say how a range is, where that is news."""
    conditions = get(cidr, "status.conditions", ())
    found: Obj = next((one for one in conditions if one["type"] == wanted["type"]), {})
    if all((found.get(key) or "") == value for key, value in wanted.items()):
        return
    patch = {"status": {"conditions": with_condition(conditions, wanted, ctx.now())}}
    guard = {"metadata": {"uid": uid_of(cidr)}}
    yield Patch(SERVICECIDRS, key_of(cidr), {**guard, **patch}, "merge", "status", missing_ok=True)


def plan_finalizer(cidr: Obj, wanted: Sequence[str]) -> Iterator[Action]:
    """Write the finalizers of a range, if nobody else did meanwhile."""
    version = cidr["metadata"]["resourceVersion"]
    metadata = {"uid": uid_of(cidr), "resourceVersion": version, "finalizers": wanted or None}
    yield Patch(SERVICECIDRS, key_of(cidr), {"metadata": metadata}, missing_ok=True)


def finalizers(cidr: Obj) -> Sequence[str]:
    """Return the finalizers of a range."""
    found: Sequence[str] = cidr["metadata"].get("finalizers") or ()
    return found


def is_blocked(
    cidr: Obj, known: Mapping[str, Sequence[Network]], used: Sequence[addresses.Address]
) -> bool:
    """Tell whether addresses are in use that no other range would have; `known` includes it."""
    name = cidr["metadata"]["name"]
    own = known.get(name) or networks_of(cidr)
    others = [one for other, found in known.items() if other != name for one in found]
    if all(any(_contains(other, one) for other in others) for one in own):
        return False
    return any(
        any(address in one for one in own) and not any(address in one for one in others)
        for address in used
    )


def _contains(outer: Network, inner: Network) -> bool:
    same = outer.version == inner.version
    return same and outer.prefixlen <= inner.prefixlen and inner.network_address in outer


def networks_of(cidr: Obj) -> list[Network]:
    """Return the networks of a range."""
    found = map(addresses.parse_cidr_sloppy, get(cidr, "spec.cidrs") or ())
    return [network for network in found if network is not None]


def ranges(ctx: Context) -> dict[str, Sequence[Network]]:
    """Return the networks of all ranges by their names."""
    items = ctx.lister(SERVICECIDRS).items()
    return {item.key.name: networks_of(item.obj) for item in items}


def allocated(ctx: Context) -> list[addresses.Address]:
    """Return the addresses that services have."""
    items = ctx.lister(IPADDRESSES).items()
    mine = (item.key.name for item in items if item.labels.get(MANAGED_BY) == ALLOCATOR)
    return [address for name in mine if (address := addresses.parse(name)) is not None]


def of_range(old: Item | None, new: Item | None, ctx: Context) -> Iterator[Key]:
    """Look at the ranges that go when another one comes, goes or changes."""
    if old is not None and new is not None and networks_of(old.obj) == networks_of(new.obj):
        return
    yield from _going(ctx)


def of_address(_old: Item | None, new: Item | None, ctx: Context) -> Iterator[Key]:
    """Look at the ranges that go when an address is free."""
    if new is None:
        yield from _going(ctx)


def _going(ctx: Context) -> Iterator[Key]:
    return (item.key for item in ctx.lister(SERVICECIDRS).items() if item.deleting)


CONTROLLER = Controller(
    name="service-cidr-controller",
    user="service-cidrs-controller",
    watches=SERVICECIDRS,
    also=(Also(SERVICECIDRS, of_range), Also(IPADDRESSES, of_address)),
    reconcile=reconcile,
)

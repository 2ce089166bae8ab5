"""Addresses of services and the objects that claim them say the same, whoever changed what.

An IPAddress that somebody deleted is made again for the service that has the address; one whose
service is gone, or has another address, goes. It acts as the API server, which allocates.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from minikube_py.api import times
from minikube_py.api.core import SERVICES
from minikube_py.api.errors import AlreadyExistsError, NotFoundError
from minikube_py.api.item import Item
from minikube_py.api.networking import IPADDRESSES
from minikube_py.api.object import Key, Obj, get, is_deleting, key_of, uid_of
from minikube_py.client.actions import Action, Create, Delete, Emit
from minikube_py.client.controller import Also, Context, Controller

FAMILY = "ipaddress.kubernetes.io/ip-family"
MANAGED_BY = "ipaddress.kubernetes.io/managed-by"
ALLOCATOR = "ipallocator.k8s.io"
GRACE_SECONDS = 60.0
"""A claim comes before its service: a young one is given the time."""


class Address(NamedTuple):
    """One claimed address."""

    name: str


async def reconcile(key: Key | Address, ctx: Context) -> float | None:
    """Look at one service's addresses, or at one claim."""
    if isinstance(key, Address):
        claim = ctx.lister(IPADDRESSES).get(Key("", key.name))
        wait = None if claim is None else seconds_to_leak(claim, ctx)
        if claim is not None and wait == 0.0:
            await ctx.apply(plan_leaked(claim))
        return wait
    service = ctx.lister(SERVICES).get(key)
    if service is None or is_deleting(service):
        return None
    for address in addresses_of(service):
        await see_to(service, address, ctx)
    return None


async def see_to(service: Obj, address: str, ctx: Context) -> None:
    """See that an address is claimed for its service; the server is asked, not a cache."""
    try:
        claim = await ctx.client.get(IPADDRESSES, address)
    except NotFoundError:
        try:
            await ctx.apply([Create(IPADDRESSES, new_claim(service, address))])
        except AlreadyExistsError:
            return
        await ctx.apply([told(service, "ClusterIPNotAllocated", address)])
        return
    if parent_of(claim) == key_of(service):
        return
    other = ctx.lister(SERVICES).get(parent_of(claim))
    if other is not None and address in addresses_of(other):
        await ctx.apply([told(service, "ClusterIPAlreadyAllocated", address)])
        return
    await ctx.apply([told(service, "IPAddressWrongReference", address)])
    await ctx.apply([Delete(IPADDRESSES, key_of(claim), uid_of(claim))])
    await ctx.apply([Create(IPADDRESSES, new_claim(service, address))])


TEXTS = {
    "ClusterIPNotAllocated": "Cluster IP [{family}]: {address} is not allocated; repairing",
    "ClusterIPAlreadyAllocated": (
        "Cluster IP [{family}]:{address} was assigned to multiple services; please recreate Service"
    ),
    "IPAddressWrongReference": (
        "IPAddress: {address} for Service {service} has a wrong reference; cleaning up"
    ),
}


def told(service: Obj, reason: str, address: str) -> Emit:
    """Return the event about an address of a service."""
    text = TEXTS[reason].format(family=family_of(address), address=address, service=key_of(service))
    return Emit(service, "Warning", reason, text)


def seconds_to_leak(claim: Obj, ctx: Context) -> float | None:
    """Return when a claim is given up as leaked; None where its service has the address."""
    if get(claim, ("metadata", "labels", MANAGED_BY)) != ALLOCATOR:
        return None
    service = ctx.lister(SERVICES).get(parent_of(claim))
    if service is not None and claim["metadata"]["name"] in addresses_of(service):
        return None
    return max(GRACE_SECONDS - _age(claim, ctx.now()), 0.0)


def _age(obj: Obj, now: datetime) -> float:
    return (now - times.parse(obj["metadata"]["creationTimestamp"])).total_seconds()


def plan_leaked(claim: Obj) -> Iterator[Action]:
    """Give back an address that nobody has."""
    name = claim["metadata"]["name"]
    text = f"IPAddress: {name} for Service {parent_of(claim)} appears to have leaked: cleaning up"
    yield Emit(claim, "Warning", "IPAddressNotAllocated", text)
    yield Delete(IPADDRESSES, key_of(claim), uid_of(claim))


def addresses_of(service: Obj) -> list[str]:
    """Return the cluster addresses of a service."""
    if get(service, "spec.type") == "ExternalName":
        return []
    return [one for one in get(service, "spec.clusterIPs") or () if one and one != "None"]


def parent_of(claim: Obj) -> Key:
    """Return the key of the service that an address is claimed for."""
    parent = get(claim, "spec.parentRef") or {}
    return Key(parent.get("namespace") or "", parent.get("name") or "")


def family_of(address: str) -> str:
    """Return IPv4 or IPv6."""
    return "IPv6" if ":" in address else "IPv4"


def new_claim(service: Obj, address: str) -> dict[str, Any]:
    """Return the object that claims an address for a service."""
    reference = {"group": "", "resource": "services", **key_of(service)._asdict()}
    labels = {FAMILY: family_of(address), MANAGED_BY: ALLOCATOR}
    return {
        "apiVersion": IPADDRESSES.api_version,
        "kind": IPADDRESSES.kind,
        "metadata": {"name": address, "labels": labels},
        "spec": {"parentRef": reference},
    }


def of_address(_: Item | None, new: Item | None, __: Context) -> Iterator[Address]:
    """Look at a claim that comes or changes."""
    if new is not None:
        yield Address(new.key.name)


def of_owner(old: Item | None, new: Item | None, _: Context) -> Iterator[Key]:
    """Look at the service of a claim that is gone."""
    if new is None and old is not None:
        yield parent_of(old.obj)


def of_service(old: Item | None, new: Item | None, _: Context) -> Iterator[Address]:
    """Look at the claims of a service that has gone, or has had another address."""
    if old is not None:
        kept = () if new is None else addresses_of(new.obj)
        yield from (Address(one) for one in addresses_of(old.obj) if one not in kept)


CONTROLLER = Controller(
    name="ipallocator-repair-controller",
    user="system:apiserver",
    watches=SERVICES,
    also=(
        Also(IPADDRESSES, of_address),
        Also(IPADDRESSES, of_owner),
        Also(SERVICES, of_service),
    ),
    reconcile=reconcile,
    workers=1,
)

"""Endpoint slices for Endpoints that somebody writes by hand.

A service without a selector has no pods of its own; who knows its addresses writes Endpoints, and
all who read endpoint slices see them too. Each subset gives one slice for each address family.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from minikube_py.api import addresses
from minikube_py.api.core import ENDPOINTS, SERVICES
from minikube_py.api.endpointslices import ENDPOINTSLICES
from minikube_py.api.item import Item
from minikube_py.api.object import (
    Key,
    Obj,
    annotations_of,
    get,
    is_deleting,
    key_of,
    labels_of,
    owner_reference,
    uid_of,
)
from minikube_py.client.actions import Action, Create, Delete, Emit, Update
from minikube_py.client.controller import Also, Context, Controller
from minikube_py.server.controllers.services import Port, port_of

SERVICE_LABEL = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslicemirroring-controller.k8s.io"
SKIP = "endpointslice.kubernetes.io/skip-mirror"
LEADER = "control-plane.alpha.kubernetes.io/leader"
NOT_COPIED = "kubectl.kubernetes.io/last-applied-configuration"
ADDRESSES_MAX = 1000
"""No more addresses of a subset are mirrored."""
Group = tuple[str, tuple[Port, ...]]
"""Address family and ports."""


@dataclass
class Mirrored:
    """What Endpoints say, as endpoint slices have it."""

    groups: dict[Group, list[Obj]] = field(default_factory=lambda: defaultdict(list))
    invalid: int = 0
    skipped: int = 0


async def reconcile(key: Key, ctx: Context) -> None:
    """See to the slices of one Endpoints object."""
    endpoints, service = ctx.lister(ENDPOINTS).get(key), ctx.lister(SERVICES).get(key)
    slices = [item.obj for item in ctx.lister(ENDPOINTSLICES).items(key.namespace)]
    mine = [one for one in slices if is_mirror(labels_of(one), key.name)]
    if endpoints is None or service is None or not should_mirror(endpoints, service):
        await ctx.apply(_deletions(mine))
    else:
        await ctx.apply(plan(endpoints, mine))


def is_mirror(labels: Mapping[str, str], name: str) -> bool:
    """Tell by its labels whether a slice mirrors the Endpoints of that name."""
    return labels.get(MANAGED_BY) == MANAGER and labels.get(SERVICE_LABEL) == name


def should_mirror(endpoints: Obj, service: Obj) -> bool:
    """Tell whether Endpoints are written by hand: not for an election, nor from a selector."""
    if is_deleting(endpoints) or labels_of(endpoints).get(SKIP) == "true":
        return False
    return LEADER not in annotations_of(endpoints) and get(service, "spec.selector") is None


def plan(endpoints: Obj, slices: Sequence[Obj]) -> Iterator[Action]:
    """Create, update and delete slices so that they say the same; tell of what cannot be said."""
    mirrored = derive(endpoints)
    left = {group_of(one): one for one in slices}
    spare = [one for one in slices if left[group_of(one)] is not one]
    found = {group: left.pop(group) for group in mirrored.groups if group in left}
    spare += left.values()
    for group, entries in mirrored.groups.items():
        one = found.get(group) or _take(spare, group[0])
        yield from write(endpoints, group, entries, one)
    yield from _deletions(spare)
    if mirrored.invalid:
        text = f"Skipped {mirrored.invalid} invalid IP addresses when mirroring to EndpointSlices"
        yield Emit(endpoints, "Warning", "InvalidIPAddress", text)
    if mirrored.skipped:
        text = (
            f"A max of {ADDRESSES_MAX} addresses can be mirrored to EndpointSlices per Endpoints "
            f"subset. {mirrored.skipped} addresses were skipped"
        )
        yield Emit(endpoints, "Warning", "TooManyAddressesToMirror", text)


def group_of(one: Obj) -> Group:
    """Return the family and the ports of a slice."""
    return one["addressType"], tuple(sorted(map(port_of, one.get("ports") or ())))


def _take(spare: list[Obj], family: str) -> Obj | None:
    """Take a slice of that family out of those that nobody wants; the family never changes."""
    one = next((one for one in spare if one["addressType"] == family), None)
    if one is not None:
        spare.remove(one)
    return one


def derive(endpoints: Obj) -> Mirrored:
    """Return what the slices are to say."""
    mirrored = Mirrored()
    for subset in endpoints.get("subsets") or ():
        _add_subset(mirrored, subset)
    return mirrored


def _add_subset(mirrored: Mirrored, subset: Obj) -> None:
    ports = tuple(sorted(map(port_of, subset.get("ports") or ())))
    kinds = (("addresses", True), ("notReadyAddresses", False))
    entries = [(one, ready) for kind, ready in kinds for one in subset.get(kind) or ()]
    mirrored.skipped += max(len(entries) - ADDRESSES_MAX, 0)
    for one, ready in itertools.islice(entries, ADDRESSES_MAX):
        address = addresses.parse_sloppy(one.get("ip") or "")
        if address is None:
            mirrored.invalid += 1
        else:
            group = mirrored.groups[f"IPv{address.version}", ports]
            group.append(_endpoint(one, str(address), ready=ready))


def _endpoint(one: Obj, address: str, *, ready: bool) -> dict[str, Any]:
    made: dict[str, Any] = {"addresses": [address], "conditions": {"ready": ready}}
    for key in ("targetRef", "nodeName", "hostname"):
        if one.get(key):
            made[key] = one[key]
    return made


def write(
    endpoints: Obj, group: Group, entries: Sequence[Obj], found: Obj | None
) -> Iterator[Action]:
    """Create the slice of a group, or update it where it differs."""
    family, ports = group
    notes = {k: v for k, v in annotations_of(endpoints).items() if k != NOT_COPIED}
    name = endpoints["metadata"]["name"]
    labels = {**labels_of(endpoints), SERVICE_LABEL: name, MANAGED_BY: MANAGER}
    content = {"endpoints": list(entries), "ports": [port.document() for port in ports] or None}
    if found is None:
        metadata = {
            "generateName": f"{name}-",
            "namespace": endpoints["metadata"]["namespace"],
            "labels": labels,
            "annotations": notes,
            "ownerReferences": [owner_reference(endpoints)],
        }
        kind = {"apiVersion": ENDPOINTSLICES.api_version, "kind": ENDPOINTSLICES.kind}
        made = {**kind, "metadata": metadata, "addressType": family, **content}
        yield Create(ENDPOINTSLICES, made)
        return
    same = labels_of(found) == labels and annotations_of(found) == notes
    there = list(found.get("endpoints") or ())
    if not same or group_of(found) != group or there != list(entries):
        metadata = {**found["metadata"], "labels": labels, "annotations": notes}
        yield Update(ENDPOINTSLICES, {**found, "metadata": metadata, **content})


def _deletions(slices: Sequence[Obj]) -> Iterator[Action]:
    for one in slices:
        if not is_deleting(one):
            yield Delete(ENDPOINTSLICES, key_of(one), uid_of(one))


def of_same_name(old: Item | None, new: Item | None, _: Context) -> Iterator[Key]:
    """Look at the Endpoints of a service."""
    item = new or old
    if item is not None:
        yield item.key


def of_slice(old: Item | None, new: Item | None, _: Context) -> Iterator[Key]:
    """Look at the Endpoints that a slice mirrors, or mirrored before."""
    for item in (old, new):
        if item is not None and item.labels.get(MANAGED_BY) == MANAGER:
            yield Key(item.key.namespace, item.labels.get(SERVICE_LABEL, ""))


CONTROLLER = Controller(
    name="endpointslice-mirroring-controller",
    user="endpointslicemirroring-controller",
    watches=ENDPOINTS,
    also=(Also(SERVICES, of_same_name), Also(ENDPOINTSLICES, of_slice)),
    reconcile=reconcile,
)

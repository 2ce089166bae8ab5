"""Endpoints: the addresses behind a Service in the form from before endpoint slices.

Pods with the same ports share a subset. Over a thousand addresses the rest is left out, those that
are not ready first and each subset in proportion, with an annotation that says so.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from minikube_py.api.core import ENDPOINTS, PODS, SERVICES
from minikube_py.api.object import (
    Key,
    Obj,
    annotations_of,
    evolve,
    get,
    key_of,
    labels_of,
    uid_of,
    without,
)
from minikube_py.client.actions import Action, Create, Delete, Update
from minikube_py.client.controller import Also, Context, Controller
from minikube_py.server.controllers.pod_facts import PodFacts
from minikube_py.server.controllers.services import (
    HEADLESS_LABEL,
    Backend,
    Port,
    addresses_of,
    backends_of,
    families_of,
    hostname_of,
    index_services,
    is_headless,
    of_dependent,
    of_pod,
    selector_of,
    target_reference,
)

MANAGED_BY = "endpoints.kubernetes.io/managed-by"
NAME = "endpoint-controller"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
ADDRESSES_MAX = 1000
Subsets = Sequence[Obj]


async def reconcile(key: Key, ctx: Context) -> None:
    """See to the Endpoints of one service."""
    service, found = ctx.lister(SERVICES).get(key), ctx.lister(ENDPOINTS).get(key)
    if service is None:
        await ctx.apply(plan_removal(found))
    elif selector_of(service):
        await ctx.apply(plan(service, backends_of(service, ctx), found))


def plan_removal(found: Obj | None) -> Iterator[Action]:
    """Delete the Endpoints of a service that is gone, if they are ours."""
    if found is not None and labels_of(found).get(MANAGED_BY) == NAME:
        yield Delete(ENDPOINTS, key_of(found), uid_of(found))


def plan(service: Obj, backends: Iterable[Backend], found: Obj | None) -> Iterator[Action]:
    """Create or update the Endpoints where they differ from what the pods say."""
    subsets, over = derive(service, backends)
    labels = {key: v for key, v in labels_of(service).items() if key != HEADLESS_LABEL}
    labels[MANAGED_BY] = NAME
    if is_headless(service):
        labels[HEADLESS_LABEL] = ""
    if found is None:
        metadata: dict[str, Any] = {**key_of(service)._asdict(), "labels": labels}
        if over:
            metadata["annotations"] = {OVER_CAPACITY: "truncated"}
        kind = {"apiVersion": "v1", "kind": "Endpoints"}
        yield Create(ENDPOINTS, {**kind, "metadata": metadata, "subsets": subsets})
        return
    wanted: Obj = found
    if labels_of(found) != labels:
        wanted = evolve(wanted, "metadata.labels", labels)
    if over != (OVER_CAPACITY in annotations_of(found)):
        path = ("metadata", "annotations", OVER_CAPACITY)
        wanted = evolve(wanted, path, "truncated") if over else without(wanted, path)
    if (found.get("subsets") or []) != subsets:
        wanted = evolve(wanted, "subsets", subsets)
    if wanted is not found:
        yield Update(ENDPOINTS, wanted)


def derive(service: Obj, backends: Iterable[Backend]) -> tuple[list[Obj], bool]:
    """Return the subsets, and whether addresses had to be left out."""
    anyway = bool(get(service, "spec.publishNotReadyAddresses"))
    family = families_of(service)[0]
    ready: Groups = defaultdict(list)
    not_ready: Groups = defaultdict(list)
    for pod, ports in backends:
        addresses = addresses_of(pod, family)
        if not addresses or (pod.deleting and not anyway):
            continue
        if not ports and get(service, "spec.ports", ()):
            continue
        where = ready if anyway or pod.ready else not_ready
        where[ports].append(address(service, pod, addresses[0]))
    over = truncate(ready, not_ready)
    subsets: list[Obj] = [
        _subset(ports, ready, not_ready) for ports in sorted({*ready, *not_ready})
    ]
    return [one for one in subsets if "addresses" in one or "notReadyAddresses" in one], over


Groups = dict[tuple[Port, ...], list[Obj]]


def truncate(ready: Groups, not_ready: Groups) -> bool:
    """Leave out what is over the limit; tell whether anything was."""
    total_ready, total = (sum(map(len, one.values())) for one in (ready, not_ready))
    if total_ready + total <= ADDRESSES_MAX:
        return False
    room = max(ADDRESSES_MAX - total_ready, 0)
    if total_ready > ADDRESSES_MAX:
        _share(ready, total_ready, ADDRESSES_MAX)
    _share(not_ready, total, room)
    return True


def _share(groups: Groups, total: int, room: int) -> None:
    """Give each group its part of the room, rounded up; the last ones get what is left."""
    left = room
    for ports in sorted(groups):
        part = min(math.ceil(len(groups[ports]) / total * room), left)
        groups[ports] = sorted(groups[ports], key=_by_address)[:part]
        left -= part


def address(service: Obj, pod: PodFacts, ip: str) -> dict[str, Any]:
    """Return the entry of one pod."""
    made: dict[str, Any] = {"ip": ip}
    if hostname := hostname_of(pod, service):
        made["hostname"] = hostname
    if pod.node:
        made["nodeName"] = pod.node
    made["targetRef"] = target_reference(pod)
    return made


def _subset(
    ports: tuple[Port, ...],
    ready: Mapping[tuple[Port, ...], Sequence[Obj]],
    not_ready: Mapping[tuple[Port, ...], Sequence[Obj]],
) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if ready.get(ports):
        made["addresses"] = sorted(ready[ports], key=_by_address)
    if not_ready.get(ports):
        made["notReadyAddresses"] = sorted(not_ready[ports], key=_by_address)
    if ports:
        made["ports"] = [_port(port) for port in ports]
    return made


def _port(port: Port) -> dict[str, Any]:
    """Return the port; a single port has no name, and an empty one is left out."""
    document = port.document()
    return document if port.name else {k: v for k, v in document.items() if k != "name"}


def _by_address(entry: Obj) -> tuple[str, str]:
    return entry["ip"], get(entry, "targetRef.uid", "")


CONTROLLER = Controller(
    name=NAME,
    watches=SERVICES,
    also=(
        Also(PODS, of_pod),
        Also(ENDPOINTS, of_dependent(lambda item: item.key.name)),
    ),
    reconcile=reconcile,
    start=index_services,
)

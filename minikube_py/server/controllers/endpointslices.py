"""Endpoint slices: the addresses behind a Service, a hundred to an object.

Pods that resolve the service's ports to the same numbers share slices. A change touches as few
slices as it can: an endpoint stays in the slice it is in, new ones go into slices that change
anyway, then into one with room for all of them, then into new ones.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from minikube_py.api.core import NODES, PODS, SERVICES
from minikube_py.api.endpointslices import ENDPOINTSLICES
from minikube_py.api.item import Item
from minikube_py.api.object import (
    Key,
    Obj,
    evolve,
    get,
    is_deleting,
    key_of,
    labels_of,
    owner_reference,
    uid_of,
)
from minikube_py.client.actions import Action, Create, Delete, Update
from minikube_py.client.controller import Also, Context, Controller
from minikube_py.lib.tallies import Metric
from minikube_py.server.controllers.endpointslice_hints import (
    ZONE,
    Zones,
    hints,
    is_asked_for,
    ready_zones,
    told,
    with_hints,
)
from minikube_py.server.controllers.endpointslice_hints import zones_of as shares
from minikube_py.server.controllers.pod_facts import PodFacts
from minikube_py.server.controllers.pods import NODE, index_nodes
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
    port_of,
    selector_of,
    target_reference,
)

SERVICE_LABEL = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
FAMILIES = ("IPv4", "IPv6")
ENDPOINTS_MAX = 100
ASKING = "asking"
"""Name of the index of services that ask for hints by CPU."""
Ports = tuple[Port, ...]


@dataclass
class Draft:
    """A slice as it is to be; `found` is the one that there is."""

    ports: Ports
    endpoints: list[Obj]
    found: Obj | None = None
    changed: bool = False

    @property
    def room(self) -> int:
        """How many more endpoints fit."""
        return ENDPOINTS_MAX - len(self.endpoints)


@dataclass(frozen=True)
class Observed:
    """What a service's slices are derived from."""

    backends: Sequence[Backend]
    slices: Sequence[Obj] = ()
    zones: Mapping[str, str] = field(default_factory=dict)
    """The zone of each node that has one."""
    shares: Zones | None = None
    """The part of each zone, where the service asks for hints by that."""


CHANGES = Metric(
    "endpoint_slice_controller_changes", "Number of EndpointSlice changes", ("operation",)
)


async def reconcile(key: Key, ctx: Context) -> None:
    """See to the slices of one service."""
    service = ctx.lister(SERVICES).get(key)
    if service is None or is_deleting(service) or not selector_of(service):
        for family in FAMILIES:
            ctx.memory.pop((key, family), None)
        return  # the slices of a service that is gone go with their owner
    backends = backends_of(service, ctx)
    owned = ctx.lister(ENDPOINTSLICES).owned_by(uid_of(service))
    slices = [one for one in owned if labels_of(one).get(MANAGED_BY) == MANAGER]
    shares = shares_of(ctx) if is_asked_for(service) else None
    observed = Observed(backends, slices, zones_of(backends, ctx), shares)
    actions = list(plan(service, observed))
    await ctx.apply(actions)
    for action in actions:
        ctx.tallies.count(CHANGES, type(action).__name__.lower())
    for family in families_of(service):
        await ctx.apply(plan_told(service, family, observed, ctx))


def shares_of(ctx: Context) -> Zones:
    """Return what part of all CPUs each zone has."""
    return shares(item.obj for item in ctx.lister(NODES).items())


def plan_told(service: Obj, family: str, observed: Observed, ctx: Context) -> Iterator[Action]:
    """Say whether there are hints, when that is news."""
    key = key_of(service), family
    if observed.shares is None:
        ctx.memory.pop(key, None)
        return
    unhinted = endpoints_by_ports(service, family, replace(observed, shares=None))
    problem = hints(ready_zones(unhinted.values()), observed.shares).problem
    if ctx.memory.get(key) != problem:
        ctx.memory[key] = problem
        yield told(service, family, problem)


def zones_of(backends: Iterable[Backend], ctx: Context) -> dict[str, str]:
    """Return the zones of the pods' nodes."""
    nodes = ctx.lister(NODES)
    found = {}
    for name in {backend.pod.node for backend in backends}:
        node = nodes.item(Key("", name))
        if node is not None and ZONE in node.labels:
            found[name] = node.labels[ZONE]
    return found


def plan(service: Obj, observed: Observed) -> Iterator[Action]:
    """Create, update and delete slices so that they show exactly what the pods say."""
    families = families_of(service)
    for family in families:
        slices = [one for one in observed.slices if one.get("addressType") == family]
        wanted = endpoints_by_ports(service, family, observed)
        yield from plan_family(service, family, wanted, slices)
    for one in observed.slices:
        if one.get("addressType") not in families:
            yield Delete(ENDPOINTSLICES, key_of(one), uid_of(one))


def endpoints_by_ports(
    service: Obj, family: str, observed: Observed
) -> dict[Ports, dict[str, Obj]]:
    """Return the endpoints by the pod's uid, in groups with the same ports."""
    groups: dict[Ports, dict[str, Obj]] = defaultdict(dict)
    for pod, ports in observed.backends:
        addresses = addresses_of(pod, family)
        if addresses:
            groups[ports][pod.uid] = endpoint(service, pod, addresses, observed.zones)
    return groups if observed.shares is None else with_hints(groups, observed.shares)


def endpoint(
    service: Obj, pod: PodFacts, addresses: Sequence[str], zones: Mapping[str, str]
) -> dict[str, Any]:
    """Return the endpoint of one pod."""
    anyway = bool(get(service, "spec.publishNotReadyAddresses"))
    made: dict[str, Any] = {
        "addresses": list(addresses),
        "conditions": {
            "ready": anyway or (pod.ready and not pod.deleting),
            "serving": pod.ready,
            "terminating": pod.deleting,
        },
        "targetRef": target_reference(pod),
    }
    if hostname := hostname_of(pod, service):
        made["hostname"] = hostname
    if pod.node:
        made["nodeName"] = pod.node
        if zone := zones.get(pod.node):
            made["zone"] = zone
        if hints := _hints(service, pod.node, zones.get(pod.node, "")):
            made["hints"] = hints
    return made


def _hints(service: Obj, node: str, zone: str) -> dict[str, Any]:
    """Return who should use the endpoint, where the service asks for traffic to stay close."""
    how = "" if is_asked_for(service) else get(service, "spec.trafficDistribution", "")
    hints: dict[str, Any] = {}
    if zone and how in ("PreferClose", "PreferSameZone", "PreferSameNode"):
        hints["forZones"] = [{"name": zone}]
    if how == "PreferSameNode":
        hints["forNodes"] = [{"name": node}]
    return hints


def plan_family(
    service: Obj, family: str, wanted: Mapping[Ports, Mapping[str, Obj]], slices: Sequence[Obj]
) -> Iterator[Action]:
    """Settle the slices of one address family."""
    drafts = drafts_of(wanted, slices)
    full = [draft for draft in drafts if draft.endpoints]
    empty = [draft.found for draft in drafts if not draft.endpoints and draft.found is not None]
    if not full:  # a service without endpoints has one slice that says so
        full = [Draft((), [], changed=True)]
    for draft in full:
        if draft.found is None and empty:
            draft.found = empty.pop(0)  # rather change a slice than delete one and create another
    for draft in full:
        yield from write(service, family, draft)
    for one in empty:
        yield Delete(ENDPOINTSLICES, key_of(one), uid_of(one))


def drafts_of(wanted: Mapping[Ports, Mapping[str, Obj]], slices: Sequence[Obj]) -> list[Draft]:
    """Distribute the endpoints over the slices that there are and, where needed, new ones."""
    groups: dict[Ports, list[Draft]] = defaultdict(list)
    left = {ports: dict(endpoints) for ports, endpoints in wanted.items()}
    for one in sorted(slices, key=key_of):
        ports = tuple(sorted(map(port_of, one.get("ports") or ())))
        groups[ports].append(_kept(one, ports, left.get(ports, {})))
    for ports in sorted(left):
        groups[ports] = _filled(groups[ports], ports, list(left[ports].values()))
    return [draft for ports in sorted(groups) for draft in groups[ports]]


def _kept(one: Obj, ports: Ports, left: dict[str, Obj]) -> Draft:
    """Return the draft of a slice with those of its endpoints that are still wanted."""
    before = one.get("endpoints") or []
    uids = (get(entry, "targetRef.uid", "") for entry in before)
    endpoints = [left.pop(uid) for uid in uids if uid in left]
    return Draft(ports, endpoints, one, changed=endpoints != list(before))


def _filled(drafts: list[Draft], ports: Ports, left: list[Obj]) -> list[Draft]:
    """Put the endpoints that no slice has yet into some."""
    for draft in drafts:
        if draft.changed and left:
            taken, left = left[: draft.room], left[draft.room :]
            draft.endpoints += taken
    fitting = [draft for draft in drafts if draft.endpoints and draft.room >= len(left)]
    if left and fitting:
        fullest = min(fitting, key=lambda draft: draft.room)
        fullest.endpoints += left
        fullest.changed, left = True, []
    chunks = (left[at : at + ENDPOINTS_MAX] for at in range(0, len(left), ENDPOINTS_MAX))
    return drafts + [Draft(ports, chunk, changed=True) for chunk in chunks]


def write(service: Obj, family: str, draft: Draft) -> Iterator[Action]:
    """Create the slice, or update it where it differs."""
    labels = labels_for(service)
    content = {
        "endpoints": draft.endpoints or None,
        "ports": [port.document() for port in draft.ports] or None,
    }
    if draft.found is None:
        metadata = {
            "generateName": f"{service['metadata']['name']}-",
            "namespace": service["metadata"]["namespace"],
            "labels": labels,
            "ownerReferences": [owner_reference(service)],
        }
        kind = {"apiVersion": ENDPOINTSLICES.api_version, "kind": ENDPOINTSLICES.kind}
        yield Create(
            ENDPOINTSLICES, {**kind, "metadata": metadata, "addressType": family, **content}
        )
        return
    wanted: Obj = draft.found
    ports = tuple(sorted(map(port_of, draft.found.get("ports") or ())))
    endpoints = list(draft.found.get("endpoints") or ())
    if endpoints != draft.endpoints or ports != draft.ports:
        wanted = {**wanted, **content}
    if labels_of(wanted) != labels:
        wanted = evolve(wanted, "metadata.labels", labels)
    if wanted is not draft.found:
        yield Update(ENDPOINTSLICES, wanted)


def labels_for(service: Obj) -> dict[str, str]:
    """Return the labels of the service's slices: its own and those that lead back to it."""
    ours = (SERVICE_LABEL, MANAGED_BY, HEADLESS_LABEL)
    labels = {key: value for key, value in labels_of(service).items() if key not in ours}
    labels[SERVICE_LABEL] = service["metadata"]["name"]
    labels[MANAGED_BY] = MANAGER
    if is_headless(service):
        labels[HEADLESS_LABEL] = ""
    return labels


def of_node(old: Item | None, new: Item | None, ctx: Context) -> Iterator[Key]:
    """Look at the services with endpoints on a node that came to another zone.

    Those with hints by CPU look at every node.
    """
    node = new or old
    if node is None:
        return
    before, after = (one.labels.get(ZONE) if one is not None else None for one in (old, new))
    if before != after:
        for pod in ctx.lister(PODS).indexed(NODE, node.key.name):
            yield from of_pod(None, pod, ctx)
    asking = ctx.lister(SERVICES).indexed(ASKING, ASKING)
    if asking and _counts(old) != _counts(new):
        yield from (service.key for service in asking)


def _counts(node: Item | None) -> Zones | None:
    """Return what counts of a node for the shares of zones."""
    return None if node is None else shares([node.obj])


def _asks(service: Item) -> tuple[str, ...]:
    return (ASKING,) if is_asked_for(service.obj) else ()


def start(ctx: Context) -> None:
    """Make services and pods findable."""
    index_services(ctx)
    index_nodes(ctx)
    ctx.lister(SERVICES).add_index(ASKING, _asks)


CONTROLLER = Controller(
    name="endpointslice-controller",
    watches=SERVICES,
    also=(
        Also(PODS, of_pod),
        Also(NODES, of_node),
        Also(
            ENDPOINTSLICES,
            of_dependent(lambda item: item.labels.get(SERVICE_LABEL, "")),
        ),
    ),
    reconcile=reconcile,
    start=start,
)

"""What services ask of nodes where there is no cloud, and how ports are shared out; pure."""

import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from minikube_py.api.object import Key, Obj, get, key_of, labels_of
from minikube_py.server.cloud.nodes import addresses_of, is_ready, may_be_balanced

ENABLED = "kpy.dev/load-balancer"
"""Label of nodes: where any has it with the value `true`, only such nodes are load balancers."""
POOL = "kpy.dev/load-balancer-pool"
"""Label of nodes and services: a service that has it is served by nodes with the same value."""
ADDRESSES_MAX = 256
"""A service that many nodes serve is not known by more addresses than clients ever try."""


class Port(NamedTuple):
    """A port of a machine."""

    protocol: str
    number: int

    def __str__(self) -> str:
        return f"{self.number}/{self.protocol}"


@dataclass(frozen=True)
class Machine:
    """A node that may serve."""

    name: str
    addresses: tuple[str, ...]
    enabled: bool
    pool: str


@dataclass(frozen=True)
class Ask:
    """What a service asks for."""

    key: Key
    rank: tuple[bool, str, Key]
    """Who comes first: those that have a load balancer, then the older ones."""
    ports: tuple[Port, ...]
    families: tuple[str, ...]
    pool: str
    serving: frozenset[str] | None
    """Nodes with endpoints, where only they are to be sent to."""
    current: tuple[str, ...] = ()
    """The addresses that its status shows."""
    requested: str = ""
    """The address that its user wants."""


@dataclass(frozen=True)
class Verdict:
    """What a service gets, and why not more."""

    addresses: tuple[str, ...] = ()
    conflict: str = ""
    reason: str = "PortConflict"
    """Of the event that tells of the conflict."""
    announcer: str = ""
    """The node that answers for the addresses, where they are none of its own."""


Taken = Callable[[Machine, Port, Key], str]
"""Who has a port of a machine before all services, "" where nobody but the service of the key."""


def derive(asks: Iterable[Ask], machines: Iterable[Machine], taken: Taken) -> dict[Key, Verdict]:
    """Share the ports of the machines out; pure."""
    chosen = willing(machines)
    given: dict[tuple[str, Port], Key] = {}
    verdicts = {}
    for ask in sorted(asks, key=lambda ask: ask.rank):
        addresses: list[str] = []
        conflict = ""
        for machine in chosen:
            if ask.pool and machine.pool != ask.pool:
                continue
            own = [a for a in machine.addresses if family_of(a) in ask.families]
            if problem := _conflict(ask, machine, own, taken, given):
                conflict = conflict or problem
                continue
            given.update({(address, port): ask.key for address in own for port in ask.ports})
            if ask.serving is None or machine.name in ask.serving:
                addresses += own
        addresses.sort(key=lambda address: ask.families.index(family_of(address)))
        verdicts[ask.key] = Verdict(tuple(addresses[:ADDRESSES_MAX]), conflict)
    return verdicts


def willing(machines: Iterable[Machine]) -> list[Machine]:
    """Return the machines that are load balancers, by name: those labelled so, if any are."""
    known = sorted(machines, key=lambda machine: machine.name)
    labelled = [machine for machine in known if machine.enabled]
    return labelled or known


def _conflict(
    ask: Ask,
    machine: Machine,
    addresses: Sequence[str],
    taken: Taken,
    given: Mapping[tuple[str, Port], Key],
) -> str:
    for port in ask.ports:
        holder = taken(machine, port, ask.key)
        for address in addresses:
            if (address, port) in given:
                holder = holder or f"service {given[address, port]}"
        if holder:
            return f"port {port} of node {machine.name} is taken by {holder}"
    return ""


def family_of(address: str) -> str:
    """Return the family of an address, as services name it."""
    return "IPv6" if ":" in address else "IPv4"


def machine_of(node: Obj) -> Machine | None:
    """Return what counts of a node; None where it may not serve now."""
    if not may_be_balanced(node) or not is_ready(node):
        return None
    labels = labels_of(node)
    found = [str(ipaddress.ip_address(text)) for text in addresses_of(node, "InternalIP")]
    return Machine(
        node["metadata"]["name"],
        tuple(found),
        labels.get(ENABLED) == "true",
        labels.get(POOL, ""),
    )


def ask_of(service: Obj, slices: Iterable[Obj]) -> Ask:
    """Return what a service asks for."""
    spec = service["spec"]
    ingress: Sequence[Obj] = get(service, "status.loadBalancer.ingress") or ()
    created = service["metadata"].get("creationTimestamp") or ""
    local = spec.get("externalTrafficPolicy") == "Local"
    return Ask(
        key=key_of(service),
        rank=(not ingress, created, key_of(service)),
        ports=tuple(
            Port(port.get("protocol") or "TCP", port["port"]) for port in spec.get("ports") or ()
        ),
        families=tuple(spec.get("ipFamilies") or ("IPv4",)),
        pool=labels_of(service).get(POOL, ""),
        serving=serving_nodes(slices) if local else None,
        current=tuple(one["ip"] for one in ingress if one.get("ip")),
        requested=spec.get("loadBalancerIP") or "",
    )


def serving_nodes(slices: Iterable[Obj]) -> frozenset[str]:
    """Return the nodes that have ready endpoints."""
    return frozenset(
        endpoint["nodeName"]
        for one in slices
        for endpoint in one.get("endpoints") or ()
        if endpoint.get("nodeName") and get(endpoint, "conditions.ready", default=True)
    )

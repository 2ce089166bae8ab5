"""What a service puts into the maps and sets of the ruleset; pure.

A service is a set of elements; a ruleset is the union of the elements of all services. So a
change of one service is a difference of two small sets, whatever else there is.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from minikube_py.agent.nft_elements import Element
from minikube_py.agent.proxy.chains import AFFINITY_SLOTS, IPV4, Chain, Family, map_name
from minikube_py.agent.proxy.endpoints import (
    FAMILIES,
    Chosen,
    Endpoint,
    Node,
    choose,
    is_address,
)
from minikube_py.api import addresses
from minikube_py.api.object import Obj, get

NOT_OURS = ("service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless")
"""Labels of services that another proxy serves, or none: whatever their value."""
AFFINITY_SECONDS = 10800
"""The default of sessionAffinityConfig.clientIP.timeoutSeconds."""
PROTOCOLS = frozenset({"TCP", "UDP", "SCTP"})
"""SCTP finds its way where the kernel has it; where not, its rules meet no packets."""
REJECT, DROP = "goto refuse", "drop"


@dataclass(frozen=True, kw_only=True)
class ProxyConfig:
    """What the rules of a node depend on beside services."""

    node: Node
    cluster_cidr: str
    """Network of all pods, of this family."""
    service_cidr: str
    local_addresses: frozenset[str] = frozenset()
    """Service addresses that this node serves itself (cluster DNS): they get no rules."""
    family: Family = IPV4
    localhost: bool = True
    """Whether 127.0.0.1 has node ports; ::1 never has."""


class Front(NamedTuple):
    """An address (none for a node port) and port that a service is reached by."""

    address: str
    protocol: str
    port: int

    @property
    def key(self) -> str:
        """The key in the maps."""
        port = f"{self.protocol.lower()} . {self.port}"
        return f"{self.address} . {port}" if self.address else port


def derive(service: Obj, slices: Sequence[Obj], config: ProxyConfig) -> tuple[Element, ...]:
    """Return the elements of one service, sorted; empty where it is not proxied."""
    return tuple(sorted(dict.fromkeys(_elements(service, slices, config))))


def _elements(service: Obj, slices: Sequence[Obj], config: ProxyConfig) -> Iterator[Element]:
    own_ips = [address for address in cluster_ips(service) if _of_family(address, config)]
    labels = service["metadata"].get("labels") or {}
    if not own_ips or any(label in labels for label in NOT_OURS):
        return
    for address in own_ips:
        yield Element("cluster-ips", address)
    kind = _address_type(config)
    own = [piece for piece in slices if piece.get("addressType") == kind]
    for port in service["spec"].get("ports") or ():
        protocol = port.get("protocol") or "TCP"
        if protocol in PROTOCOLS:
            chosen = choose(own, port.get("name") or "", protocol, config.node)
            yield from _port_elements(service, port, own_ips, chosen, config)


def cluster_ips(service: Obj) -> list[str]:
    """Return the addresses of a service; empty for headless ones and ExternalName."""
    spec = service["spec"]
    if spec.get("type") == "ExternalName":
        return []
    found = spec.get("clusterIPs") or [spec.get("clusterIP") or "None"]
    return [address for address in found if address and address != "None"]


def external_ips(service: Obj) -> list[str]:
    """Return the addresses outside the cluster's networks that lead to a service."""
    ingresses = get(service, "status.loadBalancer.ingress") or ()
    balanced = [i["ip"] for i in ingresses if i.get("ip") and i.get("ipMode") != "Proxy"]
    return [*(service["spec"].get("externalIPs") or ()), *balanced]


def _port_elements(
    service: Obj, port: Obj, own_ips: Sequence[str], chosen: Chosen, config: ProxyConfig
) -> Iterator[Element]:
    spec, protocol, number = service["spec"], port.get("protocol") or "TCP", port["port"]
    affinity = affinity_seconds(service)
    if affinity:
        chosen = Chosen(*(endpoints[: AFFINITY_SLOTS - 1] for endpoints in chosen))
    internal = chosen.local if spec.get("internalTrafficPolicy") == "Local" else chosen.cluster
    for address in own_ips:
        front = Front(address, protocol, number)
        yield from _internal(front, internal, affinity, empty=not chosen.cluster)
    fronts = [
        Front(address, protocol, number)
        for address in external_ips(service)
        if _of_family(address, config)
    ]
    yield from _source_ranges(service, fronts, config)
    if port.get("nodePort"):
        fronts.append(Front("", protocol, port["nodePort"]))
    is_local = spec.get("externalTrafficPolicy") == "Local"
    for front in fronts:
        yield from _external(front, chosen, affinity, local=is_local)
    for endpoint in (*chosen.cluster, *chosen.local):
        if endpoint.local:
            yield Element("hairpin", f"{endpoint.ip} . {endpoint.ip}")


def _internal(
    front: Front, endpoints: Sequence[Endpoint], affinity: int, *, empty: bool
) -> Iterator[Element]:
    if not endpoints:
        # Where only other nodes have endpoints, silence is what upstream gives.
        yield Element("no-endpoints", front.key, REJECT if empty else DROP)
        return
    chain = Chain("c", len(endpoints), affinity_seconds=affinity)
    yield Element("services", front.key, f"goto {chain.name}")
    yield from _backends(front, endpoints, affinity, local=False)


def _external(front: Front, chosen: Chosen, affinity: int, *, local: bool) -> Iterator[Element]:
    node_port = not front.address
    if not chosen.cluster:
        yield Element("np-no-endpoints" if node_port else "no-endpoints", front.key, REJECT)
        return
    chain = Chain("x", len(chosen.cluster), node_port, affinity)
    if local:
        chain = chain._replace(kind="e", local_size=len(chosen.local))
        yield from _backends(front, chosen.local, affinity, local=True)
    yield Element("np-services" if node_port else "services", front.key, f"goto {chain.name}")
    yield from _backends(front, chosen.cluster, affinity, local=False)


def _backends(
    front: Front, endpoints: Sequence[Endpoint], affinity: int, *, local: bool
) -> Iterator[Element]:
    """Yield the endpoints of a front: by number, or by slot where clients stick to them.

    IPv6 clients stick to numbers (see chains.py).
    """
    node_port = not front.address
    if not affinity or any(":" in endpoint.ip for endpoint in endpoints[:1]):
        container = map_name("endpoints", node_port=node_port, local=local)
        key = front.key
        for index, endpoint in enumerate(endpoints):
            yield Element(container, f"{key} . {index}", f"{endpoint.ip} . {endpoint.port}")
        return
    slots = map_name("slots", node_port=node_port, local=local)
    sticky = map_name("sticky", node_port=node_port, local=local)
    for index, (slot, endpoint) in enumerate(slots_of(endpoints).items()):
        yield Element(slots, f"{front.key} . {index:#010x}", f"{slot:#010x}")
        yield Element(sticky, f"{front.key} . {slot:#010x}", f"{endpoint.ip} . {endpoint.port}")


def slots_of(endpoints: Sequence[Endpoint]) -> dict[int, Endpoint]:
    """Give each endpoint a number that the others' coming and going hardly ever changes."""
    taken: dict[int, Endpoint] = {}
    for endpoint in endpoints:
        address = int(ipaddress.ip_address(endpoint.ip))
        # Knuth's multiplicative hash; 0 is left out because it is the mark of packets unseen.
        slot = (address * 2654435761 + endpoint.port * 40503 >> 7) % AFFINITY_SLOTS
        while slot == 0 or slot in taken:
            slot = (slot + 1) % AFFINITY_SLOTS
        taken[slot] = endpoint
    return taken


def affinity_seconds(service: Obj) -> int:
    """Return how long a client stays with its endpoint; 0 where it does not."""
    if service["spec"].get("sessionAffinity") != "ClientIP":
        return 0
    return int(get(service, "spec.sessionAffinityConfig.clientIP.timeoutSeconds", AFFINITY_SECONDS))


def _source_ranges(service: Obj, fronts: Iterable[Front], config: ProxyConfig) -> Iterator[Element]:
    """LoadBalancerSourceRanges: the addresses of a load balancer are closed to all others."""
    texts = service["spec"].get("loadBalancerSourceRanges") or ()
    if not texts:
        return
    balanced = {i.get("ip") for i in get(service, "status.loadBalancer.ingress") or ()}
    ranges = list(_disjoint([text.strip() for text in texts], config.family))
    for front in fronts:
        if front.address in balanced:
            yield Element("guarded", front.key)
            for network in ranges:
                yield Element("admitted", f"{front.key} . {network}")


def _disjoint(texts: Iterable[str], family: Family) -> Iterator[str]:
    """Yield networks of a family without those inside others, which the kernel would refuse."""
    found = [network for network in map(addresses.parse_cidr_sloppy, texts) if network is not None]
    version = 4 if family is IPV4 else 6
    own = [network for network in found if network.version == version]
    yield from map(str, ipaddress.collapse_addresses(own))  # type: ignore[type-var]


def _address_type(config: ProxyConfig) -> str:
    return "IPv4" if config.family is IPV4 else "IPv6"


def _of_family(address: str, config: ProxyConfig) -> bool:
    """Tell whether an address is one, of the family, and not served by the node itself."""
    family = FAMILIES[_address_type(config)]
    return address not in config.local_addresses and is_address((address,), family)

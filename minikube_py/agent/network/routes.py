"""What a node needs of its kernel to reach the pods of other nodes, by back end; all of it pure.

    host-gw     a route for each network of pods, through its node's address
    vxlan       a link that wraps frames in datagrams to nodes: a route, a neighbour and an entry
                of the forwarding table (FDB) for each of them
    wireguard   a link that wraps and encrypts packets; peers say which network is behind whom
    none        nothing: another program connects pods

A `State` is what is wanted or what there is; `plan` yields the differences. Nodes tell each other
nothing for VXLAN: address and MAC of a node's link follow from its first podCIDR. Without other
nodes nothing is wanted, so a single node pays nothing.
"""

import hashlib
import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from minikube_py.api.object import Obj, annotations_of, get

BACKENDS = ("vxlan", "host-gw", "wireguard", "none")
VXLAN_LINK, WIREGUARD_LINK = "kpy-vxlan", "kpy-wg"
LINKS = {"vxlan": VXLAN_LINK, "wireguard": WIREGUARD_LINK}
"""Back end -> the link that it makes."""
VXLAN_ID, VXLAN_PORT = 1, 8472
WIREGUARD_PORT = 51820
PUBLIC_KEY = "network.kpy.dev/wireguard-public-key"
"""The annotation by which nodes tell each other their keys."""
OVERHEAD_BYTES = {
    ("vxlan", 4): 50, ("vxlan", 6): 70, ("wireguard", 4): 60, ("wireguard", 6): 80,
}  # fmt: skip
"""Back end and address family of the nodes -> what its headers take of each packet."""
MTU_MIN = 1280
"""Below this a link carries no IPv6 (RFC 8200, 5)."""


class Peer(NamedTuple):
    """A node as its network sees it."""

    name: str
    pod_cidrs: tuple[str, ...]
    addresses: tuple[str, ...]
    public_key: str = ""


class Link(NamedTuple):
    """The link through which packets travel wrapped."""

    name: str
    mtu: int
    addresses: frozenset[str]
    """With prefix: `10.42.1.0/32`."""
    mac: str = ""
    local: str = ""
    """The node's own address, from which datagrams are sent."""


class Route(NamedTuple):
    """Where packets for a network go."""

    cidr: str
    gateway: str
    """"" where the link knows."""
    link: str = ""
    """"" where the gateway's address says which."""


class Neighbour(NamedTuple):
    """The MAC of an address behind the link."""

    address: str
    mac: str


class Forward(NamedTuple):
    """The node to which frames for a MAC are sent."""

    mac: str
    address: str


@dataclass(frozen=True)
class State:
    """All that a node's kernel is told about other nodes' pods."""

    link: Link | None = None
    neighbours: frozenset[Neighbour] = field(default_factory=frozenset)
    forwards: frozenset[Forward] = field(default_factory=frozenset)
    routes: frozenset[Route] = field(default_factory=frozenset)


Part = Link | Neighbour | Forward | Route


class Change(NamedTuple):
    """One thing to add, or to take away."""

    part: Part
    is_wanted: bool


def peer_of(node: Obj) -> Peer:
    """Return what of a Node object other nodes depend on."""
    key = annotations_of(node).get(PUBLIC_KEY, "")
    return Peer(node["metadata"]["name"], tuple(pod_cidrs(node)), tuple(internal_ips(node)), key)


def internal_ips(node: Obj) -> list[str]:
    """Return the addresses that other nodes reach a node by."""
    addresses = get(node, "status.addresses") or ()
    return [entry["address"] for entry in addresses if entry["type"] == "InternalIP"]


def pod_cidrs(node: Obj) -> list[str]:
    """Return the networks that a node's pods get addresses from; empty until it has some."""
    many = get(node, "spec.podCIDRs") or ()
    one = get(node, "spec.podCIDR")
    return list(many) or ([one] if one else [])


def overhead(backend: str, node_ip: str) -> int:
    """Return by how many bytes packets of pods are smaller than those of nodes."""
    return OVERHEAD_BYTES.get((backend, ipaddress.ip_address(node_ip).version), 0)


def pod_mtu(backend: str, node_ip: str, uplink_mtu: int) -> int:
    """Return the MTU of pods; 0, the kernel's choice, where that of the uplink is not known."""
    return max(uplink_mtu - overhead(backend, node_ip), MTU_MIN) if uplink_mtu else 0


def wanted(backend: str, own: Peer, others: Iterable[Peer], mtu: int = 0) -> State:
    """Return what a node needs; `mtu` is that of its link, if it is to have one."""
    reached = [peer for peer in others if peer.pod_cidrs and peer.addresses]
    if not reached or not own.pod_cidrs:
        return State()
    if backend == "host-gw":
        return State(routes=frozenset(_direct(reached)))
    if backend == "vxlan":
        return _vxlan(own, reached, mtu)
    if backend == "wireguard":
        return _wireguard(own, reached, mtu)
    return State()


def _direct(peers: Iterable[Peer]) -> Iterator[Route]:
    for peer in peers:
        for cidr in peer.pod_cidrs:
            if gateway := _of_family(peer.addresses, ipaddress.ip_network(cidr).version):
                yield Route(cidr, gateway)


def _vxlan(own: Peer, peers: Sequence[Peer], mtu: int) -> State:
    local = own.addresses[0]
    families = {ipaddress.ip_network(cidr).version for cidr in own.pod_cidrs}
    outer = ipaddress.ip_address(local).version
    routes, neighbours, forwards = set(), set(), set()
    for peer in peers:
        address = _of_family(peer.addresses, outer)
        if not address:
            continue
        mac = mac_of(peer.pod_cidrs)
        forwards.add(Forward(mac, address))
        for cidr in peer.pod_cidrs:
            network = ipaddress.ip_network(cidr)
            if network.version in families:
                routes.add(Route(cidr, str(network[0]), VXLAN_LINK))
                neighbours.add(Neighbour(str(network[0]), mac))
    link = Link(VXLAN_LINK, mtu, link_addresses(own), mac_of(own.pod_cidrs), local)
    return State(link, frozenset(neighbours), frozenset(forwards), frozenset(routes))


def _wireguard(own: Peer, peers: Iterable[Peer], mtu: int) -> State:
    known = [peer for peer in peers if peer.public_key]
    routes = frozenset(Route(cidr, "", WIREGUARD_LINK) for peer in known for cidr in peer.pod_cidrs)
    return State(Link(WIREGUARD_LINK, mtu, link_addresses(own)), routes=routes)


def link_addresses(own: Peer) -> frozenset[str]:
    """Return the addresses of a node's link: the first of each network, which no pod gets."""
    networks = (ipaddress.ip_network(cidr) for cidr in own.pod_cidrs)
    return frozenset(f"{network[0]}/{network.max_prefixlen}" for network in networks)


def mac_of(cidrs: Sequence[str]) -> str:
    """Return the MAC of a node's link, which follows from its first network."""
    network = ipaddress.ip_network(cidrs[0])
    packed = network.network_address.packed
    tail = packed if network.version == 4 else hashlib.sha256(packed).digest()[:4]
    return ":".join(f"{byte:02x}" for byte in b"\x0a\x58" + tail)


def _of_family(addresses: Iterable[str], version: int) -> str:
    return next((a for a in addresses if ipaddress.ip_address(a).version == version), "")


def plan(wanted: State, current: State) -> Iterator[Change]:
    """Yield what turns the current state into the wanted one.

    What goes goes before what comes, and a link that goes takes all that hung on it along.
    """
    gone = _gone(current.link, wanted.link)
    was = State(
        None if gone else current.link,
        frozenset() if gone else current.neighbours,
        frozenset() if gone else current.forwards,
        frozenset(route for route in current.routes if not gone or route.link != gone),
    )
    cidrs = {route.cidr for route in wanted.routes}
    # A route that leads elsewhere from now on is replaced, so that no packet finds none.
    yield from _changes((r for r in was.routes if r.cidr not in cidrs), is_wanted=False)
    yield from _changes(was.neighbours - wanted.neighbours, is_wanted=False)
    yield from _changes(was.forwards - wanted.forwards, is_wanted=False)
    if current.link is not None and gone:
        yield Change(current.link, is_wanted=False)
    if wanted.link is not None and wanted.link != was.link:
        yield Change(wanted.link, is_wanted=True)
    yield from _changes(wanted.forwards - was.forwards, is_wanted=True)
    yield from _changes(wanted.neighbours - was.neighbours, is_wanted=True)
    yield from _changes(wanted.routes - was.routes, is_wanted=True)


def _gone(current: Link | None, wanted: Link | None) -> str:
    """Return the name of the link that has to go; one that differs little is changed in place."""
    if current is None:
        return ""
    if wanted is not None and current._replace(mtu=0, addresses=frozenset()) == wanted._replace(
        mtu=0, addresses=frozenset()
    ):
        return ""
    return current.name


def _changes(parts: Iterable[Part], *, is_wanted: bool) -> Iterator[Change]:
    for part in sorted(parts):
        yield Change(part, is_wanted)

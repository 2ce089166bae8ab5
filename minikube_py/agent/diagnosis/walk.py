"""The hops from a pod of this node to where pods send packets, in the order of the way.

    API server | pod network | node | service | DNS | each other node: node, pods, large packets

A hop says what was found; where it fails, why that is most likely so, and what to do. What cannot
be reached because an earlier hop failed is not tried. The pods of another node are represented by
their bridge, which has an address among them and answers for itself.
"""

import ipaddress
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from minikube_py.agent.diagnosis import probes
from minikube_py.agent.network.routes import VXLAN_PORT, WIREGUARD_PORT, Peer

State = Literal["ok", "FAIL", "skipped"]
Ask = Callable[[Callable[[], str]], str]
"""Runs a probe in the network of a pod, and returns what went wrong there."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What is known of the cluster on this node."""

    own: str
    backend: str
    mtu: int
    """Of pods."""
    service: str
    """Address of the API server's Service."""
    dns: Sequence[str]
    domain: str
    own_cidrs: Sequence[str]
    """The networks of this node's own pods."""
    peers: Sequence[Peer]
    """All nodes, this one included."""
    routed: frozenset[str]
    """The networks of other nodes' pods that this node has a route to."""


@dataclass(frozen=True)
class Hop:
    """One step of the way."""

    name: str
    state: State
    detail: str
    cause: str = ""
    remedy: str = ""


def gateway(cidr: str) -> str:
    """Return the address of a node's bridge among its pods."""
    return str(ipaddress.ip_network(cidr)[1])


def walk(cluster: Cluster, ask: Ask) -> Iterator[Hop]:
    """Yield the hops from a pod on."""
    for cidr in cluster.own_cidrs:
        address = gateway(cidr)
        trouble = ask(lambda address=address: probes.ping(address))  # type: ignore[misc]
        yield _hop("pod -> node", address, trouble, *NODE)
        if trouble:
            yield Hop("pod -> anything else", "skipped", "the node itself is not reached")
            return
    trouble = ask(lambda: probes.connect(cluster.service, 443))
    yield _hop("pod -> service", f"{cluster.service}:443", trouble, *SERVICE)
    yield from _names(cluster, ask)
    for peer in sorted(cluster.peers):
        if peer.name != cluster.own:
            yield from _other(cluster, peer, ask)


def _names(cluster: Cluster, ask: Ask) -> Iterator[Hop]:
    name = f"kubernetes.default.svc.{cluster.domain}"
    for server in cluster.dns:

        def probe(server: str = server) -> str:
            trouble, found = probes.resolve(server, name)
            if not trouble and cluster.service not in found and ":" not in cluster.service:
                return f"says {', '.join(found) or 'nothing'} instead of {cluster.service}"
            return trouble

        yield _hop("pod -> DNS", f"{name} at {server}", ask(probe), *DNS)


def _other(cluster: Cluster, peer: Peer, ask: Ask) -> Iterator[Hop]:
    """Yield the hops to another node: its own address, its pods, and packets as large as may be."""
    if not peer.pod_cidrs or not peer.addresses:
        yield Hop(f"pods of {peer.name}", "skipped", "the node has no network or no address yet")
        return
    address = peer.addresses[0]
    silent = ask(lambda: probes.ping(address))
    reached = False
    for cidr in peer.pod_cidrs:
        bridge = gateway(cidr)
        trouble = ask(lambda bridge=bridge: probes.ping(bridge))  # type: ignore[misc]
        if silent and trouble:
            yield _hop(f"pod -> node {peer.name}", address, silent, *CABLE)
            yield Hop(f"pod -> pods of {peer.name}", "skipped", "the node is not reached")
            return
        if not reached and not silent:
            yield Hop(f"pod -> node {peer.name}", "ok", address)
        reached = True
        words = _why_not(cluster, peer, cidr)
        yield _hop(f"pod -> pods of {peer.name}", bridge, trouble, *words)
        if not trouble and cluster.mtu:
            large = ask(lambda bridge=bridge: probes.ping(bridge, cluster.mtu))  # type: ignore[misc]
            detail = f"{bridge}, {cluster.mtu} bytes"
            yield _hop(f"large packets to {peer.name}", detail, large, *LARGE)


def _why_not(cluster: Cluster, peer: Peer, cidr: str) -> tuple[str, str]:
    """Return why the pods of a node that answers itself are not reached, and what to do."""
    if cidr not in cluster.routed:
        return (
            f"this node has no route to {cidr}",
            "look for `pod network` in the log of kpy on this node; start it where it has ended",
        )
    if cluster.backend == "host-gw":
        return (
            "the route leads to the node, which does not pass packets on, or not back",
            f"look at kpy on {peer.name}; nodes that have a router in between need vxlan",
        )
    port = {"vxlan": VXLAN_PORT, "wireguard": WIREGUARD_PORT}.get(cluster.backend)
    return (
        f"datagrams to UDP port {port} do not arrive, or the node has no route back",
        f"let UDP port {port} pass between nodes in both directions; look at kpy on {peer.name}",
    )


NODE = (
    "the bridge is down, or a rule of the packet filter drops what pods send",
    "`ip link show cni0`; `nft list ruleset` for drops; restart kpy on this node",
)
SERVICE = (
    "services are not translated here, or the server does not answer behind the address",
    "`nft list tables` must show kpy-proxy; look for `kube-proxy` in the log of kpy on this node",
)
DNS = (
    "nobody answers on the address of the cluster's DNS on this node",
    "look for `cluster DNS` in the log of kpy on this node, for drops in `nft list ruleset`",
)
CABLE = (
    "the node is down, or the network between the nodes does not carry",
    "`ping` its address from this machine; look at cables, firewalls and whether it runs",
)
LARGE = (
    "something on the way carries smaller packets than the nodes' own links say",
    "set the MTU of the nodes' links to what the network between them carries, restart kpy",
)


def _hop(name: str, detail: str, trouble: str, cause: str, remedy: str) -> Hop:
    if not trouble:
        return Hop(name, "ok", detail)
    return Hop(name, "FAIL", f"{detail}: {trouble}", cause, remedy)


def table(hops: Sequence[Hop]) -> Iterator[str]:
    """Yield the lines of a table, then cause and remedy of what failed."""
    width = max((len(hop.name) for hop in hops), default=0)
    for hop in hops:
        yield f"{hop.state:8}{hop.name:{width}}  {hop.detail}"
    for hop in hops:
        if hop.state == "FAIL":
            yield ""
            yield f"{hop.name} fails: {hop.detail}"
            yield f"  cause:  {hop.cause}"
            yield f"  remedy: {hop.remedy}"

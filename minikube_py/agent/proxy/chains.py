"""The chains that carry packets to endpoints: one for each number of endpoints, not each service.

A chain's name says what it does (`c-3`: service address, three endpoints), so whoever refers to
a chain by name knows its text, and a thousand services of three endpoints share one. The address
and port of a packet and a random number are the key of a map that holds address and port of an
endpoint. The number stays in the connection mark, where nobody minds it; nft has no other place
for it that may be part of such a key.
"""

from collections.abc import Iterator
from typing import NamedTuple

MASQUERADE_BIT = 0x4000
"""Of the packet mark; the bit that upstream's KUBE-MARK-MASQ uses."""
AFFINITY_SLOTS = 0x1000
"""Numbers that sticky endpoints may have."""


class Family(NamedTuple):
    """Words of nft that differ between IPv4 and IPv6."""

    table: str
    address: str
    unreachable: str
    here: str
    """Is this packet for this node? IPv6 has no way to send one from ::1 to a pod."""
    guard: str
    """Drops packets from outside for addresses that are local only by name (CVE-2020-8558)."""


IPV4 = Family(
    "ip",
    "ipv4_addr",
    "icmp type port-unreachable",
    "fib daddr type local",
    'iifname != "lo" ip daddr 127.0.0.0/8 drop',
)
IPV6 = Family(
    "ip6",
    "ipv6_addr",
    "icmpv6 type port-unreachable",
    "fib daddr type local ip6 daddr != ::1",
    'iifname != "lo" ip6 daddr ::1 drop',
)


class Chain(NamedTuple):
    """What one chain does; see `name`."""

    kind: str
    """c: to a service address; x: from outside, masqueraded; l: from outside, to local endpoints
    and unmasked; e: decides between c and l by where a packet comes from."""
    size: int
    """How many endpoints there are to choose from."""
    node_port: bool = False
    affinity_seconds: int = 0
    local_size: int = 0
    """Of kind e only."""

    @property
    def name(self) -> str:
        """Return the chain's name, which tells all there is to know about it."""
        prefix = f"{'np-' if self.node_port else ''}{self.kind}-{self.size}"
        local = f"-{self.local_size}" if self.kind == "e" else ""
        return f"{prefix}{local}{f'-a{self.affinity_seconds}' if self.affinity_seconds else ''}"

    @property
    def needs(self) -> "tuple[Chain, ...]":
        """Return the chains that this one goes to."""
        if self.kind != "e":
            return ()
        cluster = self._replace(kind="c", local_size=0)
        local = self._replace(kind="l", size=self.local_size, local_size=0)
        return (cluster, local) if self.local_size else (cluster,)


def parse_name(name: str) -> Chain:
    """Return the chain of a name."""
    node_port = name.startswith("np-")
    kind, *numbers = name.removeprefix("np-").split("-")
    seconds = int(numbers.pop()[1:]) if numbers[-1].startswith("a") else 0
    counts = [int(number) for number in numbers]
    return Chain(kind, counts[0], node_port, seconds, counts[1] if kind == "e" else 0)


def map_name(base: str, *, node_port: bool, local: bool) -> str:
    """Return the name of one of the maps that exist once for each kind of front."""
    return f"{'np-' if node_port else ''}{'local-' if local else ''}{base}"


def rules_of(chain: Chain, family: Family, cluster_cidr: str) -> Iterator[str]:
    """Yield the rules of a chain."""
    ip = family.table
    if chain.kind == "e":
        yield from _by_origin(chain, ip, cluster_cidr)
        return
    mark = f"meta mark set meta mark or {MASQUERADE_BIT:#x}"
    if chain.kind == "x":
        yield mark
    elif chain.kind == "c":
        # Who is not a pod may not be routed back to from an endpoint: answer through this node.
        yield f"{ip} saddr != {cluster_cidr} {mark}"
    key = front_key(family, node_port=chain.node_port)
    local = chain.kind == "l"
    if chain.affinity_seconds and family is IPV4:
        yield from _sticky(chain, key, ip, local=local)
        return
    endpoints = map_name("endpoints", node_port=chain.node_port, local=local)
    # nft 1.0.6 cannot remember IPv6 addresses in a map; a hash keeps a client with its endpoint
    # for as long as the endpoints stay the same.
    number = "jhash ip6 saddr" if chain.affinity_seconds else "numgen random"
    yield f"ct mark set {number} mod {chain.size}"
    yield f"dnat {ip} to {key} . ct mark map @{endpoints}"


def front_key(family: Family, *, node_port: bool) -> str:
    """Return the part of a packet that names a service port."""
    port = "meta l4proto . th dport"
    return port if node_port else f"{family.table} daddr . {port}"


def _by_origin(chain: Chain, ip: str, cluster_cidr: str) -> Iterator[str]:
    """Traffic policy Local binds those outside; pods and this node may go anywhere."""
    cluster, *local = (needed.name for needed in chain.needs)
    yield f"{ip} saddr {cluster_cidr} goto {cluster}"
    yield f"fib saddr type local goto {cluster}"
    yield f"goto {local[0]}" if local else "drop"


def _sticky(chain: Chain, key: str, ip: str, *, local: bool) -> Iterator[str]:
    """Send a client where it was sent before, where that endpoint is still there."""
    ids = map_name("slots", node_port=chain.node_port, local=local)
    endpoints = map_name("sticky", node_port=chain.node_port, local=local)
    client = f"{ip} saddr . {ip} daddr . meta l4proto . th dport"
    seen = affinity_map(chain.affinity_seconds)
    to = f"dnat {ip} to {key} . ct mark map @{endpoints}"
    yield (
        f"ct mark set {client} map @{seen} {key} . ct mark @{endpoints} "
        f"update @{seen} {{ {client} : ct mark }} {to}"
    )
    # An update keeps the value of an entry that is there, so a stale one goes first.
    yield f"delete @{seen} {{ {client} : ct mark }}"
    yield f"ct mark set numgen random mod {chain.size}"
    yield f"ct mark set {key} . ct mark map @{ids}"
    yield f"update @{seen} {{ {client} : ct mark }}"
    yield to


def affinity_map(seconds: int) -> str:
    """Return the name of the map that remembers clients for that long."""
    return f"affinity-{seconds}"

"""The ruleset of all services and the nft text that makes or changes it; no I/O.

The elements of each service are kept (nft_elements.py), so a change is a small transaction of
elements.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from minikube_py.agent.nft_elements import Element, Elements, element_texts
from minikube_py.agent.proxy.chains import (
    IPV4,
    MASQUERADE_BIT,
    Chain,
    Family,
    affinity_map,
    front_key,
    parse_name,
    rules_of,
)
from minikube_py.agent.proxy.rules import ProxyConfig
from minikube_py.api.object import Key

TABLE = "kpy-proxy"
NO_LOOPBACK = "ip daddr != 127.0.0.0/8"
AFFINITY_MAX = 65535
"""Clients remembered for each timeout."""


def containers(family: Family) -> dict[str, str]:
    """Return the maps and sets that are always there, by name."""
    address = family.address
    front, port = f"{address} . inet_proto . inet_service", "inet_proto . inet_service"
    target = f"{address} . inet_service"
    maps = {
        "services": f"type {front} : verdict",
        "np-services": f"type {port} : verdict",
        "no-endpoints": f"type {front} : verdict",
        "np-no-endpoints": f"type {port} : verdict",
    }
    for local in ("", "local-"):
        maps |= {
            f"{local}endpoints": f"type {front} . mark : {target}",
            f"np-{local}endpoints": f"type {port} . mark : {target}",
            f"{local}slots": f"type {front} . mark : mark",
            f"np-{local}slots": f"type {port} . mark : mark",
            f"{local}sticky": f"type {front} . mark : {target}",
            f"np-{local}sticky": f"type {port} . mark : {target}",
        }
    sets = {
        "cluster-ips": f"type {address}",
        "hairpin": f"type {address} . {address}",
        "guarded": f"type {front}",
        "admitted": f"type {front} . {address}; flags interval",
    }
    return {name: f"map {name} {{ {of}; }}" for name, of in maps.items()} | {
        name: f"set {name} {{ {of}; }}" for name, of in sets.items()
    }


class Ruleset:
    """What the kernel should hold, and the difference to what it was last told."""

    def __init__(self, config: ProxyConfig) -> None:
        self._config = config
        self._table = f"{config.family.table} {TABLE}"
        self._elements = Elements()
        self._chains: set[Chain] = set()
        """The chains that the kernel has."""
        self._coming: set[Chain] = set()
        """Those in the text that was made last: looking at all elements for them takes 50 ms."""

    @property
    def is_changed(self) -> bool:
        """Whether there is a difference to tell."""
        return self._elements.is_changed

    def __len__(self) -> int:
        return len(self._elements)

    def update(self, key: Key, elements: Sequence[Element]) -> None:
        """Put the elements of a service in place of those it had; none removes it."""
        self._elements.update(key, elements)

    def told(self) -> None:
        """Note that the kernel has been told all."""
        self._chains |= self._coming
        self._elements.told()

    def full(self) -> str:
        """Return the text that replaces whatever the table holds; equal states, equal text."""
        table = self._table
        self._chains = set()
        chains = self._coming = self._needed(self._elements)
        return "".join([
            f"table {table}\ndelete table {table}\ntable {table} {{\n",
            *(f"  {text}\n" for text in containers(self._config.family).values()),
            *self._affinity_maps(chains),
            *self._chain_texts(chains),
            *hooks(self._config),
            "}\n",
            *self._elements.texts(table),
        ])  # fmt: skip

    def changes(self) -> str:
        """Return the text that brings the kernel from what it was told to what is wanted."""
        gone, added = self._elements.difference()
        chains = self._coming = self._needed(added) - self._chains
        lines = [*self._affinity_maps(chains), *self._chain_texts(chains)]
        head = f"table {self._table} {{\n{''.join(lines)}}}\n" if lines else ""
        deleted = element_texts("delete", self._table, gone)
        return "".join([head, *deleted, *element_texts("add", self._table, added)])

    def _needed(self, elements: Iterable[Element]) -> set[Chain]:
        names = {
            element.value.removeprefix("goto ")
            for element in elements
            if element.container.endswith("services")
        }
        chains = {parse_name(name) for name in names}
        return chains | {needed for chain in chains for needed in chain.needs}

    def _affinity_maps(self, chains: Iterable[Chain]) -> Iterator[str]:
        if self._config.family is not IPV4:
            return
        for seconds in sorted({chain.affinity_seconds for chain in chains} - {0}):
            yield (
                f"  map {affinity_map(seconds)} {{ type ipv4_addr . ipv4_addr . inet_proto . "
                f"inet_service : mark; flags dynamic,timeout; timeout {seconds}s; "
                f"size {AFFINITY_MAX}; }}\n"
            )

    def _chain_texts(self, chains: Iterable[Chain]) -> Iterator[str]:
        # Those that others go to come first: nft wants to know a chain before it is named.
        for chain in sorted(chains, key=lambda chain: (chain.kind == "e", chain)):
            rules = rules_of(chain, self._config.family, self._config.cluster_cidr)
            yield _block(chain.name, rules)


def hooks(config: ProxyConfig) -> Iterator[str]:
    """Yield the chains in which packets enter the ruleset."""
    family = config.family
    ip = family.table
    front, port = front_key(family, node_port=False), front_key(family, node_port=True)
    here = family.here if config.localhost or family is not IPV4 else f"{family.here} {NO_LOOPBACK}"
    marked = f"meta mark and {MASQUERADE_BIT:#x} == {MASQUERADE_BIT:#x}"
    chains: Mapping[str, Sequence[str]] = {
        "refuse": ("meta l4proto tcp reject with tcp reset", f"reject with {family.unreachable}"),
        "dispatch": (f"{front} vmap @services", f"{here} {port} vmap @np-services"),
        "check": (
            f"{front} @guarded {front} . {ip} saddr != @admitted drop",
            f"{front} vmap @no-endpoints",
            f"{here} {port} vmap @np-no-endpoints",
        ),
        # A service address that is still there after translation has no such port.
        "unknown": (
            f"{ip} daddr @cluster-ips goto refuse",
            f"{ip} daddr {config.service_cidr} drop",
        ),
        # What fits no connection would reach the other end without translation, and reset it.
        "invalid": (
            f"{ip} saddr {config.cluster_cidr} meta l4proto tcp drop",
            f"{ip} daddr {config.cluster_cidr} meta l4proto tcp drop",
        ),
        "prerouting": ("type nat hook prerouting priority dstnat; policy accept;", "jump dispatch"),
        "output": ("type nat hook output priority -100; policy accept;", "jump dispatch"),
        "postrouting": (
            "type nat hook postrouting priority srcnat; policy accept;",
            f"{ip} saddr . {ip} daddr @hairpin ct status dnat masquerade",
            # The mark is taken off, or the datagram that carries the packet to another node has it
            # too, is translated once more and gets lost.
            f"{marked} meta mark set meta mark xor {MASQUERADE_BIT:#x} masquerade fully-random",
        ),
        "check-prerouting": (
            "type filter hook prerouting priority -110; policy accept;",
            family.guard,
            "ct state new jump check",
        ),
        "check-output": (
            "type filter hook output priority -110; policy accept;",
            "ct state new jump check",
        ),
        "unknown-forward": (
            "type filter hook forward priority filter; policy accept;",
            "ct state vmap { invalid : jump invalid, new : jump unknown }",
        ),
        "unknown-output": (
            "type filter hook output priority filter; policy accept;",
            'oifname != "lo" ct state new jump unknown',
        ),
    }
    for name, rules in chains.items():
        yield _block(name, rules)


def _block(name: str, rules: Iterable[str]) -> str:
    return "".join([f"  chain {name} {{\n", *(f"    {rule}\n" for rule in rules), "  }\n"])

"""Policies compiled for one address family: the sets and the chains that they need; pure.

    forward, input --(address of the pod)--> its chain --(allowed)--> return
                                                       --(else)-----> drop

What a selector means is a set of addresses, and is named after the selector; what a named port
means is a set of address, protocol and number. A chain has a line for each peer and protocol that
one of the policies of a pod allows, in terms of these sets, and is named after its lines. So
pods that the same policies select share a chain, pods that come and go are elements of sets, and
a chain is never changed: another text is another chain.
"""

import hashlib
import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from minikube_py.agent.policy.pods import Pod
from minikube_py.agent.proxy.chains import IPV4, Family
from minikube_py.api import addresses, selectors
from minikube_py.api.networking.networkpolicy import EGRESS, INGRESS
from minikube_py.api.object import Key, Obj
from minikube_py.api.selectors import LabelSelector

PORT_MAX = 65535
ALL_ADDRESSES = 0
"""Length of the prefix of a block that holds every address."""


class Peers(NamedTuple):
    """The pods that a peer of a rule means."""

    namespace: str
    """Where they are; "" for all that `namespaces` selects."""
    namespaces: LabelSelector
    pods: LabelSelector

    @property
    def name(self) -> str:
        """Return the name of the set that holds their addresses."""
        return f"pods-{_digest(f'{self.namespace}|{self.namespaces}|{self.pods}')}"

    def hold(self, pod: Pod, namespace_labels: Mapping[str, str]) -> bool:
        """Tell whether a pod is one of them."""
        if self.namespace and self.namespace != pod.namespace:
            return False
        return self.namespaces.matches(namespace_labels) and self.pods.matches(pod.labels)


class PortName(NamedTuple):
    """A port that a rule names."""

    name: str
    protocol: str

    @property
    def set_name(self) -> str:
        """Return the name of the set of address, protocol and number."""
        return f"port-{self.protocol.lower()}-{self.name}"


class Policy(NamedTuple):
    """One policy, compiled."""

    namespace: str
    pods: LabelSelector
    lines: Mapping[str, frozenset[str]]
    """Direction (`Ingress`, `Egress`) -> what is allowed; a direction that is not there is free."""
    peers: frozenset[Peers]
    ports: frozenset[PortName]


class Chain(NamedTuple):
    """What the pods with one set of policies may do in one direction."""

    name: str
    lines: tuple[str, ...]


class Program(NamedTuple):
    """All policies, compiled for one address family."""

    policies: Mapping[str, Sequence[Policy]]
    """By namespace."""
    peers: Mapping[str, Peers]
    """By the name of their set."""
    ports: Mapping[PortName, str]
    """Port that some rule names -> its set."""

    def chains_of(self, pod: Pod) -> Iterator[tuple[str, Chain]]:
        """Yield the directions in which a pod is isolated, each with its chain."""
        own = [p for p in self.policies.get(pod.namespace, ()) if p.pods.matches(pod.labels)]
        for direction in (INGRESS, EGRESS):
            lines = [policy.lines[direction] for policy in own if direction in policy.lines]
            if lines:
                yield direction, chain_of(direction, frozenset().union(*lines))


EMPTY = Program({}, {}, {})


def assemble(policies: Mapping[Key, Policy]) -> Program:
    """Return the program of all policies."""
    by_namespace: dict[str, list[Policy]] = {}
    for key in sorted(policies):
        by_namespace.setdefault(key.namespace, []).append(policies[key])
    peers = {one.name: one for policy in policies.values() for one in policy.peers}
    ports = {one: one.set_name for policy in policies.values() for one in policy.ports}
    return Program(by_namespace, dict(sorted(peers.items())), dict(sorted(ports.items())))


def chain_of(direction: str, lines: Iterable[str]) -> Chain:
    """Return the chain of some lines; equal lines, equal name."""
    ordered = tuple(sorted(lines))
    return Chain(f"{direction.lower()}-{_digest(chr(10).join(ordered))}", ordered)


def compile_policy(policy: Obj, family: Family) -> Policy:
    """Return a policy's meaning for one address family."""
    compiler = _Compiler(policy["metadata"]["namespace"], family)
    spec = policy["spec"]
    types = spec.get("policyTypes") or [INGRESS, *([EGRESS] if spec.get("egress") else [])]
    lines = {
        direction: frozenset(compiler.lines(direction, spec.get(direction.lower()) or ()))
        for direction in types
    }
    return Policy(
        policy["metadata"]["namespace"],
        selectors.from_object(spec.get("podSelector") or {}),
        lines,
        frozenset(compiler.peers),
        frozenset(compiler.ports),
    )


class _Compiler:
    """Makes lines of rules, and notes the sets that they need."""

    def __init__(self, namespace: str, family: Family) -> None:
        self._namespace = namespace
        self._family = family
        self.peers: set[Peers] = set()
        self.ports: set[PortName] = set()

    def lines(self, direction: str, rules: Sequence[Obj]) -> Iterator[str]:
        """Yield a line for each way that is allowed."""
        for rule in rules:
            given = rule.get("from" if direction == INGRESS else "to")
            peers = list(self._peers(direction, given)) if given else [""]
            for ports in self._ports(rule.get("ports") or ()):
                yield from (" ".join(filter(None, (peer, ports, "return"))) for peer in peers)

    def _peers(self, direction: str, given: Sequence[Obj]) -> Iterator[str]:
        address = f"{self._family.table} {'saddr' if direction == INGRESS else 'daddr'}"
        for peer in given:
            if peer.get("ipBlock") is not None:
                yield from self._block(peer["ipBlock"], address)
                continue
            in_namespaces = peer.get("namespaceSelector")
            pods = peer.get("podSelector")
            found = Peers(
                "" if in_namespaces is not None else self._namespace,
                selectors.from_object(in_namespaces or {}),
                selectors.from_object(pods or {}),
            )
            self.peers.add(found)
            yield f"{address} @{found.name}"

    def _block(self, block: Obj, address: str) -> Iterator[str]:
        network = addresses.parse_cidr_sloppy(block.get("cidr", ""))
        if network is None or (network.version == 4) != (self._family is IPV4):
            return
        holes = [addresses.parse_cidr_sloppy(text) for text in block.get("except") or ()]
        words = [] if network.prefixlen == ALL_ADDRESSES else [f"{address} {network}"]
        if network.version == 4:
            kept = [hole for hole in holes if isinstance(hole, ipaddress.IPv4Network)]
            outside: list[object] = list(ipaddress.collapse_addresses(kept))
        else:
            kept6 = [hole for hole in holes if isinstance(hole, ipaddress.IPv6Network)]
            outside = list(ipaddress.collapse_addresses(kept6))
        if outside:
            words.append(f"{address} != {{ {', '.join(map(str, outside))} }}")
        # A block of all addresses is a condition too: that the packet is of this family, it is.
        yield " ".join(words)

    def _ports(self, given: Sequence[Obj]) -> Iterator[str]:
        if not given:
            yield ""
            return
        ranges: dict[str, list[tuple[int, int]]] = {}
        for port in given:
            protocol, number = port.get("protocol") or "TCP", port.get("port")
            if isinstance(number, str):
                named = PortName(number, protocol)
                self.ports.add(named)
                ip = self._family.table
                yield f"{ip} daddr . meta l4proto . th dport @{named.set_name}"
            else:
                first, last = (0, PORT_MAX) if number is None else (number, number)
                ranges.setdefault(protocol, []).append((first, port.get("endPort") or last))
        for protocol, spans in sorted(ranges.items()):
            yield _port_words(protocol.lower(), merged(spans))


def _port_words(protocol: str, spans: Sequence[tuple[int, int]]) -> str:
    if spans[0] == (0, PORT_MAX):
        return f"meta l4proto {protocol}"
    texts = (str(first) if first == last else f"{first}-{last}" for first, last in spans)
    return f"{protocol} dport {{ {', '.join(texts)} }}"


def merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return ranges of numbers without overlaps, which nft does not take."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]

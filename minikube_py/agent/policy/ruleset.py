"""The ruleset of all policies in one address family, and the text that makes or changes it; no I/O.

Only connections that begin are judged, so answers always pass and a connection that was allowed
outlives a change of policies. What the node itself sends to its pods (probes) is seen by neither
of the chains, and a service's address has been translated to an endpoint's before them.
"""

from collections.abc import Collection, Iterator, Mapping

from minikube_py.agent.nft_elements import Element, Elements, element_texts
from minikube_py.agent.policy.pods import NamedPort, Pod
from minikube_py.agent.policy.program import EMPTY, Chain, PortName, Program
from minikube_py.agent.proxy.chains import IPV4, Family
from minikube_py.api.networking.networkpolicy import INGRESS
from minikube_py.api.object import Key

TABLE = "kpy-policy"
PRIORITY = "filter - 5"
"""Before the chains of other programs that accept or refuse; after addresses are translated."""
NEIGHBOURS = (
    "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, nd-router-advert, "
    "mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report } accept"
)
"""Without these no IPv6 address is found; a bridge shows them to our chains."""
PASSED = "ct state { established, related } accept"


class Derived(Collection[Element]):
    """What a pod contributes: elements, and the chains that they lead to."""

    def __init__(self, elements: Collection[Element], chains: Collection[Chain]) -> None:
        self._elements = elements
        self.chains = chains

    def __iter__(self) -> Iterator[Element]:
        return iter(self._elements)

    def __len__(self) -> int:
        return len(self._elements)

    def __contains__(self, element: object) -> bool:
        return element in self._elements


def derive(
    pod: Pod, namespace_labels: Mapping[str, str], program: Program, node: str, family: Family
) -> Derived:
    """Return what a pod contributes to the rules of a node."""
    ips = [ip for ip in pod.ips if (":" in ip) == (family is not IPV4)]
    elements: list[Element] = []
    chains: list[Chain] = []
    names = [name for name, peers in program.peers.items() if peers.hold(pod, namespace_labels)]
    ports = [(port, program.ports.get(_named(port))) for port in pod.ports]
    for ip in ips:
        elements += [Element(name, ip) for name in names]
        elements += [Element(name, _port_key(ip, port)) for port, name in ports if name]
    if pod.node == node and node:
        for direction, chain in program.chains_of(pod):
            chains.append(chain)
            for ip in ips:
                elements.append(Element(direction.lower(), ip, f"jump {chain.name}"))
                elements.append(Element("self", f"{ip} . {ip}"))
    return Derived(tuple(sorted(set(elements))), tuple(chains))


def _named(port: NamedPort) -> PortName:
    return PortName(port.name, port.protocol)


def _port_key(ip: str, port: NamedPort) -> str:
    return f"{ip} . {port.protocol.lower()} . {port.number}"


class PolicyRuleset:
    """What the kernel should hold, and the difference to what it was last told."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self._table = f"{family.table} {TABLE}"
        self._elements = Elements()
        self._program = EMPTY
        self._chains: dict[Key, Collection[Chain]] = {}
        """Of the pods of this node that are isolated."""
        self._told_chains: set[str] = set()
        self._told_sets: set[str] = set()

    @property
    def is_changed(self) -> bool:
        """Whether there is a difference to tell."""
        return self._elements.is_changed or self._told_sets != set(self._sets())

    def __len__(self) -> int:
        return len(self._elements)

    def set_program(self, program: Program) -> None:
        """Take other policies; every pod is to be derived anew after it."""
        self._program = program

    def update(self, key: Key, derived: Derived | None) -> None:
        """Put a pod's contribution in place of the one it had; None removes it."""
        if derived is not None and derived.chains:
            self._chains[key] = derived.chains
        else:
            self._chains.pop(key, None)
        self._elements.update(key, derived if derived is not None else ())

    def told(self) -> None:
        """Note that the kernel has been told all."""
        self._told_chains, self._told_sets = set(self._needed()), set(self._sets())
        self._elements.told()

    def full(self) -> str:
        """Return the text that replaces whatever the table holds; equal states, equal text."""
        table = self._table
        return "".join([
            f"table {table}\ndelete table {table}\ntable {table} {{\n",
            *fixed_containers(self._family),
            *self._set_texts(self._sets()),
            *_chain_texts(self._needed().values()),
            *hooks(self._family),
            "}\n",
            *self._elements.texts(table),
        ])  # fmt: skip

    def changes(self) -> str:
        """Return the text that brings the kernel from what it was told to what is wanted."""
        gone, added = self._elements.difference()
        sets, needed = set(self._sets()), self._needed()
        fresh = [chain for name, chain in needed.items() if name not in self._told_chains]
        stale = sorted(self._told_chains - needed.keys())
        lines = [*self._set_texts(sets - self._told_sets), *_chain_texts(fresh)]
        return "".join([
            f"table {self._table} {{\n{''.join(lines)}}}\n" if lines else "",
            *element_texts("delete", self._table, gone),
            *element_texts("add", self._table, added),
            *self._removals(stale, sorted(self._told_sets - sets)),
        ])  # fmt: skip

    def _removals(self, chains: Collection[str], sets: Collection[str]) -> Iterator[str]:
        """Yield what takes away chains that nothing leads to, then the sets that they asked."""
        yield from (f"flush chain {self._table} {name}\n" for name in chains)
        yield from (f"delete chain {self._table} {name}\n" for name in chains)
        yield from (f"delete set {self._table} {name}\n" for name in sets)

    def _sets(self) -> dict[str, str]:
        address = self._family.address
        pods = dict.fromkeys(self._program.peers, f"type {address}")
        port = f"type {address} . inet_proto . inet_service"
        return pods | dict.fromkeys(self._program.ports.values(), port)

    def _set_texts(self, names: Collection[str]) -> Iterator[str]:
        for name, of in sorted(self._sets().items()):
            if name in names:
                yield f"  set {name} {{ {of}; }}\n"

    def _needed(self) -> dict[str, Chain]:
        return {chain.name: chain for chains in self._chains.values() for chain in chains}


def _chain_texts(chains: Collection[Chain]) -> Iterator[str]:
    for chain in sorted(chains):
        yield _block(chain.name, (*chain.lines, "drop"))


def fixed_containers(family: Family) -> Iterator[str]:
    """Yield the maps and sets that are always there."""
    address = family.address
    yield f"  map ingress {{ type {address} : verdict; }}\n"
    yield f"  map egress {{ type {address} : verdict; }}\n"
    yield f"  set self {{ type {address} . {address}; }}\n"


def hooks(family: Family) -> Iterator[str]:
    """Yield the chains in which packets enter the ruleset."""
    ip = family.table
    passed = (PASSED,) if family is IPV4 else (PASSED, NEIGHBOURS)
    sent, received = f"{ip} saddr vmap @egress", f"{ip} daddr vmap @{INGRESS.lower()}"
    forward = (f"{ip} saddr . {ip} daddr @self accept", sent, received)
    for hook, rules in (("forward", forward), ("input", (sent,))):
        base = f"type filter hook {hook} priority {PRIORITY}; policy accept;"
        yield _block(hook, (base, *passed, *rules))


def _block(name: str, rules: Collection[str]) -> str:
    return "".join([f"  chain {name} {{\n", *(f"    {rule}\n" for rule in rules), "  }\n"])

"""How many of some pods there are in each domain, kept current with every pod and node.

A domain is a value of a topology label of nodes. A `Topology` knows which nodes are in which
domain; a `Tally` knows for each node how many of its pods count, and sums that up by domain, so
that neither a pod nor a node that comes has anything counted again. `PodIndex` holds the tallies
that plugins asked for lately and finds those that a pod concerns by the labels it has; pods that
want to be near others, or away from them, are grouped by their terms in the same way.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from minikube_py.api.selectors import LabelSelector
from minikube_py.server.scheduler.node_info import NodeInfo
from minikube_py.server.scheduler.pod_info import PodInfo, Term

TALLIES_MAX = 1000
"""Held for plugins; those that were not asked for longest are forgotten and counted anew."""
Eligible = Callable[[NodeInfo], bool]


class Topology:
    """Which nodes take part, and in which domain each is; shared by tallies."""

    def __init__(self, key: str, eligible: Eligible | None = None) -> None:
        self.key = key
        """The topology label."""
        self.at: dict[str, str] = {}
        """The domain of each node that takes part."""
        self.nodes: Counter[str] = Counter()
        """How many nodes take part in each domain."""
        self.tallies: dict[Tally, None] = {}
        self._eligible = eligible

    def set_node(self, info: NodeInfo) -> None:
        """Take up where a node is now, and whether it takes part."""
        domain = info.labels.get(self.key)
        if domain is not None and self._eligible is not None and not self._eligible(info):
            domain = None
        if domain == self.at.get(info.name):
            return
        self.remove_node(info.name)
        if domain is None:
            return
        self.at[info.name] = domain
        self.nodes[domain] += 1
        for tally in self.tallies:
            tally.move(info.name, domain, 1)

    def remove_node(self, name: str) -> None:
        """Have a node take part no longer; what is on it is remembered."""
        domain = self.at.pop(name, None)
        if domain is None:
            return
        self.nodes[domain] -= 1
        if not self.nodes[domain]:
            del self.nodes[domain]
        for tally in self.tallies:
            tally.move(name, domain, -1)


class Tally:
    """Counts by domain of one topology."""

    __slots__ = ("_by_node", "_levels", "counts", "pods", "topology", "total")

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.counts: dict[str, int] = {}
        """How many pods count in each domain where any does."""
        self.total = 0
        """How many pods count in all domains."""
        self.pods = 0
        """How many there are, on nodes that take no part as well."""
        self._levels: Counter[int] = Counter()
        """How many domains have a count."""
        self._by_node: dict[str, int] = {}
        topology.tallies[self] = None

    def add(self, node: str, number: int) -> None:
        """Count so many more pods on a node, or fewer."""
        self.pods += number
        left = self._by_node.get(node, 0) + number
        if left:
            self._by_node[node] = left
        else:
            self._by_node.pop(node, None)
        domain = self.topology.at.get(node)
        if domain is not None:
            self._shift(domain, number)

    def move(self, node: str, domain: str, sign: int) -> None:
        """Count what is on a node into its domain (1) or out of it (-1)."""
        number = self._by_node.get(node, 0)
        if number:
            self._shift(domain, sign * number)

    def on(self, node: str) -> int:
        """Return how many pods count on a node."""
        return self._by_node.get(node, 0)

    def _shift(self, domain: str, number: int) -> None:
        before = self.counts.get(domain, 0)
        after = before + number
        self.total += number
        if before:
            self._levels[before] -= 1
            if not self._levels[before]:
                del self._levels[before]
        if after:
            self.counts[domain] = after
            self._levels[after] += 1
        else:
            del self.counts[domain]

    @property
    def single(self) -> bool:
        """Whether each domain is one node, so that its count changes with that node alone."""
        return len(self.topology.nodes) == len(self.topology.at)

    def place(self, node: NodeInfo) -> str | int | None:
        """Return what of a node decides its count: its domain, or the count where it is single."""
        domain = node.labels.get(self.topology.key)
        if domain is None or not self.single:
            return domain
        return self.counts.get(domain, 0)

    @property
    def basis(self) -> "str | Tally":
        """What places are of: the topology label, or the tally itself where they are counts."""
        return self if self.single else self.topology.key

    def least(self) -> int:
        """Return the count of the emptiest domain; 0 where there is none."""
        if len(self.topology.nodes) > len(self.counts):
            return 0
        return min(self._levels, default=0)

    def least_without(self, domain: str) -> int | None:
        """Return the count of the emptiest of the other domains, None where there is none."""
        empty = len(self.topology.nodes) - len(self.counts)
        own = self.counts.get(domain)
        if own is None and domain in self.topology.nodes:
            empty -= 1
        if empty:
            return 0
        others = (count for count, many in self._levels.items() if count != own or many > 1)
        return min(others, default=None)


@dataclass(frozen=True)
class Scope:
    """Some pods: of these namespaces, with such labels."""

    namespaces: frozenset[str] | None
    """None: all of them."""
    selector: LabelSelector

    def has(self, pod: PodInfo) -> bool:
        """Tell whether a pod is one of them."""
        there = self.namespaces is None or pod.namespace in self.namespaces
        return there and self.selector.matches(pod.labels)


@dataclass(frozen=True)
class Query:
    """Which pods are counted, by which topology label, and on which nodes."""

    scopes: tuple[Scope, ...]
    """A pod counts that is in all of them."""
    key: str
    """The topology label."""
    living: bool = False
    """Leave out pods that are on their way out."""
    nodes: str = ""
    """What tells apart which nodes take part."""

    def counts(self, pod: PodInfo) -> bool:
        """Tell whether a pod counts."""
        return not (self.living and pod.deleting) and all(scope.has(pod) for scope in self.scopes)


Label = tuple[str, str]


def rare_label(selector: LabelSelector) -> Label | None:
    """Return a label that all objects which a selector means have, where it names one."""
    for one in selector.requirements:
        if one.operator in ("=", "==", "in") and len(one.values) == 1:
            return one.key, one.values[0]
    return None


@dataclass
class Terms:
    """The terms of one kind of all pods that have a node, each with its tally."""

    tallies: dict[Term, Tally] = field(default_factory=dict)
    """How many pods with the term there are, by domain."""
    _by_label: dict[Label | None, dict[Term, None]] = field(default_factory=dict)

    def of(self, term: Term, topology: Callable[[str], Topology]) -> Tally:
        """Return the tally of a term, made where it is new."""
        tally = self.tallies.get(term)
        if tally is None:
            tally = self.tallies[term] = Tally(topology(term.topology_key))
            self._by_label.setdefault(rare_label(term.selector), {})[term] = None
        return tally

    def drop(self, term: Term) -> None:
        """Forget a term that no pod has any more."""
        del self.tallies[term]
        label = rare_label(term.selector)
        there = self._by_label[label]
        del there[term]
        if not there:
            del self._by_label[label]

    def meaning(self, pod: PodInfo, labels: Mapping[str, str]) -> Iterator[tuple[Term, Tally]]:
        """Yield the terms that mean a pod, whose namespace has these labels."""
        if not self.tallies:
            return
        for label in (None, *pod.labels.items()):
            for term in self._by_label.get(label, ()):
                if term.matches(pod, labels):
                    yield term, self.tallies[term]


class PodIndex:
    """All tallies of one cache."""

    def __init__(
        self, nodes: Mapping[str, NodeInfo], pods: Callable[[], Iterable[PodInfo]]
    ) -> None:
        self._nodes = nodes
        self._pods = pods
        self._topologies: dict[tuple[str, str], Topology] = {}
        """By topology label and by what tells apart which nodes take part."""
        self._asked: OrderedDict[Query, Tally] = OrderedDict()
        self._by_label: dict[Label | None, dict[Query, Tally]] = {}
        self._last: tuple[Label, list[PodInfo]] | None = None
        """The pods that were looked for last, as long as none comes or goes."""
        self.anti = Terms()
        """Required anti-affinity."""
        self.required = Terms()
        """Required affinity."""
        self.preferred = Terms()
        """Those with a negative weight are anti-affinity."""

    def topology(self, key: str, nodes: str = "", eligible: Eligible | None = None) -> Topology:
        """Return a topology, which stays current while tallies use it."""
        found = self._topologies.get((key, nodes))
        if found is None:
            found = self._topologies[key, nodes] = Topology(key, eligible)
            for info in self._nodes.values():
                found.set_node(info)
        return found

    def ask(self, query: Query, eligible: Eligible | None = None) -> Tally:
        """Return the tally of a query, which stays current; `eligible` belongs to `query.nodes`."""
        tally = self._asked.get(query)
        if tally is not None:
            self._asked.move_to_end(query)
            return tally
        tally = Tally(self.topology(query.key, query.nodes, eligible))
        for pod in self._labelled(_label(query)):
            if query.counts(pod):
                tally.add(pod.node, 1)
        self._asked[query] = tally
        self._by_label.setdefault(_label(query), {})[query] = tally
        if len(self._asked) > TALLIES_MAX:
            self._forget()
        return tally

    def _labelled(self, label: Label | None) -> Iterable[PodInfo]:
        """Return the pods with a label; most selectors ask for one, and few pods have it.

        The queries of one pod ask for the same label, so what was found last is kept for them.
        """
        if label is None:
            return self._pods()
        if self._last is None or self._last[0] != label:
            key, value = label
            self._last = label, [pod for pod in self._pods() if pod.labels.get(key) == value]
        return self._last[1]

    def _forget(self) -> None:
        query, tally = self._asked.popitem(last=False)
        there = self._by_label[_label(query)]
        del there[query]
        if not there:
            del self._by_label[_label(query)]
        self._leave(tally, query.nodes)

    def _leave(self, tally: Tally, nodes: str = "") -> None:
        """Have a topology forget a tally, and be forgotten with its last one."""
        topology = tally.topology
        del topology.tallies[tally]
        if not topology.tallies:
            self._topologies.pop((topology.key, nodes), None)

    def count(self, pod: PodInfo, number: int) -> None:
        """Count a pod in (1) or out (-1)."""
        self._last = None
        for label in (None, *pod.labels.items()):
            for query, tally in self._by_label.get(label, {}).items():
                if query.counts(pod):
                    tally.add(pod.node, number)
        terms = pod.terms
        self._group(self.anti, terms.required_not, pod.node, number)
        self._group(self.required, terms.required, pod.node, number)
        self._group(self.preferred, terms.preferred, pod.node, number)

    def _group(self, group: Terms, terms: Iterable[Term], node: str, number: int) -> None:
        for term in terms:
            tally = group.of(term, self.topology)
            tally.add(node, number)
            if not tally.pods:
                group.drop(term)
                self._leave(tally)

    def set_node(self, info: NodeInfo) -> None:
        """Take up a new node or a new version of one."""
        for topology in self._topologies.values():
            topology.set_node(info)

    def remove_node(self, name: str) -> None:
        """Have a node take part no longer."""
        for topology in self._topologies.values():
            topology.remove_node(name)


def _label(query: Query) -> Label | None:
    return rare_label(query.scopes[0].selector) if query.scopes else None

"""A pod goes near pods that it likes and keeps away from pods that it, or they, do not.

Near means: the same value of a topology label of nodes. What is asked of a node are counts by such
domains, which `tally.py` keeps current: of the pods that the incoming pod's terms mean, and of the
terms of pods that are there.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from minikube_py.api.core import NODES, PODS
from minikube_py.server.scheduler.cache import Cache
from minikube_py.server.scheduler.cluster_events import Action, ClusterEvent, Registered
from minikube_py.server.scheduler.framework import (
    SCORE_MAX,
    Cycle,
    Question,
    Rejection,
    rejection,
)
from minikube_py.server.scheduler.node_info import NodeInfo
from minikube_py.server.scheduler.pod_info import PodInfo, Term
from minikube_py.server.scheduler.tally import Query, Scope, Tally

FAR = rejection("node(s) didn't match pod affinity rules", final=True)
NEAR = rejection("node(s) didn't match pod anti-affinity rules")
UNWANTED = rejection("node(s) didn't satisfy existing pods anti-affinity rules")
HARD_WEIGHT = 1
"""What the required affinity of a pod that is there counts for the incoming one."""
HARD_WEIGHT_MAX = 100


class InterPodAffinity:
    """Asks for affinity and anti-affinity between pods."""

    name = "InterPodAffinity"

    def __init__(self, args: Mapping[str, object] | None = None) -> None:
        given = args or {}
        weight = given.get("hardPodAffinityWeight", HARD_WEIGHT)
        if not isinstance(weight, int) or not 0 <= weight <= HARD_WEIGHT_MAX:
            raise ValueError(
                f"hardPodAffinityWeight: Invalid value: {weight}: not in valid range [0, 100]"
            )
        self._hard_weight = weight
        self._own_only = bool(given.get("ignorePreferredTermsOfExistingPods", False))

    def events_to_register(self) -> Iterable[Registered]:
        """Pods that come, go or are labelled otherwise, where a term means them; other domains."""
        return (
            Registered(PODS, Action.ADD | Action.DELETE | Action.POD_LABEL, _concerns),
            Registered(NODES, Action.ADD | Action.NODE_LABEL, _is_in_a_domain),
        )

    def filter(self, cycle: Cycle) -> Question | None:
        """Return the question, where the pod has terms or a pod that is there minds it."""
        pod, cache = cycle.pod, cycle.cache
        labels = cache.namespace_labels(pod.namespace)
        minded = [tally for _, tally in cache.index.anti.meaning(pod, labels)]
        terms = pod.terms
        if not (minded or terms.required or terms.required_not):
            return None
        together = tuple(scope_of(term, cache) for term in terms.required)
        liked = [cache.index.ask(Query(together, term.topology_key)) for term in terms.required]
        disliked = [
            cache.index.ask(Query((scope_of(term, cache),), term.topology_key))
            for term in terms.required_not
        ]
        return Nearness(pod, cache, together, liked, disliked, minded)

    def score(self, cycle: Cycle, nodes: Sequence[NodeInfo]) -> Sequence[float] | None:
        """Sum up the weights of the preferences of both sides that hold on each node."""
        weighted = self._weights(cycle.pod, cycle.cache)
        if not weighted:
            return None
        raw = [
            sum(
                weight * tally.counts.get(node.labels.get(tally.topology.key, ""), 0)
                for weight, tally in weighted
            )
            for node in nodes
        ]
        least, most = min(raw), max(raw)
        if least == most:
            return None
        return [SCORE_MAX * (value - least) / (most - least) for value in raw]

    def grouped(self, cycle: Cycle) -> "Places | None":
        """Group nodes by their places in the tallies that count."""
        weighted = self._weights(cycle.pod, cycle.cache)
        return Places(tuple(tally for _, tally in weighted)) if weighted else None

    def _weights(self, pod: PodInfo, cache: Cache) -> Sequence[tuple[int, Tally]]:
        """Return what a pod in each domain of a tally counts, of all terms that concern the pod."""
        index = cache.index
        own = [
            (term.weight, index.ask(Query((scope_of(term, cache),), term.topology_key)))
            for term in pod.terms.preferred
        ]
        if self._own_only and not own:
            return ()
        labels = cache.namespace_labels(pod.namespace)
        others = [(term.weight, tally) for term, tally in index.preferred.meaning(pod, labels)]
        hard = [(self._hard_weight, tally) for _, tally in index.required.meaning(pod, labels)]
        return [(weight, tally) for weight, tally in (*own, *others, *hard) if weight]


@dataclass(frozen=True)
class Places:
    """The places of nodes in some tallies."""

    tallies: Sequence[Tally]

    def basis(self, *, exact: bool) -> Hashable:
        """Return what the places are of."""
        del exact
        return tuple([tally.basis for tally in self.tallies])

    def group(self, node: NodeInfo, *, exact: bool) -> Hashable:
        """Return the node's place in each tally."""
        del exact
        return tuple([tally.place(node) for tally in self.tallies])


def scope_of(term: Term, cache: Cache) -> Scope:
    """Return which pods a term means, with its namespace selector resolved."""
    if term.namespace_selector is None:
        return Scope(term.namespaces, term.selector)
    if not term.namespace_selector.requirements:
        return Scope(None, term.selector)
    found = cache.namespaces_with(term.namespace_selector)
    return Scope(term.namespaces | frozenset(found), term.selector)


@dataclass(frozen=True)
class Nearness:
    """What the affinity of both sides makes of a node, with pods moved in thought."""

    pod: PodInfo
    cache: Cache
    together: tuple[Scope, ...]
    """The pods that all of the incoming pod's affinity terms mean."""
    liked: Sequence[Tally]
    disliked: Sequence[Tally]
    minded: Sequence[Tally]
    moved: Counter[tuple[int, str]] = field(default_factory=Counter)
    """How many more or fewer pods there are: by tally, in the order of the lists, and domain."""

    @property
    def each(self) -> bool:
        """Whether nodes of one group may differ, unless groups are made exactly."""
        return any(tally.single for tally in (*self.disliked, *self.minded))

    def basis(self, *, exact: bool) -> Hashable:
        """Return what groups are made by."""
        return tuple([tally.basis for tally in self._grouping(exact=exact)])

    def group(self, node: NodeInfo, *, exact: bool) -> Hashable:
        """Return the node's place in each tally that groups are made by."""
        return tuple([tally.place(node) for tally in self._grouping(exact=exact)])

    def _grouping(self, *, exact: bool) -> Iterable[Tally]:
        """Return the tallies to group by: few nodes have a pod near which another must not be."""
        if exact:
            return self._tallies()
        others = [tally for tally in (*self.disliked, *self.minded) if not tally.single]
        return (*self.liked, *others)

    def _tallies(self) -> Iterable[Tally]:
        return (*self.liked, *self.disliked, *self.minded)

    def __call__(self, node: NodeInfo) -> Rejection | None:
        """Return which of the three rules the node breaks."""
        if self.liked and not self._is_near(node):
            return FAR
        at = len(self.liked)
        for place, tally in enumerate(self.disliked, at):
            if self._count(place, tally, node):
                return NEAR
        at += len(self.disliked)
        for place, tally in enumerate(self.minded, at):
            if self._count(place, tally, node):
                return UNWANTED
        return None

    def _count(self, place: int, tally: Tally, node: NodeInfo) -> int:
        domain = node.labels.get(tally.topology.key)
        if domain is None:
            return 0
        found = tally.counts.get(domain, 0)
        return found + self.moved[place, domain] if self.moved else found

    def _is_near(self, node: NodeInfo) -> bool:
        """Tell whether the node is near what the pod must be near to.

        The first of pods that want to be near each other may go anywhere that has the labels.
        """
        if any(tally.topology.key not in node.labels for tally in self.liked):
            return False
        if all(self._count(place, tally, node) > 0 for place, tally in enumerate(self.liked)):
            return True
        moved = sum(self.moved[at] for at in self.moved if at[0] < len(self.liked))
        nobody = not moved + sum(tally.total for tally in self.liked)
        return nobody and all(scope.has(self.pod) for scope in self.together)

    def shifted(
        self, node: NodeInfo, added: Iterable[PodInfo], removed: Iterable[PodInfo]
    ) -> "Nearness":
        """Return the same with pods come to and gone from a node."""
        moved = Counter(self.moved)
        for sign, pods in ((1, added), (-1, removed)):
            for other in pods:
                for place, tally in enumerate(self._tallies()):
                    domain = node.labels.get(tally.topology.key)
                    if domain is not None:
                        moved[place, domain] += sign * self._concerned(place, other)
        return replace(self, moved=moved)

    def _concerned(self, place: int, other: PodInfo) -> int:
        """Return how often another pod counts in a tally."""
        if place < len(self.liked):
            return int(all(scope.has(other) for scope in self.together))
        place -= len(self.liked)
        if place < len(self.disliked):
            scope = scope_of(self.pod.terms.required_not[place], self.cache)
            return int(scope.has(other))
        tally = self.minded[place - len(self.disliked)]
        listed = self.cache.index.anti.tallies
        return sum(1 for term in other.terms.required_not if listed.get(term) is tally)


def _concerns(pod: PodInfo, event: ClusterEvent) -> bool:
    """Tell whether a pod came, or went, that a term of one means in the other."""
    before, after = event.old_pod, event.new_pod
    if before is not None and before.uid == pod.uid:
        return True
    came = after is not None and any(_means(term, after) for term in pod.terms.required)
    went = before is not None and (
        any(_means(term, before) for term in pod.terms.required_not)
        or any(_means(term, pod) for term in before.terms.required_not)
    )
    return came or went


def _means(term: Term, pod: PodInfo) -> bool:
    """Tell whether a term may mean a pod, whatever the labels of its namespace are."""
    there = term.namespace_selector is not None or pod.namespace in term.namespaces
    return there and term.selector.matches(pod.labels)


def _is_in_a_domain(pod: PodInfo, event: ClusterEvent) -> bool:
    """Tell whether a node is in a domain of one of the pod's terms in which it was not before."""
    if event.new is None:
        return False
    terms = (*pod.terms.required, *pod.terms.required_not)
    if not terms:
        return True  # it was rejected by the terms of others
    old = {} if event.old is None else event.old.labels
    keys = (term.topology_key for term in terms)
    return any(event.new.labels.get(key) != old.get(key) for key in keys)

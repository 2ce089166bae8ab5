"""A pod goes near pods that it likes and keeps away from pods that it, or they, do not.

Near means: the same value of a topology label of nodes. Only pods with such terms are looked at
for what they think of the incoming pod; all pods only where the incoming pod has terms itself.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from minikube_py.server.scheduler.cache import Cache
from minikube_py.server.scheduler.framework import (
    EVERYTHING,
    SCORE_MAX,
    NodeFilter,
    Reasons,
)
from minikube_py.server.scheduler.node_info import NodeInfo
from minikube_py.server.scheduler.pod_info import PodInfo, Term

FAR = ("node(s) didn't match pod affinity rules",)
NEAR = ("node(s) didn't match pod anti-affinity rules",)
UNWANTED = ("node(s) didn't satisfy existing pods anti-affinity rules",)
HARD_WEIGHT = 1
"""What the required affinity of a pod that is there counts for the incoming one."""
Domain = tuple[str, str]
"""A topology label and its value."""


class InterPodAffinity:
    """Asks for affinity and anti-affinity between pods."""

    name = "InterPodAffinity"
    weight = 2
    cured_by = EVERYTHING
    preemptable = True

    def filter(self, pod: PodInfo, cache: Cache) -> NodeFilter | None:
        """Return the question, where the pod has terms or a pod that is there minds it."""
        forbidden = unwanted_domains(pod, cache)
        terms = pod.terms
        if not (forbidden or terms.required or terms.required_not):
            return None
        liked = [domains_of(pod, term, cache) for term in terms.required]
        disliked = [domains_of(pod, term, cache) for term in terms.required_not]
        first = not any(liked) and all(_means_itself(pod, term, cache) for term in terms.required)

        def check(node: NodeInfo) -> Reasons | None:
            if not _is_near(node, terms.required, liked, first=first):
                return FAR
            for term, domains in zip(terms.required_not, disliked, strict=True):
                if _domain(term, node) in domains:
                    return NEAR
            if any(node.labels.get(key) == value for key, value in forbidden):
                return UNWANTED
            return None

        return check

    def score(
        self, pod: PodInfo, nodes: Sequence[NodeInfo], cache: Cache
    ) -> Sequence[float] | None:
        """Sum up the weights of the preferences of both sides that hold on each node."""
        domains = liking(pod, cache)
        if not domains:
            return None
        raw = [
            sum(weight for (key, value), weight in domains.items() if node.labels.get(key) == value)
            for node in nodes
        ]
        least, most = min(raw), max(raw)
        if least == most:
            return None
        return [SCORE_MAX * (value - least) / (most - least) for value in raw]


def _is_near(
    node: NodeInfo, terms: Sequence[Term], liked: Sequence[set[Domain]], *, first: bool
) -> bool:
    """Tell whether the node is near what the pod must be near to.

    The first of pods that want to be near each other may go anywhere that has the label.
    """
    for term, domains in zip(terms, liked, strict=True):
        domain = _domain(term, node)
        if domain is None or (domain not in domains and not first):
            return False
    return True


def _domain(term: Term, node: NodeInfo) -> Domain | None:
    value = node.labels.get(term.topology_key)
    return None if value is None else (term.topology_key, value)


def _means_itself(pod: PodInfo, term: Term, cache: Cache) -> bool:
    return term.matches(pod, cache.namespace_labels(pod.namespace))


def domains_of(pod: PodInfo, term: Term, cache: Cache) -> set[Domain]:
    """Return the domains that hold a pod which the term means."""
    found: set[Domain] = set()
    for node in cache.nodes.values():
        domain = _domain(term, node)
        if domain is None or domain in found:
            continue
        for other in node.pods.values():
            if other.uid != pod.uid and term.matches(
                other, cache.namespace_labels(other.namespace)
            ):
                found.add(domain)
                break
    return found


def unwanted_domains(pod: PodInfo, cache: Cache) -> set[Domain]:
    """Return the domains where a pod is that must not have the incoming one near."""
    labels = cache.namespace_labels(pod.namespace)
    found: set[Domain] = set()
    for other, node in _others_with_terms(pod, cache):
        for term in other.terms.required_not:
            domain = _domain(term, node)
            if domain is not None and term.matches(pod, labels):
                found.add(domain)
    return found


def _others_with_terms(pod: PodInfo, cache: Cache) -> Iterator[tuple[PodInfo, NodeInfo]]:
    for other in cache.with_terms.values():
        node = cache.nodes.get(other.node)
        if node is not None and other.uid != pod.uid:
            yield other, node


def liking(pod: PodInfo, cache: Cache) -> Counter[Domain]:
    """Weigh the domains by what the pod prefers and by what pods that are there prefer."""
    domains: Counter[Domain] = Counter()
    for term in pod.terms.preferred:
        for node in cache.nodes.values():
            domain = _domain(term, node)
            if domain is not None:
                near = sum(
                    term.matches(other, cache.namespace_labels(other.namespace))
                    for other in node.pods.values()
                )
                domains[domain] += near * term.weight
    labels = cache.namespace_labels(pod.namespace)
    for other, node in _others_with_terms(pod, cache):
        weighted = [(term, term.weight) for term in other.terms.preferred]
        weighted += [(term, HARD_WEIGHT) for term in other.terms.required]
        for term, weight in weighted:
            domain = _domain(term, node)
            if domain is not None and term.matches(pod, labels):
                domains[domain] += weight
    return Counter({domain: weight for domain, weight in domains.items() if weight})

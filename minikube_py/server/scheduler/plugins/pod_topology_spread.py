"""Pods of one kind are spread over zones, nodes or whatever a label of nodes says.

For each constraint the matching pods are counted in every domain (value of the topology label). A
hard constraint rules nodes out whose domain would be too far ahead of the emptiest one; a soft one
prefers emptier domains. Pods without constraints of their own that have a controller are spread
softly over nodes and zones among the pods of that controller.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from minikube_py.api import selectors
from minikube_py.api.object import Obj, get
from minikube_py.api.selectors import LabelSelector, Requirement
from minikube_py.api.taints import untolerated
from minikube_py.server.scheduler.cache import Cache
from minikube_py.server.scheduler.framework import (
    EVERYTHING,
    SCORE_MAX,
    NodeFilter,
    Reasons,
)
from minikube_py.server.scheduler.node_info import NodeInfo
from minikube_py.server.scheduler.pod_info import PodInfo

UNEVEN = ("node(s) didn't match pod topology spread constraints",)
NO_LABEL = ("node(s) didn't match pod topology spread constraints (missing required label)",)
HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
DEFAULTS = ((HOSTNAME, 3), (ZONE, 5))
"""Topology key and skew of the constraints that upstream gives to pods without any."""


@dataclass(frozen=True)
class Constraint:
    """One constraint of a pod."""

    topology_key: str
    max_skew: int
    selector: LabelSelector | None
    """None means the pods of the same controller."""
    min_domains: int = 1
    honor_affinity: bool = True
    honor_taints: bool = False

    def matches(self, incoming: PodInfo, other: PodInfo) -> bool:
        """Tell whether another pod counts for the incoming one."""
        if other.namespace != incoming.namespace or other.deleting:
            return False
        if self.selector is None:
            return other.owner == incoming.owner
        return self.selector.matches(other.labels)


class PodTopologySpread:
    """Asks whether the node's domain would get too far ahead, or prefers emptier ones."""

    name = "PodTopologySpread"
    weight = 2
    cured_by = EVERYTHING
    preemptable = True

    def filter(self, pod: PodInfo, cache: Cache) -> NodeFilter | None:
        """Return the question, where the pod has hard constraints."""
        constraints = constraints_of(pod, "DoNotSchedule")
        if not constraints:
            return None
        counts = [count(pod, one, constraints, cache.nodes.values()) for one in constraints]

        def check(node: NodeInfo) -> Reasons | None:
            if any(one.topology_key not in node.labels for one in constraints):
                return NO_LABEL
            for one, domains in zip(constraints, counts, strict=True):
                if _is_uneven(one, domains, pod, node.labels[one.topology_key]):
                    return UNEVEN
            return None

        return check

    def score(
        self, pod: PodInfo, nodes: Sequence[NodeInfo], cache: Cache
    ) -> Sequence[float] | None:
        """Prefer nodes whose domains hold fewer of the matching pods."""
        constraints = constraints_of(pod, "ScheduleAnyway")
        if not constraints and not has_constraints(pod) and pod.owner:
            constraints = [Constraint(key, skew, None) for key, skew in DEFAULTS]
            nodes_with_zone = any(ZONE in node.labels for node in nodes)
            constraints = constraints if nodes_with_zone else constraints[:1]
        if not constraints:
            return None
        raw = _crowding(pod, nodes, constraints, cache)
        return None if raw is None else _inverted(raw)


def _is_uneven(one: Constraint, domains: Mapping[str, int], pod: PodInfo, domain: str) -> bool:
    least = min(domains.values(), default=0) if len(domains) >= one.min_domains else 0
    own = 1 if one.matches(pod, pod) else 0
    return domains.get(domain, 0) + own - least > one.max_skew


def _crowding(
    pod: PodInfo, nodes: Sequence[NodeInfo], constraints: Sequence[Constraint], cache: Cache
) -> list[float] | None:
    """Return for each node the weighted number of matching pods in its domains."""
    totals = [0.0] * len(nodes)
    for one in constraints:
        domains = count(pod, one, (), cache.nodes.values())
        size = len({node.labels.get(one.topology_key) for node in nodes})
        factor = math.log(size + 2)
        for at, node in enumerate(nodes):
            domain = node.labels.get(one.topology_key)
            if domain is not None:
                totals[at] += domains.get(domain, 0) * factor + one.max_skew - 1
    return totals if max(totals) > min(totals) else None


def _inverted(raw: Sequence[float]) -> list[float]:
    """Turn crowding into scores: the least crowded gets 100."""
    least, most = min(raw), max(raw)
    return [SCORE_MAX * (most + least - value) / most for value in raw]


def count(
    pod: PodInfo, one: Constraint, together: Sequence[Constraint], nodes: Iterable[NodeInfo]
) -> dict[str, int]:
    """Count the matching pods in each domain of the nodes that take part.

    Hard constraints count on nodes only that have the labels of all of them.
    """
    domains: Counter[str] = Counter()
    for node in nodes:
        domain = node.labels.get(one.topology_key)
        if domain is None or any(other.topology_key not in node.labels for other in together):
            continue
        if takes_part(pod, one, node):
            domains[domain] += sum(one.matches(pod, other) for other in node.pods.values())
    return domains


def takes_part(pod: PodInfo, one: Constraint, node: NodeInfo) -> bool:
    """Tell whether a node counts at all, by the constraint's policies."""
    test = pod.required_nodes if one.honor_affinity else None
    if test is not None and not test(node.name, node.labels):
        return False
    if not one.honor_taints:
        return True
    return not any(untolerated(node.hard_taints, pod.tolerations))


def has_constraints(pod: PodInfo) -> bool:
    """Tell whether the pod says itself how it is to be spread."""
    return bool(get(pod.obj, "spec.topologySpreadConstraints", ()))


def constraints_of(pod: PodInfo, what: str) -> list[Constraint]:
    """Compile the pod's constraints with that `whenUnsatisfiable`."""
    given: Sequence[Obj] = get(pod.obj, "spec.topologySpreadConstraints", ())
    return [_compiled(pod, one) for one in given if one.get("whenUnsatisfiable") == what]


def _compiled(pod: PodInfo, given: Obj) -> Constraint:
    selector = selectors.from_object(given.get("labelSelector"))
    same = tuple(
        Requirement(key, "=", (pod.labels[key],))
        for key in given.get("matchLabelKeys") or ()
        if key in pod.labels
    )
    return Constraint(
        given["topologyKey"],
        given["maxSkew"],
        replace(selector, requirements=(*selector.requirements, *same)),
        given.get("minDomains") or 1,
        given.get("nodeAffinityPolicy", "Honor") == "Honor",
        given.get("nodeTaintsPolicy", "Ignore") == "Honor",
    )

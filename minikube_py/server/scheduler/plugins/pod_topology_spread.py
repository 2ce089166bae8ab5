"""Pods of one kind are spread over zones, nodes or whatever a label of nodes says.

For each constraint the matching pods are counted in every domain (value of the topology label),
which `tally.py` keeps current. A hard constraint rules nodes out whose domain would be too far
ahead of the emptiest one; a soft one prefers emptier domains. Pods without constraints of their own
are spread by those of the configuration among the pods of their services and controller.
"""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from minikube_py.api import selectors
from minikube_py.api.core import NODES, PODS
from minikube_py.api.object import Obj, get
from minikube_py.api.selectors import LabelSelector, Requirement
from minikube_py.api.taints import untolerated
from minikube_py.server.scheduler.cache import Cache
from minikube_py.server.scheduler.cluster_events import Action, ClusterEvent, Registered
from minikube_py.server.scheduler.framework import (
    SCORE_MAX,
    Cycle,
    Handle,
    Question,
    Rejection,
    rejection,
)
from minikube_py.server.scheduler.node_info import NodeInfo
from minikube_py.server.scheduler.plugins.default_selector import DefaultSelector
from minikube_py.server.scheduler.pod_info import PodInfo
from minikube_py.server.scheduler.tally import Eligible, Query, Scope, Tally

UNEVEN = rejection("node(s) didn't match pod topology spread constraints")
NO_LABEL = rejection(
    "node(s) didn't match pod topology spread constraints (missing required label)", final=True
)
HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
HARD, SOFT = "DoNotSchedule", "ScheduleAnyway"
SYSTEM_DEFAULTS: tuple[Obj, ...] = (
    {"topologyKey": HOSTNAME, "whenUnsatisfiable": SOFT, "maxSkew": 3},
    {"topologyKey": ZONE, "whenUnsatisfiable": SOFT, "maxSkew": 5},
)
"""The constraints that upstream gives to pods without any."""


@dataclass(frozen=True)
class Constraint:
    """One constraint of a pod."""

    topology_key: str
    max_skew: int
    selector: LabelSelector
    min_domains: int = 1
    honor_affinity: bool = True
    honor_taints: bool = False

    def means(self, incoming: PodInfo, other: PodInfo) -> bool:
        """Tell whether another pod counts for the incoming one."""
        if other.namespace != incoming.namespace or other.deleting:
            return False
        return self.selector.matches(other.labels)


class PodTopologySpread:
    """Asks whether the node's domain would get too far ahead, or prefers emptier ones."""

    name = "PodTopologySpread"

    def __init__(self, handle: Handle, args: Mapping[str, Any]) -> None:
        system = args.get("defaultingType", "System") == "System"
        given = args.get("defaultConstraints") or ()
        if system and given:
            raise ValueError(
                'defaultingType: Invalid value: "System": when .defaultConstraints are specified'
            )
        self._system = system
        self._defaults: Sequence[Obj] = SYSTEM_DEFAULTS if system else given
        self._selector = DefaultSelector(handle) if self._defaults else None

    def events_to_register(self) -> Iterable[Registered]:
        """Pods that count come or go, or the domains change."""
        return (
            Registered(PODS, Action.ADD | Action.DELETE | Action.POD_LABEL, self._concerns),
            Registered(
                NODES,
                Action.ADD | Action.DELETE | Action.NODE_LABEL | Action.NODE_TAINT,
                self._changes_domains,
            ),
        )

    def constraints(self, pod: PodInfo, what: str) -> Sequence[Constraint]:
        """Return the pod's constraints with that `whenUnsatisfiable`, or the default ones."""
        own: Sequence[Obj] = get(pod.obj, "spec.topologySpreadConstraints", ())
        if own:
            return [_compiled(pod, one) for one in own if one.get("whenUnsatisfiable") == what]
        defaults = [one for one in self._defaults if one.get("whenUnsatisfiable") == what]
        if not defaults or self._selector is None:
            return ()
        selector = self._selector.of(pod)
        if not selector.requirements:
            return ()
        return [replace(_compiled(pod, one), selector=selector) for one in defaults]

    def filter(self, cycle: Cycle) -> Question | None:
        """Return the question, where the pod has hard constraints."""
        pod, cache = cycle.pod, cycle.cache
        constraints = self.constraints(pod, HARD)
        if not constraints:
            return None
        tallies = [tally_of(pod, one, constraints, cache) for one in constraints]
        return Evenness(pod, constraints, tallies)

    def grouped(self, cycle: Cycle) -> "Crowds | None":
        """Group nodes by what their crowding comes from."""
        pod = cycle.pod
        constraints = self.constraints(pod, SOFT)
        if not constraints:
            return None
        together = constraints if self._needs_all_labels(pod) else ()
        keys = tuple(one.topology_key for one in constraints)
        tallies = [tally_of(pod, one, together, cycle.cache) for one in constraints]
        return Crowds(keys, tallies)

    def _needs_all_labels(self, pod: PodInfo) -> bool:
        """Tell whether nodes without one of the labels get nothing; not so by system default."""
        return not self._system or bool(get(pod.obj, "spec.topologySpreadConstraints", ()))

    def score(self, cycle: Cycle, nodes: Sequence[NodeInfo]) -> Sequence[float] | None:
        """Prefer nodes whose domains hold fewer of the matching pods."""
        pod, cache = cycle.pod, cycle.cache
        constraints = self.constraints(pod, SOFT)
        if not constraints:
            return None
        together = constraints if self._needs_all_labels(pod) else ()
        keys = [one.topology_key for one in together]
        scored = [node for node in nodes if all(key in node.labels for key in keys)]
        size = sum(cycle.standing.get(node.name, 1) for node in scored)
        tallies = [tally_of(pod, one, together, cache) for one in constraints]
        raw = _crowding(scored, constraints, tallies, size)
        found = dict(zip((node.name for node in scored), _inverted(raw), strict=True))
        return [found.get(node.name, 0.0) for node in nodes]

    def _concerns(self, pod: PodInfo, event: ClusterEvent) -> bool:
        """Tell whether a pod came or went that counts, or is the pod itself."""
        constraints = self.constraints(pod, HARD)
        changed = [one for one in (event.old_pod, event.new_pod) if one is not None]
        if any(one.uid == pod.uid for one in changed):
            return True
        counted = {
            tuple(one.selector.matches(other.labels) for one in constraints)
            for other in changed
            if other.namespace == pod.namespace
        }
        if len(changed) == 1:  # it came or went
            return any(any(one) for one in counted)
        return len(counted) > 1

    def _changes_domains(self, pod: PodInfo, event: ClusterEvent) -> bool:
        """Tell whether a node is in other domains than before."""
        constraints = self.constraints(pod, HARD)
        keys = [one.topology_key for one in constraints]
        before, after = (
            None if item is None or any(key not in item.labels for key in keys) else item.labels
            for item in (event.old, event.new)
        )
        if before is None or after is None:
            return before is not after
        if any(before[key] != after[key] for key in keys):
            return True
        return event.action is Action.NODE_TAINT and any(one.honor_taints for one in constraints)


@dataclass(frozen=True)
class Evenness:
    """What the hard constraints of a pod make of a node, with pods moved in thought."""

    pod: PodInfo
    constraints: Sequence[Constraint]
    tallies: Sequence[Tally]
    moved: Counter[tuple[int, str]] = field(default_factory=Counter)
    """How many more or fewer pods count: by constraint and domain; of one node's domains."""

    def basis(self, *, exact: bool) -> Hashable:
        """Return what groups are made by."""
        del exact
        return tuple([tally.basis for tally in self.tallies])

    def group(self, node: NodeInfo, *, exact: bool) -> Hashable:
        """Return the node's place in each tally."""
        del exact
        return tuple([tally.place(node) for tally in self.tallies])

    def __call__(self, node: NodeInfo) -> Rejection | None:
        """Return whether a label is missing or a domain would get too far ahead."""
        labels = node.labels
        if any(one.topology_key not in labels for one in self.constraints):
            return NO_LABEL
        for place, one in enumerate(self.constraints):
            if self._is_uneven(place, one, labels[one.topology_key]):
                return UNEVEN
        return None

    def _is_uneven(self, place: int, one: Constraint, domain: str) -> bool:
        tally = self.tallies[place]
        count = tally.counts.get(domain, 0) + self.moved[place, domain]
        least = 0
        if len(tally.topology.nodes) >= one.min_domains:
            moved = {at: number for (of, at), number in self.moved.items() if of == place}
            least = _least(tally, moved)
        own = 1 if one.selector.matches(self.pod.labels) else 0
        return count + own - least > one.max_skew

    def shifted(
        self, node: NodeInfo, added: Iterable[PodInfo], removed: Iterable[PodInfo]
    ) -> "Evenness":
        """Return the same with pods come to and gone from a node."""
        moved = Counter(self.moved)
        for sign, pods in ((1, tuple(added)), (-1, tuple(removed))):
            for place, one in enumerate(self.constraints):
                domain = self.tallies[place].topology.at.get(node.name)
                if domain is not None:
                    number = sum(one.means(self.pod, other) for other in pods)
                    moved[place, domain] += sign * number
        return replace(self, moved=moved)


def _least(tally: Tally, moved: Mapping[str, int]) -> int:
    """Return the count of the emptiest domain with pods moved in (mostly) one of them."""
    if not moved:
        return tally.least()
    if len(moved) == 1:
        ((domain, number),) = moved.items()
        other = tally.least_without(domain)
        own = tally.counts.get(domain, 0) + number
        return own if other is None else min(own, other)
    domains = tally.topology.nodes
    return min((tally.counts.get(at, 0) + moved.get(at, 0) for at in domains), default=0)


@dataclass(frozen=True)
class Crowds:
    """What the crowding of nodes comes from: counts on nodes, and domains."""

    keys: Sequence[str]
    tallies: Sequence[Tally]

    def basis(self, *, exact: bool) -> Hashable:
        """Return the labels, or the tally where nodes are counted one by one."""
        del exact
        return tuple(
            [
                tally if key == HOSTNAME else key
                for key, tally in zip(self.keys, self.tallies, strict=True)
            ]
        )

    def group(self, node: NodeInfo, *, exact: bool) -> Hashable:
        """Return the count on the node, or its domain, by constraint."""
        del exact
        return tuple(
            [
                (tally.on(node.name), key in node.labels)
                if key == HOSTNAME
                else node.labels.get(key)
                for key, tally in zip(self.keys, self.tallies, strict=True)
            ]
        )


def _crowding(
    nodes: Sequence[NodeInfo],
    constraints: Sequence[Constraint],
    tallies: Sequence[Tally],
    fitting: int,
) -> list[int]:
    """Return for each node the weighted number of matching pods in its domains."""
    totals = [0.0] * len(nodes)
    for one, tally in zip(constraints, tallies, strict=True):
        key, per_node = one.topology_key, one.topology_key == HOSTNAME
        size = fitting if per_node else len({node.labels.get(key) for node in nodes})
        factor, more = math.log(size + 2), one.max_skew - 1
        counts = tally.counts
        for at, node in enumerate(nodes):
            domain = node.labels.get(key)
            if domain is not None:
                number = tally.on(node.name) if per_node else counts.get(domain, 0)
                totals[at] += number * factor + more
    return [math.floor(total + 0.5) for total in totals]


def _inverted(raw: Sequence[int]) -> list[float]:
    """Turn crowding into scores: the least crowded gets 100."""
    least, most = min(raw, default=0), max(raw, default=0)
    if not most:
        return [SCORE_MAX] * len(raw)
    return [SCORE_MAX * (most + least - value) // most for value in raw]


def tally_of(pod: PodInfo, one: Constraint, together: Sequence[Constraint], cache: Cache) -> Tally:
    """Return the counts for a constraint, of nodes that have the labels of some of them."""
    scope = Scope(frozenset({pod.namespace}), one.selector)
    keys = tuple(sorted({each.topology_key for each in together} - {one.topology_key}))
    which: tuple[object, ...] = ()
    if one.honor_affinity and pod.required_nodes is not None:
        affinity = "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
        spec = pod.obj["spec"]
        which = (get(spec, "nodeSelector"), get(spec, affinity))
    tolerations = [dict(toleration) for toleration in pod.tolerations] if one.honor_taints else None
    if not keys and not which and tolerations is None:
        return cache.index.ask(Query((scope,), one.topology_key, living=True))
    nodes = orjson.dumps([keys, which, tolerations], option=orjson.OPT_SORT_KEYS).decode()
    query = Query((scope,), one.topology_key, living=True, nodes=nodes)
    return cache.index.ask(query, _eligible(pod, one, keys))


def _eligible(pod: PodInfo, one: Constraint, keys: Sequence[str]) -> Eligible:
    """Return the test whether a node takes part, by the labels it needs and the policies."""
    test = pod.required_nodes if one.honor_affinity else None
    tolerations = pod.tolerations if one.honor_taints else None

    def eligible(node: NodeInfo) -> bool:
        if any(key not in node.labels for key in keys):
            return False
        if test is not None and not test(node.name, node.labels):
            return False
        return tolerations is None or not any(untolerated(node.hard_taints, tolerations))

    return eligible


def _compiled(pod: PodInfo, given: Obj) -> Constraint:
    selector = selectors.from_object(given.get("labelSelector"))
    known = {one.key for one in selector.requirements if one.operator == "in"}
    same = tuple(
        Requirement(key, "=", (pod.labels[key],))
        for key in given.get("matchLabelKeys") or ()
        if key in pod.labels and key not in known
    )
    return Constraint(
        given["topologyKey"],
        given["maxSkew"],
        replace(selector, requirements=(*selector.requirements, *same)),
        given.get("minDomains") or 1,
        given.get("nodeAffinityPolicy", "Honor") == "Honor",
        given.get("nodeTaintsPolicy", "Ignore") == "Honor",
    )

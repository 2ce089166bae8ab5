"""The best node for one of many pods that are alike, without looking at every node for each.

Pods that ask the same of a node have the same answer from it until the node or its pods change. A
`Ranking` keeps the nodes that fit such pods in order of those scores that depend on the node alone,
and looks again only at nodes that have changed since. What depends on other nodes as well
(spreading, affinity between pods) is the same for all nodes of a *group*: those in the same
domains, with as many of the pods that count; so it is asked once for each group, of its best node.

A ranking is made for pods that come again, a part of it with each of them, so that no pod waits for
the whole. All nodes, or a sample of them, are asked instead where a plugin has no part in this (see
`own_node`, `Grouped` and `absolute`), or where room is held for other pods.
"""

import heapq
import itertools
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Protocol

from minikube_py.server.scheduler.cache import Cache
from minikube_py.server.scheduler.framework import Cycle, Question
from minikube_py.server.scheduler.node_info import NodeInfo
from minikube_py.server.scheduler.profile import Profile

RANKINGS_MAX = 32
"""Held at a time; each knows every node."""
SEEN_MAX = 512
"""Kinds of pods that are remembered to see which of them come again."""
GROUPS_MAX = 256
"""With more groups than this it is cheaper to ask a sample of the nodes."""
LOOKS_AT_ONCE = 500
"""Nodes that are looked at for one pod; with more to be done others are asked for it."""
TIE = 1e-6
"""Totals this close are equal: sums of floats differ by the order they are made in."""


class Grouped(Protocol):
    """A question, or a scorer prepared for a pod, that answers alike for all nodes of a group."""

    @property
    def basis(self) -> Hashable:
        """What the groups are made by; of pods with the same basis the same nodes are a group."""

    def group(self, node: NodeInfo) -> Hashable:
        """Return the node's group; it changes only with the node and the pods on it."""


Entry = tuple[float, int, str, int]
"""Score, negative; number of pods; name; and which look at the node it is of."""


class Ranking:
    """The nodes that fit some pods as far as that depends on each node alone, best first."""

    def __init__(self) -> None:
        self.groups: dict[Hashable, list[Entry]] = {}
        self.sizes: Counter[Hashable] = Counter()
        """How many nodes are in each group."""
        self.waiting: dict[str, None] = {}
        """Nodes that have to be looked at."""
        self.position = -1
        """How much of the cache's changes is taken in."""
        self._of: dict[str, tuple[Hashable, int]] = {}
        """The group of each node that fits, and its newest entry."""
        self._looks = 0

    def look(
        self,
        nodes: Sequence[NodeInfo],
        scores: Sequence[float],
        group: Callable[[NodeInfo], Hashable],
    ) -> None:
        """Take up nodes that fit, with their scores."""
        for node, score in zip(nodes, scores, strict=True):
            at = group(node)
            self._looks += 1
            self._of[node.name] = (at, self._looks)
            self.sizes[at] += 1
            entry = (-score, len(node.pods), node.name, self._looks)
            heapq.heappush(self.groups.setdefault(at, []), entry)

    def drop(self, name: str) -> None:
        """Forget a node that does not fit, or will be looked at anew."""
        known = self._of.pop(name, None)
        if known is not None:
            self.sizes[known[0]] -= 1

    def best(self) -> Sequence[tuple[Hashable, Entry]]:
        """Return the best node of each group; groups that have none left are forgotten."""
        found = []
        for at, heap in tuple(self.groups.items()):
            while heap and self._of.get(heap[0][2]) != (at, heap[0][3]):
                heapq.heappop(heap)
            if heap:
                found.append((at, heap[0]))
            else:
                del self.groups[at]
                del self.sizes[at]
        return found


class Parts:
    """The questions and scorers of a profile for one pod, by what they depend on."""

    def __init__(self, cycle: Cycle, profile: Profile) -> None:
        held = bool(len(cycle.cache.nominated))
        self.possible = not profile.pre_score and not held and not _objects(cycle, profile)
        self.own: list[Question] = []
        self.shared: list[Any] = []
        self.absolute = [(p, weight) for p, weight in profile.score if is_absolute(p)]
        self.relative: list[tuple[Any, int]] = []
        self._groups: list[Any] = []
        for plugin in profile.filter:
            question = plugin.filter(cycle)
            if question is None:
                continue
            if getattr(plugin, "own_node", False):
                self.own.append(question)
            elif hasattr(question, "group"):
                self.shared.append(question)
                self._groups.append(question)
            else:
                self.possible = False
        for scorer, weight in profile.score:
            if not is_absolute(scorer):
                self._relative(cycle, scorer, weight)
        self.basis = tuple(one.basis for one in self._groups)

    def _relative(self, cycle: Cycle, scorer: Any, weight: int) -> None:
        if not hasattr(scorer, "grouped"):
            self.possible = False
            return
        grouped = scorer.grouped(cycle)
        if grouped is not None:
            self.relative.append((scorer, weight))
            self._groups.append(grouped)

    def group(self, node: NodeInfo) -> Hashable:
        """Return the group of a node for all of them together."""
        return tuple([one.group(node) for one in self._groups])

    def fits(self, node: NodeInfo) -> bool:
        """Tell whether a node fits as far as that depends on it alone."""
        return all(question(node) is None for question in self.own)

    def own_scores(self, cycle: Cycle, nodes: Sequence[NodeInfo]) -> list[float]:
        """Return the sums of the scores that depend on each node alone."""
        return summed(cycle, nodes, self.absolute)


def _objects(cycle: Cycle, profile: Profile) -> bool:
    """Tell whether a plugin rejects the pod outright, or knows the few nodes that may do."""
    return any(plugin.pre_filter(cycle) is not None for plugin in profile.pre_filter)


def is_absolute(scorer: object) -> bool:
    """Tell whether a score depends on the pod and the node alone."""
    return bool(getattr(scorer, "absolute", False))


def summed(
    cycle: Cycle, nodes: Sequence[NodeInfo], scorers: Iterable[tuple[Any, int]]
) -> list[float]:
    """Return the weighted sum of some scores for each node."""
    totals = [0.0] * len(nodes)
    for scorer, weight in scorers:
        values = scorer.score(cycle, nodes)
        if values is not None:
            totals = [total + value * weight for total, value in zip(totals, values, strict=True)]
    return totals


class Rankings:
    """The rankings of the kinds of pods that came lately."""

    def __init__(self) -> None:
        self._held: OrderedDict[Hashable, Ranking] = OrderedDict()
        self._seen: OrderedDict[Hashable, None] = OrderedDict()

    def choose(self, cycle: Cycle, profile: Profile) -> str | None:
        """Return the best node for a pod; None where all nodes are to be asked, or none fits."""
        parts = Parts(cycle, profile)
        if not parts.possible:
            return None
        kind = (profile.name, cycle.pod.signature, parts.basis)
        ranking = self._of(kind)
        if ranking is None:
            return None
        if not _caught_up(ranking, cycle, parts) or len(ranking.groups) > GROUPS_MAX:
            return None
        return _chosen(ranking, cycle, parts)

    def _of(self, kind: Hashable) -> Ranking | None:
        """Return the ranking for a kind of pods, made when the second of them comes."""
        ranking = self._held.get(kind)
        if ranking is not None:
            self._held.move_to_end(kind)
            return ranking
        if kind not in self._seen:
            self._seen[kind] = None
            if len(self._seen) > SEEN_MAX:
                self._seen.popitem(last=False)
            return None
        del self._seen[kind]
        self._held[kind] = Ranking()
        if len(self._held) > RANKINGS_MAX:
            self._held.popitem(last=False)
        return self._held[kind]


def _caught_up(ranking: Ranking, cycle: Cycle, parts: Parts) -> bool:
    """Look at nodes that have changed since the ranking was last asked; tell whether at all."""
    cache: Cache = cycle.cache
    names = cache.changes.since(ranking.position)
    ranking.position = cache.changes.count
    ranking.waiting.update(dict.fromkeys(cache.nodes if names is None else names))
    nodes = []
    for name in tuple(itertools.islice(ranking.waiting, LOOKS_AT_ONCE)):
        del ranking.waiting[name]
        ranking.drop(name)
        node = cache.nodes.get(name)
        if node is not None and parts.fits(node):
            nodes.append(node)
    if nodes:
        ranking.look(nodes, parts.own_scores(cycle, nodes), parts.group)
    return not ranking.waiting


def _chosen(ranking: Ranking, cycle: Cycle, parts: Parts) -> str | None:
    """Choose among the best nodes of the groups."""
    known = cycle.cache.nodes
    fitting, standing = [], {}
    for at, entry in ranking.best():
        node = known[entry[2]]
        if all(question(node) is None for question in parts.shared):
            fitting.append((entry, node))
            standing[node.name] = ranking.sizes[at]
    if not fitting:
        return None
    totals = [-entry[0] for entry, _ in fitting]
    if parts.relative and len(fitting) > 1:
        cycle.standing = standing
        more = summed(cycle, [node for _, node in fitting], parts.relative)
        totals = [total + other for total, other in zip(totals, more, strict=True)]
    top = max(totals) - TIE
    ties = [entry for (entry, _), total in zip(fitting, totals, strict=True) if total >= top]
    return min(ties, key=lambda entry: entry[1:3])[2]

"""The best node for one of many pods that are alike, without looking at every node for each.

Pods that ask the same of a node have the same answer from it until the node or its pods change. A
`Ranking` keeps the nodes that fit such pods in order of those scores that depend on the node alone,
and looks again only at nodes that have changed since. What depends on other nodes as well
(spreading, affinity between pods) is the same for all nodes of a *group*: those in the same
domains, with as many of the pods that count; so it is asked once for each group, of its best node.

Which nodes have a pod that another must not share a node with is not grouped by at first: they are
few, and passed over one by one, so that pods of many kinds share one ranking. Where they are not
few, groups are made *exactly*, by that as well.

A ranking is made for pods that come again, a part of it with each of them, so that no pod waits for
the whole. All nodes, or a sample of them, are asked instead where a plugin has no part in this (see
`own_node`, `Grouped` and `absolute`), or where room is held on the best node for other pods.
"""

import contextlib
import functools
import heapq
import itertools
from collections import Counter, OrderedDict
from collections.abc import Callable, Generator, Hashable, Iterable, Sequence
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
SKIPS_MAX = 32
"""Nodes of a group that are passed over before groups are made exactly."""
VOID_TIMES, VOID_MAX = 3, 1000
"""So many times as many entries as nodes, and so many more, a ranking may have."""
LOOKS_AT_ONCE = 250
"""Nodes that are looked at for one pod; with more to be done others are asked for it."""
UNDECIDED = ""
"""In place of a node's name: groups have to be made exactly to say."""
TIE = 1e-6
"""Totals this close are equal: sums of floats differ by the order they are made in."""


class Grouped(Protocol):
    """A question, or a scorer prepared for a pod, that answers alike for all nodes of a group."""

    def basis(self, *, exact: bool) -> Hashable:
        """Return what groups are made by; of pods with the same basis the same nodes are one."""

    def group(self, node: NodeInfo, *, exact: bool) -> Hashable:
        """Return the node's group; it changes only with the node and the pods on it."""


Entry = tuple[float, int, str, int]
"""Score, negative; number of pods; name; and which look at the node it is of."""
SKIPPED: Entry = (0.0, 0, "", -1)
"""In place of an entry: too many nodes were passed over."""


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
        self._entries = 0
        """How many entries there are at most, void ones among them."""

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
        self._entries += len(nodes)
        if self._entries > len(self._of) * VOID_TIMES + VOID_MAX:
            self._sweep()

    def _sweep(self) -> None:
        """Throw away the entries of looks that are not the newest: most never come to the top."""
        for at, heap in self.groups.items():
            heap[:] = [entry for entry in heap if self._of.get(entry[2]) == (at, entry[3])]
            heapq.heapify(heap)
        self._entries = len(self._of)

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

    def walk(self, at: Hashable) -> Generator[Entry, None, None]:
        """Yield the nodes of a group, the best first; none is lost, however far one goes."""
        heap, passed = self.groups[at], []
        try:
            while heap:
                entry = heapq.heappop(heap)
                if self._of.get(entry[2]) == (at, entry[3]):
                    passed.append(entry)
                    yield entry
        finally:
            for entry in passed:
                heapq.heappush(heap, entry)


class Parts:
    """The questions and scorers of a profile for one pod, by what they depend on."""

    def __init__(self, cycle: Cycle, profile: Profile) -> None:
        self.possible = True
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
        self.each = any(getattr(one, "each", False) for one in self.shared)

    def basis(self, *, exact: bool) -> Hashable:
        """Return what groups are made by."""
        return exact, tuple([one.basis(exact=exact) for one in self._groups])

    def _relative(self, cycle: Cycle, scorer: Any, weight: int) -> None:
        if not hasattr(scorer, "grouped"):
            self.possible = False
            return
        grouped = scorer.grouped(cycle)
        if grouped is not None:
            self.relative.append((scorer, weight))
            self._groups.append(grouped)

    def group(self, node: NodeInfo, *, exact: bool) -> Hashable:
        """Return the group of a node for all of them together."""
        return tuple([one.group(node, exact=exact) for one in self._groups])

    def shares(self, node: NodeInfo) -> bool:
        """Tell whether a node fits as far as that depends on others as well."""
        return all(question(node) is None for question in self.shared)

    def fits(self, node: NodeInfo) -> bool:
        """Tell whether a node fits as far as that depends on it alone."""
        return all(question(node) is None for question in self.own)

    def may_differ(self, node: NodeInfo) -> bool:
        """Tell whether other nodes of the group of one that does not fit may."""
        others = (one for one in self.shared if not getattr(one, "each", False))
        return self.each and all(question(node) is None for question in others)

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
        pod, held = cycle.pod, cycle.cache.nominated
        if profile.pre_score or held.get(pod.uid) is not None or _objects(cycle, profile):
            return None
        parts = Parts(cycle, profile)
        if not parts.possible:
            return None
        for exact in (False, True) if parts.each else (True,):
            chosen = self._choose(cycle, profile, parts, exact=exact)
            if chosen is not UNDECIDED:
                # Room that is held on other nodes makes no difference to this one.
                return None if chosen is None or held.before(pod, chosen) else chosen
        return None

    def _choose(self, cycle: Cycle, profile: Profile, parts: Parts, *, exact: bool) -> str | None:
        kind = (profile.name, cycle.pod.signature, parts.basis(exact=exact))
        ranking = self._of(kind)
        if ranking is None:
            return None
        caught_up = _caught_up(ranking, cycle, parts, exact=exact)
        if not caught_up or len(ranking.groups) > GROUPS_MAX:
            return None
        return _chosen(ranking, cycle, parts, exact=exact)

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


def _caught_up(ranking: Ranking, cycle: Cycle, parts: Parts, *, exact: bool) -> bool:
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
        group = functools.partial(parts.group, exact=exact)
        ranking.look(nodes, parts.own_scores(cycle, nodes), group)
    return not ranking.waiting


def _chosen(ranking: Ranking, cycle: Cycle, parts: Parts, *, exact: bool) -> str | None:
    """Choose among the best fitting nodes of the groups."""
    known = cycle.cache.nodes
    fitting, standing = [], {}
    for at, best in ranking.best():
        entry = best if parts.shares(known[best[2]]) else None
        if entry is None and not exact and parts.may_differ(known[best[2]]):
            entry = _next_best(ranking, at, cycle, parts)
        if entry is SKIPPED:
            return UNDECIDED
        if entry is not None:
            fitting.append((entry, known[entry[2]]))
            standing[entry[2]] = ranking.sizes[at]
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


def _next_best(ranking: Ranking, at: Hashable, cycle: Cycle, parts: Parts) -> Entry | None:
    """Return the best node of a group that fits: its best one does not."""
    with contextlib.closing(ranking.walk(at)) as walk:
        for skipped, entry in enumerate(walk):
            if parts.shares(cycle.cache.nodes[entry[2]]):
                return entry
            if skipped >= SKIPS_MAX:
                return SKIPPED
    return None

"""Which node a pod goes to: filter, score, choose; all of it pure and at once.

In a large cluster only as many fitting nodes are looked for as upstream does (all up to 100, then
a share that falls from 50 to 5 %), going on next time where this one stopped.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from minikube_py.server.scheduler.cache import Cache
from minikube_py.server.scheduler.framework import Filter, Reasons, Score
from minikube_py.server.scheduler.node_info import NodeInfo
from minikube_py.server.scheduler.plugins import FILTERS, SCORES
from minikube_py.server.scheduler.pod_info import PodInfo

ALL_UP_TO = 100
TIE = 1e-6
"""Totals this close are equal: sums of floats differ by the order they are made in."""
NO_NODES = "no nodes available to schedule pods"


@dataclass
class Rejection:
    """Why a node was ruled out."""

    plugin: Filter
    reasons: Reasons


@dataclass
class Fit:
    """The outcome of filtering."""

    nodes: list[NodeInfo] = field(default_factory=list)
    rejected: dict[str, Rejection] = field(default_factory=dict)
    looked_at: int = 0

    @property
    def plugins(self) -> frozenset[str]:
        """The names of the plugins that rejected nodes."""
        return frozenset(rejection.plugin.name for rejection in self.rejected.values())


def enough(nodes: int) -> int:
    """Return how many fitting nodes are worth scoring."""
    if nodes <= ALL_UP_TO:
        return nodes
    percent = max(50 - nodes // 125, 5)
    return max(nodes * percent // 100, ALL_UP_TO)


def find(
    pod: PodInfo,
    cache: Cache,
    *,
    start: int = 0,
    filters: Sequence[Filter] = FILTERS,
    complete: bool = False,
) -> Fit:
    """Ask all filters about the nodes, from a place on, until enough fit (`complete`: all)."""
    checks = [(plugin, check) for plugin in filters if (check := plugin.filter(pod, cache))]
    nodes = list(cache.nodes.values())
    fit = Fit()
    limit = len(nodes) if complete else enough(len(nodes))
    for at in range(len(nodes)):
        node = nodes[(start + at) % len(nodes)]
        fit.looked_at += 1
        for plugin, check in checks:
            reasons = check(node)
            if reasons is not None:
                fit.rejected[node.name] = Rejection(plugin, reasons)
                break
        else:
            fit.nodes.append(node)
            if len(fit.nodes) >= limit:
                break
    return fit


def choose(
    pod: PodInfo, nodes: Sequence[NodeInfo], cache: Cache, scores: Sequence[Score] = SCORES
) -> str:
    """Return the name of the best of some fitting nodes; of equals the one with fewest pods."""
    if len(nodes) == 1:
        return nodes[0].name
    totals = total_scores(pod, nodes, cache, scores)
    best = max(totals) - TIE
    ties = [node for node, total in zip(nodes, totals, strict=True) if total >= best]
    return min(ties, key=lambda node: (len(node.pods), node.name)).name


def total_scores(
    pod: PodInfo, nodes: Sequence[NodeInfo], cache: Cache, scores: Sequence[Score] = SCORES
) -> Sequence[float]:
    """Return the weighted sum of all scores for each node."""
    totals = [0.0] * len(nodes)
    for plugin in scores:
        values = plugin.score(pod, nodes, cache)
        if values is not None:
            weight = plugin.weight
            totals = [total + value * weight for total, value in zip(totals, values, strict=True)]
    return totals


def explain(fit: Fit, count: int, after: str = "") -> str:
    """Say why no node fits, as upstream words it; `after` tells of preemption."""
    if not count:
        return NO_NODES
    numbers = Counter(reason for rejection in fit.rejected.values() for reason in rejection.reasons)
    reasons = sorted(f"{number} {reason}" for reason, number in numbers.items())
    text = f"0/{count} nodes are available: {', '.join(reasons)}."
    return f"{text} {after}" if after else text

"""Which node a pod goes to: filter, score, choose; all of it pure and at once.

In a large cluster only as many fitting nodes are looked for as upstream does (all up to 100, then
a share that falls from 50 to 5 %), going on next time where this one stopped.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from minikube_py.server.scheduler.framework import (
    Check,
    Cycle,
    Rejected,
    Rejection,
    rejection,
)
from minikube_py.server.scheduler.node_info import NodeInfo
from minikube_py.server.scheduler.pod_info import PodInfo
from minikube_py.server.scheduler.profile import Profile
from minikube_py.server.scheduler.ranking import TIE, summed

ALL_UP_TO = 100
NODES_AT_ONCE = 500
"""Asked without letting others run: some milliseconds."""
NO_NODES = "no nodes available to schedule pods"


@dataclass
class Fit:
    """The outcome of filtering."""

    count: int
    """How many nodes there are."""
    nodes: list[NodeInfo] = field(default_factory=list)
    rejected: dict[str, Rejected] = field(default_factory=dict)
    """The nodes that were asked and ruled out."""
    outside: Rejection | None = None
    """Why the others were not asked, where pre-filter plugins narrowed them down."""
    outright: Rejected | None = None
    """Why the pod was rejected before any node was asked."""
    narrowed_by: list[str] = field(default_factory=list)
    looked_at: int = 0
    done: bool = False
    checks: Sequence[Check] = ()
    """The questions that were asked of the nodes."""

    @property
    def plugins(self) -> frozenset[str]:
        """The names of the plugins that kept the pod from nodes."""
        if self.outright is not None:
            return frozenset({self.outright.plugin})
        rejected = (one.plugin for one in self.rejected.values())
        return frozenset({*rejected, *self.narrowed_by})


def enough(nodes: int, percentage: int = 0) -> int:
    """Return how many fitting nodes are worth scoring."""
    percent = percentage or max(50 - nodes // 125, 5)
    if nodes <= ALL_UP_TO or percent >= 100:
        return nodes
    return max(nodes * percent // 100, ALL_UP_TO)


async def find(cycle: Cycle, profile: Profile, *, start: int = 0, complete: bool = False) -> Fit:
    """Ask all filters about the nodes, from a place on, until enough fit (`complete`: all).

    In a large cluster others may run in between.
    """
    for fit in steps(cycle, profile, start=start, complete=complete):
        if fit.done:
            return fit
        await asyncio.sleep(0)
    raise AssertionError("the last step is the whole")


def steps(
    cycle: Cycle, profile: Profile, *, start: int = 0, complete: bool = False
) -> Iterator[Fit]:
    """Do the same bit by bit; the last that comes is done."""
    nodes = list(cycle.cache.nodes.values())
    fit = Fit(len(nodes))
    candidates = _narrowed(cycle, profile, nodes, fit)
    if fit.outright is not None:
        fit.done = True
        yield fit
        return
    checks = fit.checks = questions(cycle, profile)
    if not complete and _fits_where_nominated(cycle, checks, fit):
        fit.done = True
        yield fit
        return
    limit = len(nodes) if complete else enough(len(nodes), profile.percentage)
    total = len(candidates)
    for at in range(total):
        node = candidates[(start + at) % total]
        fit.looked_at += 1
        why = ask(cycle, checks, node)
        if why is not None:
            fit.rejected[node.name] = why
        else:
            fit.nodes.append(node)
            if len(fit.nodes) >= limit:
                break
        if fit.looked_at % NODES_AT_ONCE == 0:
            yield fit
    fit.done = True
    yield fit


def _fits_where_nominated(cycle: Cycle, checks: Sequence[Check], fit: Fit) -> bool:
    """Tell whether the room that is held for the pod is enough by now: it looks no further."""
    nominated = cycle.cache.nominated.get(cycle.pod.uid)
    node = None if nominated is None else cycle.cache.nodes.get(nominated.node)
    if node is None or ask(cycle, checks, node) is not None:
        return False
    fit.nodes.append(node)
    return True


def _narrowed(
    cycle: Cycle, profile: Profile, nodes: list[NodeInfo], fit: Fit
) -> Sequence[NodeInfo]:
    """Ask the pre-filter plugins; return the nodes that are left."""
    left: frozenset[str] | None = None
    for plugin in profile.pre_filter:
        said = plugin.pre_filter(cycle)
        if said is None:
            continue
        if isinstance(said, Rejection):
            fit.outright = Rejected(plugin.name, said)
            return ()
        fit.narrowed_by.append(plugin.name)
        left = said.nodes if left is None else left & said.nodes
        if not left:
            text = f"node(s) didn't satisfy plugin(s) {_listed(fit)} simultaneously"
            if len(fit.narrowed_by) == 1:
                text = f"node(s) didn't satisfy plugin {plugin.name}"
            fit.outright = Rejected(plugin.name, rejection(text, final=True))
            return ()
    if left is None:
        return nodes
    text = f"node(s) didn't satisfy plugin(s) {_listed(fit)}"
    fit.outside = rejection(text, final=True)
    known = cycle.cache.nodes
    return [known[name] for name in sorted(left) if name in known]


def _listed(fit: Fit) -> str:
    return f"[{' '.join(sorted(fit.narrowed_by))}]"


def questions(cycle: Cycle, profile: Profile) -> Sequence[Check]:
    """Return the questions of all filters that concern the pod."""
    asked = ((plugin, plugin.filter(cycle)) for plugin in profile.filter)
    return [(plugin, question) for plugin, question in asked if question is not None]


def ask(cycle: Cycle, checks: Sequence[Check], node: NodeInfo) -> Rejected | None:
    """Return the first filter that rules a node out, with and without the room held there."""
    held = cycle.cache.nominated.before(cycle.pod, node.name)
    if held:
        trial = node.copy()
        for other in held:
            trial.add(other)
        why = first_rejection(shifted(checks, trial, held, ()), trial)
        if why is not None:
            return why
    return first_rejection(checks, node)


def first_rejection(checks: Iterable[Check], node: NodeInfo) -> Rejected | None:
    """Return the first filter that rules a node out as it is."""
    for plugin, question in checks:
        why = question(node)
        if why is not None:
            return Rejected(plugin.name, why)
    return None


def shifted(
    checks: Sequence[Check],
    node: NodeInfo,
    added: Sequence[PodInfo],
    removed: Sequence[PodInfo],
) -> Sequence[Check]:
    """Return the questions as they would be with pods come to and gone from a node."""
    return [
        (plugin, question.shifted(node, added, removed))
        if hasattr(question, "shifted")
        else (plugin, question)
        for plugin, question in checks
    ]


def choose(
    cycle: Cycle,
    nodes: Sequence[NodeInfo],
    profile: Profile,
    more: Mapping[str, float] | None = None,
) -> str:
    """Return the name of the best of some fitting nodes; of equals the one with fewest pods.

    `more` is added to the scores of nodes by name.
    """
    if len(nodes) == 1:
        return nodes[0].name
    totals = total_scores(cycle, nodes, profile)
    if more:
        named = zip(nodes, totals, strict=True)
        totals = [total + more.get(node.name, 0.0) for node, total in named]
    return best(nodes, totals)


def best(nodes: Sequence[NodeInfo], totals: Sequence[float]) -> str:
    """Return the name of the node with the highest total; of equals that with fewest pods."""
    least = max(totals) - TIE
    ties = [node for node, total in zip(nodes, totals, strict=True) if total >= least]
    return min(ties, key=lambda node: (len(node.pods), node.name)).name


def total_scores(cycle: Cycle, nodes: Sequence[NodeInfo], profile: Profile) -> list[float]:
    """Return the weighted sum of all scores for each node."""
    for plugin in profile.pre_score:
        plugin.pre_score(cycle, nodes)
    scorers = (one for one in profile.score if one[0].name not in cycle.skipped)
    return summed(cycle, nodes, scorers)


def explain(fit: Fit, after: str = "") -> str:
    """Say why no node fits, as upstream words it; `after` tells of preemption."""
    if not fit.count:
        return NO_NODES
    if fit.outright is not None:
        reasons = [", ".join(fit.outright.rejection.reasons)]
    else:
        numbers = Counter(
            reason for one in fit.rejected.values() for reason in one.rejection.reasons
        )
        reasons = sorted(f"{number} {reason}" for reason, number in numbers.items())
    text = f"0/{fit.count} nodes are available:"
    said = f" {', '.join(reasons)}." if reasons else ""
    return f"{text}{said} {after}" if after else f"{text}{said}"

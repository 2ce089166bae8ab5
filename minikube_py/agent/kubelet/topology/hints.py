"""Which NUMA nodes a container's resources should come from: hints and how they become one. Pure.

Each provider (processors, memory, devices) yields, for each resource, the sets of NUMA nodes that
could satisfy the container; `merge` looks for the best set that suits all of them, and a `Policy`
says whether the container may start where there is none. Rules and names are those of upstream's
topology manager (pkg/kubelet/cm/topologymanager).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

Nodes = frozenset[int]
MAX_NUMA_NODES = 8
"""More make too many combinations; the option max-allowable-numa-nodes lifts it."""


class Hint(NamedTuple):
    """A set of NUMA nodes that would do; None for any."""

    nodes: Nodes | None
    preferred: bool


Hints = Mapping[str, Sequence[Hint] | None]
"""By resource: None where it does not matter, empty where no set would do."""
ANYWHERE = Hint(None, preferred=True)
NOWHERE = Hint(None, preferred=False)


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A policy with its options."""

    name: str = "none"
    """none, best-effort, restricted or single-numa-node."""
    scope: str = "container"
    """container, or pod: all containers of a pod together."""
    prefer_closest: bool = False
    """The option prefer-closest-numa-nodes: of as many nodes, those nearest to each other."""

    @property
    def is_strict(self) -> bool:
        """Whether a container without a preferred set is refused."""
        return self.name in ("restricted", "single-numa-node")


Distance = Callable[[Nodes], float]
"""Returns the average distance between nodes."""


def subsets(nodes: Sequence[int]) -> Iterator[Nodes]:
    """Yield all sets of nodes, the smallest first."""
    for count in range(1, len(nodes) + 1):
        yield from (frozenset(some) for some in combinations(sorted(nodes), count))


def mark_preferred(found: Sequence[Nodes], smallest: int) -> list[Hint]:
    """Return sets as hints; preferred are those of the smallest size that could ever do."""
    return [Hint(nodes, len(nodes) == smallest) for nodes in found]


def merge(
    providers: Sequence[Hints], nodes: Nodes, policy: Policy, distance: Distance = lambda _: 0.0
) -> tuple[Hint, bool]:
    """Return the best hint for a container, and whether it may start."""
    lists = [found for hints in providers for found in _lists(hints)]
    if policy.name == "single-numa-node":
        lists = [[hint for hint in found if _is_single(hint)] for found in lists]
    best = _best(lists, nodes, distance if policy.prefer_closest else lambda _: 0.0)
    if policy.name == "single-numa-node" and best.nodes == nodes:
        best = Hint(None, best.preferred)
    return best, best.preferred or not policy.is_strict


def _lists(hints: Hints) -> Iterator[list[Hint]]:
    if not hints:
        yield [ANYWHERE]
    for found in hints.values():
        if found is None:
            yield [ANYWHERE]
        else:
            yield list(found) or [NOWHERE]


def _is_single(hint: Hint) -> bool:
    return hint.preferred and (hint.nodes is None or len(hint.nodes) == 1)


def _best(lists: Sequence[Sequence[Hint]], nodes: Nodes, distance: Distance) -> Hint:
    enough = _enough(lists)
    merged = {ANYWHERE}
    for found in lists:
        merged = {_both(one, other) for one in merged for other in set(found)}
    candidates = [Hint(nodes if one.nodes is None else one.nodes, one.preferred) for one in merged]
    possible = [one for one in candidates if one.nodes]
    if not possible:
        return Hint(nodes, preferred=False)
    return min(possible, key=lambda one: _rank(one, enough, distance))


def _enough(lists: Sequence[Sequence[Hint]]) -> int:
    """Return how many nodes are needed at least, by the resource that needs most."""
    sizes = [[len(hint.nodes) for hint in found if hint.nodes] for found in lists]
    return max((min(found) for found in sizes if found), default=0)


def _both(one: Hint, other: Hint) -> Hint:
    """Return what two hints come to; preferred are only those that agree."""
    preferred = one.preferred and other.preferred
    if one.nodes is None or other.nodes is None:
        return Hint(other.nodes if one.nodes is None else one.nodes, preferred)
    return Hint(one.nodes & other.nodes, preferred and one.nodes == other.nodes)


def _rank(hint: Hint, enough: int, distance: Distance) -> tuple[float, ...]:
    """Return the place of a hint in the order of all; the least is the best.

    Preferred ones are as few nodes as can be; others as near to what is needed as can be, and
    rather below it than above. Of as many, the nearest to each other, then the lowest numbers.
    """
    nodes = hint.nodes or frozenset()
    size, rest = len(nodes), (distance(nodes), sum(1 << node for node in nodes))
    if hint.preferred:
        return 0, size, *rest
    if size <= enough:
        return 1, -size, *rest
    return 2, size, *rest

"""How good it is for a node to have its resources used: the strategies, as closures.

Each gets for some resources what would be used and what there is, and returns a number from 0 to
100. What is not there at all does not count; the formulas are upstream's (noderesources).
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from minikube_py.server.scheduler.framework import SCORE_MAX
from minikube_py.server.scheduler.node_info import NodeInfo
from minikube_py.server.scheduler.pod_info import PodInfo

Share = Callable[[float, float], float]
"""(used, there) -> score of one resource, from 0 to 100."""
NATIVE = ("cpu", "memory", "ephemeral-storage")
WEIGHT_MAX = 100
UTILIZATION_MAX = 100
SHAPE_SCORE_MAX = 10


class Weighed(NamedTuple):
    """A resource that counts, and how much."""

    name: str
    weight: int = 1


BOTH = (Weighed("cpu"), Weighed("memory"))
"""What counts by default."""


def least(used: float, there: float) -> float:
    """Prefer what is used least."""
    return 0.0 if used > there else (there - used) * SCORE_MAX / there


def most(used: float, there: float) -> float:
    """Prefer what is used most, short of too much."""
    return min(used, there) * SCORE_MAX / there


def shaped(points: Sequence[tuple[int, int]]) -> Share:
    """Return a score that goes in straight lines through points (utilization, score of 10)."""
    at = [float(utilization) for utilization, _ in points]
    scores = [score * SCORE_MAX / SHAPE_SCORE_MAX for _, score in points]

    def score(used: float, there: float) -> float:
        utilization = UTILIZATION_MAX if used > there else used * UTILIZATION_MAX / there
        place = bisect_left(at, utilization)
        if place == 0:
            return scores[0]
        if place == len(at):
            return scores[-1]
        before, after = at[place - 1], at[place]
        part = (utilization - before) / (after - before)
        return scores[place - 1] + (scores[place] - scores[place - 1]) * part

    return score


def amounts(
    pod: PodInfo, node: NodeInfo, resources: Sequence[Weighed], *, defaults: bool
) -> Sequence[tuple[Weighed, float, float]]:
    """Return of each resource that counts what would be used and what there is.

    With `defaults` a container that asks for no CPU or memory counts all the same.
    """
    found = []
    for one in resources:
        own = pod.requests.get(one.name, 0)
        if not own and one.name not in NATIVE:
            continue  # a pod that has no use for it does not care
        there = node.allocatable.get(one.name, 0)
        if not there:
            continue
        used = node.requested.get(one.name, 0) + own
        if defaults and one.name in ("cpu", "memory"):
            place = ("cpu", "memory").index(one.name)
            used = node.weight[place] + pod.weight[place]
        found.append((one, float(used), float(there)))
    return found


def weighted(
    found: Sequence[tuple[Weighed, float, float]], share: Share, *, empty_counts: bool = True
) -> float:
    """Return the mean of the scores; without `empty_counts` of those that are not 0."""
    total, weights = 0.0, 0
    for one, used, there in found:
        score = share(used, there)
        if empty_counts or score > 0:
            total += score * one.weight
            weights += one.weight
    return total / weights if weights else 0.0


def evenness(fractions: Sequence[float]) -> float:
    """Return how little shares differ: 100 less their standard deviation."""
    if len(fractions) < 2:
        return SCORE_MAX
    mean = sum(fractions) / len(fractions)
    deviation = math.sqrt(sum((one - mean) ** 2 for one in fractions) / len(fractions))
    return (1 - deviation) * SCORE_MAX


def resources_of(listed: Any, field: str) -> Sequence[Weighed]:
    """Return the resources of an argument.

    Raises:
        ValueError: an entry has no name, or a weight that is out of range.

    """
    if not listed:
        return BOTH
    found = []
    for place, entry in enumerate(listed):
        name, weight = entry.get("name", ""), entry.get("weight", 1)
        if not name:
            raise ValueError(f"{field}[{place}].name: Required value")
        if not isinstance(weight, int) or not 1 <= weight <= WEIGHT_MAX:
            raise ValueError(
                f"{field}[{place}].weight: Invalid value: {weight}: "
                "resource weight should be a positive value less than or equal to 100"
            )
        found.append(Weighed(name, weight))
    return found


def shape_of(given: Mapping[str, Any] | None, field: str) -> Sequence[tuple[int, int]]:
    """Return the points of a requestedToCapacityRatio.

    Raises:
        ValueError: there are none, they are not in order, or out of range.

    """
    points = [
        (one.get("utilization", 0), one.get("score", 0)) for one in (given or {}).get("shape", ())
    ]
    if not points:
        raise ValueError(f"{field}.shape: Required value: at least one point must be specified")
    before = -1
    for place, (utilization, score) in enumerate(points):
        path = f"{field}.shape[{place}]"
        if not 0 <= utilization <= UTILIZATION_MAX:
            raise ValueError(
                f"{path}.utilization: Invalid value: {utilization}: not in valid range [0-100]"
            )
        if not 0 <= score <= SHAPE_SCORE_MAX:
            raise ValueError(f"{path}.score: Invalid value: {score}: not in valid range [0-10]")
        if utilization <= before:
            raise ValueError(
                f"{path}.utilization: Invalid value: {utilization}: "
                "utilization values must be sorted in increasing order"
            )
        before = utilization
    return points

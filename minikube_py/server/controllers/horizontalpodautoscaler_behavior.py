"""How fast an autoscaler may go: what was recommended and done lately, and the limits of a step.

A recommendation counts for as long as a stabilization window lasts: on the way down the highest of
the window is taken, on the way up the lowest. Policies then limit how much may change within their
periods. All is pure; the names of reasons and their messages are upstream's.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from minikube_py.api.object import Obj, get

DOWNSCALE_STABILIZATION_SECONDS = 300.0
SCALE_UP_FACTOR, SCALE_UP_MINIMUM = 2, 4
"""Without a behavior a step may double the replicas, or make them four."""
MESSAGES = {
    "ReadyForNewScale": "recommended size matches current size",
    "ScaleUpStabilized": "recent recommendations were lower than current one, applying the lowest "
    "recent recommendation",
    "ScaleDownStabilized": "recent recommendations were higher than current one, applying the "
    "highest recent recommendation",
    "DesiredWithinRange": "the desired count is within the acceptable range",
    "ScaleUpLimit": "the desired replica count is increasing faster than the maximum scale rate",
    "ScaleDownLimit": "the desired replica count is decreasing faster than the maximum scale rate",
    "TooManyReplicas": "the desired replica count is more than the maximum replica count",
    "TooFewReplicas": "the desired replica count is less than the minimum replica count",
}


class Moment(NamedTuple):
    """A number at a time."""

    at: float
    amount: int


@dataclass(frozen=True)
class History:
    """What an autoscaler recommended and did lately."""

    recommended: tuple[Moment, ...] = ()
    """Before stabilization."""
    ups: tuple[Moment, ...] = ()
    """How many replicas were added."""
    downs: tuple[Moment, ...] = ()

    def with_recommendation(self, now: float, replicas: int, seconds: float) -> "History":
        """Note a recommendation and forget those that no window of so many seconds reaches."""
        kept = tuple(one for one in self.recommended if one.at >= now - seconds)
        return replace(self, recommended=(*kept, Moment(now, replicas)))

    def with_step(self, now: float, before: int, after: int, behavior: Obj | None) -> "History":
        """Note a change of scale, where a behavior may ask for it."""
        if behavior is None:
            return self
        if after > before:
            kept = _recent(self.ups, now, longest_period(behavior["scaleUp"]))
            return replace(self, ups=(*kept, Moment(now, after - before)))
        kept = _recent(self.downs, now, longest_period(behavior["scaleDown"]))
        return replace(self, downs=(*kept, Moment(now, before - after)))


def _recent(steps: Iterable[Moment], now: float, seconds: float) -> tuple[Moment, ...]:
    return tuple(one for one in steps if one.at >= now - seconds)


class Step(NamedTuple):
    """How many replicas there are to be now, and why not as many as recommended."""

    replicas: int
    stabilized: str
    """Reason of the condition AbleToScale."""
    limited: bool
    limit: str
    """Reason of the condition ScalingLimited."""
    history: History


class Range(NamedTuple):
    """The present number and its bounds."""

    current: int
    least: int
    most: int


def step(
    recommended: int, within: Range, behavior: Obj | None, history: History, now: float
) -> Step:
    """Return how far to go towards what is recommended."""
    if behavior is None:
        stable, reason = _default_stabilized(recommended, history, now)
        window = DOWNSCALE_STABILIZATION_SECONDS
        replicas, limit = _default_limited(stable, within)
    else:
        up, down = windows(behavior)
        stable, reason = _stabilized(recommended, within.current, behavior, history, now)
        window = max(up, down)
        replicas, limit = _limited(stable, within, behavior, history, now)
    noted = history.with_recommendation(now, recommended, window)
    return Step(replicas, reason, replicas != stable, limit, noted)


def windows(behavior: Obj) -> tuple[float, float]:
    """Return the stabilization windows of a behavior, up and down, in seconds."""
    up = get(behavior, "scaleUp.stabilizationWindowSeconds", 0)
    down = get(behavior, "scaleDown.stabilizationWindowSeconds")
    return float(up), DOWNSCALE_STABILIZATION_SECONDS if down is None else float(down)


def _default_stabilized(recommended: int, history: History, now: float) -> tuple[int, str]:
    cutoff = now - DOWNSCALE_STABILIZATION_SECONDS
    lately = (one.amount for one in history.recommended if one.at >= cutoff)
    highest = max((recommended, *lately))
    return highest, "ReadyForNewScale" if highest == recommended else "ScaleDownStabilized"


def _stabilized(
    recommended: int, current: int, behavior: Obj, history: History, now: float
) -> tuple[int, str]:
    up, down = windows(behavior)
    lowest = min((recommended, *(m.amount for m in history.recommended if m.at > now - up)))
    highest = max((recommended, *(m.amount for m in history.recommended if m.at > now - down)))
    stable = min(max(current, lowest), highest)
    if stable == recommended:
        return stable, "ReadyForNewScale"
    return stable, "ScaleUpStabilized" if recommended >= current else "ScaleDownStabilized"


def _default_limited(wanted: int, within: Range) -> tuple[int, str]:
    fastest = max(SCALE_UP_FACTOR * within.current, SCALE_UP_MINIMUM)
    most, reason = within.most, "TooManyReplicas"
    if most > fastest:
        most, reason = fastest, "ScaleUpLimit"
    if wanted < within.least:
        return within.least, "TooFewReplicas"
    return (most, reason) if wanted > most else (wanted, "DesiredWithinRange")


def _limited(
    wanted: int, within: Range, behavior: Obj, history: History, now: float
) -> tuple[int, str]:
    if wanted > within.current:
        limit = max(up_limit(within.current, behavior["scaleUp"], history, now), within.current)
        most, reason = within.most, "TooManyReplicas"
        if most > limit:
            most, reason = limit, "ScaleUpLimit"
        if wanted > most:
            return most, reason
    elif wanted < within.current:
        limit = down_limit(within.current, behavior["scaleDown"], history, now)
        limit = min(limit, within.current)
        least, reason = within.least, "TooFewReplicas"
        if least < limit:
            least, reason = limit, "ScaleDownLimit"
        if wanted < least:
            return least, reason
    return wanted, "DesiredWithinRange"


def up_limit(current: int, rules: Obj, history: History, now: float) -> int:
    """Return how many replicas the policies allow at most."""
    if rules["selectPolicy"] == "Disabled":
        return current
    proposals = []
    for policy in rules["policies"]:
        start = period_start(current, policy, history, now)
        value = int(policy["value"])
        more, percent = start + value, math.ceil(start * (1 + value / 100))
        proposals.append(more if policy["type"] == "Pods" else percent)
    return min(proposals) if rules["selectPolicy"] == "Min" else max(proposals)


def down_limit(current: int, rules: Obj, history: History, now: float) -> int:
    """Return how many replicas the policies leave at least."""
    if rules["selectPolicy"] == "Disabled":
        return current
    proposals = []
    for policy in rules["policies"]:
        start = period_start(current, policy, history, now)
        value = int(policy["value"])
        less, percent = start - value, int(start * (1 - value / 100))
        proposals.append(less if policy["type"] == "Pods" else percent)
    return max(proposals) if rules["selectPolicy"] == "Min" else min(proposals)


def period_start(current: int, policy: Obj, history: History, now: float) -> int:
    """Return how many replicas there were when the period of a policy began."""
    cutoff = now - float(policy["periodSeconds"])
    return current - _changed(history.ups, cutoff) + _changed(history.downs, cutoff)


def _changed(steps: Sequence[Moment], cutoff: float) -> int:
    return sum(one.amount for one in steps if one.at > cutoff)


def longest_period(rules: Obj) -> float:
    """Return the longest period of a rule's policies."""
    return float(
        max((policy["periodSeconds"] for policy in rules.get("policies") or ()), default=0)
    )

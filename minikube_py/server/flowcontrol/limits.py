"""How many seats each level has: its share of the server's, and what levels lend each other.

Pure. The server's seats are shared out by `nominalConcurrencyShares`. A level lends part of its
share while it does not need it; every ten seconds the seats that may be lent go to who wanted
them, in proportion to their smoothed demand, within the bounds of each level. The rules and
constants are those of apiserver's `apf_controller.go` and `conc_alloc.go`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from minikube_py.api.object import Obj

SMOOTHING = 0.977
"""How much of the earlier demand remains after a period; half of it is gone after five minutes."""
WIDEST_SHARE = 0.15
"""One request takes at most this part of a level's seats."""
TARGET_MIN = 0.001
EXEMPT = "Exempt"


@dataclass(frozen=True)
class Limits:
    """Bounds of the seats of one level."""

    nominal: int
    lower: int
    """What is left when it has lent all that it may."""
    upper: int
    """What it has when it has borrowed all that it may."""
    widest: int
    """Seats that one request takes at most."""
    exempt: bool = False

    @property
    def first(self) -> int:
        """What a new level starts with: half of what it may lend is lent."""
        return self.nominal - (self.nominal - self.lower) // 2


def limits_of(levels: Mapping[str, Obj], seats: int) -> dict[str, Limits]:
    """Share out the server's seats among levels, by name."""
    total = sum(_shares(level) for level in levels.values())
    return {name: _limits(level, seats, total) for name, level in levels.items()}


def _part(level: Obj) -> Obj:
    spec = level["spec"]
    part: Obj = spec.get("exempt" if spec["type"] == EXEMPT else "limited") or {}
    return part


def _shares(level: Obj) -> int:
    usual = 0 if level["spec"]["type"] == EXEMPT else 30
    return int(_part(level).get("nominalConcurrencyShares", usual))


def _limits(level: Obj, seats: int, total: int) -> Limits:
    part = _part(level)
    exempt = level["spec"]["type"] == EXEMPT
    nominal = math.ceil(seats * _shares(level) / total) if total else 0
    lendable = _rounded(nominal * part.get("lendablePercent", 0) / 100)
    percent = part.get("borrowingLimitPercent")
    borrowed = seats if percent is None else _rounded(nominal * percent / 100)
    hand = ((part.get("limitResponse") or {}).get("queuing") or {}).get("handSize", 0)
    return Limits(
        nominal=nominal,
        lower=nominal - lendable,
        upper=nominal + borrowed,
        widest=_widest(nominal, hand),
        exempt=exempt,
    )


def _rounded(number: float) -> int:
    """Round as Go does: halves up."""
    return math.floor(number + 0.5)


def _widest(nominal: int, hand: int) -> int:
    """Return how wide a request may be, so that one of each queue of a hand fits in."""
    if not hand:
        return 0
    return max(1, min(math.ceil(nominal * WIDEST_SHARE), nominal // hand))


@dataclass(frozen=True)
class Wanted:
    """What the requests of one level wanted in the last period, and smoothed over earlier ones."""

    highest: int
    smooth: float


def smoothed(before: float, average: float, deviation: float) -> float:
    """Return the demand to reckon with: it rises at once and falls slowly."""
    envelope = average + deviation
    return max(envelope, SMOOTHING * before + (1 - SMOOTHING) * envelope)


def lent(limits: Mapping[str, Limits], wanted: Mapping[str, Wanted]) -> dict[str, int]:
    """Return the seats of each level for the next period."""
    exempt = {
        name: max(limits[name].lower, wanted[name].highest)
        for name in limits
        if limits[name].exempt
    }
    limited = [name for name in limits if not limits[name].exempt]
    seats = sum(limit.nominal for limit in limits.values()) - sum(exempt.values())
    lowest = [
        max(limits[name].lower, min(limits[name].nominal, wanted[name].highest)) for name in limited
    ]
    least = sum(limits[name].lower for name in limited)
    if seats < least:
        return exempt | {name: limits[name].lower for name in limited}
    if seats < sum(lowest):
        # Not all get what they used of their own: the rest above the least is shared alike.
        part = (seats - least) / (sum(lowest) - least)
        shared = {
            name: limits[name].lower + math.floor(part * (low - limits[name].lower))
            for name, low in zip(limited, lowest, strict=True)
        }
        return exempt | shared
    targets = [max(low, wanted[name].smooth) for name, low in zip(limited, lowest, strict=True)]
    highest = [limits[name].upper for name in limited]
    allotted = allot(seats, targets, lowest, highest)
    return exempt | {name: _rounded(part) for name, part in zip(limited, allotted, strict=True)}


def allot(
    total: float, targets: Sequence[float], lowest: Sequence[float], highest: Sequence[float]
) -> list[float]:
    """Divide a sum in proportion to targets, within bounds; as near to it as the bounds let us."""
    targets = [max(target, TARGET_MIN) for target in targets]
    bounds = list(zip(targets, lowest, highest, strict=True))
    points = sorted({edge / target for target, low, high in bounds for edge in (low, high)})

    def parts(proportion: float) -> list[float]:
        return [min(max(proportion * target, low), high) for target, low, high in bounds]

    below = 0.0
    for point in points:
        if sum(parts(point)) >= total:
            return parts(_between(below, point, total, bounds))
        below = point
    return parts(math.inf) if points else []


def _between(
    below: float, above: float, total: float, bounds: Sequence[tuple[float, float, float]]
) -> float:
    """Return the proportion between two neighbouring bounds, where the sum is a straight line."""
    moving = [(t, low, high) for t, low, high in bounds if low / t <= below and above <= high / t]
    slope = sum(target for target, _, _ in moving)
    if not slope:
        return above
    fixed = sum(min(max(below * target, low), high) for target, low, high in bounds)
    return below + (total - fixed) / slope

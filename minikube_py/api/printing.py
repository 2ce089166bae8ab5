"""Cells of tables that more than one kind shows, as upstream's printers write them."""

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.api import times
from minikube_py.api.object import Obj

NONE = "<none>"
UNSET = "<unset>"
UNKNOWN = "<unknown>"


def containers(template: Obj) -> tuple[str, str]:
    """Return names and images of a pod template's containers, each joined by commas."""
    items: Sequence[Obj] = (template.get("spec") or {}).get("containers") or ()
    names = ",".join(item["name"] for item in items)
    return names, ",".join(item.get("image", "") for item in items)


def labels(values: Mapping[str, str] | None) -> str:
    """Return labels as `a=b,c=d`, or `<none>`."""
    return ",".join(f"{key}={value}" for key, value in sorted((values or {}).items())) or NONE


def or_none(value: Any) -> str:
    """Return the text of a value, or `<none>` where it is empty."""
    return str(value) if value else NONE


def some(values: Sequence[str], limit: int = 3) -> str:
    """Return the first values and how many more there are; `<unset>` for none."""
    shown = ",".join(values[:limit])
    if len(values) > limit:
        return f"{shown} + {len(values) - limit} more..."
    return shown or UNSET


def duration(earlier: str, later: str) -> str:
    """Return the time between two moments as kubectl shows ages: `5m30s`, `2d3h`."""
    return human_duration(times.seconds_between(earlier, later))


_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86400, 31536000
_SPANS = (
    # up to (seconds), first unit and its letter, second unit and its letter
    (2 * _MINUTE, 1, "s", 0, ""),
    (10 * _MINUTE, _MINUTE, "m", 1, "s"),
    (3 * _HOUR, _MINUTE, "m", 0, ""),
    (8 * _HOUR, _HOUR, "h", _MINUTE, "m"),
    (2 * _DAY, _HOUR, "h", 0, ""),
    (8 * _DAY, _DAY, "d", _HOUR, "h"),
    (2 * _YEAR, _DAY, "d", 0, ""),
    (8 * _YEAR, _YEAR, "y", _DAY, "d"),
)


def human_duration(seconds: float) -> str:
    """Return a duration in the form of apimachinery's `HumanDuration`."""
    total = int(seconds)
    if total < -1:
        return "<invalid>"
    total = max(total, 0)
    for limit, unit, letter, rest, rest_letter in _SPANS:
        if total < limit:
            tail = total % unit // rest if rest else 0
            return (
                f"{total // unit}{letter}{tail}{rest_letter}"
                if tail
                else f"{total // unit}{letter}"
            )
    return f"{total // _YEAR}y"

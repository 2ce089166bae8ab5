"""Statuses and their conditions: what makes one different, and when a condition has changed.

A status is stored without zero counts, so what is computed and what is read compare equal only
when empty values are left out of both.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from minikube_py.api import times
from minikube_py.api.object import Obj


def same_status(old: Obj, new: Obj) -> bool:
    """Tell whether two statuses say the same."""
    return _without_empty(old) == _without_empty(new)


def _without_empty(status: Obj) -> dict[str, Any]:
    return {
        key: _plain(value)
        for key, value in status.items()
        if value not in (0, "", None, [], {}, ())
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _without_empty(value)
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def condition(kind: str, status: str, reason: str, message: str) -> dict[str, Any]:
    """Return a condition without its times."""
    return {"type": kind, "status": status, "reason": reason, "message": message}


def with_condition(
    conditions: Iterable[Obj], new: Obj, now: datetime, *, stamp_update: bool = False
) -> Sequence[Obj]:
    """Return the conditions with one set: its place is kept, its transition time on no change.

    `stamp_update` keeps `lastUpdateTime` too, which only deployments have.
    """
    result: list[Obj] = []
    found = False
    for old in conditions:
        if old["type"] == new["type"]:
            result.append(_follow(old, new, now, stamp_update=stamp_update))
            found = True
        else:
            result.append(old)
    if not found:
        result.append(_follow({}, new, now, stamp_update=stamp_update))
    return result


def _follow(old: Obj, new: Obj, now: datetime, *, stamp_update: bool) -> Obj:
    moment = times.format_seconds(now)
    kept = old.get("status") == new["status"] and old.get("lastTransitionTime")
    made = {**new, "lastTransitionTime": old["lastTransitionTime"] if kept else moment}
    if stamp_update:
        made["lastUpdateTime"] = moment
    return made

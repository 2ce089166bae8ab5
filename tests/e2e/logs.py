"""What programs in machines print: a failure shows how the logs end that its test added to.

Who starts a program in a machine tells of its log here. A machine may be gone before the failure is
told of, and its logs with it; so the end of a log is kept when its machine is closed.
"""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

SECTION = "log of"
"""How the title of what is shown begins."""
LINES = 40
"""Shown of each log."""
BYTES = 20_000
"""Read of each log; more than its lines have."""
_followed: set[Path] = set()
_kept: dict[Path, "Ending"] = {}


class Ending(NamedTuple):
    """How a log ends, and when it was last added to, in seconds since 1970."""

    name: str
    lines: tuple[str, ...]
    changed: float


def follow(log: Path) -> None:
    """Begin to know a log; its program has been started."""
    _followed.add(log)
    _kept.pop(log, None)


def forget(logs: Iterable[Path]) -> None:
    """Keep the ends of some logs, which may be removed now, until their names are used again."""
    for log in logs:
        if log in _followed and (found := ending(log)):
            _kept[log] = found
        _followed.discard(log)


def ending(log: Path) -> Ending | None:
    """Return how a log ends; None where it is not there or nobody wrote into it."""
    try:
        changed = log.stat().st_mtime
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - BYTES))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return None
    lines = tuple(text.splitlines()[-LINES:])
    return Ending(f"{log.parent.name}/{log.name}", lines, changed) if lines else None


def added_to(since: float) -> list[Ending]:
    """Return the ends of the logs that changed since a time, the last to change at the end."""
    for log in [log for log, found in _kept.items() if time.time() - found.changed > 3600]:
        del _kept[log]
    now = (found for log in _followed if (found := ending(log)))
    known = [*_kept.values(), *now]
    return sorted((one for one in known if one.changed >= since), key=lambda one: one.changed)

"""How long the history is kept: as long as it fits into some bytes.

Compaction makes old revisions unreadable for the API, after five minutes. The rows that it makes
useless need not go then: they stay where they were written until all of them are larger than the
bound, and the oldest go first. So a kept version costs no write, no index and no memory.

Two marks in the revisions tell where this stands. Up to `swept` it is known which rows are
superseded; up to `trimmed` these are gone. What lies between is the history, `history` bytes of it.
A state of the past can be shown at any revision from `trimmed` on.
"""

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

ROW_BYTES = 40
"""What a row takes beside its key and value, about."""
PASSING = (
    "/registry/coordination.k8s.io/leases/",
    "/registry/events/",
    "/registry/events.k8s.io/",
)
"""What is written all the time and means nothing an hour later: no history is kept of it."""
HISTORY_BYTES = 64 << 20
"""What history takes by default."""
STEP_ROWS = 512
"""Rows of one step, so that writes get in between."""


@dataclass(frozen=True)
class Retention:
    """What history a store keeps beyond its compaction."""

    bytes: int = 0
    """Its keys and values take at most that many bytes, in the file a third more; 0 keeps none."""
    passing: tuple[str, ...] = ()
    """Prefixes of keys that are written all the time and mean nothing later (heartbeats): they
    would push out what does. Of these nothing is kept beyond compaction."""

    def keeps(self, key: str) -> bool:
        """Tell whether old versions of a key are kept."""
        return self.bytes > 0 and not key.startswith(self.passing)

    @property
    def rule(self) -> int:
        """A number for what is kept: a history that was kept by another rule is dropped whole.

        Otherwise rows of a key would go whose successors are needed to know that older ones may.
        """
        return zlib.crc32("\n".join(("kept", *self.passing)).encode()) if self.bytes else 0

    def is_exceeded(self, marks: "Marks") -> bool:
        """Tell whether there is history that has to go; it goes before anything is swept."""
        return marks.trimmed < marks.swept and (
            marks.history > self.bytes or marks.rule != self.rule
        )


NO_HISTORY = Retention()


class Superseding(NamedTuple):
    """A write that made a row useless: the one that it replaced, and its own where it deletes."""

    revision: int
    key: str
    previous: int
    deleted: bool
    size: int | None
    """Bytes of the value that it replaced; None where that row is gone or there was none."""

    @property
    def useless(self) -> list[int]:
        """The rows that nobody needs to know the present."""
        rows = [] if self.size is None else [self.previous]
        return [*rows, self.revision] if self.deleted else rows

    @property
    def cost(self) -> int:
        """The bytes of the useless rows."""
        row = ROW_BYTES + len(self.key)
        return (0 if self.size is None else self.size + row) + (row if self.deleted else 0)


@dataclass(frozen=True)
class Marks:
    """Where the history stands."""

    swept: int
    trimmed: int
    history: int
    rule: int = 0
    """By which `Retention.rule` it is kept."""

    def state(self) -> tuple[tuple[str, int], ...]:
        """Return the marks by name, as they are stored."""
        return (
            ("swept", self.swept),
            ("trimmed", self.trimmed),
            ("history", self.history),
            ("rule", self.rule),
        )


class Step(NamedTuple):
    """Rows to remove, and where the history stands when they are gone."""

    remove: list[int]
    marks: Marks


Rule = Callable[[Iterable[Superseding], Marks, int, Retention], Step]
"""What is to be done about the next rows: `sweep` or `trim`."""


def marks_of(state: Mapping[str, int]) -> Marks:
    """Read the marks; a store that has none yet has no history."""
    swept = state.get("swept", state.get("compacted", 0))
    trimmed, history = state.get("trimmed", swept), state.get("history", 0)
    return Marks(swept, trimmed, history, state.get("rule", 0))


def sweep(rows: Iterable[Superseding], marks: Marks, until: int, retention: Retention) -> Step:
    """Return what to do about all writes from the mark up to a revision that is compacted."""
    remove: list[int] = []
    kept = 0
    for row in rows:
        if retention.keeps(row.key):
            kept += row.cost
        else:
            remove += row.useless
    trimmed = marks.trimmed if retention.bytes else until
    return Step(remove, Marks(until, trimmed, marks.history + kept, retention.rule))


def trim(rows: Iterable[Superseding], marks: Marks, until: int, retention: Retention) -> Step:
    """Return what to do about the oldest writes of the history while that is too large.

    `rows` are all those from the mark up to `until`, which is not after what is swept.
    """
    remove: list[int] = []
    left, trimmed = marks.history, marks.trimmed
    most = retention.bytes if marks.rule == retention.rule else -1
    for row in rows:
        if left <= most:
            return Step(remove, Marks(marks.swept, trimmed, left, marks.rule))
        remove += row.useless
        left, trimmed = max(left - row.cost, 0), row.revision
    left = 0 if until == marks.swept else left
    return Step(remove, Marks(marks.swept, until, left, marks.rule))

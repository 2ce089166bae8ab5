"""Looks for an order in which everything happened, one after the other, as it was told.

A store is linearizable where each call seems to take effect at one moment between its beginning
and its end. Keys are independent, so each is searched alone (Herlihy and Wing): the search takes a
call that may be next, applies it to what the key holds, and goes back where it gets stuck (Wing
and Gong); a set of calls that led to the same content before is not tried again (Lowe). A write
whose end is unknown may have happened at any time after it began, or never.

What holds over all keys is the counter: no revision twice, and none below one that was told before
the write began.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from tests.datastore.proof.history import History, Listing, Operation, Shown


class NotLinearizableError(AssertionError):
    """No order explains what was told."""


Held = Shown | None
"""What a key holds; the revision is 0 where nobody was told it."""


def check(history: History, start: Mapping[str, Shown] | None = None) -> None:
    """Raise NotLinearizableError where no order explains the history of a store."""
    start = start or {}
    check_revisions(history)
    keys: dict[str, list[Operation]] = defaultdict(list)
    for operation in history.operations:
        keys[operation.key].append(operation)
    for key in {key for listing in history.listings for key in listing.items} | set(start):
        keys[key] += ()
    told = _told(history)
    for key, operations in keys.items():
        reads = (_as_read(listing, key) for listing in history.listings)
        _search(key, sorted([*operations, *reads], key=_by_call), start.get(key), told)


def check_revisions(history: History) -> None:
    """Raise where a revision was given twice, or is not above all that were told before."""
    writes = [op for op in history.operations if op.ended == "done" and op.revision]
    revisions = [*(write.revision for write in writes), *history.beats]
    if len(revisions) != len(set(revisions)):
        twice = sorted({revision for revision in revisions if revisions.count(revision) > 1})
        raise NotLinearizableError(f"revisions were given twice: {twice}")
    moments = sorted(_moments(history), key=lambda moment: moment.at)
    newest = 0
    for moment in moments:
        newest = max(newest, moment.told)
        if moment.what and moment.reached < newest + moment.above:
            raise NotLinearizableError(f"{moment.what} although {newest} was told before")


class _Moment(NamedTuple):
    at: float
    told: int = 0
    """Somebody was told this revision."""
    reached: int = 0
    above: int = 0
    """1 where it must be above all that was told, 0 where it may be the newest of it."""
    what: str = ""
    """What reached a revision; empty where one was told."""


def _moments(history: History) -> Iterator[_Moment]:
    for op in history.operations:
        if op.ended == "done" and op.revision:
            what = f"{op.kind} {op.key} got revision {op.revision}"
            yield _Moment(op.called, reached=op.revision, above=1, what=what)
            yield _Moment(op.returned, told=op.revision)
        elif op.shown is not None:
            yield _Moment(op.returned, told=op.shown.revision)
    for listing in history.listings:
        what = f"a list shows revision {listing.revision}"
        yield _Moment(listing.called, reached=listing.revision, what=what)
        yield _Moment(listing.returned, told=listing.revision)


def _told(history: History) -> dict[str, int]:
    """Return the revision of each value that anybody saw: no two writes have the same value."""
    told = {event.value.decode(): event.revision for event in history.events if not event.deleted}
    shown = [op.shown for op in history.operations if op.shown]
    shown += [item for listing in history.listings for item in listing.items.values()]
    for item in shown:
        if told.setdefault(item.value, item.revision) != item.revision:
            raise NotLinearizableError(
                f"{item.value!r} was shown at revisions {told[item.value]} and {item.revision}"
            )
    return told


def _as_read(listing: Listing, key: str) -> Operation:
    return Operation(
        "get",
        key,
        listing.called,
        listing.returned,
        ended="done",
        shown=listing.items.get(key),
    )


def _by_call(operation: Operation) -> float:
    return operation.called


def _search(
    key: str, operations: Sequence[Operation], start: Held, told: Mapping[str, int]
) -> None:
    """Look for an order, the deepest way first."""
    wanted = sum(1 << n for n, op in enumerate(operations) if op.ended != "unknown")
    stack: list[tuple[int, Held]] = [(0, start)]
    tried = {stack[0]}
    furthest = 0
    while stack:
        done, held = stack.pop()
        if done & wanted == wanted:
            return
        if (done & wanted).bit_count() > (furthest & wanted).bit_count():
            furthest = done
        # The last to be pushed is tried first: those whose end is known, the earliest of them.
        for n in sorted(_candidates(operations, done), key=lambda n: operations[n].returned)[::-1]:
            for after in _applied(operations[n], held, told):
                step = done | 1 << n, after
                if step not in tried:
                    tried.add(step)
                    stack.append(step)
    left = [op for n, op in enumerate(operations) if not furthest >> n & 1]
    stuck = "\n  ".join(map(repr, left[:6]))
    raise NotLinearizableError(f"{key}: nothing explains any of\n  {stuck}")


def _candidates(operations: Sequence[Operation], done: int) -> Iterator[int]:
    """Yield those that may be next: begun before any other of those left has ended."""
    first_end = math.inf
    first_left = ((done + 1) & ~done).bit_length() - 1
    for n in range(first_left, len(operations)):
        operation = operations[n]
        if operation.called > first_end:
            return
        if not done >> n & 1:
            first_end = min(first_end, operation.returned)
            yield n


def _applied(operation: Operation, held: Held, told: Mapping[str, int]) -> Iterable[Held]:
    """Return what a key holds after a call; nothing where the call cannot have ended so."""
    if operation.kind == "get":
        return (held,) if held == operation.shown else ()
    if operation.ended == "refused":
        return () if _is_allowed(operation, held) else (held,)
    if not _is_allowed(operation, held):
        return ()
    revision = operation.revision or (told.get(operation.value, 0) if operation.value else 0)
    if held is not None and revision and held.revision >= revision:
        return ()
    return (None,) if operation.kind == "delete" else (Shown(revision, operation.value),)


def _is_allowed(operation: Operation, held: Held) -> bool:
    if operation.kind == "create":
        return held is None
    if held is None:
        return False
    if operation.kind == "delete" and not operation.expected:
        return True
    return held.revision == operation.expected

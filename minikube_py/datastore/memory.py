"""The datastore in a list: the model that the tests hold the real backends against.

All it has is the list of all events, and what they amount to; an old snapshot is computed anew.
It forgets nothing and is obviously right. `memory://` also serves clusters that may be forgotten.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

from minikube_py.datastore.history import AUTHOR, LogHistory, PastRow
from minikube_py.datastore.kv import (
    Change,
    CompactedError,
    Event,
    FutureRevisionError,
    KeyExistsError,
    KeyValue,
    Page,
    RevisionMismatchError,
    UnavailableError,
    Unchanged,
)
from minikube_py.lib.clock import Clock, SystemClock


class MemoryBackend:
    """A store that ends with the process."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._events: list[Event] = []
        self._now: dict[str, KeyValue] = {}
        self._compacted = 0
        self._written = asyncio.Condition()
        self._closed = False
        self._stamps: list[tuple[int, str]] = []
        self.history = LogHistory(self, self.revision, self._oldest, self._size)

    async def rows_before(
        self, revision: int, first: str, last: str
    ) -> tuple[Sequence[PastRow], int]:
        """Return all writes before a revision with first <= key <= last, newest first."""
        stamped = zip(self._events[: revision - 1], self._stamps, strict=False)
        rows = [
            PastRow(event.revision, event.key, event.create_revision, int(event.deleted), *stamp)
            for event, stamp in stamped
            if first <= event.key <= last
        ]
        return rows[::-1], 0

    async def values(self, revisions: Sequence[int]) -> Sequence[bytes | None]:
        """Return the values of writes."""
        events = [self._events[revision - 1] for revision in revisions]
        return [None if event.deleted else event.value for event in events]

    async def replace(self, values: Mapping[int, bytes]) -> None:
        """Give old writes other values."""
        for revision, value in values.items():
            self._events[revision - 1] = self._events[revision - 1]._replace(value=value)

    async def erase(self) -> None:
        """Return: there are no files."""

    async def _size(self) -> int:
        return sum(len(event.value) for event in self._events)

    async def _oldest(self, prefix: str) -> int:
        del prefix
        return 0

    def _at(self, revision: int) -> dict[str, KeyValue]:
        if revision == len(self._events):
            return self._now
        state: dict[str, KeyValue] = {}
        for event in self._events[:revision]:
            _apply(state, event)
        return state

    def _check(self, revision: int) -> None:
        if revision > len(self._events):
            raise FutureRevisionError(revision, len(self._events))
        if revision < self._compacted:
            raise CompactedError(revision, self._compacted)

    async def revision(self) -> int:
        """Return the newest revision."""
        return len(self._events)

    async def get(self, key: str) -> KeyValue | None:
        """Return the key, or None."""
        return self._now.get(key)

    async def list(
        self, prefix: str, *, after: str = "", limit: int = 0, revision: int = 0
    ) -> Page:
        """Return keys below the prefix as they were at a revision (0: now)."""
        shown = revision or len(self._events)
        self._check(shown)
        found = sorted(
            item for key, item in self._at(shown).items() if key.startswith(prefix) and key > after
        )
        items = found[:limit] if limit else found
        remaining = len(found) - len(items)
        return Page(tuple(items), shown, more=remaining > 0, remaining=remaining)

    async def create(self, key: str, value: bytes, *, lease: int = 0) -> int:
        """Write a new key and return its revision."""
        if key in self._now:
            raise KeyExistsError(f"key {key!r} exists")
        return await self._add(Change(key, value, 0, lease))

    async def update(self, key: str, value: bytes, *, revision: int, lease: int = 0) -> int:
        """Write a key that is at `revision`; return the new one."""
        current = self._now.get(key)
        if current is None or current.revision != revision:
            raise RevisionMismatchError(key, revision, current)
        return await self._add(Change(key, value, revision, lease))

    async def delete(self, key: str, *, revision: int) -> int:
        """Delete a key that is at `revision` (0: at any)."""
        current = self._now.get(key)
        if current is None or revision not in (0, current.revision):
            raise RevisionMismatchError(key, revision, current)
        return await self._add(Change(key, None, current.revision))

    async def write(self, changes: Sequence[Change], *, unchanged: Sequence[Unchanged] = ()) -> int:
        """Change several keys together or not at all; return the first revision."""
        for change in changes:
            current = self._now.get(change.key)
            if not change.fits(current.revision if current else 0):
                raise RevisionMismatchError(change.key, change.revision, current)
        for first, end, revision in unchanged:
            since = self._events[revision:]
            if revision < self._compacted or any(first <= event.key < end for event in since):
                raise RevisionMismatchError(first, revision, self._now.get(first))
        return await self._add(*changes)

    async def _add(self, *changes: Change) -> int:
        if self._closed:
            raise UnavailableError("the datastore is closed")
        first = len(self._events) + 1
        for change in changes:
            event = _event(change, self._now.get(change.key), len(self._events) + 1)
            self._events.append(event)
            self._stamps.append((int(self._clock.now().timestamp() * 1000), AUTHOR.get()))
            _apply(self._now, event)
        async with self._written:
            self._written.notify_all()
        await asyncio.sleep(0)  # watchers come first, as with every other backend
        return first

    async def watch(self, prefix: str, *, after: int) -> AsyncIterator[tuple[Event, ...]]:
        """Yield what was and will be written after a revision, in order."""
        while True:
            self._check(after)
            new = tuple(e for e in self._events[after:] if e.key.startswith(prefix))
            after = len(self._events)
            if new:
                yield new
            async with self._written:
                while not self._closed and len(self._events) == after:
                    await self._written.wait()
            if len(self._events) == after:
                raise UnavailableError("the datastore is closed")

    async def compact(self, revision: int) -> None:
        """Drop the history before a revision."""
        if revision > len(self._events):
            raise FutureRevisionError(revision, len(self._events))
        self._compacted = max(self._compacted, revision)

    async def close(self) -> None:
        """End the watches."""
        self._closed = True
        async with self._written:
            self._written.notify_all()


def _event(change: Change, before: KeyValue | None, revision: int) -> Event:
    created = before.create_revision if before else revision
    if change.value is not None:
        count = before.version + 1 if before else 1
        return Event(change.key, change.value, revision, created, lease=change.lease, version=count)
    value, lease = (before.value, before.lease) if before else (b"", 0)
    return Event(change.key, value, revision, created, deleted=True, lease=lease, version=0)


def _apply(state: dict[str, KeyValue], event: Event) -> None:
    if event.deleted:
        del state[event.key]
    else:
        key, value, revision, created, _, lease, version = event
        state[key] = KeyValue(key, value, revision, created, lease, version)

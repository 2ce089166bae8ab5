"""The embedded datastore: one SQLite file, owned by this process.

The log on disk (`sql`), the index from keys to revisions in memory (`index`), the writer
(`writer`) and the watchers (`tail`) make a Backend together.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from minikube_py.datastore.index import Index, Version, rows_of
from minikube_py.datastore.kv import (
    CompactedError,
    Event,
    FutureRevisionError,
    KeyExistsError,
    KeyValue,
    Page,
    RevisionMismatchError,
)
from minikube_py.datastore.sql import Database
from minikube_py.datastore.tail import Tail
from minikube_py.datastore.writer import Write, Writer
from minikube_py.lib.clock import Clock, SystemClock

READ_ROWS = 512
"""Rows of one read, so that writes get in between."""
REMOVE_VERSIONS = 512
"""Versions that one step of a compaction drops."""
SHRINK_PAGES = 64
"""Pages (of 4 KB) that one step gives back to the file system: some 20 ms of the writer."""
FREE_PAGES_KEPT = 1024
"""Free pages that stay in the file for the next writes; see `_shrink`."""


class SqliteBackend:
    """The store in one SQLite file."""

    def __init__(
        self, database: Database, index: Index, state: dict[str, int], clock: Clock
    ) -> None:
        self._database = database
        self._index = index
        self._compacted = state.get("compacted", 0)
        # Each of the three may be the only trace of the last revision that was handed out.
        revision = max(index.revision, self._compacted, state.get("ceiling", 0))
        self._tail = Tail(self._history, revision)
        self._writer = Writer(database, index, self._tail, revision=revision, clock=clock)
        self._lazy_prefixes: tuple[str, ...] = ()
        self._compaction = asyncio.Lock()

    @classmethod
    async def open(
        cls, path: Path, *, lazy_prefixes: Sequence[str] = (), clock: Clock | None = None
    ) -> "SqliteBackend":
        """Open or create the file; its folder is made with mode 0700, the file with 0600.

        Raises:
            DatastoreError: the file cannot be used; the message says why.

        """
        database = await Database.open(path)
        try:
            index = Index()
            while rows := await database.scan(index.revision, READ_ROWS):
                for revision, key, created, lease, deleted in rows:
                    version = Version(key, revision, create_revision=created, lease=lease)
                    version.deleted = bool(deleted)
                    index.add(version)
            backend = cls(database, index, await database.state(), clock or SystemClock())
        except BaseException:
            await database.close()
            raise
        backend._lazy_prefixes = tuple(lazy_prefixes)
        return backend

    async def close(self) -> None:
        """Write what was accepted, end the watches, close the file."""
        await self._writer.close()
        self._tail.close()
        await self._database.close()

    async def revision(self) -> int:
        """Return the newest revision."""
        return self._writer.revision

    async def get(self, key: str) -> KeyValue | None:
        """Return the key, or None."""
        while (version := self._index.head(key)) is not None:
            (value,) = await self._values((version,))
            if value is not None:
                return _key_value(version, value)
            # Replaced and compacted while it was read: look again.
        return None

    async def list(
        self, prefix: str, *, after: str = "", limit: int = 0, revision: int = 0
    ) -> Page:
        """Return keys below the prefix as they were at a revision (0: now)."""
        while True:
            shown = revision or self._writer.revision
            self._check_revision(shown)
            versions = list(self._index.snapshot(prefix, after=after, revision=shown))
            taken = versions[:limit] if limit else versions
            values = await self._values(taken)
            items = tuple(
                _key_value(v, b) for v, b in zip(taken, values, strict=True) if b is not None
            )
            if len(items) == len(taken):
                remaining = len(versions) - len(taken)
                return Page(items, shown, more=remaining > 0, remaining=remaining)
            # Compaction overtook the reading: an old snapshot is lost, the newest is read again.

    async def _values(self, versions: Sequence[Version]) -> Sequence[bytes | None]:
        values = [version.value for version in versions]
        missing = [n for n, value in enumerate(values) if value is None]
        for start in range(0, len(missing), READ_ROWS):
            part = missing[start : start + READ_ROWS]
            found = await self._database.values([versions[n].revision for n in part])
            for n, value in zip(part, found, strict=True):
                values[n] = value
        return values

    def _check_revision(self, revision: int) -> None:
        if revision > self._writer.revision:
            raise FutureRevisionError(revision, self._writer.revision)
        if revision < self._compacted:
            raise CompactedError(revision, self._compacted)

    async def create(self, key: str, value: bytes, *, lease: int = 0) -> int:
        """Write a new key and return its revision."""
        if await self._writer.settled(key) is not None:
            raise KeyExistsError(f"key {key!r} exists")
        return await self._writer.write(Write(key, value, None, lease=lease))

    async def update(self, key: str, value: bytes, *, revision: int, lease: int = 0) -> int:
        """Write a key that is at `revision`; return the new one."""
        before = await self._writer.settled(key)
        if before is None or before.revision != revision:
            raise RevisionMismatchError(key, revision, await self.get(key))
        lazy = key.startswith(self._lazy_prefixes)
        return await self._writer.write(Write(key, value, before, lease=lease, lazy=lazy))

    async def delete(self, key: str, *, revision: int) -> int:
        """Delete a key that is at `revision` (0: at any)."""
        before = await self._writer.settled(key)
        if before is None or revision not in (0, before.revision):
            raise RevisionMismatchError(key, revision, await self.get(key))
        return await self._writer.write(Write(key, None, before, lease=before.lease))

    def watch(self, prefix: str, *, after: int) -> AsyncIterator[tuple[Event, ...]]:
        """Yield what was and will be written after a revision, in order."""
        return self._tail.watch(prefix, after)

    async def _history(self, prefix: str, after: int, until: int) -> Sequence[Event]:
        self._check_revision(after)
        if after >= until:
            return ()
        unsaved = [
            Event(v.key, v.value, v.revision, v.create_revision, lease=v.lease)
            for v in self._writer.unsaved.values()
            if v.value is not None and after < v.revision <= until and v.key.startswith(prefix)
        ]
        rows = await self._database.history(after, until, prefix, READ_ROWS)
        self._check_revision(after)  # compaction may have passed while the rows were read
        events = {row[2]: Event(*row[:4], bool(row[4]), row[5]) for row in rows}
        last = rows[-1][2] if len(rows) == READ_ROWS else until
        events.update((event.revision, event) for event in unsaved if event.revision <= last)
        return [events[revision] for revision in sorted(events)]

    async def compact(self, revision: int) -> None:
        """Drop the history before a revision in small steps, then give free pages back."""
        if revision > self._writer.revision:
            raise FutureRevisionError(revision, self._writer.revision)
        async with self._compaction:
            if revision < self._compacted:
                return
            await self._writer.flush()  # now every version up to `revision` has its row
            self._compacted = revision
            await self._database.remove((), revision)
            while versions := self._index.garbage(revision, REMOVE_VERSIONS):
                await self._database.remove(rows_of(versions), revision)
                self._index.drop(versions)
            await self._shrink()

    async def _shrink(self) -> None:
        """Give free pages back where they are most of the file, which load alone does not cause.

        Pages that are given back are written anew soon, and moving others costs more than them.
        """
        pages, free = await self._database.pages()
        if free <= FREE_PAGES_KEPT + pages // 2:
            return
        while free > FREE_PAGES_KEPT + pages // 8:
            await self._database.shrink(SHRINK_PAGES)
            pages, free = await self._database.pages()


def _key_value(version: Version, value: bytes) -> KeyValue:
    return KeyValue(version.key, value, version.revision, version.create_revision, version.lease)

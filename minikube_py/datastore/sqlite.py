"""The embedded datastore: one SQLite file, owned by this process.

The log on disk (`sql`), the index from keys to revisions in memory (`index`), the writer
(`writer`) and the watchers (`tail`) make a Backend together.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from minikube_py.datastore.batches import Write
from minikube_py.datastore.effort import Effort
from minikube_py.datastore.history import LogHistory
from minikube_py.datastore.index import Index, Loading, Version
from minikube_py.datastore.kv import Event, FutureRevisionError
from minikube_py.datastore.logged import READ_ROWS, LoggedBackend
from minikube_py.datastore.retention import NO_HISTORY, Retention
from minikube_py.datastore.sql import Database
from minikube_py.datastore.writer import Writer
from minikube_py.lib.clock import Clock, SystemClock

DROP_VERSIONS = 512
"""Versions that compaction drops from memory in one go."""
SHRINK_PAGES = 64
"""Pages (of 4 KB) that one step gives back to the file system: some 20 ms of the writer."""
FREE_PAGES_KEPT = 16
"""Free pages that stay in the file for the next writes; see `_shrink`."""


class SqliteBackend(LoggedBackend):
    """The store in one SQLite file."""

    _writer: Writer

    def __init__(
        self, database: Database, index: Index, state: dict[str, int], clock: Clock
    ) -> None:
        compacted = state.get("compacted", 0)
        # Each of the three may be the only trace of the last revision that was handed out.
        revision = max(index.revision, compacted, state.get("ceiling", 0))
        super().__init__(database, index, revision=revision, compacted=compacted)
        self._database = database
        self._writer = Writer(database, index, self._tail, revision=revision, clock=clock)
        self._lazy_prefixes: tuple[str, ...] = ()
        self._compaction = asyncio.Lock()
        self._retention = NO_HISTORY
        self.history = LogHistory(database, self.revision, self._oldest, self._size)

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        lazy_prefixes: Sequence[str] = (),
        retention: Retention = NO_HISTORY,
        clock: Clock | None = None,
    ) -> "SqliteBackend":
        """Open or create the file; its folder is made with mode 0700, the file with 0600.

        Raises:
            DatastoreError: the file cannot be used; the message says why.

        """
        database = await Database.open(path)
        try:
            state = await database.state()
            loading = Loading(state.get("compacted", 0))
            while rows := await database.scan(loading.revision, READ_ROWS):
                loading.add(rows)
            backend = cls(database, loading.index(), state, clock or SystemClock())
        except BaseException:
            await database.close()
            raise
        backend._lazy_prefixes = tuple(lazy_prefixes)
        backend._retention = retention
        return backend

    async def close(self) -> None:
        """Write what was accepted, end the watches, close the file."""
        await super().close()
        await self._database.close()

    def _prepared(self, key: str, value: bytes | None, before: Version | None, lease: int) -> Write:
        lazy = value is not None and before is not None and key.startswith(self._lazy_prefixes)
        return Write(key, value, before, lease=lease, lazy=lazy)

    async def _history(self, prefix: str, after: int, until: int) -> Sequence[Event]:
        """Merge the log with what is not in it yet."""
        unsaved = [
            Event(v.key, v.value, v.revision, v.create_revision, lease=v.lease, version=v.version)
            for v in self._writer.unsaved.values()
            if v.value is not None and after < v.revision <= until and v.key.startswith(prefix)
        ]
        saved = await super()._history(prefix, after, until)
        events = {event.revision: event for event in saved}
        last = saved[-1].revision if len(saved) >= READ_ROWS else until
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
            self._compacted = self._index.forgotten = revision
            await self._database.compact(revision)
            while versions := self._index.garbage(revision, DROP_VERSIONS):
                self._index.drop(versions)
                await asyncio.sleep(0)
            await self._sweep(revision)
            await self._shrink()

    async def _sweep(self, revision: int) -> None:
        """Remove useless rows, or leave them as history and remove the oldest of that."""
        database, retention = self._database, self._retention
        while True:
            if retention.is_exceeded(database.marks):
                await database.trim(retention)
            elif database.marks.swept < revision:
                await database.sweep(revision, retention)
            else:
                return

    async def _size(self) -> int:
        return self._database.marks.history

    def effort(self) -> Effort:
        """Return what the store cost the disk since it was opened."""
        return self._database.effort()

    async def rows(self) -> int:
        """Return how many rows the log has: keys as they are, and old versions of them."""
        return await self._database.count()

    async def _oldest(self, prefix: str) -> int:
        return self._database.marks.trimmed if self._retention.keeps(prefix) else self._compacted

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

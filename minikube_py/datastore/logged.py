"""What every store on a log of writes has in common: reads, watches and the checks of writes.

The rows are in a database (`log`), the index from keys to rows in memory (`index`); writes go in
batches (`batches`), and watchers are positions in the log (`tail`).
"""

from collections.abc import AsyncIterator, Sequence

from minikube_py.datastore.batches import BatchWriter, Group, StaleError, Write
from minikube_py.datastore.index import Index, Version
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
from minikube_py.datastore.log import Log
from minikube_py.datastore.tail import Tail

READ_ROWS = 512
"""Rows of one read, so that writes get in between."""
ATTEMPTS_MAX = 16
"""How often a write is checked anew because another server changed its key meanwhile."""
ABSENT = -1
"""Expected of a key that is to be created; see `_write`."""
ANY = 0
NEVER = -2
"""What an update at revision 0 expects: no key is at that one."""


class LoggedBackend:
    """A store whose log is in a database and whose index is in memory."""

    _writer: BatchWriter

    def __init__(self, log: Log, index: Index, *, revision: int, compacted: int) -> None:
        self._log = log
        self._index = index
        self._compacted = index.forgotten = compacted
        self._tail = Tail(self._history, revision)

    async def _catch_up(self) -> None:
        """Bring the index up to everything that was committed before this call.

        Where this process is the only writer there is nothing to do.
        """

    async def close(self) -> None:
        """Write what was accepted, then end the watches."""
        await self._writer.close()
        self._tail.close()

    async def revision(self) -> int:
        """Return the newest revision."""
        await self._catch_up()
        return self._tail.revision

    async def get(self, key: str) -> KeyValue | None:
        """Return the key, or None."""
        await self._catch_up()
        while (version := self._index.head(key)) is not None:
            (value,) = await self._values((version,))
            if value is not None:
                return _key_value(version, value)
            # Replaced and compacted while it was read: look again.
            await self._catch_up()
        return None

    async def list(
        self, prefix: str, *, after: str = "", limit: int = 0, revision: int = 0
    ) -> Page:
        """Return keys below the prefix as they were at a revision (0: now)."""
        while True:
            if not revision or revision > self._tail.revision:
                await self._catch_up()
            shown = revision or self._tail.revision
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
            await self._catch_up()

    async def walk(self, revision: int, rows: int) -> AsyncIterator[Sequence[KeyValue]]:
        """Yield all keys as they were at a revision, in order, `rows` at a time.

        Raises:
            CompactedError: the revision is gone, maybe only now.

        """
        if revision > self._tail.revision:
            await self._catch_up()
        for versions in self._index.walk(revision, rows):
            self._check_revision(revision)
            values = await self._values(versions)
            self._check_revision(revision)  # compaction may have passed while they were read
            yield [_key_value(v, b) for v, b in zip(versions, values, strict=True) if b is not None]

    async def _values(self, versions: Sequence[Version]) -> Sequence[bytes | None]:
        values = [version.value for version in versions]
        missing = [n for n, value in enumerate(values) if value is None]
        for start in range(0, len(missing), READ_ROWS):
            part = missing[start : start + READ_ROWS]
            found = await self._log.values([versions[n].revision for n in part])
            for n, value in zip(part, found, strict=True):
                values[n] = value
        return values

    def _check_revision(self, revision: int) -> None:
        if revision > self._tail.revision:
            raise FutureRevisionError(revision, self._tail.revision)
        if revision < self._compacted:
            raise CompactedError(revision, self._compacted)

    async def create(self, key: str, value: bytes, *, lease: int = 0) -> int:
        """Write a new key and return its revision."""
        return await self._write(key, value, ABSENT, lease=lease)

    async def update(self, key: str, value: bytes, *, revision: int, lease: int = 0) -> int:
        """Write a key that is at `revision`; return the new one."""
        return await self._write(key, value, revision or NEVER, lease=lease)

    async def delete(self, key: str, *, revision: int) -> int:
        """Delete a key that is at `revision` (0: at any)."""
        return await self._write(key, None, revision)

    async def _write(self, key: str, value: bytes | None, expected: int, lease: int = 0) -> int:
        """Write a key that is as expected: ABSENT, at ANY revision, or at that one.

        What the index says of a key may be old where other servers write, too. So nothing is
        refused before the index has caught up, and what was let through may come back as stale.
        """
        fresh = False
        for _ in range(ATTEMPTS_MAX):
            before = await self._writer.settled(key)
            if _is_as_expected(before, expected):
                lease = lease if value is not None or before is None else before.lease
                try:
                    return await self._writer.write(self._prepared(key, value, before, lease))
                except StaleError:
                    fresh = True
            elif fresh:
                await self._refuse(key, expected)
            else:
                await self._catch_up()
                fresh = True
        raise UnavailableError(f"key {key!r} is changed by other servers all the time")

    async def write(self, changes: Sequence[Change], *, unchanged: Sequence[Unchanged] = ()) -> int:
        """Change several keys together or not at all; return the first revision."""
        fresh = False
        for _ in range(ATTEMPTS_MAX):
            await self._writer.quiet([change.key for change in changes], unchanged)
            other = self._other(changes, unchanged)
            if other is None:
                try:
                    return await self._writer.write_all(self._grouped(changes, unchanged))
                except StaleError:
                    fresh = True
            elif fresh:
                raise RevisionMismatchError(*other, await self.get(other[0]))
            else:
                await self._catch_up()
                fresh = True
        raise UnavailableError("keys are changed by other servers all the time")

    def _other(
        self, changes: Sequence[Change], unchanged: Sequence[Unchanged]
    ) -> tuple[str, int] | None:
        """Return a key that is not as expected, and its revision that is."""
        for change in changes:
            head = self._index.head(change.key)
            if not change.fits(head.revision if head else 0):
                return change.key, change.revision
        for condition in unchanged:
            if not self._index.is_unchanged(condition):
                return condition.first, condition.revision
        return None

    def _grouped(self, changes: Sequence[Change], unchanged: Sequence[Unchanged]) -> Group:
        writes = []
        for key, value, _, lease in changes:
            before = self._index.head(key)
            kept = before.lease if value is None and before is not None else lease
            writes.append(self._prepared(key, value, before, kept))
        return Group(writes, unchanged)

    def _prepared(self, key: str, value: bytes | None, before: Version | None, lease: int) -> Write:
        return Write(key, value, before, lease=lease)

    async def _refuse(self, key: str, expected: int) -> None:
        if expected == ABSENT:
            raise KeyExistsError(f"key {key!r} exists")
        raise RevisionMismatchError(key, max(expected, 0), await self.get(key))

    def watch(self, prefix: str, *, after: int) -> AsyncIterator[tuple[Event, ...]]:
        """Yield what was and will be written after a revision, in order."""
        return self._tail.watch(prefix, after)

    async def _history(self, prefix: str, after: int, until: int) -> Sequence[Event]:
        self._check_revision(after)
        if after >= until:
            return ()
        rows = await self._log.history(after, until, prefix, READ_ROWS)
        self._check_revision(after)  # compaction may have passed while the rows were read
        return [Event(*row[:4], bool(row[4]), *row[5:]) for row in rows]


def _is_as_expected(version: Version | None, expected: int) -> bool:
    if version is None:
        return expected == ABSENT
    return expected in (ANY, version.revision)


def _key_value(version: Version, value: bytes) -> KeyValue:
    return KeyValue(
        version.key,
        value,
        version.revision,
        version.create_revision,
        version.lease,
        version.version,
    )

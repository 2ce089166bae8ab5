"""The one writer: writes that wait together share one transaction and one fsync.

A write is checked against the index, put into the open batch, and waits. The writer cuts the
batch, gives its writes the next revisions, appends them to the log in one durable transaction,
and only then adds them to the index, publishes them and answers. While it waits for the disk the
next batch fills; so the more clients write, the more of them share an fsync.

A key takes part in one batch at a time: a second write of it waits until the first is settled
and is checked against what then stands. Nobody ever sees, or is refused because of, a write that
may yet fail.

Updates below a lazy prefix (heartbeats) get a revision and are published at once, but reach the
disk with the next durable write, or after `LAZY_SECONDS`; of several updates of one key only the
newest does. A crash may lose them, never their revisions: those lie below a ceiling that was on
disk before they were handed out. See docs/decisions/0003-heartbeats.md.
"""

import asyncio
import logging
from collections.abc import Sequence

from minikube_py.datastore.index import Index, Version
from minikube_py.datastore.kv import Event, UnavailableError
from minikube_py.datastore.sql import Database, Row
from minikube_py.datastore.tail import Tail
from minikube_py.lib.clock import Clock
from minikube_py.lib.tasks import Nursery

log = logging.getLogger(__name__)

BATCH_WRITES_MAX = 512
"""More writes in one transaction save nothing and delay the first of them."""
GATHER_TURNS_MAX = 8
"""Turns of the loop that a batch waits for more writes; a turn is some hundred microseconds."""
WAITING_WRITES_MAX = 16_384
"""Beyond this the store refuses: each waiting write is a waiting client."""
LAZY_SECONDS = 10.0
"""The longest that an acknowledged lazy update stays off the disk."""
CEILING_STEP = 10_000
"""Revisions reserved at a time for lazy updates; a crash skips at most so many numbers."""


class Write:
    """One write on its way to the log; `value` None deletes."""

    __slots__ = ("before", "done", "key", "lazy", "lease", "value")

    def __init__(
        self,
        key: str,
        value: bytes | None,
        before: Version | None,
        *,
        lease: int = 0,
        lazy: bool = False,
    ) -> None:
        self.key = key
        self.value = value
        self.before = before
        """The version that this write was checked against and replaces."""
        self.lease = lease
        self.lazy = lazy
        self.done: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def version(self, revision: int) -> Version:
        """Return what this write becomes in the index."""
        created = self.before.create_revision if self.before else revision
        version = Version(self.key, revision, create_revision=created, lease=self.lease)
        version.deleted = self.value is None
        return version

    def row(self, revision: int) -> Row:
        """Return what this write becomes in the log."""
        created, previous = revision, 0
        if self.before is not None:
            created, previous = self.before.create_revision, self.before.revision
        return Row(revision, self.key, created, previous, self.lease, self.value)

    def event(self, revision: int, last_value: bytes | None) -> Event:
        """Return what watchers get; a delete shows the value before it."""
        created = self.before.create_revision if self.before else revision
        if self.value is None:
            value = last_value or b""
            return Event(self.key, value, revision, created, deleted=True, lease=self.lease)
        return Event(self.key, self.value, revision, created, lease=self.lease)


class _Batch:
    """Writes that are settled together."""

    __slots__ = ("settled", "writes")

    def __init__(self) -> None:
        self.writes: list[Write] = []
        self.settled = asyncio.Event()


class Writer:
    """Assigns revisions and makes writes durable."""

    def __init__(
        self, database: Database, index: Index, tail: Tail, *, revision: int, clock: Clock
    ) -> None:
        self.revision = revision
        """The newest revision that was published."""
        self.unsaved: dict[str, Version] = {}
        """Lazy updates that are not on disk yet; the newest of each key."""
        self._ceiling = revision
        self._database = database
        self._index = index
        self._tail = tail
        self._clock = clock
        self._open = _Batch()
        self._busy: dict[str, _Batch] = {}
        """The batch that each key being written is in."""
        self._flushes: list[asyncio.Future[None]] = []
        self._wake = asyncio.Event()
        self._closed = False
        self._tasks = Nursery("datastore")
        self._loop = self._tasks.start("writer", self._run())

    async def settled(self, key: str) -> Version | None:
        """Return the newest version of a key once no write of it is under way."""
        while (batch := self._busy.get(key)) is not None:
            await batch.settled.wait()
        return self._index.head(key)

    async def write(self, write: Write) -> int:
        """Carry out a write that was just checked; return its revision once it is published.

        Between `settled` and this call nothing may be awaited.
        """
        self._check_open()
        if len(self._busy) >= WAITING_WRITES_MAX:
            raise UnavailableError(f"the datastore is overloaded: {len(self._busy)} writes wait")
        self._open.writes.append(write)
        self._busy[write.key] = self._open
        self._wake.set()
        return await write.done

    async def flush(self) -> None:
        """Return once every lazy update that was acknowledged is on disk."""
        self._check_open()
        if not self.unsaved:
            return
        flushed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._flushes.append(flushed)
        self._wake.set()
        await flushed

    async def close(self) -> None:
        """Write what was accepted, then refuse everything."""
        if not self._closed:
            self._closed = True
            self._wake.set()
        await asyncio.wait((self._loop,))
        await self._tasks.cancel()

    def _check_open(self) -> None:
        if self._closed:
            raise UnavailableError("the datastore is closed")

    async def _run(self) -> None:
        try:
            while not self._closed:
                await self._wake.wait()
                self._wake.clear()
                while self._open.writes or self._flushes:
                    await self._gather()
                    await self._settle(self._cut())
            await self._finish()
        finally:
            self._closed = True
            _refuse(self._open, UnavailableError("the datastore is closed"))

    async def _gather(self) -> None:
        """Let those who are about to write join the batch: while each turn of the loop brings more.

        Waiting for the disk takes no time of the processor, but each transaction does.
        """
        for _ in range(GATHER_TURNS_MAX):
            before = len(self._open.writes)
            await asyncio.sleep(0)
            if len(self._open.writes) == before:
                return

    async def _finish(self) -> None:
        # Without a crash no number is skipped: the ceiling comes down to what was handed out.
        self._ceiling = self.revision
        try:
            await self._database.append(self._unsaved_rows(), self._state(), ())
        except UnavailableError as error:
            log.warning("heartbeats not saved at the end keys=%d: %s", len(self.unsaved), error)

    def _cut(self) -> _Batch:
        batch, self._open = self._open, _Batch()
        if len(batch.writes) > BATCH_WRITES_MAX:
            self._open.writes = batch.writes[BATCH_WRITES_MAX:]
            del batch.writes[BATCH_WRITES_MAX:]
            self._busy.update((write.key, self._open) for write in self._open.writes)
        return batch

    async def _settle(self, batch: _Batch) -> None:
        flushes, self._flushes = self._flushes, []
        last = self.revision + len(batch.writes)
        reserve = last > self._ceiling and any(write.lazy for write in batch.writes)
        durable = bool(flushes) or reserve or not all(write.lazy for write in batch.writes)
        error: UnavailableError | None = None
        try:
            last_values = await self._save(batch, reserve=reserve) if durable else {}
            self._publish(batch, last_values, saved=durable)
        except UnavailableError as failed:
            error = failed
        finally:
            for write in batch.writes:
                del self._busy[write.key]
            # Where all went well everything is answered; where the writer itself ends, nothing is.
            _refuse(batch, error or UnavailableError("the datastore stopped"))
            batch.settled.set()
        _answer(flushes, error)

    async def _save(self, batch: _Batch, *, reserve: bool) -> dict[int, bytes]:
        """Append the batch and all unsaved versions; return the values that deletes end."""
        first = self.revision + 1
        rows = self._unsaved_rows()
        rows += [write.row(revision) for revision, write in enumerate(batch.writes, first)]
        ended = [w.before.revision for w in batch.writes if w.value is None and w.before]
        ceiling = first + len(batch.writes) + CEILING_STEP if reserve else self._ceiling
        state = (("ceiling", ceiling),) if reserve else ()
        values = await self._database.append(rows, state, ended)
        self._ceiling = ceiling
        for version in self.unsaved.values():
            version.value = None
        self.unsaved = {}
        return dict(zip(ended, values, strict=True))

    def _unsaved_rows(self) -> list[Row]:
        return [
            Row(v.revision, v.key, v.create_revision, _revision(v.previous), v.lease, v.value)
            for v in self.unsaved.values()
        ]

    def _state(self) -> Sequence[tuple[str, int]]:
        return (("ceiling", self._ceiling),)

    def _publish(self, batch: _Batch, last_values: dict[int, bytes], *, saved: bool) -> None:
        events: list[Event] = []
        for revision, write in enumerate(batch.writes, self.revision + 1):
            version = write.version(revision)
            if not saved:
                version.value = write.value
                self._keep_unsaved(version)
            self._index.add(version)
            ended = last_values.get(write.before.revision) if write.before else None
            events.append(write.event(revision, ended))
        self.revision += len(events)
        self._tail.publish(events, self.revision)
        for event, write in zip(events, batch.writes, strict=True):
            if not write.done.done():
                write.done.set_result(event.revision)

    def _keep_unsaved(self, version: Version) -> None:
        if not self.unsaved:
            self._tasks.start("flush", self._flush_later())
        self.unsaved[version.key] = version

    async def _flush_later(self) -> None:
        await self._clock.sleep(LAZY_SECONDS)
        while self.unsaved and not self._closed:
            try:
                await self.flush()
            except UnavailableError as error:
                log.warning("heartbeats not saved, trying again: %s", error)
                await self._clock.sleep(LAZY_SECONDS)


def _revision(version: Version | None) -> int:
    return version.revision if version is not None else 0


def _refuse(batch: _Batch, error: UnavailableError) -> None:
    for write in batch.writes:
        if not write.done.done():
            write.done.set_exception(error)


def _answer(flushes: Sequence[asyncio.Future[None]], error: UnavailableError | None) -> None:
    for flush in flushes:
        if flush.done():
            continue
        if error is None:
            flush.set_result(None)
        else:
            flush.set_exception(error)

"""The writer of a shared log, which is one of several.

It checks the writes of a batch against its own index as every writer does, but carries them out in
a transaction in which nobody else writes. There it first takes in what others wrote meanwhile; a
write whose key is among that goes back to be checked anew, the others get the next revisions. So
one transaction serves many writes, and nobody needs more of the database than rows by number.

Where nothing is to be written it takes in what others wrote whenever somebody asks: who came
while it was asking waits for the next answer, and all who wait share it.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from minikube_py.datastore.batches import BatchWriter, StaleError, Write, answer
from minikube_py.datastore.index import Index, Loading, Version, version_of
from minikube_py.datastore.kv import Event, UnavailableError
from minikube_py.datastore.log import EventRow
from minikube_py.datastore.shared.database import Database, News, Transaction
from minikube_py.datastore.tail import Tail
from minikube_py.lib.clock import Clock

log = logging.getLogger(__name__)

NEWS_ROWS = 512
"""Rows of others that are taken in at a time."""
HEADS_ROWS = 4096


class SharedWriter(BatchWriter):
    """Writes batches, and brings index and watchers up to what others wrote."""

    def __init__(
        self,
        database: Database,
        index: Index,
        tail: Tail,
        compacted: Callable[[int], None],
        clock: Clock,
    ) -> None:
        self._database = database
        self._tail = tail
        self._compacted = compacted
        self._clock = clock
        self._asked: list[asyncio.Future[None]] = []
        super().__init__(index)

    async def caught_up(self) -> None:
        """Return once everything is known that was committed before this call."""
        self._check_open()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked.append(done)
        self._wake.set()
        await done

    def _has_work(self) -> bool:
        return super()._has_work() or bool(self._asked)

    async def _finish(self) -> None:
        answer(self._asked, UnavailableError("the datastore is closed"))

    async def _carry_out(self, writes: Sequence[Write]) -> None:
        asked, self._asked = self._asked, []
        try:
            if writes:
                await self._write_all(writes)
            else:
                await self._take_in(self._database)
        except UnavailableError as error:
            answer(asked, error)
            raise
        answer(asked, None)

    async def _write_all(self, writes: Sequence[Write]) -> None:
        async with self._database.writing() as transaction:
            if transaction.revision > self._tail.revision:
                await self._take_in(transaction)
            current = self._current(writes)
            ended = [w.before.revision for w in current if w.value is None and w.before]
            last_values = await transaction.values(ended)
            first = transaction.revision + 1
            if current:
                now = int(self._clock.now().timestamp() * 1000)
                await transaction.append([w.row(n, now) for n, w in enumerate(current, first)])
        self._publish(current, first, last_values)
        for write in writes:
            if not write.done.done():
                write.done.set_exception(StaleError(write.key))

    def _current(self, writes: Sequence[Write]) -> list[Write]:
        """Return the writes that still hold; of those that go together all or none."""
        groups = {id(write.group): write.group for write in writes if write.group is not None}
        stale = {id(write.group or write) for write in writes if not self._is_current(write)}
        stale |= {
            number
            for number, group in groups.items()
            if not all(self._index.is_unchanged(condition) for condition in group.unchanged)
        }
        return [write for write in writes if id(write.group or write) not in stale]

    def _is_current(self, write: Write) -> bool:
        head = self._index.head(write.key)
        return _revision(head) == _revision(write.before)

    def _publish(self, writes: Sequence[Write], first: int, last_values: dict[int, bytes]) -> None:
        events: list[Event] = []
        for revision, write in enumerate(writes, first):
            self._index.add(write.version(revision))
            ended = last_values.get(write.before.revision) if write.before else None
            events.append(write.event(revision, ended))
        if events:
            self._tail.publish(events, events[-1].revision)
        for event, write in zip(events, writes, strict=True):
            if not write.done.done():
                write.done.set_result(event.revision)

    async def _take_in(self, source: Database | Transaction) -> None:
        """Add to index and watches what others wrote."""
        while True:
            news = await source.news(self._tail.revision, NEWS_ROWS)
            if news.compacted > self._tail.revision:
                await self._start_over()
                continue
            self._add(news)
            if len(news.rows) < NEWS_ROWS:
                return

    def _add(self, news: News) -> None:
        for row in news.rows:
            self._index.add(_version(row))
        if news.rows:
            events = [Event(*row[:4], bool(row[4]), *row[5:]) for row in news.rows]
            self._tail.publish(events, events[-1].revision)
        self._compacted(news.compacted)

    async def _start_over(self) -> None:
        """Read the whole log: compaction passed this server while it could not read."""
        compacted = await self._database.mark("compacted")
        log.warning("lost the place in the log, reading it anew compacted=%d", compacted)
        index = await read_index(self._database)
        index.forgotten = compacted
        self._index.become(index)
        self._compacted(compacted)
        self._tail.skip(max(index.revision, compacted))


async def read_index(database: Database) -> Index:
    """Read the index of a whole log."""
    # What is compacted is asked first: that much of what is read next may be history.
    loading = Loading(await database.mark("compacted"))
    async for rows in database.heads(HEADS_ROWS):
        loading.add(rows)
    return loading.index()


def _version(row: EventRow) -> Version:
    key, _, revision, created, deleted, lease, count = row
    return version_of((revision, key, created, lease, count, deleted))


def _revision(version: Version | None) -> int:
    return version.revision if version is not None else 0

"""The writer of the embedded datastore, which alone assigns revisions to its file.

It gives the writes of a batch the next revisions, appends them to the log in one durable
transaction, and only then adds them to the index, publishes them and answers.

Updates below a lazy prefix (heartbeats) get a revision and are published at once, but reach the
disk with the next durable write, or after `LAZY_SECONDS`; of several updates of one key only the
newest does. A crash may lose them, never their revisions: those lie below a ceiling that was on
disk before they were handed out. See docs/decisions/0003-heartbeats.md.
"""

import asyncio
import logging
from collections.abc import Sequence

from minikube_py.datastore.batches import BatchWriter, Write, answer
from minikube_py.datastore.index import Index, Version
from minikube_py.datastore.kv import Event, UnavailableError
from minikube_py.datastore.log import Row
from minikube_py.datastore.sql import Database
from minikube_py.datastore.tail import Tail
from minikube_py.lib.clock import Clock

log = logging.getLogger(__name__)

LAZY_SECONDS = 30.0
"""The longest that an acknowledged lazy update stays off the disk."""
CEILING_STEP = 10_000
"""Revisions reserved at a time for lazy updates; a crash skips at most so many numbers."""


class Writer(BatchWriter):
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
        self._tail = tail
        self._clock = clock
        self._flushes: list[asyncio.Future[None]] = []
        super().__init__(index)

    async def flush(self) -> None:
        """Return once every lazy update that was acknowledged is on disk."""
        self._check_open()
        if not self.unsaved:
            return
        flushed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._flushes.append(flushed)
        self._wake.set()
        await flushed

    def _has_work(self) -> bool:
        return super()._has_work() or bool(self._flushes)

    async def _finish(self) -> None:
        # Without a crash no number is skipped: the ceiling comes down to what was handed out.
        self._ceiling = self.revision
        try:
            await self._database.append(self._unsaved_rows(self._now()), self._state(), ())
        except UnavailableError as error:
            log.warning("heartbeats not saved at the end keys=%d: %s", len(self.unsaved), error)

    async def _carry_out(self, writes: Sequence[Write]) -> None:
        flushes, self._flushes = self._flushes, []
        try:
            await self._save_and_publish(writes, flush=bool(flushes))
        except UnavailableError as error:
            answer(flushes, error)
            raise
        answer(flushes, None)

    async def _save_and_publish(self, writes: Sequence[Write], *, flush: bool) -> None:
        last = self.revision + len(writes)
        reserve = last > self._ceiling and any(write.lazy for write in writes)
        durable = flush or reserve or not all(write.lazy for write in writes)
        last_values = await self._save(writes, reserve=reserve) if durable else {}
        self._publish(writes, last_values, saved=durable)

    async def _save(self, writes: Sequence[Write], *, reserve: bool) -> dict[int, bytes]:
        """Append the batch and all unsaved versions; return the values that deletes end."""
        first = self.revision + 1
        now = self._now()
        rows = self._unsaved_rows(now)
        rows += [write.row(revision, now) for revision, write in enumerate(writes, first)]
        ended = [w.before.revision for w in writes if w.value is None and w.before]
        ceiling = first + len(writes) + CEILING_STEP if reserve else self._ceiling
        state = (("ceiling", ceiling),) if reserve else ()
        values = await self._database.append(rows, state, ended)
        self._ceiling = ceiling
        for version in self.unsaved.values():
            version.value = None
        self.unsaved = {}
        return dict(zip(ended, values, strict=True))

    def _now(self) -> int:
        return int(self._clock.now().timestamp() * 1000)

    def _unsaved_rows(self, at: int) -> list[Row]:
        return [
            Row(
                v.revision,
                v.key,
                v.create_revision,
                _revision(v.previous),
                v.lease,
                v.version,
                v.value,
                at,
            )
            for v in self.unsaved.values()
        ]

    def _state(self) -> Sequence[tuple[str, int]]:
        return (("ceiling", self._ceiling),)

    def _publish(
        self, writes: Sequence[Write], last_values: dict[int, bytes], *, saved: bool
    ) -> None:
        events: list[Event] = []
        for revision, write in enumerate(writes, self.revision + 1):
            version = write.version(revision)
            if not saved:
                version.value = write.value
                self._keep_unsaved(version)
            self._index.add(version)
            ended = last_values.get(write.before.revision) if write.before else None
            events.append(write.event(revision, ended))
        self.revision += len(events)
        self._tail.publish(events, self.revision)
        for event, write in zip(events, writes, strict=True):
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

"""Writes that wait together share one transaction: what every writer of a log has in common.

A write is checked against the index, put into the open batch, and waits. The writer cuts the
batch and carries it out; while it waits for the disk the next batch fills; so the more clients
write, the more of them share an fsync.

A key takes part in one batch at a time: a second write of it waits until the first is settled
and is checked against what then stands. Nobody ever sees, or is refused because of, a write that
may yet fail.
"""

import asyncio
from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from minikube_py.datastore.history import AUTHOR
from minikube_py.datastore.index import Index, Version
from minikube_py.datastore.kv import Event, UnavailableError, Unchanged
from minikube_py.datastore.log import Row
from minikube_py.lib.tasks import Nursery

BATCH_WRITES_MAX = 512
"""More writes in one transaction save nothing and delay the first of them."""
GATHER_TURNS_MAX = 8
"""Turns of the loop that a batch waits for more writes; a turn is some hundred microseconds."""
WAITING_WRITES_MAX = 16_384
"""Beyond this the store refuses: each waiting write is a waiting client."""


class StaleError(Exception):
    """The key is not any more what the write was checked against; nothing was written."""


class Write:
    """One write on its way to the log; `value` None deletes."""

    __slots__ = ("author", "before", "done", "group", "key", "lazy", "lease", "value")

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
        self.author = AUTHOR.get()
        self.done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """The revision; that of the first write where several are carried out together."""
        self.group: Group | None = None

    @property
    def count(self) -> int:
        """The key's version when this is written: how often it was since it was created."""
        if self.value is None:
            return 0
        return self.before.version + 1 if self.before else 1

    def version(self, revision: int) -> Version:
        """Return what this write becomes in the index."""
        created = self.before.create_revision if self.before else revision
        version = Version(
            self.key, revision, create_revision=created, lease=self.lease, version=self.count
        )
        version.deleted = self.value is None
        return version

    def row(self, revision: int, at: int) -> Row:
        """Return what this write becomes in the log; `at` in milliseconds of the epoch."""
        created, previous = revision, 0
        if self.before is not None:
            created, previous = self.before.create_revision, self.before.revision
        where = (revision, self.key, created, previous, self.lease, self.count)
        more = self.group is not None and self.group.writes[-1] is not self
        return Row(*where, self.value, at, self.author, int(more))

    def event(self, revision: int, last_value: bytes | None) -> Event:
        """Return what watchers get; a delete shows the value before it."""
        created = self.before.create_revision if self.before else revision
        if self.value is None:
            value = last_value or b""
            return Event(
                self.key, value, revision, created, deleted=True, lease=self.lease, version=0
            )
        return Event(self.key, self.value, revision, created, lease=self.lease, version=self.count)


class Group(NamedTuple):
    """Writes that are carried out together or not at all."""

    writes: Sequence[Write]
    unchanged: Sequence[Unchanged]


class _Batch:
    """Writes that are settled together."""

    __slots__ = ("settled", "writes")

    def __init__(self) -> None:
        self.writes: list[Write] = []
        self.settled = asyncio.Event()


class BatchWriter:
    """Gathers writes into batches and settles one batch after the other."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._open = _Batch()
        self._busy: dict[str, _Batch] = {}
        """The batch that each key being written is in."""
        self._wake = asyncio.Event()
        self._closed = False
        self._tasks = Nursery("datastore")
        self._loop = self._tasks.start("writer", self._run())

    @abstractmethod
    async def _carry_out(self, writes: Sequence[Write]) -> None:
        """Make writes durable, publish and answer them; raises UnavailableError."""

    async def settled(self, key: str) -> Version | None:
        """Return the newest version of a key once no write of it is under way."""
        while (batch := self._busy.get(key)) is not None:
            await batch.settled.wait()
        return self._index.head(key)

    async def quiet(self, keys: Sequence[str], ranges: Sequence[Unchanged]) -> None:
        """Return once no write of these keys, or in these ranges, is under way."""
        while (batch := self._busy_with(keys, ranges)) is not None:
            await batch.settled.wait()

    def _busy_with(self, keys: Sequence[str], ranges: Sequence[Unchanged]) -> "_Batch | None":
        for key in keys:
            if key in self._busy:
                return self._busy[key]
        for first, end, _ in ranges:
            if end == first + "\0":
                inside = [first] if first in self._busy else []
            else:
                inside = [key for key in self._busy if first <= key < end]
            if inside:
                return self._busy[inside[0]]
        return None

    async def write_all(self, group: Group) -> int:
        """Carry out writes that were just checked together; return the first revision.

        Between `quiet` and this call nothing may be awaited.
        """
        self._check_room()
        done = group.writes[0].done
        for write in group.writes:
            write.group, write.done, write.lazy = group, done, False
            self._busy[write.key] = self._open
        self._open.writes += group.writes
        self._wake.set()
        return await done

    async def write(self, write: Write) -> int:
        """Carry out a write that was just checked; return its revision once it is published.

        Between `settled` and this call nothing may be awaited.
        """
        self._check_room()
        self._open.writes.append(write)
        self._busy[write.key] = self._open
        self._wake.set()
        return await write.done

    async def close(self) -> None:
        """Write what was accepted, then refuse everything."""
        if not self._closed:
            self._closed = True
            self._wake.set()
        await asyncio.wait((self._loop,))
        await self._tasks.cancel()

    def _check_room(self) -> None:
        self._check_open()
        if len(self._busy) >= WAITING_WRITES_MAX:
            raise UnavailableError(f"the datastore is overloaded: {len(self._busy)} writes wait")

    def _check_open(self) -> None:
        if self._closed:
            raise UnavailableError("the datastore is closed")

    def _has_work(self) -> bool:
        return bool(self._open.writes)

    async def _run(self) -> None:
        try:
            while not self._closed:
                await self._wake.wait()
                self._wake.clear()
                while self._has_work():
                    await self._gather()
                    await self._settle(self._cut())
            await self._finish()
        finally:
            self._closed = True
            _refuse(self._open, UnavailableError("the datastore is closed"))

    async def _finish(self) -> None:
        """Do what is left to do when everything that was accepted is written."""

    async def _gather(self) -> None:
        """Let those who are about to write join the batch: while each turn of the loop brings more.

        Waiting for the disk takes no time of the processor, but each transaction does.
        """
        for _ in range(GATHER_TURNS_MAX):
            before = len(self._open.writes)
            await asyncio.sleep(0)
            if len(self._open.writes) == before:
                return

    def _cut(self) -> _Batch:
        batch, self._open = self._open, _Batch()
        end = _end(batch.writes)
        if len(batch.writes) > end:
            self._open.writes = batch.writes[end:]
            del batch.writes[end:]
            self._busy.update((write.key, self._open) for write in self._open.writes)
        return batch

    async def _settle(self, batch: _Batch) -> None:
        error = UnavailableError("the datastore stopped")
        try:
            await self._carry_out(batch.writes)
        except UnavailableError as failed:
            error = failed
        finally:
            for write in batch.writes:
                del self._busy[write.key]
            # Where all went well everything is answered; where the writer itself ends, nothing is.
            _refuse(batch, error)
            batch.settled.set()


def _end(writes: Sequence[Write]) -> int:
    """Return how many writes the next transaction takes: no group is torn apart."""
    end = BATCH_WRITES_MAX
    while end < len(writes) and writes[end].group and writes[end].group is writes[end - 1].group:
        end += 1
    return end


def _refuse(batch: _Batch, error: UnavailableError) -> None:
    for write in batch.writes:
        if not write.done.done():
            write.done.set_exception(error)


def answer(waiting: Sequence[asyncio.Future[None]], error: UnavailableError | None) -> None:
    """Tell those who wait for something that it is done, or why it is not."""
    for one in waiting:
        if one.done():
            continue
        if error is None:
            one.set_result(None)
        else:
            one.set_exception(error)

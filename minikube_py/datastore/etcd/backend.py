"""The datastore in a cluster of etcd.

Writes are etcd's transactions that compare the revision of their key, reads are its linearizable
reads. One watch of the whole store feeds all watches of this process (`tail`); who falls behind, or
begins in the past, reads etcd's history by a watch of its own. Revisions are etcd's: they rise by
one for each transaction of any client, and the empty store of a new cluster is at 1.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from minikube_py.datastore.etcd import writing
from minikube_py.datastore.etcd.connection import Connection, EtcdError
from minikube_py.datastore.etcd.endpoint import EtcdEndpoint
from minikube_py.datastore.etcd.watching import (
    EVERYTHING,
    compacted,
    key_bytes,
    key_value,
    transactions,
)
from minikube_py.datastore.kv import (
    Change,
    CompactedError,
    DatastoreError,
    Event,
    FutureRevisionError,
    KeyExistsError,
    KeyValue,
    Page,
    RevisionMismatchError,
    UnavailableError,
    Unchanged,
)
from minikube_py.datastore.tail import Tail
from minikube_py.lib.backoff import Backoff
from minikube_py.lib.clock import Clock, SystemClock
from minikube_py.lib.tasks import Nursery, uninterrupted

log = logging.getLogger(__name__)

PAGE_KEYS = 512
"""Keys of one read, so that no answer is large and none holds the event loop for long."""
HISTORY_EVENTS = 512
PUBLISH_SECONDS = 2.0
"""How long a write waits for its own event; etcd has acknowledged it already."""
FOLLOW = Backoff(first_seconds=0.05, max_seconds=1.0)
IS_COMPACTED = "etcdserver: mvcc: required revision has been compacted"
IS_FUTURE = "etcdserver: mvcc: required revision is a future revision"
TOO_LARGE = "larger than max"
"""What gRPC says of an answer above its limit."""
FULL = "etcdserver: mvcc: database space exceeded"


class EtcdBackend:
    """The store in a cluster of etcd."""

    def __init__(self, connection: Connection, revision: int, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self._tail = Tail(self._history, revision)
        self._published = asyncio.Condition()
        self._asked: list[asyncio.Future[int]] = []
        self._asking = False
        self._closed = False
        self._tasks = Nursery("datastore")
        self._tasks.start("follow", self._follow())

    @classmethod
    async def open(cls, endpoint: EtcdEndpoint, *, clock: Clock | None = None) -> "EtcdBackend":
        """Connect to the cluster; raises DatastoreError."""
        connection = Connection(endpoint)
        try:
            revision = await _newest(connection)
        except BaseException:
            await connection.close()
            raise
        return cls(connection, revision, clock or SystemClock())

    async def close(self) -> None:
        """End the watches after what they have coming, close the connections."""
        self._closed = True
        await self._tasks.cancel()
        self._tail.close()
        await self._connection.close()

    # --- reads ----------------------------------------------------------------------------------

    async def revision(self) -> int:
        """Return the newest revision; those who come while it is asked share the next question."""
        self._check_open()
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._asked.append(done)
        if not self._asking:
            self._asking = True
            self._tasks.start("revision", self._ask())
        return await done

    async def _ask(self) -> None:
        """Ask for the newest revision until nobody waits for it."""
        try:
            while self._asked:
                asked, self._asked = self._asked, []
                answer: int | DatastoreError
                try:
                    answer = await _newest(self._connection)
                except DatastoreError as error:
                    answer = error
                except asyncio.CancelledError:
                    _answer(asked, UnavailableError("the datastore is closed"))
                    raise
                _answer(asked, answer)
        finally:
            self._asking = False
            _answer(self._asked, UnavailableError("the datastore is closed"))

    async def get(self, key: str) -> KeyValue | None:
        """Return the key, or None."""
        answer = await self._range({"key": key_bytes(key)})
        return _only(answer)

    async def list(
        self, prefix: str, *, after: str = "", limit: int = 0, revision: int = 0
    ) -> Page:
        """Return keys below the prefix as they were at a revision (0: now)."""
        start = key_bytes(prefix) or EVERYTHING
        if after:
            start = max(start, key_bytes(after) + b"\0")
        return await self._read(start, _end(prefix), limit=limit, revision=revision)

    async def _read(self, first: bytes, end: bytes, *, limit: int = 0, revision: int = 0) -> Page:
        """Read keys in several answers, all of one revision."""
        items: list[KeyValue] = []
        start, shown, at_once = first, revision, PAGE_KEYS
        while True:
            wanted = min(at_once, limit - len(items)) if limit else at_once
            request = {"key": start, "range_end": end, "limit": wanted, "revision": shown}
            try:
                answer = await self._range(request)
            except EtcdError as error:
                if TOO_LARGE not in error.details or at_once == 1:
                    raise
                at_once = max(at_once // 8, 1)
                continue
            except CompactedError:
                if revision:
                    raise
                items, start, shown = [], first, 0  # compaction overtook the reading
                continue
            shown = shown or _revision_of(answer)
            items += map(key_value, answer.get("kvs", ()))
            remaining = answer.get("count", 0) - len(answer.get("kvs", ()))
            if remaining <= 0 or (limit and len(items) >= limit):
                return Page(tuple(items), shown, more=remaining > 0, remaining=max(remaining, 0))
            start = key_bytes(items[-1].key) + b"\0"

    async def _range(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self._check_open()
        try:
            return await self._connection.call("KV", "Range", request, again=True)
        except EtcdError as error:
            raise await self._revision_error(error, request.get("revision", 0)) from error

    async def _revision_error(self, error: EtcdError, asked: int) -> DatastoreError:
        if error.details == IS_COMPACTED:
            return CompactedError(asked, await compacted(self._connection))
        if error.details == IS_FUTURE:
            return FutureRevisionError(asked, await self.revision())
        return error

    # --- writes ---------------------------------------------------------------------------------

    async def create(self, key: str, value: bytes, *, lease: int = 0) -> int:
        """Write a new key and return its revision; the lease is one that etcd knows."""
        put = writing.put(key, value, lease)
        revision, _ = await self._write(writing.at_revision(key, 0), put)
        if revision is None:
            raise KeyExistsError(f"key {key!r} exists")
        return revision

    async def update(self, key: str, value: bytes, *, revision: int, lease: int = 0) -> int:
        """Write a key that is at `revision`; return the new one."""
        if not revision:
            raise RevisionMismatchError(key, revision, await self.get(key))
        put = writing.put(key, value, lease)
        done, current = await self._write(writing.at_revision(key, revision), put)
        if done is None:
            raise RevisionMismatchError(key, revision, current)
        return done

    async def delete(self, key: str, *, revision: int) -> int:
        """Delete a key that is at `revision` (0: at any); return the revision of the delete."""
        compare = writing.at_revision(key, revision) if revision else writing.exists(key)
        done, current = await self._write(compare, writing.delete(key))
        if done is None:
            raise RevisionMismatchError(key, revision, current)
        return done

    async def _write(
        self, compare: Mapping[str, Any], act: Mapping[str, Any]
    ) -> tuple[int | None, KeyValue | None]:
        """Write where the comparison holds; else return what is there instead of a revision."""
        revision, found = await self._transact(writing.transaction([compare], [act]))
        return revision, found[0] if found else None

    async def write(self, changes: Sequence[Change], *, unchanged: Sequence[Unchanged] = ()) -> int:
        """Change several keys together or not at all; they share one revision."""
        for change in changes:
            if change.value is None and not change.revision:
                raise RevisionMismatchError(change.key, 0, await self.get(change.key))
        compare = [
            *(writing.at_revision(change.key, change.revision) for change in changes),
            *[one for condition in unchanged for one in await self._still(condition)],
        ]
        if len(compare) > writing.OPERATIONS_MAX:
            raise DatastoreError(
                f"{len(compare)} conditions in one transaction, etcd takes {writing.OPERATIONS_MAX}"
            )
        acts = [writing.operation(change) for change in changes]
        revision, found = await self._transact(writing.transaction(compare, acts))
        if revision is not None:
            return revision
        for change, current in zip(changes, found, strict=False):
            if not change.fits(current.revision if current else 0):
                raise RevisionMismatchError(change.key, change.revision, current)
        first = unchanged[0]
        raise RevisionMismatchError(first.first, first.revision, await self.get(first.first))

    async def _still(self, condition: Unchanged) -> Sequence[Mapping[str, Any]]:
        """Return the comparisons of a condition; raises RevisionMismatchError where it fails."""
        first, end = key_bytes(condition.first) or EVERYTHING, key_bytes(condition.end)
        if first >= end:
            return ()
        then: Sequence[KeyValue] = ()
        try:
            touched = await self._is_touched(condition)
            if condition.revision:
                then = (await self._read(first, end, revision=condition.revision)).items
        except CompactedError:
            touched = True
        if touched:
            current = await self.get(condition.first) if condition.first else None
            raise RevisionMismatchError(condition.first, condition.revision, current)
        return writing.still(condition, then)

    async def _is_touched(self, condition: Unchanged) -> bool:
        seen, newest = condition.revision, await self.revision()
        while since := await self._history("", seen, newest):
            if any(condition.first <= event.key < condition.end for event in since):
                return True
            seen = since[-1].revision
        return False

    async def _transact(
        self, request: Mapping[str, Any]
    ) -> tuple[int | None, Sequence[KeyValue | None]]:
        """Return the revision of a transaction, or None and what it found instead."""
        self._check_open()
        work = self._connection.call("KV", "Txn", request)
        try:
            answer = await uninterrupted("etcd write", work)
        except EtcdError as error:
            if error.details == FULL:
                raise UnavailableError(str(error)) from error
            raise
        if not answer.get("succeeded"):
            found = [_only(one.get("response_range", {})) for one in answer.get("responses", ())]
            return None, found
        revision = _revision_of(answer)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PUBLISH_SECONDS):
                await self._seen(revision)
        return revision, ()

    async def compact(self, revision: int) -> None:
        """Drop the history before a revision; another server may have done so already."""
        self._check_open()
        if revision <= 0:
            return
        try:
            await self._connection.call("KV", "Compact", {"revision": revision})
        except EtcdError as error:
            found = await self._revision_error(error, revision)
            if not isinstance(found, CompactedError):
                raise found from error

    # --- watches --------------------------------------------------------------------------------

    def watch(self, prefix: str, *, after: int) -> AsyncIterator[tuple[Event, ...]]:
        """Yield what was and will be written after a revision, in order."""
        return self._tail.watch(prefix, after)

    async def _follow(self) -> None:
        """Publish every event of the store, whichever member tells of it."""
        failures = 0
        while True:
            try:
                async for events, revision in transactions(self._connection, self._tail.revision):
                    if failures:
                        log.info("watch of etcd goes on revision=%d", revision)
                    failures = 0
                    await self._publish(events, revision)
            except CompactedError as error:
                log.warning("datastore compacted beyond what was seen revision=%d", error.oldest)
                self._tail.skip(max(error.oldest, self._tail.revision))
                await self._tell()
            except DatastoreError as error:
                failures += 1
                level = logging.WARNING if failures == 1 else logging.DEBUG
                log.log(level, "datastore away, trying again: %s", error)
                await self._clock.sleep(FOLLOW.wait_seconds(failures))

    async def _publish(self, events: Sequence[Event], revision: int) -> None:
        if revision > self._tail.revision:
            self._tail.publish(events, revision)
            await asyncio.sleep(0)  # those who wait for events have them before the writer goes on
            await self._tell()

    async def _tell(self) -> None:
        async with self._published:
            self._published.notify_all()

    async def _seen(self, revision: int) -> None:
        """Return once everything up to a revision has been given to the watchers."""
        async with self._published:
            await self._published.wait_for(lambda: self._tail.revision >= revision)

    async def _history(self, prefix: str, after: int, until: int) -> Sequence[Event]:
        """Return the first events below a prefix with after < revision <= until."""
        if after == until:
            return ()
        if after > until:
            newest = await self.revision()
            if after > newest:
                raise FutureRevisionError(after, newest)
        found: list[Event] = []
        if after < until:
            async with contextlib.aclosing(transactions(self._connection, after)) as answers:
                async for events, revision in answers:
                    found += [e for e in events if e.key.startswith(prefix) and e.revision <= until]
                    if revision >= until or len(found) >= HISTORY_EVENTS:
                        break
        # Compaction may have passed meanwhile, and etcd begins one revision earlier than we do.
        await self._range({"key": EVERYTHING, "revision": max(after, 1), "count_only": True})
        return found

    def _check_open(self) -> None:
        if self._closed:
            raise UnavailableError("the datastore is closed")


def _answer(asked: Sequence[asyncio.Future[int]], answer: int | DatastoreError) -> None:
    for future in asked:
        if future.done():
            continue
        if isinstance(answer, int):
            future.set_result(answer)
        else:
            future.set_exception(answer)


async def _newest(connection: Connection) -> int:
    answer = await connection.call(
        "KV", "Range", {"key": EVERYTHING, "count_only": True}, again=True
    )
    return _revision_of(answer)


def _revision_of(answer: Mapping[str, Any]) -> int:
    return int(answer["header"]["revision"])


def _only(answer: Mapping[str, Any]) -> KeyValue | None:
    return next(map(key_value, answer.get("kvs", ())), None)


def _end(prefix: str) -> bytes:
    """Return the first key after all that start with a prefix."""
    kept = key_bytes(prefix).rstrip(b"\xff")
    return kept[:-1] + bytes((kept[-1] + 1,)) if kept else EVERYTHING

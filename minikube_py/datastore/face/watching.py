"""Streams of watches, as etcd's clients open them: many watches on one stream.

All that a stream sends goes through one queue and is written by one task, so that a progress
notification comes after everything that it is about. A watch is in one of two states: it is fed,
or it catches up. It catches up after its start where it starts in the past, and when its client
read so slowly that the queue was full: then it reads the backend's history from where it was, and
joins the feed again when it is as far.

Who watches everything sees kpy's own keys, too, which reads leave out: every revision is an event,
as in etcd, and clients (kpy over another kpy is one) count on that.
"""

import asyncio
import contextlib
import enum
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

from minikube_py.datastore.face.feed import Feed, Item
from minikube_py.datastore.face.identity import Identity
from minikube_py.datastore.face.keys import Span, span
from minikube_py.datastore.face.reading import read_key
from minikube_py.datastore.face.refusals import TOO_MANY_REQUESTS
from minikube_py.datastore.face.transactions import wire
from minikube_py.datastore.kv import Backend, CompactedError, DatastoreError, KeyValue
from minikube_py.lib.clock import Clock
from minikube_py.lib.tasks import Nursery

Message = Mapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
WAITING_EVENTS_MAX = 8_192
"""Events that wait for a client, over all its watches; further ones it reads from the history."""
WATCHES_MAX = 10_000
"""Watches of one stream."""
RESPONSE_BYTES_MAX = 1 << 20
"""Events of one response; more come in several."""
EVENT_BYTES = 128
"""What an event has beside its key and values, roughly."""
PROGRESS_SECONDS = 600.0
"""How often a watch that asks for it is told how far it is (etcd's progress report interval)."""
EVERY_WATCH = -1
"""Watch id of what is about no watch in particular."""


class State(enum.Enum):
    """Where a watch is."""

    CATCHING_UP = "catching up"  # reads the history
    FED = "fed"  # gets events from the feed
    ENDED = "ended"


class Watch:
    """One watch of a client."""

    def __init__(self, stream: "Stream", number: int, request: Message, start: int) -> None:
        self._stream = stream
        self.id = number
        self.span = span_of(request)
        self.prev_kv = bool(request.get("prev_kv"))
        self.fragment = bool(request.get("fragment"))
        self.progress_notify = bool(request.get("progress_notify"))
        self._filters = frozenset(request.get("filters", ()))
        self.position = start - 1
        """Everything up to this revision is in the queue, or does not concern this watch."""
        self.state = State.CATCHING_UP
        self.sent_at = 0.0

    def take(self, items: Sequence[Item]) -> None:
        """Put events of the feed into the queue; where that is full, catch up later."""
        if self.state is not State.FED:
            return
        if self._stream.has_room():
            self._stream.put(self, self.wanted(items))
            self.position = max(self.position, items[-1].event.revision)
        else:
            self._stream.fell_behind(self)

    def lost(self, revision: int) -> None:
        """Read what the feed has missed."""
        del revision
        if self.state is State.FED:
            self._stream.fell_behind(self)

    def wanted(self, items: Sequence[Item]) -> list[Item]:
        """Return the events that the client asked for."""
        return [
            item
            for item in items
            if item.event.revision > self.position
            and ("NODELETE" if item.event.deleted else "NOPUT") not in self._filters
            and self.span.contains(item.event.key)
        ]


def span_of(request: Message) -> Span:
    """Return what a watch is about; without a key everything."""
    key, end = request.get("key", b""), request.get("range_end", b"")
    return span(key or b"\0", end)


class Stream:
    """The watches of one stream; `run` sends what they see."""

    def __init__(
        self, backend: Backend, feed: Feed, identity: Identity, send: Send, clock: Clock
    ) -> None:
        self._backend = backend
        self._feed = feed
        self._identity = identity
        self._send = send
        self._clock = clock
        self._watches: dict[int, Watch] = {}
        self._next = 0
        self._queue: deque[tuple[Watch | None, Sequence[Item], Message]] = deque()
        self._events = 0
        """Events that are in the queue."""
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._synced = asyncio.Event()
        self._synced.set()
        self._tasks = Nursery("watches")

    # --- what the client says -------------------------------------------------------------------

    async def hear(self, request: Message) -> None:
        """Do what the client asks for."""
        if "create_request" in request:
            await self._create(request["create_request"])
        elif "cancel_request" in request:
            self._cancel(request["cancel_request"].get("watch_id", 0))
        elif "progress_request" in request:
            self._tasks.start("progress", self._progress())

    async def _create(self, request: Message) -> None:
        newest = await self._backend.revision()
        number = request.get("watch_id", 0)
        where = span_of(request)
        if number in self._watches and number:
            reason = "mvcc: duplicate watch ID provided on the WatchStream"
        elif request.get("range_end", b"") and where.is_empty:
            reason = "mvcc: watcher range is empty"
        elif len(self._watches) >= WATCHES_MAX:
            reason = TOO_MANY_REQUESTS.text
        else:
            self._begin(number or self._free(), request, newest)
            return
        self._say(newest, watch_id=EVERY_WATCH, created=True, canceled=True, cancel_reason=reason)

    def _free(self) -> int:
        while self._next in self._watches:
            self._next += 1
        self._next += 1
        return self._next - 1

    def _begin(self, number: int, request: Message, newest: int) -> None:
        start = max(request.get("start_revision", 0), 0)
        watch = self._watches[number] = Watch(self, number, request, start or newest + 1)
        self._say(newest, watch_id=number, created=True)
        watch.sent_at = self._clock.monotonic()
        if watch.progress_notify:
            self._tasks.start("progress", self._report(watch))
        joined = self._feed.join(watch)
        if watch.position >= joined:
            watch.state = State.FED
        else:
            self._catch_up_later(watch)

    def _cancel(self, number: int) -> None:
        watch = self._watches.get(number)
        if watch is not None:
            self._end(watch)
            self._say(self._feed.position, watch_id=number, canceled=True)

    def _end(self, watch: Watch) -> None:
        if watch.state is not State.ENDED:
            watch.state = State.ENDED
            self._feed.leave(watch)
            del self._watches[watch.id]
            self._look_whether_synced()

    def close(self) -> None:
        """Forget all watches; the client has gone."""
        for watch in list(self._watches.values()):
            self._end(watch)

    # --- progress -------------------------------------------------------------------------------

    async def _progress(self) -> None:
        """Tell how far all watches of the stream are, once they are as far as the store is now."""
        await self._feed.reached(await self._backend.revision())
        while not self._synced.is_set():
            await self._synced.wait()
        self._say(self._feed.position, watch_id=EVERY_WATCH)

    async def _report(self, watch: Watch) -> None:
        """Tell a client that has heard nothing of a watch for long how far that is."""
        while watch.state is not State.ENDED:
            quiet = self._clock.monotonic() - watch.sent_at
            if quiet < PROGRESS_SECONDS:
                await self._clock.sleep(PROGRESS_SECONDS - quiet)
                continue
            watch.sent_at = self._clock.monotonic()
            if watch.state is State.FED:
                self._say(self._feed.position, watch_id=watch.id)

    # --- catching up ----------------------------------------------------------------------------

    def fell_behind(self, watch: Watch) -> None:
        """Let a watch whose events have no room read them when there is."""
        self._catch_up_later(watch)

    def _catch_up_later(self, watch: Watch) -> None:
        watch.state = State.CATCHING_UP
        self._synced.clear()
        self._tasks.start("catch up", self._catch_up(watch))

    def _look_whether_synced(self) -> None:
        if all(watch.state is State.FED for watch in self._watches.values()):
            self._synced.set()

    async def _catch_up(self, watch: Watch) -> None:
        """Read the history until the watch is as far as the feed."""
        try:
            await self._read_history(watch)
        except CompactedError as error:
            self._end(watch)
            self._say(
                self._feed.position,
                watch_id=watch.id,
                canceled=True,
                compact_revision=error.oldest,
            )
            return
        except DatastoreError as error:
            self._end(watch)
            reason = f"etcdserver: {error}"
            self._say(self._feed.position, watch_id=watch.id, canceled=True, cancel_reason=reason)
            return
        if watch.state is State.CATCHING_UP:
            watch.state = State.FED
            self._look_whether_synced()

    async def _read_history(self, watch: Watch) -> None:
        history = self._backend.watch("", after=watch.position)
        async with contextlib.aclosing(history) as batches:  # type: ignore[type-var]
            async for events in batches:
                while not self.has_room():
                    self._room.clear()
                    await self._room.wait()
                if watch.state is State.ENDED:
                    return
                self.put(watch, watch.wanted([Item(event, None) for event in events]))
                watch.position = events[-1].revision
                if watch.position >= self._feed.position:
                    return

    # --- what is sent ---------------------------------------------------------------------------

    def has_room(self) -> bool:
        """Whether events may be put into the queue."""
        return self._events < WAITING_EVENTS_MAX

    def put(self, watch: Watch, items: Sequence[Item]) -> None:
        """Let events be sent."""
        if items:
            self._queue.append((watch, items, {}))
            self._events += len(items)
            self._wake.set()

    def _say(self, revision: int, **fields: Any) -> None:
        self._queue.append((None, (), {"header": self._identity.header(revision), **fields}))
        self._wake.set()

    async def run(self) -> None:
        """Send what there is to send, until the client has gone."""
        async with self._tasks:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._queue:
                    watch, items, message = self._queue.popleft()
                    if watch is None:
                        await self._send(message)
                    else:
                        await self._send_events(watch, items)
                        self._events -= len(items)
                        self._room.set()

    async def _send_events(self, watch: Watch, items: Sequence[Item]) -> None:
        events = [await self._event(watch, item) for item in items]
        pieces = list(_pieces(events))
        watch.sent_at = self._clock.monotonic()
        header = self._identity.header(items[-1].event.revision)
        for number, piece in enumerate(pieces, 1):
            more = watch.fragment and number < len(pieces)
            await self._send(
                {"header": header, "watch_id": watch.id, "events": piece, "fragment": more}
            )

    async def _event(self, watch: Watch, item: Item) -> Message:
        event, before = item
        previous = None
        if watch.prev_kv and event.create_revision < event.revision:
            previous = before or await self._before(event.key, event.revision)
        kept = wire(previous) if previous is not None else None
        if event.deleted:
            gone = {"key": event.key.encode(), "mod_revision": event.revision}
            return {"type": "DELETE", "kv": gone, "prev_kv": kept}
        key, value, revision, created, _, lease, version = event
        kv = KeyValue(key, value, revision, created, lease, version)
        return {"kv": wire(kv), "prev_kv": kept}

    async def _before(self, key: str, revision: int) -> KeyValue | None:
        """Return a key as it was before a write; None where that is compacted."""
        try:
            found = await read_key(self._backend, key, revision - 1)
        except CompactedError:
            return None
        return found.items[0] if found.items else None


def _pieces(events: Sequence[Message]) -> Iterator[list[Message]]:
    """Yield the events in pieces of at most so many bytes, or of one event."""
    piece: list[Message] = []
    size = 0
    for event in events:
        weight = sum(
            EVENT_BYTES + len(kv["key"]) + len(kv.get("value", b""))
            for kv in (event["kv"], event["prev_kv"])
            if kv is not None
        )
        if piece and size + weight > RESPONSE_BYTES_MAX:
            yield piece
            piece, size = [], 0
        piece.append(event)
        size += weight
    yield piece

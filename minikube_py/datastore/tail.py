"""From committed writes to ordered events for everybody who watches.

A watcher is a position in the log. While it keeps up, new events wait for it in memory; when it
falls too far behind, what waits is dropped and it reads on from the log until it has caught up.
So a slow watcher costs a bounded amount of memory and still has no gap, unless compaction passes
it: then it ends with `CompactedError`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

from minikube_py.datastore.kv import Event, UnavailableError

WAITING_EVENTS_MAX = 4096
"""Events that wait in memory for one watcher before it must read the log instead."""

History = Callable[[str, int, int], Awaitable[Sequence[Event]]]
"""(prefix, after, until) -> the first events after a revision; fewer than all is allowed, none
means that there are no more. Raises CompactedError."""


class _Watcher:
    """Events that wait for one watch, and how it is woken."""

    __slots__ = ("events", "lagging", "revision", "woken")

    def __init__(self, revision: int) -> None:
        self.revision = revision
        """All events after this one come through `events`."""
        self.events: list[Event] = []
        self.lagging = False
        self.woken = asyncio.Event()

    def push(self, event: Event) -> None:
        if len(self.events) >= WAITING_EVENTS_MAX:
            self.lag()
        if not self.lagging:
            self.events.append(event)
        self.woken.set()

    def lag(self) -> None:
        """Drop what waits: the watcher goes on from the log."""
        self.lagging = True
        self.events = []
        self.woken.set()

    async def take(self) -> tuple[Event, ...]:
        """Wait for events and return all; empty where the watcher has fallen behind."""
        while not self.events and not self.lagging:
            self.woken.clear()
            await self.woken.wait()
        events, self.events = tuple(self.events), []
        return events


class Tail:
    """Hands events to watchers; `publish` must be called in order of revision."""

    def __init__(self, history: History, revision: int) -> None:
        self._history = history
        self.revision = revision
        """The newest revision that has been published."""
        self._watchers: dict[str, list[_Watcher]] = {}
        self._lengths: tuple[int, ...] = ()
        """The lengths of all watched prefixes: a key is looked up once for each."""
        self._closed = False

    def publish(self, events: Iterable[Event], revision: int) -> None:
        """Give new events to those who watch their keys."""
        for event in events:
            for length in self._lengths:
                if length > len(event.key):
                    break  # a slice would be the whole key, for every longer prefix once more
                for watcher in self._watchers.get(event.key[:length], ()):
                    watcher.push(event)
        self.revision = revision

    def skip(self, revision: int) -> None:
        """Go on at a later revision: every watcher reads the log for what it has missed."""
        self.revision = revision
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.lag()

    async def watch(self, prefix: str, after: int) -> AsyncIterator[tuple[Event, ...]]:
        """Yield the events below a prefix after a revision, for ever."""
        while True:
            watcher = self._join(prefix)
            try:
                while events := await self._history(prefix, after, watcher.revision):
                    yield tuple(events)
                    after = events[-1].revision
                while live := await self._take(watcher):
                    yield live
                    after = live[-1].revision
            finally:
                self._leave(prefix, watcher)

    async def _take(self, watcher: _Watcher) -> tuple[Event, ...]:
        events = await watcher.take()
        if not events and self._closed:
            raise UnavailableError("the datastore is closed")
        return events

    def _join(self, prefix: str) -> _Watcher:
        if self._closed:
            raise UnavailableError("the datastore is closed")
        watcher = _Watcher(self.revision)
        self._watchers.setdefault(prefix, []).append(watcher)
        self._measure()
        return watcher

    def _leave(self, prefix: str, watcher: _Watcher) -> None:
        watchers = self._watchers[prefix]
        watchers.remove(watcher)
        if not watchers:
            del self._watchers[prefix]
            self._measure()

    def _measure(self) -> None:
        self._lengths = tuple(sorted({len(prefix) for prefix in self._watchers}))

    def close(self) -> None:
        """End every watch with UnavailableError, after the events that it has waiting."""
        self._closed = True
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.lagging = True
                watcher.woken.set()

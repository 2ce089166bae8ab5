"""One watch of the backend that all watches of clients are fed from.

Every revision is an event, so the feed knows how far it is, and everybody who is fed is as far:
that is what progress notifications tell. For each event it keeps what the key was before it, as
far as it remembers: clients that want that (Kubernetes does) cost one read of the database at most.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from minikube_py.datastore.face.keys import Span
from minikube_py.datastore.kv import Backend, CompactedError, DatastoreError, Event, KeyValue

log = logging.getLogger(__name__)
REMEMBERED_KEYS = 4_096
REMEMBERED_VALUE_BYTES = 4_096
"""Larger values are read again when they are asked for; so this takes 16 MB at most."""
RETRY_SECONDS = 1.0


class Item(NamedTuple):
    """An event, and what its key was before it."""

    event: Event
    before: KeyValue | None
    """None: not remembered, or there was nothing."""


class Fed(Protocol):
    """Who is fed."""

    span: Span

    def take(self, items: Sequence[Item]) -> None:
        """Take in the events of a batch that are in the span; must not wait."""

    def lost(self, revision: int) -> None:
        """Learn that events were missed up to a revision: they have to be read."""


class Feed:
    """Follows a backend from a revision on."""

    def __init__(self, backend: Backend, revision: int) -> None:
        self._backend = backend
        self.position = revision
        """Everything up to this revision has been handed to those who are fed."""
        self._prefixes: dict[str, list[Fed]] = {}
        self._lengths: tuple[int, ...] = ()
        self._before: OrderedDict[str, KeyValue] = OrderedDict()
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    def join(self, fed: Fed) -> int:
        """Feed somebody with all that comes after the revision that is returned."""
        self._prefixes.setdefault(fed.span.prefix, []).append(fed)
        self._measure()
        return self.position

    def leave(self, fed: Fed) -> None:
        """Feed somebody no longer."""
        prefix = fed.span.prefix
        self._prefixes[prefix].remove(fed)
        if not self._prefixes[prefix]:
            del self._prefixes[prefix]
            self._measure()

    def _measure(self) -> None:
        self._lengths = tuple(sorted({len(prefix) for prefix in self._prefixes}))

    async def reached(self, revision: int) -> None:
        """Return once everything up to a revision has been handed out."""
        if revision > self.position:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((revision, future))
            await future

    async def run(self) -> None:
        """Follow the backend for ever, also when it was away."""
        while True:
            try:
                async for events in self._backend.watch("", after=self.position):
                    self._hand_out(events)
            except CompactedError:
                await self._skip()
            except DatastoreError as error:
                log.warning("events cannot be followed, trying again: %s", error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _skip(self) -> None:
        """Go on at the newest revision; everybody reads what was missed, or is told it is gone."""
        self.position = await self._backend.revision()
        self._before.clear()
        for fed in [one for group in self._prefixes.values() for one in group]:
            fed.lost(self.position)
        self._wake()

    def _hand_out(self, events: Sequence[Event]) -> None:
        taken: dict[Fed, list[Item]] = {}
        for event in events:
            item = Item(event, self._remember(event))
            for length in self._lengths:
                if length > len(event.key):
                    break
                for fed in self._prefixes.get(event.key[:length], ()):
                    if fed.span.contains(event.key):
                        taken.setdefault(fed, []).append(item)
        for fed, items in taken.items():
            fed.take(items)
        self.position = events[-1].revision
        self._wake()

    def _remember(self, event: Event) -> KeyValue | None:
        before = self._before.pop(event.key, None)
        if not event.deleted and len(event.value) <= REMEMBERED_VALUE_BYTES:
            key, value, revision, created, _, lease, version = event
            self._before[key] = KeyValue(key, value, revision, created, lease, version)
            if len(self._before) > REMEMBERED_KEYS:
                self._before.popitem(last=False)
        return before

    def _wake(self) -> None:
        still = []
        for revision, future in self._waiting:
            if revision > self.position:
                still.append((revision, future))
            elif not future.done():
                future.set_result(None)
        self._waiting = still

"""A watch: what changed after a revision, filtered for one watcher.

The cache tells every subscription of each batch of changes; a subscription turns them into events
that fit its selection, as upstream's cacher does: an object that enters the selection is ADDED,
one that leaves it is DELETED. In process the items themselves are handed over; over HTTP their
encoded form, gathered for one commit of the datastore, so that it costs one socket write.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import NamedTuple

from minikube_py.api.errors import ExpiredError
from minikube_py.api.resource import Resource
from minikube_py.client.protocol import WatchEvent
from minikube_py.server.apiserver.parameters import ListOptions, Selection
from minikube_py.server.registry.cache import KindCache
from minikube_py.server.registry.changes import Batch, Change, Events, Shown
from minikube_py.server.registry.store import Store

BOOKMARK_SECONDS = 60.0
"""How often watches that want bookmarks get one; one timer serves all."""
PENDING_MAX = 20_000
"""Events that a watcher in process may leave unread before its watch ends with 410."""


def shown(change: Change, selection: Selection, namespace: str) -> Shown | None:
    """Return what a watcher with that selection sees of a change; None for nothing."""
    if namespace and change.item.key.namespace != namespace:
        return None
    if selection.everything:
        return change.to_all
    fits = not change.deleted and selection.matches(change.item)
    fitted = change.previous is not None and selection.matches(change.previous)
    return change.shown(fits=fits, fitted=fitted)


class Start(NamedTuple):
    """How a watch begins: with what it shows first, and from where on it follows."""

    initial: Sequence[Shown]
    initial_end: bool
    """Whether a bookmark tells the end of the initial events."""
    revision: int


def start(store: Store, kind: KindCache, namespace: str, options: ListOptions) -> Start:
    """Decide how a watch begins; raises ExpiredError where its revision is too old."""
    selection = options.selection
    revision = options.revision
    if options.send_initial_events or (
        options.send_initial_events is None and options.resource_version in ("", "0")
    ):
        items = (item for item in kind.after("", namespace) if selection.matches(item))
        initial = [Shown("ADDED", item) for item in items]
        end = bool(options.send_initial_events) and options.bookmarks
        # The newest change of the kind: a watch can go on from there however old it is.
        return Start(initial, end, max(kind.revision, revision))
    if options.send_initial_events is False and options.resource_version in ("", "0"):
        return Start((), initial_end=False, revision=store.cache.revision)
    missed = (shown(change, selection, namespace) for change in kind.since(revision))
    return Start([event for event in missed if event], initial_end=False, revision=revision)


Direct = Callable[[Events], bool]
"""Sends a batch at once, or returns False where it cannot."""


class Subscription:
    """The events of one watcher; ask for the `next` batch again and again.

    While the reader waits and nothing is pending, `direct` (where it is set) gets a batch first:
    that spares the reader's wake-up, which costs more than the sending.
    """

    def __init__(self, kind: KindCache, namespace: str, selection: Selection) -> None:
        self.direct: Direct | None = None
        self.kind = kind
        self._namespace = namespace
        self._selection = selection
        self._everything = selection.everything
        self.sent = 0
        """How many events there have been for the watcher, without those that it began with."""
        self.cut: Callable[[], None] = lambda: None
        """Ends the connection of a watcher that is too slow to be told."""
        self._pending: list[Shown] = []
        self._ready = asyncio.Event()
        self._waiting = False
        self._overrun = False
        self.closed = False
        self._stop = kind.subscribe(self._take)

    def _take(self, changes: Batch) -> None:
        if self._everything:
            events = changes.everything(self._namespace)
        else:
            seen = (shown(change, self._selection, self._namespace) for change in changes)
            events = Events(event for event in seen if event is not None)
        if not events:
            return
        self.sent += len(events)
        if self._waiting and not self._pending and self.direct and self.direct(events):
            return
        self._pending += events
        if len(self._pending) > PENDING_MAX:
            self._overrun = True
            self._pending.clear()
            if not self._waiting:
                self.cut()
        self._ready.set()

    def put(self, events: Sequence[Shown]) -> None:
        """Show these first."""
        self._pending.extend(events)
        if self._pending:
            self._ready.set()

    async def next(self) -> Sequence[Shown]:
        """Return the next batch; an empty one asks for a bookmark, or tells that it is closed.

        Raises:
            ExpiredError: the watcher was too slow.

        """
        self._waiting = True
        try:
            await self._ready.wait()
        finally:
            self._waiting = False
        self._ready.clear()
        if self._overrun:
            raise ExpiredError("too old resource version: the watch was too slow, list again")
        batch, self._pending = self._pending, []
        if self.closed:
            self._ready.set()
        return batch

    def tick(self) -> None:
        """Ask for a bookmark."""
        self._ready.set()

    def close(self) -> None:
        """End the watch; the reader gets what is pending, then an empty batch."""
        self._stop()
        self.closed = True
        self._ready.set()


class Watches:
    """All watches of a server: they get their bookmarks, and end, together."""

    def __init__(self) -> None:
        self._open: set[Subscription] = set()
        self._sent: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None
        self.closed = False

    def __len__(self) -> int:
        return len(self._open)

    def add(self, subscription: Subscription) -> None:
        """Take in one watch; it is closed at once where the server is closing."""
        self._open.add(subscription)
        if self.closed:
            subscription.close()
        if self._timer is None and not self.closed:
            self._schedule()

    def remove(self, subscription: Subscription) -> None:
        """Forget one watch and close it."""
        if subscription in self._open:
            self._open.discard(subscription)
            self._sent[subscription.kind.resource.group_resource] += subscription.sent
        subscription.close()

    def kinds(self) -> Iterator[KindCache]:
        """Yield what each open watch is of."""
        for subscription in tuple(self._open):
            yield subscription.kind

    def sent(self) -> Counter[str]:
        """Return how many events watchers have been sent, by resource and group."""
        sent = Counter(self._sent)
        for subscription in self._open:
            sent[subscription.kind.resource.group_resource] += subscription.sent
        return sent

    def end(self, kind: KindCache) -> None:
        """End the watches of one kind: it is gone, or looks different from now on."""
        for subscription in tuple(self._open):
            if subscription.kind is kind:
                subscription.close()

    def _schedule(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(BOOKMARK_SECONDS, self._tick)

    def _tick(self) -> None:
        self._timer = None
        for subscription in self._open:
            subscription.tick()
        if self._open:
            self._schedule()

    def close(self) -> None:
        """End all watches; clients list again elsewhere."""
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        for subscription in tuple(self._open):
            subscription.close()


async def follow(
    store: Store, resource: Resource, namespace: str, options: ListOptions, watches: Watches
) -> AsyncIterator[Sequence[WatchEvent]]:
    """Yield the events of a watch in process, until the server closes."""
    await store.fresh(resource)
    kind = store.kind(resource)
    begin = start(store, kind, namespace, options)
    subscription = Subscription(kind, namespace, options.selection)
    subscription.put(begin.initial)
    watches.add(subscription)
    try:
        while (batch := await subscription.next()) or not subscription.closed:
            if batch:
                yield [WatchEvent(e.type, store.served(resource, e.item)) for e in batch]
    finally:
        watches.remove(subscription)

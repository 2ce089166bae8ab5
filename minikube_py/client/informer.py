"""A local, always current copy of one kind, shared by all who read it in one process.

One writer (`run`) applies what a watcher feeds; readers ask the store and are never made to wait.
`wait_for(revision)` is how a controller waits for its own writes, so that the next decision is
never made on a cache that lacks the last one: no bookkeeping of expectations anywhere.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import Self

from minikube_py.api.item import Item
from minikube_py.api.resource import Resource
from minikube_py.client.protocol import Client, EventType
from minikube_py.client.store import ItemStore
from minikube_py.client.watcher import ALL, Listed, Selection, Watcher
from minikube_py.lib.clock import Clock
from minikube_py.lib.tasks import Nursery, in_turns

log = logging.getLogger(__name__)
Handler = Callable[[Item | None, Item | None], None]
"""(old, new): old is None when an object came, new when it went. Must not wait."""
EVENTS_MAX = 50
"""After so many events those who wait are asked whether they have what they waited for."""
WAIT_SECONDS = 10.0
"""An informer this far behind is broken; whoever waits gives up and tries again later."""


class Informer(ItemStore):
    """The items of one kind as of `revision`, and who wants to hear of changes."""

    def __init__(self, watcher: Watcher) -> None:
        super().__init__()
        self.resource = watcher.resource
        self.selection = watcher.selection
        self._watcher = watcher
        self._clock = watcher.clock
        self._handlers: list[Handler] = []
        self._synced = asyncio.Event()
        self._waiting: dict[asyncio.Future[None], Callable[[], bool]] = {}

    @property
    def synced(self) -> bool:
        """Whether the first listing has arrived."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        """Wait for the first listing; without limit, because nothing can be done before it."""
        await self._synced.wait()

    def subscribe(self, handler: Handler) -> Callable[[], None]:
        """Call the handler for all there is and every change from now on; return the way out."""
        for item in self.items():
            handler(None, item)
        self._handlers.append(handler)
        return lambda: self._handlers.remove(handler)

    async def wait_for(self, revision: int, timeout: float = WAIT_SECONDS) -> None:
        """Wait until the copy holds everything up to a revision of this kind.

        Raises:
            TimeoutError: the informer did not get there.

        """
        await self.wait_until(lambda: self.revision >= revision, timeout)

    async def wait_until(self, true: Callable[[], bool], timeout: float = WAIT_SECONDS) -> None:
        """Wait until something is true of the copy; asked after every batch of changes.

        Raises:
            TimeoutError: it did not come true.

        """
        if true():
            return
        future = asyncio.get_running_loop().create_future()
        self._waiting[future] = true
        try:
            async with asyncio.timeout(timeout):
                await future
        finally:
            del self._waiting[future]

    async def run(self) -> None:
        """Keep the copy current; never ends by itself."""
        async with contextlib.aclosing(self._watcher.feed()) as feed:
            async for change in feed:
                if isinstance(change, Listed):
                    await self._replace(change)
                    self._wake()
                    continue
                count = 0
                async for event in in_turns(change, self._clock):
                    self._apply(*event)
                    count += 1
                    if count % EVENTS_MAX == 0:
                        self._wake()
                self._wake()

    def clear(self) -> None:
        """Drop all items, as if they had been deleted."""
        for old in [self.remove(key) for key in tuple(self.keys())]:
            self._tell(old, None)

    async def _replace(self, listed: Listed) -> None:
        """Make the copy what was listed, one change after the other, as if events had told it."""
        gone = dict.fromkeys(self.keys())
        async for item in in_turns(listed.items, self._clock):
            gone.pop(item.key, None)
            old = self.item(item.key)
            if old is None or old.revision != item.revision:
                self._tell(self.put(item), item)
        async for key in in_turns(gone, self._clock):
            self._tell(self.remove(key), None)
        self.revision = listed.revision
        self._synced.set()

    def _apply(self, kind: EventType, item: Item) -> None:
        old: Item | None = None
        new: Item | None = None
        if kind == "DELETED":
            old = self.remove(item.key)
        elif kind != "BOOKMARK":
            old, new = self.put(item), item
        self.revision = max(self.revision, item.revision)
        if old is not None or new is not None:
            self._tell(old, new)

    def _tell(self, old: Item | None, new: Item | None) -> None:
        if old is not None and new is not None and old.uid != new.uid:
            # The object was replaced while nobody looked: it went, and another came.
            self._tell(old, None)
            old = None
        for handler in tuple(self._handlers):
            handler(old, new)

    def _wake(self) -> None:
        for future, true in tuple(self._waiting.items()):
            if not future.done() and true():
                future.set_result(None)


class Informers:
    """The informers of one process and identity; each kind is followed once, from first use."""

    def __init__(self, client: Client, clock: Clock, *, page_limit: int = 0) -> None:
        self._client = client
        self._clock = clock
        self._page_limit = page_limit
        self._nursery = Nursery("informers")
        self._informers: dict[tuple[str, Selection], Informer] = {}
        self._tasks: dict[Informer, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._nursery.cancel()

    def get(self, resource: Resource, selection: Selection = ALL) -> Informer:
        """Return the informer of a kind, and start it where it is new."""
        key = (resource.path(), selection)
        if key not in self._informers:
            watcher = Watcher(
                self._client,
                resource,
                self._clock,
                selection=selection,
                page_limit=self._page_limit,
            )
            informer = self._informers[key] = Informer(watcher)
            name = f"informer {resource.group_resource}"
            self._tasks[informer] = self._nursery.start(name, informer.run())
        return self._informers[key]

    def forget(self, resource: Resource, *, gone: bool) -> None:
        """End the informer of a kind; where it is gone, so are its objects."""
        informer = self._informers.pop((resource.path(), ALL), None)
        if informer is not None:
            self._tasks.pop(informer).cancel()
            if gone:
                informer.clear()

    def started(self, resource: Resource) -> Informer | None:
        """Return the informer of all objects of a kind if somebody uses it."""
        return self._informers.get((resource.path(), ALL))

    async def synced(self, resources: Iterable[Resource]) -> None:
        """Wait until the informers of these kinds have their first listing."""
        for resource in resources:
            await self.get(resource).wait_synced()

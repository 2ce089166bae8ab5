"""The watch cache: decode once, encode once, serve all.

One subscription to the datastore feeds a `KindCache` for each stored kind. It holds the items in
key order, a bounded history of events for watches that start in the past, and the watchers. GET,
LIST and every watcher send the same bytes; nothing is read from disk to serve.
"""

import asyncio
import logging
import time
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from minikube_py.api.errors import ExpiredError, ServerTimeoutError
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj
from minikube_py.api.resource import Resource
from minikube_py.datastore.kv import Backend, CompactedError, Event
from minikube_py.server.registry.changes import Batch, Change
from minikube_py.server.registry.encoding import PREFIX, item_of

if TYPE_CHECKING:
    from minikube_py.server.registry.views import View

log = logging.getLogger(__name__)
HISTORY_EVENTS_MAX = 10_000
"""Events kept for each kind; a watch from before them gets 410 and lists again."""
HISTORY_BYTES_MAX = 16 << 20
ITEMS_AT_ONCE = 64
"""Items that are taken in, in one go; between them others have their turn."""
EVENTS_SECONDS_MAX = 0.004
"""After so long in one go others have their turn, however few events that were."""
CHUNKS_KEPT_MAX = 256
"""Newest events of each kind whose encoded form is kept: watchers that keep up share it."""


Watcher = Callable[[Batch], None]
"""Told of every batch of changes of a kind, in order; must not block and not raise."""


class KindCache:
    """All objects of one stored kind. It is a `Lister`."""

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        self.prefix = prefix_of(resource)
        self.revision = 0
        """Revision of the newest change of this kind."""
        self.bytes = 0
        """Encoded size of all items."""
        self.received = 0
        """How many changes there have been."""
        self.synced_revision: Callable[[], int] = lambda: self.revision
        self._items: dict[str, Item] = {}
        self._order: list[str] = []
        self._owned: dict[str, set[str]] = {}
        self._history: deque[Change] = deque()
        self._history_bytes = 0
        self._history_start = 0
        self._watchers: set[Watcher] = set()

    def __len__(self) -> int:
        return len(self._items)

    def get(self, key: Key) -> Obj | None:
        """Return one object, or None."""
        item = self._items.get(str(key))
        return item.obj if item is not None else None

    def item(self, key: Key) -> Item | None:
        """Return one item, or None."""
        return self._items.get(f"{key[0]}/{key[1]}" if key[0] else key[1])

    def items(self, namespace: str = "") -> Iterable[Item]:
        """Return the items of a namespace, or of all, in key order."""
        return list(self.after("", namespace))

    def after(self, start: str, namespace: str = "") -> Iterator[Item]:
        """Yield items in key order, those whose key is greater than `start`."""
        order, items = self._order, self._items
        first = f"{namespace}/" if namespace else ""
        place = bisect_left(order, max(first, f"{start}\0" if start else ""))
        while place < len(order) and order[place].startswith(first):
            yield items[order[place]]
            place += 1

    def count_after(self, start: str, namespace: str = "") -> int:
        """Return how many items `after` would yield."""
        first = f"{namespace}/" if namespace else ""
        begin = bisect_left(self._order, max(first, f"{start}\0" if start else ""))
        end = bisect_left(self._order, f"{namespace}0") if namespace else len(self._order)
        return max(end - begin, 0)

    def owned_by(self, uid: str) -> Sequence[Obj]:
        """Return the objects with an ownerReference to that uid."""
        return [self._items[key].obj for key in sorted(self._owned.get(uid, ()))]

    def load(self, items: Iterable[Item], revision: int) -> None:
        """Fill the empty cache with what the datastore held at a revision."""
        for item in items:
            key = str(item.key)
            self._items[key] = item
            self._index(key, item)
        self._order = sorted(self._items)
        self._history_start = revision
        self.revision = revision

    def item_of(self, value: bytes, revision: int, obj: Obj | None = None) -> Item:
        """Return the item of stored bytes; `obj` spares parsing them again."""
        return item_of(self.resource, value, revision, obj)

    def replace(self, resource: Resource, items: Iterable[Item]) -> None:
        """Show these items as another description of the kind has them; no watcher is told."""
        self.resource = resource
        for key, item in self._items.items():
            self._unindex(key, item)
        self._items.clear()
        self.load(items, self.revision)
        self.forget()

    def apply(self, changes: Sequence[Change]) -> None:
        """Take in committed changes and tell the watchers."""
        for change in changes:
            self._apply(change)
        self.received += len(changes)
        batch = Batch(changes)
        for watcher in tuple(self._watchers):
            watcher(batch)

    def find_previous(self, key: str) -> Item | None:
        """Return the item under a key text (`namespace/name`), or None."""
        return self._items.get(key)

    def _apply(self, change: Change) -> None:
        item, key = change.item, str(change.item.key)
        if change.previous is not None:
            self._unindex(key, change.previous)
        if change.deleted:
            if self._items.pop(key, None) is not None:
                del self._order[bisect_left(self._order, key)]
        else:
            if key not in self._items:
                insort(self._order, key)
            self._items[key] = item
            self._index(key, item)
        self.revision = item.revision
        self._remember(change)

    def _remember(self, change: Change) -> None:
        self._history.append(change)
        if len(self._history) > CHUNKS_KEPT_MAX:
            self._history[-CHUNKS_KEPT_MAX - 1].forget_chunks()
        self._history_bytes += len(change.item.data)
        while len(self._history) > HISTORY_EVENTS_MAX or self._history_bytes > HISTORY_BYTES_MAX:
            oldest = self._history.popleft()
            self._history_bytes -= len(oldest.item.data)
            self._history_start = oldest.revision

    def _index(self, key: str, item: Item) -> None:
        self.bytes += len(item.data)
        for uid in item.owners:
            self._owned.setdefault(uid, set()).add(key)

    def _unindex(self, key: str, item: Item) -> None:
        self.bytes -= len(item.data)
        for uid in item.owners:
            keys = self._owned.get(uid)
            if keys is not None:
                keys.discard(key)
                if not keys:
                    del self._owned[uid]

    def forget(self) -> None:
        """Drop the history: watches can start from now on only."""
        self._history.clear()
        self._history_bytes = 0
        self._history_start = max(self._history_start, self.revision)

    def since(self, revision: int) -> Sequence[Change]:
        """Return the changes after a revision.

        Raises:
            ExpiredError: the history does not go back that far.

        """
        if revision < self._history_start:
            raise ExpiredError(f"too old resource version: {revision} ({self._history_start})")
        return [change for change in self._history if change.revision > revision]

    def subscribe(self, watcher: Watcher) -> Callable[[], None]:
        """Tell `watcher` of all later changes; call the result to end that."""
        self._watchers.add(watcher)
        return lambda: self._watchers.discard(watcher)

    @property
    def watchers(self) -> int:
        """How many watchers there are."""
        return len(self._watchers)


def prefix_of(resource: Resource) -> str:
    """Return the part of the key space where a stored kind lives."""
    group = f"{resource.group}/" if resource.group else ""
    return f"{PREFIX}{group}{resource.plural}/"


def is_stored(resource: Resource) -> bool:
    """Tell whether objects are stored in this very version; reviews are never stored."""
    return resource.storage is None and "list" in resource.verbs


def stored(resource: Resource) -> Resource:
    """Return the resource in whose version the objects are stored."""
    return resource.storage.resource if resource.storage is not None else resource


def differences(cache: KindCache, items: Sequence[Item], revision: int) -> Iterator[Change]:
    """Yield the changes that lead from what a cache holds to these items."""
    wanted = {str(item.key): item for item in items}
    for item in cache.items():
        if str(item.key) not in wanted:
            yield Change(Item(item.obj, item.data, revision, item.fields), item, deleted=True)
    for key, item in sorted(wanted.items(), key=lambda pair: pair[1].revision):
        previous = cache.find_previous(key)
        if previous is None or previous.revision != item.revision:
            yield Change(item, previous, deleted=False)


CURRENT_SECONDS = 3.0
"""How long a request waits for a state to come (upstream's watch cache: blockTimeout)."""


class Cache:
    """The caches of all kinds and the one feed that fills them."""

    def __init__(self, backend: Backend, *, shared: bool = False) -> None:
        self.backend = backend
        self.shared = shared
        """Whether other servers write, too: then only the datastore knows the newest revision."""
        self.revision = 0
        """Everything up to this revision has been applied."""
        self._kinds: dict[str, KindCache] = {}
        self.views: dict[tuple[str, str, str], View] = {}
        """By group, version and plural: kinds whose versions a webhook converts."""
        self._waiters: dict[asyncio.Future[None], int] = {}
        self._written: dict[str, tuple[bytes, Obj]] = {}

    def kind(self, resource: Resource) -> KindCache:
        """Return the cache of a kind that has been added."""
        return self._kinds[prefix_of(stored(resource))]

    def find(self, resource: Resource) -> KindCache | None:
        """Return the cache of a kind, or None where it has not been added."""
        view = self.view(resource)
        return view.cache if view is not None else self.base(resource)

    def base(self, resource: Resource) -> KindCache | None:
        """Return the cache of a kind as it is stored, or None where it has not been added."""
        return self._kinds.get(prefix_of(stored(resource)))

    def view(self, resource: Resource) -> "View | None":
        """Return what shows a kind in the version of the resource, where a webhook converts it."""
        if resource.convert is None:
            return None
        return self.views.get((resource.group, resource.version, resource.plural))

    def kinds(self) -> Iterator[KindCache]:
        """Yield the caches of all kinds."""
        yield from tuple(self._kinds.values())

    async def load(self, resources: Iterable[Resource]) -> None:
        """Read what the datastore holds of these kinds, at one revision."""
        revision = await self.backend.revision()
        for resource in resources:
            if is_stored(resource) and prefix_of(resource) not in self._kinds:
                await self._load(KindCache(resource), revision)
        self.revision = max(self.revision, revision)

    async def _load(self, cache: KindCache, revision: int) -> None:
        cache.load(await self._listed(cache, revision), revision)
        self._kinds[cache.prefix] = cache

    async def _listed(
        self, cache: KindCache, revision: int, resource: Resource | None = None
    ) -> Sequence[Item]:
        """Read the items of a kind anew, a few at a time."""
        page = await self.backend.list(cache.prefix, revision=revision)
        items = []
        for number, kv in enumerate(page.items, 1):
            items.append(item_of(resource or cache.resource, kv.value, kv.revision))
            if number % ITEMS_AT_ONCE == 0:
                await asyncio.sleep(0)
        return items

    async def add(self, resource: Resource) -> KindCache:
        """Serve one more kind while the feed runs (custom resources).

        The feed ignores keys of unknown kinds, so listing and adding must see no change between:
        list at a revision, then apply what the feed brought meanwhile by listing again if it did.
        """
        cache = KindCache(resource)
        if cache.prefix in self._kinds:
            return self._kinds[cache.prefix]
        while True:
            await self._load(cache, await self.backend.revision())
            if self.revision <= cache.revision:
                return cache
            del self._kinds[cache.prefix]
            cache = KindCache(resource)

    def forget(self) -> None:
        """Drop the history of all kinds."""
        for cache in self._kinds.values():
            cache.forget()

    def remove(self, resource: Resource) -> None:
        """Serve a kind no longer."""
        self._kinds.pop(prefix_of(resource), None)

    async def adopt(self, resource: Resource) -> KindCache:
        """Serve a kind, or serve it from now on as this description has it."""
        cache = self._kinds.get(prefix_of(resource))
        if cache is None:
            return await self.add(resource)
        while True:
            revision = await self.backend.revision()
            await self.reached(revision)
            items = await self._listed(cache, revision, resource)
            if cache.revision <= revision:
                cache.replace(resource, items)
                return cache

    async def follow(self) -> None:
        """Keep up with the datastore for as long as the server runs."""
        while True:
            try:
                await self.feed()
            except CompactedError:
                log.warning(
                    "lost the place in the history, listing again revision=%d", self.revision
                )
                await self.resync()

    async def resync(self) -> None:
        """Bring every kind to the newest state; watchers are told of the differences."""
        revision = await self.backend.revision()
        for cache in tuple(self._kinds.values()):
            items = await self._listed(cache, revision)
            cache.apply(list(differences(cache, items, revision)))
        self.revision = revision
        self._wake()

    async def feed(self) -> None:
        """Apply every commit; raises CompactedError where commits have been missed.

        A batch is many commits, each of one object, that shared a write to the disk: a reader in
        the midst of it sees the cache as it was between two of them.
        """
        # All of the store, so that every revision is heard of: others may write beside us.
        async for events in self.backend.watch("", after=self.revision):
            done = self._take(events)
            while done < len(events):
                await asyncio.sleep(0)
                done += self._take(events[done:])

    def _take(self, events: Sequence[Event]) -> int:
        """Apply the first of some events, and return how many those are."""
        by_kind: dict[KindCache, list[Change]] = {}
        seen: dict[str, Item | None] = {}
        done, until = 0, time.perf_counter() + EVENTS_SECONDS_MAX
        for event in events[:ITEMS_AT_ONCE]:
            done += 1
            cache = self._kind_of(event.key)
            if cache is not None and event.revision > cache.revision:
                by_kind.setdefault(cache, []).append(self._change(cache, event, seen))
                if time.perf_counter() > until:
                    break
        for cache, changes in by_kind.items():
            cache.apply(changes)
        self.revision = events[done - 1].revision
        self._wake()
        return done

    def _change(self, cache: KindCache, event: Event, seen: dict[str, Item | None]) -> Change:
        """Make the change of one event; `seen` holds what earlier events of the batch left."""
        name = event.key[len(cache.prefix) :]
        previous = seen[event.key] if event.key in seen else cache.find_previous(name)
        written = self._written.get(event.key)
        known = written[1] if written is not None and written[0] is event.value else None
        if event.deleted and known is None and previous is not None:
            known = previous.obj
        item = cache.item_of(event.value, event.revision, known)
        seen[event.key] = None if event.deleted else item
        return Change(item, previous, deleted=event.deleted)

    def _kind_of(self, key: str) -> KindCache | None:
        """Find the kind of a key; no core plural is also the name of a group."""
        if not key.startswith(PREFIX):
            return None
        first, _, rest = key[len(PREFIX) :].partition("/")
        core = self._kinds.get(f"{PREFIX}{first}/")
        if core is not None:
            return core
        return self._kinds.get(f"{PREFIX}{first}/{rest.partition('/')[0]}/")

    def writing(self, key: str, value: bytes, obj: Obj) -> None:
        """Remember the parsed form of bytes about to be written, to spare parsing them again."""
        self._written[key] = (value, obj)

    def written(self, key: str, value: bytes) -> None:
        """Forget what `writing` remembered."""
        kept = self._written.get(key)
        if kept is not None and kept[0] is value:
            del self._written[key]

    async def current(self, asked: str = "") -> None:
        """Wait for what other servers wrote, as far as a request that is about to be served asks.

        `asked` is the request's resourceVersion: none means the newest state, 0 any, another one a
        state that is not older. What does not come in time is refused by those who check.
        """
        if asked == "0" or not (asked.isdecimal() or not asked):
            return
        try:
            async with asyncio.timeout(CURRENT_SECONDS):
                await self.reached(int(asked) if asked else await self.backend.revision())
        except TimeoutError as error:
            if not asked:
                raise ServerTimeoutError("the server has not caught up with the others") from error

    async def reached(self, revision: int) -> None:
        """Wait until everything up to a revision has been applied."""
        if revision <= self.revision:
            return
        future = asyncio.get_running_loop().create_future()
        self._waiters[future] = revision
        try:
            await future
        finally:
            self._waiters.pop(future, None)

    def _wake(self) -> None:
        for future, revision in list(self._waiters.items()):
            if revision <= self.revision and not future.done():
                future.set_result(None)

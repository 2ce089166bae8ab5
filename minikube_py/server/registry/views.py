"""A custom kind in one of its versions, where a webhook converts: a cache of converted objects.

The datastore and its cache hold objects as they were written, in versions of then. A `View` shows
them in one version. It is brought up to date when somebody reads it, and while somebody watches it;
a version that nobody asks for costs nothing. What fails to convert fails the read.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from minikube_py.api.errors import ExpiredError, StatusError
from minikube_py.api.item import Item
from minikube_py.api.object import Obj
from minikube_py.api.resource import Convert, Resource
from minikube_py.server.registry.cache import KindCache, Watcher, differences
from minikube_py.server.registry.changes import Change
from minikube_py.server.registry.encoding import encode, splice, with_revision

log = logging.getLogger(__name__)
ITEMS_AT_ONCE = 200


class _Shown(KindCache):
    """The converted objects; a new watcher has them kept up to date."""

    def __init__(self, resource: Resource, watched: Callable[[], None]) -> None:
        super().__init__(resource)
        self._watched = watched

    def subscribe(self, watcher: Watcher) -> Callable[[], None]:
        """Tell `watcher` of all later changes; call the result to end that."""
        stop = super().subscribe(watcher)
        self._watched()
        return stop


class View:
    """One version of a custom kind."""

    def __init__(
        self, stored: KindCache, resource: Resource, ended: Callable[[KindCache], None]
    ) -> None:
        """Make a view; `ended` is told where those who watch it must begin anew."""
        if resource.convert is None:
            raise ValueError("a view needs a converter")
        self.resource = resource
        self._convert: Convert = resource.convert
        self._stored = stored
        self._ended = ended
        self._seen = -1
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self.cache: KindCache = _Shown(resource, self._wake.set)
        self.key = (resource.group, resource.version, resource.plural)
        self.task: asyncio.Task[None] | None = None
        """What follows for those who watch."""

    @property
    def behind(self) -> bool:
        """Whether something changed that is not shown yet."""
        return self._seen < self._stored.revision

    @property
    def revision(self) -> int:
        """The revision up to which everything is shown."""
        return self._seen

    async def fresh(self) -> None:
        """Show all that has been written; raises StatusError where that cannot be converted."""
        while self.behind:
            async with self._lock:
                if self.behind:
                    await self._advance()

    async def one(self, item: Item) -> Item:
        """Return a stored item in this version."""
        known = self.cache.find_previous(str(item.key))
        if known is not None and known.revision == item.revision:
            return known
        return (await self.items([item]))[0]

    async def items(self, stored: Sequence[Item]) -> list[Item]:
        """Return stored items in this version."""
        made: list[Item] = []
        for begin in range(0, len(stored), ITEMS_AT_ONCE):
            batch = stored[begin : begin + ITEMS_AT_ONCE]
            objects = await self._convert([i.obj for i in batch], self.resource.api_version)
            made += (self._item(o, i) for o, i in zip(objects, batch, strict=True))
        return made

    def _item(self, obj: Obj, stored: Item) -> Item:
        data = stored.data if obj is stored.obj else splice(encode(obj), stored.revision)
        return Item(obj, data, stored.revision, self.resource.selected(obj))

    async def follow(self) -> None:
        """Keep up with what is written, for as long as somebody watches."""
        stop = self._stored.subscribe(lambda _changes: self._wake.set())
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                if self.cache.watchers:
                    await self._keep_up()
        finally:
            stop()

    async def _keep_up(self) -> None:
        try:
            await self.fresh()
        except StatusError as error:
            kind = self.resource.group_resource
            log.warning("watches end, objects cannot be converted kind=%s: %s", kind, error)
            self._ended(self.cache)

    async def _advance(self) -> None:
        try:
            missed = self._stored.since(self._seen) if self._seen >= 0 else None
        except ExpiredError:
            missed = None
        if missed is None:
            await self._reload()
        else:
            await self._apply(missed)

    async def _reload(self) -> None:
        """Convert all that there is; watchers are told of the differences."""
        revision = self._stored.revision
        items = await self.items(list(self._stored.items()))
        if self._seen < 0:
            self.cache.load(items, revision)
        else:
            self.cache.apply(list(differences(self.cache, items, revision)))
            self.cache.revision = max(self.cache.revision, revision)
        self._seen = revision

    async def _apply(self, changes: Sequence[Change]) -> None:
        there = await self.items([change.item for change in changes if not change.deleted])
        made, seen = iter(there), dict[str, Item | None]()
        converted: list[Change] = []
        for change in changes:
            key = str(change.item.key)
            before = seen[key] if key in seen else self.cache.find_previous(key)
            if not change.deleted:
                seen[key] = item = next(made)
                converted.append(Change(item, before, deleted=False))
            elif before is not None:
                seen[key] = None
                converted.append(Change(_gone(before, change.revision), before, deleted=True))
        if converted:
            self.cache.apply(converted)
        self._seen = changes[-1].revision if changes else self._stored.revision


def _gone(item: Item, revision: int) -> Item:
    """Return the last state of an object, at the revision of its deletion."""
    obj = with_revision(item.obj, revision)
    return Item(obj, splice(encode(obj), revision), revision, item.fields)

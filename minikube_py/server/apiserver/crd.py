"""Custom kinds come and go: definitions in the watch cache become resources in the scheme.

One loop looks at the definitions that changed: it accepts their names, establishes them, serves
their versions (also at start, from what the datastore holds), and serves them no longer once they
are gone. A definition that is being deleted stays until all its objects have been deleted.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from minikube_py.api import times
from minikube_py.api.apiextensions import CUSTOMRESOURCEDEFINITIONS, custom, naming
from minikube_py.api.apiextensions.customresourcedefinition import CLEANUP_FINALIZER
from minikube_py.api.errors import NotFoundError
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, get, has_condition, is_deleting, uid_of
from minikube_py.api.resource import Convert, Resource
from minikube_py.api.scheme import Scheme
from minikube_py.lib.tasks import Nursery, restarting
from minikube_py.server.apiserver.watch import Watches
from minikube_py.server.attributes import User
from minikube_py.server.registry.cache import KindCache
from minikube_py.server.registry.changes import Change
from minikube_py.server.registry.hooks import Write
from minikube_py.server.registry.store import Store
from minikube_py.server.registry.views import View

DELETES_AT_ONCE_MAX = 32
_USER = User("system:apiserver", ("system:masters", "system:authenticated"))
_IN_PROGRESS = ("InstanceDeletionInProgress", "CustomResource deletion is in progress")
_NO_CREATE = "create not allowed while custom resource definition is terminating"


@dataclass
class _Served:
    """What is served of one definition."""

    signature: bytes
    resources: Sequence[Resource]
    kind: KindCache
    views: Sequence[View] = ()
    """Where a webhook converts: one for each version."""
    stop: Callable[[], None] = field(default=lambda: None)

    @property
    def stored(self) -> Resource:
        return self.resources[0]


class CustomResources:
    """The custom kinds of a server."""

    def __init__(
        self,
        scheme: Scheme,
        store: Store,
        watches: Watches,
        changed: Callable[[], None],
        converter: Callable[[Obj], Convert],
    ) -> None:
        """Make them; `converter` makes what asks the webhook of a definition."""
        self._converter = converter
        self._following: Nursery | None = None
        self._scheme = scheme
        self._store = store
        self._watches = watches
        self._changed = changed
        self._served: dict[str, _Served] = {}
        self._names: dict[str, Obj] = {}
        """Of each definition as much as the names of others depend on."""
        self._conflicting: set[str] = set()
        self._dirty: set[str] = set()
        self._wake = asyncio.Event()

    async def load(self) -> None:
        """Serve what the datastore holds."""
        items = self._definitions.items()
        for item in sorted(items, key=lambda item: item.revision):
            self._note(item.key.name, item.obj)
            self._dirty.add(item.key.name)
        await self._work()

    async def run(self) -> None:
        """Follow the definitions for as long as the server runs."""
        async with Nursery("conversions") as self._following:
            for served in self._served.values():
                self._follow(served)
            await self._run()

    async def _run(self) -> None:
        stop = self._definitions.subscribe(self._take)
        try:
            for item in self._definitions.items():
                self._mark(item.key.name)
            for name in tuple(self._served):
                self._mark(name)
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._work()
        finally:
            stop()

    @property
    def _definitions(self) -> KindCache:
        return self._store.kind(CUSTOMRESOURCEDEFINITIONS)

    def _take(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self._mark(change.item.key.name)

    def _mark(self, name: str) -> None:
        self._dirty.add(name)
        self._wake.set()

    def _note(self, name: str, crd: Obj) -> None:
        names = get(crd, "status.acceptedNames")
        self._names[name] = {
            "metadata": {"name": name},
            "spec": {"group": crd["spec"]["group"]},
            "status": {"acceptedNames": names},
        }

    async def _work(self) -> None:
        while self._dirty:
            name = next(iter(self._dirty))
            self._dirty.discard(name)
            crd = self._definitions.get(Key("", name))
            if crd is None:
                self._withdraw(name)
            elif is_deleting(crd):
                await self._terminate(name, crd)
            else:
                await self._establish(name, crd)

    # Serving

    async def _establish(self, name: str, crd: Obj) -> None:
        if naming.planned_status(crd, self._names.values(), "") != crd.get("status"):
            crd = await self._write(name, self._with_status)
        self._note(name, crd)
        if has_condition(crd, naming.NAMES_ACCEPTED):
            self._conflicting.discard(name)
        else:
            self._conflicting.add(name)
        names = get(crd, "status.acceptedNames") or {}
        if has_condition(crd, naming.ESTABLISHED) and names.get("plural") and names.get("kind"):
            await self._serve(name, crd)

    def _with_status(self, crd: Obj) -> Obj:
        now = times.now_string(self._store.clock)
        return {**crd, "status": naming.planned_status(crd, self._names.values(), now)}

    async def _serve(self, name: str, crd: Obj) -> None:
        names = orjson.dumps(get(crd, "status.acceptedNames"))
        generation = crd["metadata"].get("generation", 0)
        signature = b"%b %d %b" % (uid_of(crd).encode(), generation, names)
        before = self._served.get(name)
        if before is not None and before.signature == signature:
            return
        convert = self._converter(crd) if custom.has_webhook(crd) else None
        found = custom.resources(crd, convert)
        kind = await self._store.cache.adopt(found[0])
        if before is not None:
            self._end_views(before)
        views = self._views(kind, found) if convert is not None else ()
        for resource in found:
            self._scheme.add(resource)
        if before is not None:
            wanted = {resource.path() for resource in found}
            self._remove(resource for resource in before.resources if resource.path() not in wanted)
            before.stop()
        served = self._served[name] = _Served(signature, found, kind, views)
        self._follow(served)
        self._changed()
        if before is not None:
            self._watches.end(kind)

    def _views(self, kind: KindCache, resources: Sequence[Resource]) -> Sequence[View]:
        views = [View(kind, resource, self._watches.end) for resource in resources]
        for view in views:
            self._store.cache.views[view.key] = view
        return views

    def _follow(self, served: _Served) -> None:
        """Keep the versions of a kind up to date for those who watch them."""
        if self._following is not None:
            for view in served.views:
                name = f"conversion {'.'.join(view.key)}"
                view.task = self._following.start(name, restarting(name, view.follow))

    def _end_views(self, served: _Served) -> None:
        for view in served.views:
            if self._store.cache.views.get(view.key) is view:
                del self._store.cache.views[view.key]
            if view.task is not None:
                view.task.cancel()
            self._watches.end(view.cache)

    def _remove(self, resources: Iterable[Resource]) -> None:
        for resource in resources:
            self._scheme.remove(resource)

    def _withdraw(self, name: str) -> None:
        """Serve a definition's kinds no longer; names it had are free."""
        self._names.pop(name, None)
        self._conflicting.discard(name)
        served = self._served.pop(name, None)
        if served is not None:
            served.stop()
            self._end_views(served)
            self._remove(served.resources)
            self._store.cache.remove(served.stored)
            self._watches.end(served.kind)
            self._changed()
        for other in self._conflicting:
            self._mark(other)

    # Deleting

    async def _terminate(self, name: str, crd: Obj) -> None:
        """Delete all objects of a definition, then let it go."""
        served = self._served.get(name)
        if CLEANUP_FINALIZER not in (crd["metadata"].get("finalizers") or ()):
            return
        if served is None and has_condition(crd, naming.ESTABLISHED):
            await self._serve(name, crd)
            served = self._served[name]
        if served is not None:
            await self._clean_up(name, crd, served)
            if len(served.kind):
                return
        with contextlib.suppress(NotFoundError):
            await self._write(name, _without_finalizer)

    async def _clean_up(self, name: str, crd: Obj, served: _Served) -> None:
        for resource in served.resources:
            self._scheme.add(replace(resource, refuses_create=_NO_CREATE))
        if not has_condition(crd, naming.TERMINATING):
            with contextlib.suppress(NotFoundError):
                await self._write(name, self._with_terminating)
        served.stop()

        def look(_changes: Sequence[Change]) -> None:
            if not len(served.kind):
                self._mark(name)

        served.stop = served.kind.subscribe(look)
        gate = asyncio.Semaphore(DELETES_AT_ONCE_MAX)
        pending = [item for item in served.kind.items() if not item.deleting]
        await asyncio.gather(*(self._delete(served.stored, item, gate) for item in pending))

    def _with_terminating(self, crd: Obj) -> Obj:
        now = times.now_string(self._store.clock)
        return naming.terminating(crd, "True", _IN_PROGRESS, now)

    async def _delete(self, resource: Resource, item: Item, gate: asyncio.Semaphore) -> None:
        write = Write(
            user=_USER,
            resource=resource,
            operation="DELETE",
            namespace=item.key.namespace,
            name=item.key.name,
        )
        async with gate:
            with contextlib.suppress(NotFoundError):
                await self._store.delete(write, {})

    async def _write(self, name: str, change: Callable[[Obj], Obj]) -> Obj:
        write = Write(
            user=_USER,
            resource=CUSTOMRESOURCEDEFINITIONS,
            operation="UPDATE",
            name=name,
            subresource="status",
            trusted=True,
        )
        item, _ = await self._store.update(write, change)
        return item.obj


def _without_finalizer(crd: Obj) -> Obj:
    finalizers = crd["metadata"].get("finalizers") or ()
    metadata: dict[str, Any] = {k: v for k, v in crd["metadata"].items() if k != "finalizers"}
    left = [finalizer for finalizer in finalizers if finalizer != CLEANUP_FINALIZER]
    if left:
        metadata["finalizers"] = left
    return {**crd, "metadata": metadata}

"""A Client with a memory: while no server answers, it says again what the server said last.

    informers, volumes, tokens -> KeepingClient -> the server
                                      |  writes what the server said            (`kept.py`)
                                      +- says it again while none answers

All that a node needs to run its pods is read through this client, so nothing else knows of the
memory: an informer whose first listing fails is given what was listed last, with revision 0, and
when the server is back it is told that this is too old, so it lists anew and finds the difference.
Objects are kept without what changes by the minute, so that an idle node writes nothing.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence
from typing import Any

from minikube_py.agent.kept import Kept, gotten, listing, token
from minikube_py.api.core import (
    CONFIGMAPS,
    NAMESPACES,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    SECRETS,
    SERVICES,
)
from minikube_py.api.endpointslices import ENDPOINTSLICES
from minikube_py.api.errors import (
    ExpiredError,
    NotFoundError,
    ServiceUnavailableError,
    StatusError,
)
from minikube_py.api.item import Item
from minikube_py.api.networking import INGRESSCLASSES, INGRESSES, NETWORKPOLICIES
from minikube_py.api.node import RUNTIMECLASSES
from minikube_py.api.object import Obj
from minikube_py.api.resource import Resource
from minikube_py.api.resource_k8s import RESOURCECLAIMS
from minikube_py.api.storage import CSIDRIVERS, VOLUMEATTACHMENTS
from minikube_py.client.protocol import Client, ItemList, PatchType, WatchEvent
from minikube_py.lib.backoff import Backoff
from minikube_py.lib.clock import Clock
from minikube_py.lib.tasks import StoppedError, unless

log = logging.getLogger(__name__)
GATHER_SECONDS = 0.2
"""Many pods begin at once; their endpoints change together."""
ASK = Backoff(first_seconds=0.2, max_seconds=5.0)
"""How often a server that is away is asked whether it is back: once for all who wait."""
LISTED: Collection[Resource] = (
    PODS,
    NODES,
    SERVICES,
    ENDPOINTSLICES,
    CONFIGMAPS,
    SECRETS,
    NAMESPACES,
    NETWORKPOLICIES,
    INGRESSES,
    INGRESSCLASSES,
)
"""Kinds that nodes follow."""
GOTTEN: Collection[Resource] = (
    RUNTIMECLASSES,
    CSIDRIVERS,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    RESOURCECLAIMS,
    SECRETS,
    VOLUMEATTACHMENTS,
)
"""Kinds that nodes ask for one by one, and may go on with as they were."""
PASSING = ("managedFields", "resourceVersion", "generation")
"""Metadata that is not kept."""
PASSING_OF_NODES = ("conditions", "images", "volumesInUse")
"""What changes in the status of a node that does nothing."""


OF_OTHERS: Mapping[str, Collection[str]] = {
    "metadata": ("name", "namespace", "uid", "labels"),
    "spec": ("nodeName", "hostNetwork", "containers", "initContainers"),
    "status": ("phase", "podIP", "podIPs"),
}
"""What counts of the pods of other nodes: that policies are about them."""


def lasting(resource: Resource, obj: Obj, *, foreign: bool = False) -> Obj:
    """Return what is kept of an object; `foreign` ones are pods, and may be of any node."""
    if foreign:
        return {
            part: {name: value for name, value in (obj.get(part) or {}).items() if name in names}
            for part, names in OF_OTHERS.items()
        }
    kept = {**obj, "metadata": _less(obj["metadata"], PASSING)}
    if resource is NODES and "status" in obj:
        kept["status"] = _less(obj["status"], PASSING_OF_NODES)
    return kept


def _less(part: Obj, names: Collection[str]) -> dict[str, Any]:
    return {key: value for key, value in part.items() if key not in names}


class KeepingClient:
    """A Client of one server as one user, and what it said last."""

    def __init__(self, client: Client, kept: Kept, clock: Clock) -> None:
        self._client = client
        self._kept = kept
        self._clock = clock
        self._asking = asyncio.Lock()
        """Held while the server is away."""
        self._answers = 0

    async def list(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_: str = "",
    ) -> ItemList:
        """Return the objects of a namespace, or of all where it is ""."""
        head = listing(resource, namespace, label_selector, field_selector)
        kept = None
        if self._asking.locked() and not continue_:
            kept = await self._listed(resource, head)
        if kept is not None:
            return kept
        try:
            page = await self._client.list(
                resource,
                namespace,
                label_selector=label_selector,
                field_selector=field_selector,
                limit=limit,
                continue_=continue_,
            )
        except ServiceUnavailableError:
            kept = None if continue_ else await self._listed(resource, head)
            if kept is None:
                raise
            return kept
        if resource in LISTED and not continue_ and not page.continue_:
            self._keep_all(resource, head, page.items)
        return page

    async def _listed(self, resource: Resource, head: str) -> ItemList | None:
        """Return what was listed last, None where nothing was."""
        if not self._kept.names(head):
            return None
        items = await self._items(resource, head)
        log.info("no server answers: going on with what was listed=%s count=%d", head, len(items))
        return ItemList(items, 0)

    async def _items(self, resource: Resource, head: str) -> Sequence[Item]:
        found = await self._kept.read(self._kept.names(head))
        if resource is ENDPOINTSLICES:
            found = [self._kept.pods.put_right(one) for one in found]
        return [Item.from_object(obj, resource.selected(obj)) for obj in found]

    def _keep_all(self, resource: Resource, head: str, items: Iterable[Item]) -> None:
        gone = set(self._kept.names(head))
        for item in items:
            gone.discard(head + str(item.key))
            self._keep(resource, head, item)
        self._kept.put(head, None)
        for name in gone - {head}:
            self._kept.remove(name)

    async def watch(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        revision: int,
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncGenerator[Sequence[WatchEvent], None]:
        """Yield what changes after a revision; after one that was kept, wait for the server."""
        head = listing(resource, namespace, label_selector, field_selector)
        if not revision:
            async for batch in self._until_back(resource, head):
                yield batch
            raise ExpiredError("what was kept is too old")
        batches = self._client.watch(
            resource,
            namespace,
            revision=revision,
            label_selector=label_selector,
            field_selector=field_selector,
        )
        try:
            async for batch in batches:
                if resource in LISTED:
                    self._keep_events(resource, head, batch)
                yield batch
        finally:
            if isinstance(batches, AsyncGenerator):
                await batches.aclose()

    def _keep_events(self, resource: Resource, head: str, batch: Iterable[WatchEvent]) -> None:
        for kind, item in batch:
            if kind == "DELETED":
                self._kept.remove(head + str(item.key))
            elif kind != "BOOKMARK":
                self._keep(resource, head, item)

    def _keep(self, resource: Resource, head: str, item: Item) -> None:
        foreign = resource is PODS and head == listing(PODS, "", "", "")
        self._kept.put(head + str(item.key), lasting(resource, item.obj, foreign=foreign))

    async def _until_back(
        self, resource: Resource, head: str
    ) -> AsyncGenerator[Sequence[WatchEvent], None]:
        """Wait for the server; meanwhile yield what this node itself makes differ from before."""
        if resource is not ENDPOINTSLICES:
            await self._back()
            return
        with self._kept.pods.following() as changed:
            changed.set()
            while True:
                try:
                    await unless(changed, "server", self._back())
                except StoppedError:
                    changed.clear()
                else:
                    return
                items = await self._items(resource, head)
                yield [WatchEvent("MODIFIED", item) for item in items]
                await self._clock.sleep(GATHER_SECONDS)

    async def _back(self) -> None:
        """Return once the server answers; one asks for all who wait."""
        before = self._answers
        async with self._asking:
            failures = 0
            while self._answers == before:
                try:
                    await self._client.read("/version")
                except ServiceUnavailableError:
                    failures += 1
                    await self._clock.sleep(ASK.wait_seconds(failures))
                except StatusError:
                    self._answers += 1
                else:
                    self._answers += 1

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Obj:
        """Return one object."""
        if resource not in GOTTEN:
            return await self._client.get(resource, name, namespace)
        place = gotten(resource, name, namespace)
        try:
            found = await self._client.get(resource, name, namespace)
        except NotFoundError:
            self._kept.remove(place)
            raise
        except ServiceUnavailableError:
            for kept in await self._kept.read([place]):
                return dict(kept)
            raise
        self._kept.put(place, lasting(resource, found))
        return found

    async def create(
        self, resource: Resource, obj: Obj, *, subresource: str = "", name: str = ""
    ) -> Obj:
        """Create an object; where it is a token, one that was given before may do."""
        if subresource != "token":
            return await self._client.create(resource, obj, subresource=subresource, name=name)
        place = token(name, obj)
        try:
            made = await self._client.create(resource, obj, subresource=subresource, name=name)
        except ServiceUnavailableError:
            for kept in await self._kept.read([place]):
                return dict(kept)
            raise
        self._kept.put(place, made)
        return made

    # --- what passes through ---

    async def read(self, path: str, query: Mapping[str, str] | None = None) -> Obj:
        """Return the document at a path of the API."""
        return await self._client.read(path, query)

    async def remove(self, path: str) -> None:
        """Delete what is at a path of the API."""
        await self._client.remove(path)

    async def update(self, resource: Resource, obj: Obj, *, subresource: str = "") -> Obj:
        """Replace the object."""
        return await self._client.update(resource, obj, subresource=subresource)

    async def patch(  # noqa: PLR0913 -- the verb has that many parts
        self,
        resource: Resource,
        name: str,
        patch: Any,
        namespace: str = "",
        *,
        patch_type: PatchType = "merge",
        subresource: str = "",
        field_manager: str = "",
        force: bool = False,
    ) -> Obj:
        """Change part of the object."""
        return await self._client.patch(
            resource,
            name,
            patch,
            namespace,
            patch_type=patch_type,
            subresource=subresource,
            field_manager=field_manager,
            force=force,
        )

    async def delete(
        self, resource: Resource, name: str, namespace: str = "", *, options: Obj | None = None
    ) -> Obj:
        """Delete the object."""
        return await self._client.delete(resource, name, namespace, options=options)

    async def delete_collection(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        options: Obj | None = None,
    ) -> None:
        """Delete all objects that match."""
        await self._client.delete_collection(
            resource,
            namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            options=options,
        )

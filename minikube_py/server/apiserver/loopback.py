"""The Client of parts in process: the same road as HTTP, without bytes in between."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from minikube_py.api.errors import InternalError
from minikube_py.api.object import Obj
from minikube_py.api.resource import Resource
from minikube_py.client.protocol import ItemList, PatchType, WatchEvent
from minikube_py.server.apiserver.api import Answer, Api
from minikube_py.server.apiserver.call import Call
from minikube_py.server.apiserver.parameters import ListOptions, WriteOptions, list_options
from minikube_py.server.apiserver.watch import Watches, follow
from minikube_py.server.attributes import User

MANAGERS = {"system:apiserver": "kube-apiserver"}
"""Field managers of users that are not called like the program that they are."""


class Loopback:
    """A `Client` that acts as one user."""

    def __init__(self, api: Api, user: User, watches: Watches) -> None:
        self._api = api
        self._user = user
        self._watches = watches
        self._options = WriteOptions(
            field_manager=MANAGERS.get(user.name, user.name.rpartition(":")[2]),
            field_validation="Ignore",
        )

    def _call(
        self,
        verb: str,
        resource: Resource,
        namespace: str,
        name: str = "",
        subresource: str = "",
        *,
        field_selector: str = "",
    ) -> Call:
        call = Call(
            user=self._user,
            resource=resource,
            verb=verb,
            namespace=namespace,
            name=name,
            subresource=subresource,
            field_selector=field_selector,
            options=self._options,
        )
        self._api.authorize(call)
        return call

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Obj:
        """Return one object."""
        return _obj(await self._api.get(self._call("get", resource, namespace, name)))

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
        """Return the objects of a namespace, or of all."""
        query = _query(label_selector, field_selector, limit, continue_)
        call = self._call("list", resource, namespace, field_selector=field_selector)
        listing = await self._api.list(call, list_options(resource, query))
        return ItemList(listing.items, listing.revision, listing.continue_)

    async def watch(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        revision: int,
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncIterator[Sequence[WatchEvent]]:
        """Yield what changes after a revision."""
        self._call("watch", resource, namespace, field_selector=field_selector)
        query = {"resourceVersion": str(revision), **_query(label_selector, field_selector)}
        options = list_options(resource, query, watch=True)
        async for batch in follow(self._api.store, resource, namespace, options, self._watches):
            yield batch

    async def create(
        self, resource: Resource, obj: Obj, *, subresource: str = "", name: str = ""
    ) -> Obj:
        """Create the object."""
        namespace = obj["metadata"].get("namespace", "")
        call = self._call("create", resource, namespace, name, subresource)
        return _obj(await self._api.create(call, dict(obj)))

    async def update(self, resource: Resource, obj: Obj, *, subresource: str = "") -> Obj:
        """Replace the object."""
        metadata = obj["metadata"]
        call = self._call(
            "update", resource, metadata.get("namespace", ""), metadata["name"], subresource
        )
        return _obj(await self._api.update(call, dict(obj)))

    async def patch(  # noqa: PLR0913 -- as the protocol
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
        call = self._call("patch", resource, namespace, name, subresource)
        if field_manager or force:
            options = WriteOptions(
                field_manager=field_manager, force=force, field_validation="Ignore"
            )
            call = Call(**{**vars(call), "options": options})
        return _obj(await self._api.patch(call, patch_type, patch))

    async def delete(
        self, resource: Resource, name: str, namespace: str = "", *, options: Obj | None = None
    ) -> Obj:
        """Delete the object."""
        call = self._call("delete", resource, namespace, name)
        return _obj(await self._api.delete(call, options or {}))

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
        call = self._call("deletecollection", resource, namespace)
        chosen: ListOptions = list_options(resource, _query(label_selector, field_selector))
        await self._api.delete_collection(call, options or {}, chosen)


def _query(
    label_selector: str, field_selector: str, limit: int = 0, continue_: str = ""
) -> dict[str, str]:
    query = {
        "labelSelector": label_selector,
        "fieldSelector": field_selector,
        "limit": str(limit) if limit else "",
        "continue": continue_,
    }
    return {key: value for key, value in query.items() if value}


def _obj(answer: Answer) -> Obj:
    if answer.item is not None:
        return answer.item.obj
    if answer.document is None:
        raise InternalError("an answer without an object")
    return answer.document

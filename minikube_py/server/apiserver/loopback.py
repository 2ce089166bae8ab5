"""The Client of parts in process: the same road as HTTP, without bytes in between."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from minikube_py.api.errors import InternalError, NotFoundError, StatusError
from minikube_py.api.object import Obj
from minikube_py.api.resource import Resource
from minikube_py.client.protocol import ItemList, PatchType, WatchEvent
from minikube_py.server.apiserver.api import Answer, Api
from minikube_py.server.apiserver.call import Call
from minikube_py.server.apiserver.parameters import ListOptions, WriteOptions, list_options
from minikube_py.server.apiserver.request import RequestInfo, attributes_of, parse
from minikube_py.server.apiserver.watch import Watches, follow
from minikube_py.server.attributes import User
from minikube_py.server.audit.edge import audit_id
from minikube_py.server.audit.event import Origin
from minikube_py.server.audit.record import Auditor, Record

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
        selectors: tuple[str, str] = ("", ""),
    ) -> Call:
        call = Call(
            user=self._user,
            resource=resource,
            verb=verb,
            namespace=namespace,
            name=name,
            subresource=subresource,
            label_selector=selectors[0],
            field_selector=selectors[1],
            options=self._options,
            audit=self._record(resource, verb, namespace, name, subresource),
        )
        try:
            self._api.authorize(call)
        except StatusError as error:
            _end(call, error)
            raise
        return call

    def _record(
        self, resource: Resource, verb: str, namespace: str, name: str, subresource: str
    ) -> Record | None:
        """Begin the audit record of a call, where the policy keeps something of it."""
        auditor = self._api.auditor
        if not auditor.on:
            return None
        path = resource.path(namespace, name, subresource)
        info = RequestInfo(
            path=path,
            verb=verb,
            is_resource=True,
            group=resource.group,
            version=resource.version,
            namespace=namespace,
            plural=resource.plural,
            name=name,
            subresource=subresource,
        )
        origin = partial(_origin, path, self._user, auditor)
        return auditor.begin(self._user, info, origin)

    async def _carried_out(
        self, call: Call, verb: Callable[..., Awaitable[Answer]], *arguments: object
    ) -> Obj:
        """Return the object of an answer; the audit log learns how it went."""
        try:
            await self._current()
            answer = await verb(call, *arguments)
        except StatusError as error:
            _end(call, error)
            raise
        if call.audit is not None:
            call.audit.answered(answer.shown)
            call.audit.completed(answer.status)
        return _obj(answer)

    async def _current(self) -> None:
        """Wait for what other servers wrote before this call."""
        if self._api.store.cache.shared:
            await self._api.store.cache.current()

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Obj:
        """Return one object."""
        call = self._call("get", resource, namespace, name)
        return await self._carried_out(call, self._api.get)

    async def read(self, path: str, query: Mapping[str, str] | None = None) -> Obj:
        """Return the document at a path of the API, also where another server answers for it."""
        query = query or {}
        info = parse("GET", path, query)
        elsewhere = self._api.elsewhere
        if elsewhere is not None and elsewhere.answers(path):
            self._api.check(attributes_of(self._user, info))
            return await elsewhere.read(self._user, path, query)
        resource = self._api.scheme.by_path(info.group, info.version, info.plural)
        if not info.is_resource or resource is None or not resource.served:
            raise NotFoundError("the server could not find the requested resource", details={})
        if info.name:
            call = self._call("get", resource, info.namespace, info.name, info.subresource)
            return await self._carried_out(call, self._api.get)
        selectors = (query.get("labelSelector", ""), query.get("fieldSelector", ""))
        call = self._call("list", resource, info.namespace, selectors=selectors)
        await self._current()
        listing = await self._api.list(call, list_options(resource, query))
        _end(call)
        return listing.document(resource)

    async def remove(self, path: str) -> None:
        """Delete what is at a path that another server answers for."""
        elsewhere = self._api.elsewhere
        if elsewhere is None or not elsewhere.answers(path):
            raise NotFoundError("the server could not find the requested resource", details={})
        self._api.check(attributes_of(self._user, parse("DELETE", path, {})))
        await elsewhere.remove(self._user, path)

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
        selectors = (label_selector, field_selector)
        call = self._call("list", resource, namespace, selectors=selectors)
        await self._current()
        listing = await self._api.list(call, list_options(resource, query))
        _end(call)
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
        selectors = (label_selector, field_selector)
        call = self._call("watch", resource, namespace, selectors=selectors)
        _end(call)
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
        return await self._carried_out(call, self._api.create, dict(obj))

    async def update(self, resource: Resource, obj: Obj, *, subresource: str = "") -> Obj:
        """Replace the object."""
        metadata = obj["metadata"]
        call = self._call(
            "update", resource, metadata.get("namespace", ""), metadata["name"], subresource
        )
        return await self._carried_out(call, self._api.update, dict(obj))

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
        return await self._carried_out(call, self._api.patch, patch_type, patch)

    async def delete(
        self, resource: Resource, name: str, namespace: str = "", *, options: Obj | None = None
    ) -> Obj:
        """Delete the object."""
        call = self._call("delete", resource, namespace, name)
        return await self._carried_out(call, self._api.delete, options or {})

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
        await self._current()
        await self._api.delete_collection(call, options or {}, chosen)
        _end(call)


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


def _origin(path: str, user: User, auditor: Auditor) -> Origin:
    agent = f"kpy/{user.name.rpartition(':')[2]}"
    return Origin(audit_id({}), path, ("127.0.0.1",), agent, auditor.clock.now())


def _end(call: Call, error: StatusError | None = None) -> None:
    """Tell the audit log that a call is done."""
    if call.audit is None:
        return
    if error is not None:
        call.audit.refused(error.status())
    call.audit.completed(error.code if error is not None else 200)


def _obj(answer: Answer) -> Obj:
    if answer.item is not None:
        return answer.item.obj
    if answer.document is None:
        raise InternalError("an answer without an object")
    return answer.document

"""The verbs over the registry, the same for HTTP and for the parts in process.

Every verb is authorised first. A document that comes in is checked against its kind, pruned and
defaulted (`body.decode`), then handed to the store; subresources with a kind of their own, and
kinds that are answered and never stored, are endpoints.
"""

import contextlib
import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from minikube_py.api.errors import BadRequestError, MethodNotAllowedError, NotFoundError
from minikube_py.api.item import Item
from minikube_py.api.object import Obj, without
from minikube_py.api.resource import Resource, Subresource
from minikube_py.api.schema_report import DecodeError
from minikube_py.api.scheme import Scheme
from minikube_py.client.protocol import PatchType
from minikube_py.lib.tasks import for_each
from minikube_py.server.apiserver import body
from minikube_py.server.apiserver.applying import (
    applied,
    applied_to,
    check_configuration,
    check_strictly,
)
from minikube_py.server.apiserver.call import Call, Change, Create, Endpoint
from minikube_py.server.apiserver.listing import Listing, list_items
from minikube_py.server.apiserver.parameters import ListOptions
from minikube_py.server.apiserver.patching import (
    of_own_kind,
    patched,
    problems_of,
    unfit_patch,
    unsupported_patch,
)
from minikube_py.server.attributes import Attributes, Authorizer, Preparing, User
from minikube_py.server.audit.record import Auditor, Record
from minikube_py.server.authz.errors import forbidden
from minikube_py.server.registry.deletion import details_of
from minikube_py.server.registry.ownership import of_answer
from minikube_py.server.registry.refusals import check_uid, mismatched_namespace, not_found
from minikube_py.server.registry.store import Store

DELETES_AT_ONCE_MAX = 32
"""Objects of one deletecollection that are deleted at the same time."""

ANY_CUSTOM = "*"
"""In place of a group resource: an endpoint of all custom kinds."""
Endpoints = Mapping[tuple[str, str], Endpoint]
"""By group resource and subresource ("" for kinds that are never stored)."""


class Elsewhere(Protocol):
    """What other servers answer for, as parts in process read it."""

    def answers(self, path: str) -> bool:
        """Tell whether a path is another server's."""

    async def read(self, user: User, path: str, query: Mapping[str, str]) -> Obj:
        """Return the document that is there; raises a StatusError."""

    async def remove(self, user: User, path: str) -> None:
        """Delete what is there, in the background; raises a StatusError."""


@dataclass(frozen=True)
class Answer:
    """What a verb gives back: the document's HTTP status, and the object in one of two forms."""

    status: int
    item: Item | None = None
    document: Obj | None = None

    @property
    def shown(self) -> Obj:
        """The object."""
        return self.item.obj if self.item is not None else self.document or {}


class Api:
    """The verbs."""

    def __init__(
        self,
        scheme: Scheme,
        store: Store,
        authorizer: Authorizer,
        endpoints: Endpoints,
        auditor: Auditor,
    ) -> None:
        self.scheme = scheme
        self.store = store
        self.authorizer = authorizer
        self.endpoints = endpoints
        self.auditor = auditor
        self.elsewhere: Elsewhere | None = None
        """Set where other servers answer for some paths."""

    def authorize(self, call: Call) -> None:
        """Raise ForbiddenError where the user may not do that."""
        self.check(call.attributes, call.audit)

    def check(self, attributes: Attributes, record: Record | None = None) -> None:
        """Raise ForbiddenError where authorisation does not allow it; tell the audit log why."""
        decision = self.authorizer.authorize(attributes)
        if record is not None:
            record.decided(decision)
        if not decision.allowed:
            raise forbidden(attributes, decision.reason)

    @functools.cached_property
    def _preparing(self) -> Preparing | None:
        return self.authorizer if isinstance(self.authorizer, Preparing) else None

    @property
    def asks_others(self) -> bool:
        """Whether an authoriser asks other servers, so that there is something to prepare."""
        return self._preparing is not None and self._preparing.asks_others

    async def prepare(self, *questions: Attributes) -> None:
        """Let authorisers that ask others find out what they will say; see `Preparing`."""
        if self._preparing is not None and self._preparing.asks_others:
            for attributes in questions:
                await self._preparing.prepare(attributes)

    def find(self, call: Call) -> tuple[Subresource | None, Endpoint | None]:
        """Return what answers the call; raises where the resource has no such path or verb."""
        resource = call.resource
        whose = ANY_CUSTOM if resource.custom else resource.group_resource
        endpoint = self.endpoints.get((whose, call.subresource))
        if not call.subresource:
            _check_verb(call, resource.verbs)
            return None, endpoint
        sub = resource.subresource(call.subresource)
        if sub is None:
            if resource.custom:
                raise not_found(resource, call.name)
            raise NotFoundError("the server could not find the requested resource", details={})
        _check_verb(call, sub.verbs)
        return sub, endpoint

    # Reading

    async def get(self, call: Call) -> Answer:
        """Return one object."""
        _, endpoint = self.find(call)
        if endpoint is not None and endpoint.get is not None:
            return Answer(200, document=await endpoint.get(call))
        return Answer(200, item=await self.store.read(call.resource, call.namespace, call.name))

    async def list(self, call: Call, options: ListOptions) -> Listing:
        """Return a page of a list."""
        _, endpoint = self.find(call)
        if endpoint is not None and endpoint.list is not None:
            return await endpoint.list(call, options)
        return await list_items(self.store, call.resource, call.namespace, options)

    # Writing

    async def create(self, call: Call, document: dict[str, Any]) -> Answer:
        """Create an object, or post to an endpoint."""
        _, endpoint = self.find(call)
        if endpoint is not None and endpoint.create is not None:
            return Answer(201, document=await self._post(call, endpoint.create, document))
        if call.name and not call.subresource:
            raise MethodNotAllowedError(NOT_SUPPORTED)
        if call.resource.refuses_create:
            raise MethodNotAllowedError(call.resource.refuses_create)
        obj = _in_namespace(call, self._decode(call, document))
        item = await self.store.create(call.write("CREATE"), obj)
        return Answer(201, item=item)

    async def _post(self, call: Call, create: Create, document: dict[str, Any]) -> Obj:
        """Post to an endpoint; a kind of its own is checked as others are."""
        if not call.subresource:
            document = _in_namespace(call, self._decode(call, document))
        elif call.audit is not None:
            call.audit.requested(document)
        document = {**document, "metadata": document.get("metadata") or {}}
        if not isinstance(document["metadata"], dict):
            raise BadRequestError("metadata must be an object")
        document = {**await self.store.connect(call.write("CREATE"), document)}
        answer = await create(call, document)
        try:
            return of_answer(call.write("CREATE"), answer, document, self.store.clock.now())
        except DecodeError as error:
            raise BadRequestError(str(error)) from error

    async def update(self, call: Call, document: dict[str, Any]) -> Answer:
        """Replace an object."""
        _, endpoint = self.find(call)
        if endpoint is not None and endpoint.update is not None:
            return Answer(200, document=await endpoint.update(call, lambda _current: document))
        obj = _in_namespace(call, self._decode(call, document))
        _check_name(call, obj)

        def make() -> Obj:
            self.authorize(replace(call, verb="create"))
            return obj

        create = make if call.resource.allow_create_on_update else None
        if create is not None:
            await self.prepare(replace(call, verb="create").attributes)

        def replaced(current: Obj) -> Obj:
            check_uid(call.resource, obj, current)
            return obj

        item, created = await self.store.update(call.write("UPDATE"), replaced, create=create)
        return Answer(201 if created else 200, item=item)

    async def patch(self, call: Call, kind: PatchType, patch: Any) -> Answer:
        """Change part of an object."""
        _, endpoint = self.find(call)
        if call.audit is not None:
            call.audit.requested(patch)
        if endpoint is not None and endpoint.update is not None:
            return Answer(200, document=await self._patch_endpoint(call, endpoint, kind, patch))
        if kind == "apply":
            return await self._apply(call, patch)
        change: Change = lambda current: self._patched(call, kind, current, patch)  # noqa: E731
        item, _ = await self.store.update(call.write("UPDATE"), change)
        return Answer(200, item=item)

    async def _patch_endpoint(
        self, call: Call, endpoint: Endpoint, kind: PatchType, patch: Any
    ) -> Obj:
        if kind == "apply" and endpoint.apply is not None:
            configuration = check_configuration(call, patch)
            return await endpoint.apply(call, lambda live: applied_to(call, live, configuration))
        if endpoint.update is None or kind == "apply":
            raise unsupported_patch(kind)
        return await endpoint.update(call, lambda current: patched(call, kind, current, patch))

    async def _apply(self, call: Call, patch: Any) -> Answer:
        """Apply a configuration; it makes the object where there is none."""
        if call.resource.type is None:
            raise unsupported_patch("apply")
        configuration = check_configuration(call, patch)
        write = replace(call.write("UPDATE"), applied=True)

        def change(live: Obj | None) -> Obj:
            document = applied(call, self.store, live, configuration)
            check_strictly(call)
            return document if document is live else self._fitted(call, document)

        def create() -> Obj:
            self.authorize(replace(call, verb="create"))
            return change(None)

        making = None if call.subresource else create
        if making is not None:
            await self.prepare(replace(call, verb="create").attributes)
        item, created = await self.store.update(write, change, create=making)
        return Answer(201 if created else 200, item=item)

    def _fitted(self, call: Call, document: Obj) -> dict[str, Any]:
        quiet = replace(call, found=(), options=replace(call.options, field_validation="Ignore"))
        obj = _in_namespace(call, self._decode(quiet, dict(document)))
        _check_name(call, obj)
        return obj

    def _patched(self, call: Call, kind: PatchType, current: Obj, patch: Any) -> Obj:
        document = patched(call, kind, current, patch)
        problems = problems_of(kind, patch, call.raw)
        resource = call.resource
        if kind != "strategic" and not resource.custom:  # which patches what is of a type already
            why = body.mismatch(
                document, resource.api_version, resource.kind, is_known=self.is_known
            )
            if why:
                raise unfit_patch(call, kind, patch, document, why)
        try:
            document = of_own_kind(call.resource, kind, document)
            patch_of = body.Patched(current, problems)
            decoded = self._decode(replace(call, raw=b""), document, patch_of)
        except body.UnfitError as error:
            raise unfit_patch(call, kind, patch, document, error.why) from error
        obj = _in_namespace(call, decoded)
        _check_name(call, obj)
        return obj

    def is_known(self, api_version: str, kind: str) -> bool:
        """Tell whether upstream has such a kind, which custom ones are not."""
        if api_version in body.OLD_VERSIONS:
            return True
        found = self.scheme.by_kind(api_version, kind)
        return found is not None and not found.custom

    def _decode(
        self, call: Call, document: dict[str, Any], patch: body.Patched | None = None
    ) -> dict[str, Any]:
        decoded = body.decode(
            document,
            call.resource,
            validation=call.options.field_validation,
            raw=call.raw,
            found=call.found,
            patch=patch,
        )
        call.warnings.extend(decoded.warnings)
        if call.audit is not None:
            call.audit.requested(decoded.obj)
        return decoded.obj

    # Deleting

    async def delete(self, call: Call, options: Obj) -> Answer:
        """Delete an object; answers with it, or with a Status where it is gone."""
        self.find(call)
        if call.audit is not None:
            call.audit.requested(options)
        resource = call.resource
        _warn_of_orphans(call, options)
        deleted = await self.store.delete(call.write("DELETE", options), options)
        if not deleted.gone or resource.returns_deleted_object or resource.graceful_deletion:
            waits = not deleted.gone and options.get("orphanDependents") is False
            return Answer(202 if waits else 200, item=deleted.item)
        return Answer(200, document=gone_status(resource, call.name, deleted.item.uid))

    async def delete_collection(
        self, call: Call, options: Obj, list_options: ListOptions
    ) -> Listing:
        """Delete all that match; returns what was there."""
        self.find(call)
        if call.audit is not None:
            call.audit.requested(options)
        _warn_of_orphans(call, options)
        listing = await list_items(self.store, call.resource, call.namespace, list_options)

        async def delete(item: Item) -> None:
            one = replace(call, namespace=item.key.namespace, name=item.key.name, verb="delete")
            with contextlib.suppress(NotFoundError):
                write = replace(one.write("DELETE", options), of_collection=True)
                await self.store.delete(write, options)

        await for_each(listing.items, delete, at_once=DELETES_AT_ONCE_MAX)
        return replace(listing, revision=self.store.cache.revision)


JOB_WARNING = (
    "child pods are preserved by default when jobs are deleted; set "
    "propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress "
    "this warning"
)


def _warn_of_orphans(call: Call, options: Obj) -> None:
    """Tell who deletes a job without saying what becomes of its pods."""
    chosen = ("propagationPolicy", "orphanDependents")
    if call.resource.group_resource == "jobs.batch" and not any(map(options.get, chosen)):
        call.warnings.append(JOB_WARNING)


NOT_SUPPORTED = "the server does not allow this method on the requested resource"


def _check_verb(call: Call, verbs: tuple[str, ...]) -> None:
    verb = "list" if call.verb == "watch" and "watch" not in verbs else call.verb
    if verb not in verbs and not (call.subresource and verb in ("list", "watch")):
        raise MethodNotAllowedError(NOT_SUPPORTED)


def _in_namespace(call: Call, obj: dict[str, Any]) -> dict[str, Any]:
    """Return the object in the namespace of the request; raises where it names another."""
    given = obj["metadata"].get("namespace", "")
    if given and not call.resource.namespaced:
        return dict(without(obj, "metadata.namespace"))
    if not call.resource.namespaced or given == call.namespace:
        return obj
    if given:
        raise mismatched_namespace()
    return {**obj, "metadata": {**obj["metadata"], "namespace": call.namespace}}


def _check_name(call: Call, obj: Obj) -> None:
    given = obj["metadata"].get("name")
    if not given:
        raise BadRequestError(
            f"the name of the object ({call.name} based on URL) was undeterminable: "
            "name must be provided"
        )
    if given != call.name:
        raise BadRequestError(
            f"the name of the object ({given}) does not match the name on the URL ({call.name})"
        )


def gone_status(resource: Resource, name: str, uid: str) -> dict[str, Any]:
    """Return the Status that tells that an object is gone."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details_of(resource, name, uid),
    }

"""What a request brings: its path, its body, and whether they fit the resource at all."""

from collections.abc import Mapping
from urllib.parse import unquote

from aiohttp import web

from minikube_py.api.errors import BadRequestError, MethodNotAllowedError, NotFoundError
from minikube_py.api.object import Obj
from minikube_py.api.resource import Resource
from minikube_py.server.apiserver import body
from minikube_py.server.apiserver.api import NOT_SUPPORTED
from minikube_py.server.apiserver.call import Call
from minikube_py.server.apiserver.request import RequestInfo


def path_of(request: web.BaseRequest) -> str:
    """Return the decoded path as the client wrote it: `..` is a name, if no good one."""
    raw = request.raw_path.partition("?")[0]
    return unquote(raw) if "/." in raw and raw.startswith("/") else request.path


ALSO_UNDERSTOOD = {("Eviction", "policy/v1beta1")}
"""Older versions of the kinds of subresources that upstream still reads."""


def expected_kind(call: Call, document: Obj) -> tuple[str, str]:
    """Return apiVersion and kind of a body; an endpoint's subresource has its own."""
    resource = call.resource
    sub = resource.subresource(call.subresource) if call.subresource else None
    if sub is None or not sub.kind or sub.shares_object:
        return resource.api_version, resource.kind
    group = resource.group if sub.group is None else sub.group
    version = sub.version or resource.version
    given = str(document.get("apiVersion"))
    if (sub.kind, given) in ALSO_UNDERSTOOD:
        return given, sub.kind
    return f"{group}/{version}" if group else version, sub.kind


def include_object(query: Mapping[str, str]) -> str:
    """Return what rows of a table hold of their objects; raises BadRequestError."""
    wanted = query.get("includeObject") or "Metadata"
    if wanted not in ("None", "Metadata", "Object"):
        raise BadRequestError(
            "Unable to convert to Table as requested: includeObject: Invalid value: "
            f"\"{wanted}\": must be 'Metadata', 'Object', 'None', or empty"
        )
    return wanted


def check_scope(resource: Resource, info: RequestInfo) -> None:
    """Refuse paths and methods that a resource does not have: a namespace it is not in, or none."""
    outside = bool(info.namespace) and not resource.namespaced and resource.plural != "namespaces"
    in_none = resource.namespaced and not info.namespace
    known = resource.custom or _has_path(resource, info)
    if outside or (in_none and info.name) or not known:
        raise NotFoundError("the server could not find the requested resource", details={})
    if _lacks_method(resource, info, in_none=in_none):
        raise MethodNotAllowedError(NOT_SUPPORTED)


def _lacks_method(resource: Resource, info: RequestInfo, *, in_none: bool) -> bool:
    if info.verb in ("update", "patch"):
        return not info.name
    if info.verb == "create" and info.name and not info.subresource:
        return not resource.custom
    return in_none and info.verb in ("create", "deletecollection")


_NAMED = frozenset({"get", "update", "patch", "delete"})


def _has_path(resource: Resource, info: RequestInfo) -> bool:
    """Tell whether upstream's router has any route of that path, whatever the method."""
    if info.rest.strip("/"):
        return info.subresource == "proxy"
    if info.name:
        return bool(info.subresource) or not _NAMED.isdisjoint(resource.verbs)
    return bool(info.namespace) or not resource.namespaced or "list" in resource.verbs


async def read_body(request: web.BaseRequest) -> bytes:
    """Return the whole body; raises RequestTooLargeError over the limit."""
    length = request.content_length
    if length is not None and length > body.BODY_BYTES_MAX:
        raise body.too_large()
    content = request.content
    if content.is_eof() and content.exception() is None and length is not None:
        return content.read_nowait()  # all of it came with the head, or before anybody looked
    data = bytearray()
    async for chunk in content.iter_any():
        data += chunk
        if len(data) > body.BODY_BYTES_MAX:
            raise body.too_large()
    return bytes(data)

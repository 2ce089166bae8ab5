"""A path and a method become a RequestInfo, as apiserver's `endpoints/request/requestinfo.go`."""

from collections.abc import Mapping
from typing import NamedTuple

from minikube_py.server.attributes import Attributes, User

_VERBS = {
    "GET": "get",
    "HEAD": "get",
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
OWN = "/kpy.io/"
"""Paths that are kpy's own."""
HISTORY, AT = f"{OWN}history", f"{OWN}at"
"""Before the path of a resource: its history, and how it was; see `past`."""
_NAMESPACE_SUBRESOURCES = ("status", "finalize")


class RequestInfo(NamedTuple):
    """What a request is about; `is_resource` False leaves all below `path` empty."""

    path: str
    verb: str
    is_resource: bool = False
    group: str = ""
    version: str = ""
    namespace: str = ""
    plural: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""
    """What follows the subresource, for `proxy`: with its slashes, the first and the last."""


def parse(method: str, path: str, query: Mapping[str, str]) -> RequestInfo:
    """Return what a request asks for."""
    parts = _of_resource(path).strip("/").split("/")
    located = _locate(parts)
    if located is None:
        return RequestInfo(path, method.lower())
    group, version, rest = located
    verb = _VERBS.get(method, "")
    if rest[0] == "watch" and len(rest) > 1:
        verb, rest = "watch", rest[1:]
    namespace, rest = _namespace(rest)
    many = len(rest)
    plural, name = rest[0], rest[1] if many > 1 else ""
    subresource, more = (rest[2], _behind(path, rest[3:])) if many > 2 else ("", "")
    verb = _collection_verb(verb, name, query)
    return RequestInfo(
        path,
        verb,
        True,  # noqa: FBT003
        group,
        version,
        namespace,
        plural,
        name,
        subresource,
        more,
    )


def _behind(path: str, parts: list[str]) -> str:
    """Return what a path holds behind a subresource: "" where it ends without a slash."""
    last = "/" if path.endswith("/") else ""
    return "".join(f"/{part}" for part in parts) + last


def _of_resource(path: str) -> str:
    """Return the path of the resource that a request is about."""
    if path.startswith(OWN):
        for own in (HISTORY, AT):
            if path.startswith(f"{own}/"):
                return path[len(own) :]
    return path


def _locate(parts: list[str]) -> tuple[str, str, list[str]] | None:
    """Split off group and version; None where the path is not below one."""
    if parts[0] == "api" and len(parts) > 2 and parts[2]:
        return "", parts[1], parts[2:]
    if parts[0] == "apis" and len(parts) > 3 and parts[3]:
        return parts[1], parts[2], parts[3:]
    return None


def _namespace(rest: list[str]) -> tuple[str, list[str]]:
    """Split off `namespaces/<name>`, which also is the path of the namespace itself."""
    if rest[0] != "namespaces" or len(rest) < 2:
        return "", rest
    if len(rest) > 2 and rest[2] not in _NAMESPACE_SUBRESOURCES:
        return rest[1], rest[2:]
    return rest[1], rest


def _collection_verb(verb: str, name: str, query: Mapping[str, str]) -> str:
    if verb == "get" and query and is_true(query.get("watch")):
        return "watch"
    return verb if name else _OF_COLLECTIONS.get(verb, verb)


_OF_COLLECTIONS = {"get": "list", "delete": "deletecollection"}


def attributes_of(user: User, info: RequestInfo) -> Attributes:
    """Return a request as authorisation sees it."""
    return Attributes(
        user=user,
        verb=info.verb,
        path=info.path,
        is_resource=info.is_resource,
        group=info.group,
        version=info.version,
        resource=info.plural,
        subresource=info.subresource,
        namespace=info.namespace,
        name=info.name,
    )


def is_true(text: str | None) -> bool:
    """Read a boolean query parameter as Go's conversion does: only absent, 0 and false are not."""
    return text is not None and text.lower() not in ("0", "false")

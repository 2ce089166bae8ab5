"""OpenAPI documents: v3 (one for each group and version) and v2 (one for all).

`kubectl explain`, its validation and its patches read them. They are derived from the type table
and the scheme, large and seldom asked for: a caller builds them off the event loop and keeps the
bytes; nothing parsed outlives the call.
"""

import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any

import orjson

from minikube_py import KUBERNETES_VERSION
from minikube_py.api import discovery, openapi_paths, schema
from minikube_py.api.openapi_paths import PARAMETERS, STRING, Operation, PathItem
from minikube_py.api.openapi_schemas import SchemasV3, referred, schema_v2, with_texts
from minikube_py.api.resource import Resource
from minikube_py.api.scheme import Scheme

MEDIA = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf")
WATCH_MEDIA = ("application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch")
PATCH_MEDIA = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)
_ANSWERS = {200: "OK", 201: "Created", 202: "Accepted", 401: "Unauthorized"}
_VARIABLES = {
    "name": "name of the object",
    "namespace": "namespace of the object",
    "path": "path at the target",
}
_SECURITY = {
    "BearerToken": {
        "type": "apiKey",
        "description": "Bearer Token authentication",
        "name": "authorization",
        "in": "header",
    }
}


def document(scheme: Scheme, path: str) -> bytes | None:
    """Return the document of `/openapi/v2`, `/openapi/v3` or a path below; None for others."""
    if path == "/openapi/v2":
        return orjson.dumps(document_v2(scheme))
    if path == "/openapi/v3":
        return orjson.dumps(index(scheme))
    name = path.removeprefix("/openapi/v3/")
    if name == path:
        return None
    paths = _paths_of(scheme, name)
    if paths is None:
        return None
    group, _, version = name.removeprefix("apis/").partition("/")
    return orjson.dumps(document_v3(paths, SchemasV3(group, version)))


def index(scheme: Scheme) -> dict[str, Any]:
    """Return the v3 index: every document with a hash that changes when it does."""
    names = list(openapi_paths.root_paths())
    for group, versions in _versions(scheme):
        if group:
            names.append(f"apis/{group}")
        names += [openapi_paths.base_path(group, version)[1:] for version in versions]
    entries = {}
    for name in sorted(names):
        url = f"/openapi/v3/{name}?hash={_hash(scheme, name)}"
        entries[name] = {"serverRelativeURL": url}
    return {"paths": entries}


def document_v3(paths: Iterable[PathItem], schemas: SchemasV3) -> dict[str, Any]:
    """Return the v3 document of some paths."""
    shown, names = _shown(paths, _operation_v3, "schema")
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": KUBERNETES_VERSION},
        "paths": shown,
        "components": {
            "schemas": dict(_definitions(names, schemas.convert)),
            "securitySchemes": _SECURITY,
        },
    }


def document_v2(scheme: Scheme) -> dict[str, Any]:
    """Return the v2 document of everything."""
    paths = list(openapi_paths.root_paths().values())
    for group, versions in _versions(scheme):
        if group:
            paths.append(openapi_paths.group_path(group))
        for version in versions:
            paths += openapi_paths.version_paths(group, version, _of(scheme, group, version))
    shown, names = _shown(paths, _operation_v2, "")
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": KUBERNETES_VERSION},
        "paths": shown,
        "definitions": dict(_definitions(names, lambda _name, definition: schema_v2(definition))),
        "securityDefinitions": _SECURITY,
        "security": [{"BearerToken": []}],
    }


# --- what is there --------------------------------------------------------------------------------


def _versions(scheme: Scheme) -> Iterator[tuple[str, tuple[str, ...]]]:
    yield "", ("v1",)
    yield from discovery.groups(scheme).items()


def _of(scheme: Scheme, group: str, version: str) -> list[Resource]:
    """Return the resources of a version whose types are in the table."""
    table = schema.builtin()
    found = [r for r in scheme if (r.group, r.version) == (group, version) and r.schema in table]
    return sorted(found, key=lambda resource: resource.plural)


def _paths_of(scheme: Scheme, name: str) -> Sequence[PathItem] | None:
    """Return the paths of a v3 document, None where there is no such document."""
    roots = openapi_paths.root_paths()
    match name.split("/"):
        case [single] if single in roots:
            return (roots[single],)
        case ["apis", group] if group in discovery.groups(scheme):
            return (openapi_paths.group_path(group),)
        case ["api", version] if resources := _of(scheme, "", version):
            return tuple(openapi_paths.version_paths("", version, resources))
        case ["apis", group, version] if resources := _of(scheme, group, version):
            return tuple(openapi_paths.version_paths(group, version, resources))
    return None


@functools.cache
def _table_digest() -> bytes:
    digest = hashlib.sha512(KUBERNETES_VERSION.encode())
    for name in ("schema.bin", "descriptions.bin"):
        digest.update(files(__package__).joinpath(name).read_bytes())
    return digest.digest()


def _hash(scheme: Scheme, name: str) -> str:
    """Return a hash of all that a document is made of, without making it."""
    digest = hashlib.sha512(_table_digest())
    digest.update(name.encode())
    for item in _paths_of(scheme, name) or ():
        digest.update(repr(item).encode())
    return digest.hexdigest().upper()


def _definitions(
    names: set[str], convert: Callable[[str, Mapping[str, Any]], dict[str, Any]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the definitions that the names lead to, with their descriptions."""
    table = schema.builtin()
    texts = schema.read_lines("descriptions.bin")
    todo, seen = sorted(names), set(names)
    found: dict[str, dict[str, Any]] = {}
    while todo:
        name = todo.pop()
        definition = table.definition(name)
        found[name] = convert(name, with_texts(definition, orjson.loads(texts[name])))
        new = [ref for ref in referred(definition) if ref not in seen]
        seen.update(new)
        todo += new
    yield from sorted(found.items())


# --- paths ----------------------------------------------------------------------------------------


def _shown(
    paths: Iterable[PathItem],
    operation: Callable[[Operation, frozenset[str]], dict[str, Any]],
    wrap: str,
) -> tuple[dict[str, Any], set[str]]:
    """Return the `paths` of a document and the names of the definitions that they use."""
    shown: dict[str, Any] = {}
    names: set[str] = set()
    for item in openapi_paths.sorted_items(paths):
        common = item.common
        entry: dict[str, Any] = {o.method: operation(o, common) for o in item.operations}
        parameters = [_variable(name, wrap) for name in item.variables]
        parameters += [_query(name, wrap) for name in sorted(common)]
        if parameters:
            entry["parameters"] = parameters
        shown[item.path] = entry
        names.update(o.body for o in item.operations if o.body)
        names.update(o.response for o in item.operations if o.response != STRING)
    return shown, names


def _typed(kind: str, wrap: str) -> dict[str, Any]:
    """Return the type of a parameter; v3 has it in `schema`."""
    kinds: dict[str, Any] = {"type": kind, "uniqueItems": True}
    return {wrap: kinds} if wrap else kinds


def _variable(name: str, wrap: str) -> dict[str, Any]:
    head = {"name": name, "in": "path", "description": _VARIABLES[name], "required": True}
    return {**head, **_typed(STRING, wrap)}


def _query(name: str, wrap: str) -> dict[str, Any]:
    kind, description = PARAMETERS[name]
    return {"name": name, "in": "query", "description": description, **_typed(kind, wrap)}


def _head(operation: Operation) -> dict[str, Any]:
    """Return what both versions write alike."""
    head: dict[str, Any] = {"description": operation.description, "operationId": operation.id}
    if operation.action:
        head["x-kubernetes-action"] = operation.action
    if operation.gvk is not None:
        group, version, kind = operation.gvk
        gvk = {"group": group, "version": version, "kind": kind}
        head["x-kubernetes-group-version-kind"] = gvk
    return head


def _media(operation: Operation) -> tuple[str, ...]:
    if operation.response == STRING:
        return ("*/*",) if operation.action == "connect" else ("text/plain", *MEDIA)
    return (*MEDIA, *WATCH_MEDIA) if operation.watches else MEDIA


def _operation_v3(operation: Operation, common: frozenset[str]) -> dict[str, Any]:
    shown = _head(operation)
    parameters = [_query(name, "schema") for name in operation.query if name not in common]
    if parameters:
        shown["parameters"] = parameters
    if operation.body:
        media = PATCH_MEDIA if operation.method == "patch" else ("*/*",)
        content = {name: {"schema": _ref_v3(operation.body)} for name in media}
        shown["requestBody"] = {"content": content}
        if operation.body_required:
            shown["requestBody"]["required"] = True
    answer = {name: {"schema": _ref_v3(operation.response)} for name in _media(operation)}
    shown["responses"] = {
        str(code): {"description": _ANSWERS[code], "content": answer} for code in operation.codes
    }
    shown["responses"]["401"] = {"description": _ANSWERS[401]}
    return shown


def _ref_v3(name: str) -> dict[str, str]:
    return {"type": STRING} if name == STRING else {"$ref": f"#/components/schemas/{name}"}


def _operation_v2(operation: Operation, common: frozenset[str]) -> dict[str, Any]:
    shown = _head(operation)
    shown["consumes"] = list(PATCH_MEDIA) if operation.method == "patch" else ["*/*"]
    shown["produces"] = list(_media(operation))
    shown["schemes"] = ["https"]
    parameters = [_query(name, "") for name in operation.query if name not in common]
    if operation.body:
        body: dict[str, Any] = {"name": "body", "in": "body", "schema": _ref_v2(operation.body)}
        if operation.body_required:
            body["required"] = True
        parameters.insert(0, body)
    if parameters:
        shown["parameters"] = parameters
    answer = _ref_v2(operation.response)
    shown["responses"] = {
        str(code): {"description": _ANSWERS[code], "schema": answer} for code in operation.codes
    }
    shown["responses"]["401"] = {"description": _ANSWERS[401]}
    return shown


def _ref_v2(name: str) -> dict[str, str]:
    return {"type": STRING} if name == STRING else {"$ref": f"#/definitions/{name}"}

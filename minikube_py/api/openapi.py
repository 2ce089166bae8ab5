"""OpenAPI documents: v3 (one for each group and version) and v2 (one for all).

`kubectl explain`, its validation and its patches read them. They are derived from the type table
and the scheme, large and seldom asked for: a caller builds them off the event loop and keeps the
bytes; nothing parsed outlives the call.
"""

import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any

import orjson

from minikube_py import KUBERNETES_VERSION
from minikube_py.api import (
    discovery,
    openapi_custom,
    openapi_parts,
    openapi_paths,
    openapi_protobuf,
    openapi_v2,
    openapi_v3_protobuf,
    schema,
)
from minikube_py.api.openapi_paths import PARAMETERS, STRING, Operation, PathItem
from minikube_py.api.openapi_schemas import SchemasV3
from minikube_py.api.resource import Resource
from minikube_py.api.scheme import Scheme


def document(scheme: Scheme, path: str) -> bytes | None:
    """Return the document of `/openapi/v2`, `/openapi/v3` or a path below; None for others.

    `#protobuf` after a path asks for the binary form that Go clients take.
    """
    path, _, form = path.partition("#")
    if path == "/openapi/v3":
        return orjson.dumps(index(scheme))
    if path == "/openapi/v2":
        return encoded(_document_v2(scheme), form)
    made = _document_of(scheme, path)
    return None if made is None else encoded(made, form)


def encoded(document: Mapping[str, Any], form: str) -> bytes:
    """Return a document of either version as JSON, or as `protobuf` where that is the form."""
    if not form:
        return orjson.dumps(document)
    if "swagger" in document:
        return openapi_protobuf.encode(document)
    return openapi_v3_protobuf.encode(document)


def _document_of(scheme: Scheme, path: str) -> dict[str, Any] | None:
    name = path.removeprefix("/openapi/v3/")
    if name == path:
        return None
    paths = _paths_of(scheme, name)
    if paths is None:
        return None
    group, _, version = name.removeprefix("apis/").partition("/")
    custom = openapi_custom.definitions(_of(scheme, group, version), openapi_custom.V3)
    return document_v3(paths, SchemasV3(group, version), custom)


def _document_v2(scheme: Scheme) -> dict[str, Any]:
    shown = (resource for resource in scheme if resource.served)
    custom = openapi_custom.definitions(shown, openapi_custom.V2)
    return openapi_v2.document(_all_paths(scheme), custom)


def index(scheme: Scheme) -> dict[str, Any]:
    """Return the v3 index: every document with a hash that changes when it does."""
    names = list(openapi_paths.root_paths())
    for group, versions in _versions(scheme):
        if scheme.has_builtin(group) and group:
            names.append(f"apis/{group}")
        names += [openapi_paths.base_path(group, version)[1:] for version in versions]
    entries = {}
    for name in sorted(names):
        url = f"/openapi/v3/{name}?hash={document_hash(scheme, name)}"
        entries[name] = {"serverRelativeURL": url}
    return {"paths": entries}


def document_v3(
    paths: Sequence[PathItem], schemas: SchemasV3, custom: Mapping[str, dict[str, Any]]
) -> dict[str, Any]:
    """Return the v3 document of some paths; `custom` has the definitions of custom kinds."""
    used = openapi_parts.used_definitions(paths)
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": KUBERNETES_VERSION},
        "paths": openapi_parts.shown_paths(paths, _operation, _parameter),
        "components": {
            "schemas": dict(openapi_parts.definitions(used, schemas.convert, custom)),
            "securitySchemes": openapi_parts.SECURITY,
        },
    }


# --- what is there --------------------------------------------------------------------------------


def _all_paths(scheme: Scheme) -> list[PathItem]:
    paths = list(openapi_paths.root_paths().values())
    for group, versions in _versions(scheme):
        if scheme.has_builtin(group) and group:
            paths.append(openapi_paths.group_path(group))
        for version in versions:
            paths += openapi_paths.version_paths(group, version, _of(scheme, group, version))
    return paths


def _versions(scheme: Scheme) -> Iterator[tuple[str, tuple[str, ...]]]:
    yield "", ("v1",)
    yield from discovery.groups(scheme).items()


def _of(scheme: Scheme, group: str, version: str) -> list[Resource]:
    """Return the served resources of a version whose types are known."""
    table = schema.builtin()
    there = [r for r in scheme if (r.group, r.version) == (group, version) and r.served]
    found = [r for r in there if r.schema in table or r.custom]
    return sorted(found, key=lambda resource: resource.plural)


def _paths_of(scheme: Scheme, name: str) -> Sequence[PathItem] | None:
    """Return the paths of a v3 document, None where there is no such document."""
    roots = openapi_paths.root_paths()
    match name.split("/"):
        case [single] if single in roots:
            return (roots[single],)
        case ["apis", group] if group in discovery.groups(scheme) and scheme.has_builtin(group):
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


def document_hash(scheme: Scheme, name: str) -> str:
    """Return a hash of all that a v3 document is made of, "" for a name that has none.

    The document itself is not made, so that the index is cheap.
    """
    paths = _paths_of(scheme, name)
    if paths is None:
        return ""
    digest = hashlib.sha512(_table_digest())
    digest.update(name.encode())
    for item in paths:
        digest.update(repr(item).encode())
    group, _, version = name.removeprefix("apis/").partition("/")
    for resource in _of(scheme, group, version):
        digest.update(orjson.dumps(resource.custom_schema))
    return digest.hexdigest().upper()


# --- the paths of v3 ------------------------------------------------------------------------------


def _parameter(name: str) -> dict[str, Any]:
    if name.startswith("{"):
        variable = name[1:-1]
        where: dict[str, Any] = {"name": variable, "in": "path", "required": True}
        where["description"] = openapi_parts.VARIABLES[variable]
        return {**where, "schema": {"type": STRING, "uniqueItems": True}}
    kind, description = PARAMETERS[name]
    where = {"name": name, "in": "query", "description": description}
    return {**where, "schema": {"type": kind, "uniqueItems": True}}


def _operation(operation: Operation, common: frozenset[str]) -> dict[str, Any]:
    shown = openapi_parts.head(operation)
    parameters = [_parameter(name) for name in operation.query if name not in common]
    if parameters:
        shown["parameters"] = parameters
    if operation.body:
        media = openapi_parts.body_media(operation)
        content = {name: {"schema": _ref(operation.body)} for name in media}
        shown["requestBody"] = {"content": content}
        if operation.body_required:
            shown["requestBody"]["required"] = True
    answer = {name: {"schema": _ref(operation.response)} for name in openapi_parts.media(operation)}
    shown["responses"] = {
        str(code): {"description": openapi_parts.ANSWERS[code], "content": answer}
        for code in operation.codes
    }
    shown["responses"]["401"] = {"description": openapi_parts.ANSWERS[401]}
    return shown


def _ref(name: str) -> dict[str, str]:
    return {"type": STRING} if name == STRING else {"$ref": f"#/components/schemas/{name}"}

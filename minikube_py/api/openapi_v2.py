"""The OpenAPI v2 document: everything in one."""

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py import KUBERNETES_VERSION
from minikube_py.api import openapi_parts
from minikube_py.api.openapi_parts import ANSWERS, body_media, head, media
from minikube_py.api.openapi_paths import PARAMETERS, STRING, Operation, PathItem
from minikube_py.api.openapi_schemas import schema_v2

_SHARED = {
    "allowWatchBookmarks": "HC2hJt-J",
    "continue": "QfD61s0i",
    "fieldManager": "Qy4HdaTW",
    "fieldSelector": "xIcQKXFG",
    "force": "tOGGb0Yi",
    "gracePeriodSeconds": "-K5HaBOS",
    "ignoreStoreReadErrorWithClusterBreakingPotential": "QbNkfIqj",
    "labelSelector": "5Zw57w4C",
    "limit": "1NfNmdNH",
    "orphanDependents": "uRB25kX5",
    "pretty": "tJGM1-ng",
    "propagationPolicy": "6jk3prlO",
    "resourceVersion": "5WAnf1kx",
    "resourceVersionMatch": "t8XhRHeC",
    "sendInitialEvents": "rLXlEK_k",
    "shardSelector": "Kgyki_3_",
    "timeoutSeconds": "yvYezaOC",
    "watch": "XNNPZGbK",
    "{namespace}": "vgWSWtn3",
}
"""Parameters that stand once in the document, and the end of the name that upstream gives them."""
_PATCH_MANAGER = "fieldManager-7c6nTn1T"
_BODIES = {"DeleteOptions": "body-2Y1dVQaQ", "Patch": "body-78PwaGsr"}


def document(paths: Sequence[PathItem], custom: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the v2 document of some paths; `custom` has the definitions of custom kinds."""
    used = openapi_parts.used_definitions(paths)
    shown = openapi_parts.definitions(used, lambda _name, definition: schema_v2(definition), custom)
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": KUBERNETES_VERSION},
        "paths": openapi_parts.shown_paths(paths, _operation, _parameter),
        "definitions": dict(shown),
        "parameters": _shared(),
        "securityDefinitions": openapi_parts.SECURITY,
        "security": [{"BearerToken": []}],
    }


def _shared() -> dict[str, Any]:
    shared = {_shared_name(name): _written(name) for name in _SHARED}
    shared[_PATCH_MANAGER] = _written("fieldManager")
    for kind, name in _BODIES.items():
        shared[name] = _body(
            f"io.k8s.apimachinery.pkg.apis.meta.v1.{kind}", required=kind == "Patch"
        )
    return dict(sorted(shared.items()))


def _shared_name(name: str) -> str:
    return f"{name.strip('{}')}-{_SHARED[name]}"


def _parameter(name: str) -> dict[str, Any]:
    if name in _SHARED:
        return {"$ref": f"#/parameters/{_shared_name(name)}"}
    return _written(name)


def _written(name: str) -> dict[str, Any]:
    if name.startswith("{"):
        variable = name[1:-1]
        where: dict[str, Any] = {"name": variable, "in": "path", "required": True}
        kind, description = STRING, openapi_parts.VARIABLES[variable]
    else:
        where = {"name": name, "in": "query"}
        kind, description = PARAMETERS[name]
    return {**where, "description": description, "type": kind, "uniqueItems": True}


def _body(definition: str, *, required: bool) -> dict[str, Any]:
    body: dict[str, Any] = {"name": "body", "in": "body", "schema": _ref(definition)}
    return {**body, "required": True} if required else body


def _operation(operation: Operation, common: frozenset[str]) -> dict[str, Any]:
    shown = head(operation)
    is_patch = operation.method == "patch"
    shown["consumes"] = list(body_media(operation))
    shown["produces"] = list(media(operation))
    shown["schemes"] = ["https"]
    parameters = [
        {"$ref": f"#/parameters/{_PATCH_MANAGER}"}
        if is_patch and name == "fieldManager"
        else _parameter(name)
        for name in operation.query
        if name not in common
    ]
    if operation.body:
        shared = _BODIES.get(operation.body.rpartition(".")[2])
        named = {"$ref": f"#/parameters/{shared}"}
        parameters.insert(
            0, named if shared else _body(operation.body, required=operation.body_required)
        )
    if parameters:
        shown["parameters"] = parameters
    answer = _ref(operation.response)
    shown["responses"] = {
        str(code): {"description": ANSWERS[code], "schema": answer} for code in operation.codes
    }
    shown["responses"]["401"] = {"description": ANSWERS[401]}
    return shown


def _ref(name: str) -> dict[str, str]:
    return {"type": STRING} if name == STRING else {"$ref": f"#/definitions/{name}"}

"""Custom kinds in the OpenAPI documents: their schemas as v2 and v3 publish them.

Each kind adds what all objects have: apiVersion, kind and metadata, and a list kind. Version 2 has
no words for alternatives and null, so that these are left out there, as upstream's builder does.
Its readers also refuse what is not named where anything is named: a kind whose root keeps unknown
fields names none there, not even its metadata.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from minikube_py.api import schema
from minikube_py.api.apiextensions.pruning import EMBEDDED, OBJECT_META, PRESERVE
from minikube_py.api.object import Obj
from minikube_py.api.resource import Resource

_LIST_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"
_MODEL = "io.k8s.api.core.v1.ConfigMap"
"""A kind whose texts about apiVersion and kind are those of any kind."""
_V2_LACKS = ("oneOf", "anyOf", "allOf", "not", "nullable")
_INNER = ("oneOf", "anyOf", "allOf")
V2, V3 = "#/definitions/", "#/components/schemas/"


def definitions(resources: Iterable[Resource], prefix: str) -> dict[str, dict[str, Any]]:
    """Return the definitions of custom kinds and their lists; `prefix` is V2 or V3."""
    found = {}
    texts: dict[str, str] = {}
    for resource in resources:
        if resource.custom:
            texts = texts or orjson.loads(schema.read_lines("descriptions.bin")[_MODEL])
            found[resource.schema] = _kind(resource, prefix, texts)
            found[f"{resource.schema}List"] = _list(resource, prefix, texts)
    return found


def _kind(resource: Resource, prefix: str, texts: Mapping[str, str]) -> dict[str, Any]:
    if prefix == V2 and resource.custom_schema.get(PRESERVE):
        return {"type": "object", **_gvk(resource, resource.kind)}
    node = _node(resource.custom_schema, prefix)
    head = {**_head(texts), "metadata": _ref(OBJECT_META, prefix, texts.get("metadata", ""))}
    node["properties"] = {**node.get("properties", {}), **head}
    node.pop(EMBEDDED, None)
    return {**node, "type": "object", **_gvk(resource, resource.kind)}


def _list(resource: Resource, prefix: str, texts: Mapping[str, str]) -> dict[str, Any]:
    items = {
        "description": f"List of {resource.plural}.",
        "type": "array",
        "items": {"$ref": prefix + resource.schema},
    }
    return {
        "description": f"{resource.list_kind} is a list of {resource.kind}",
        "type": "object",
        "required": ["items"],
        "properties": {**_head(texts), "items": items, "metadata": _ref(_LIST_META, prefix, "")},
        **_gvk(resource, resource.list_kind),
    }


def _head(texts: Mapping[str, str]) -> dict[str, Any]:
    return {
        name: {"description": texts.get(name, ""), "type": "string"}
        for name in ("apiVersion", "kind")
    }


def _ref(name: str, prefix: str, description: str) -> dict[str, Any]:
    ref = {"$ref": prefix + name}
    if prefix == V2:
        return {"description": description, **ref} if description else ref
    return {"description": description, "allOf": [ref]} if description else {"allOf": [ref]}


def _gvk(resource: Resource, kind: str) -> dict[str, Any]:
    gvk = {"group": resource.group, "kind": kind, "version": resource.version}
    return {"x-kubernetes-group-version-kind": [gvk]}


def _node(node: Obj, prefix: str) -> dict[str, Any]:
    out = {key: _part(key, value, prefix) for key, value in node.items()}
    if node.get(EMBEDDED):
        metadata = _ref(OBJECT_META, prefix, "")
        head = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": metadata}
        out["properties"] = {**head, **out.get("properties", {})}
    return _for_v2(node, out) if prefix == V2 else out


def _for_v2(node: Obj, out: dict[str, Any]) -> dict[str, Any]:
    out = {key: value for key, value in out.items() if key not in _V2_LACKS}
    if node.get("nullable") or node.get("x-kubernetes-int-or-string"):
        out.pop("type", None)
    if node.get("nullable") or node.get(PRESERVE):
        out.pop("properties", None)
        out.pop("items", None)
    if out.get("type") == "array" and "items" not in out:
        out.pop("type")  # kubectl does not read an array of it knows not what
    return _without_null(node, out)


def _without_null(node: Obj, out: dict[str, Any]) -> dict[str, Any]:
    """Require nothing that may be null: version 2 would take null for missing."""
    required = out.pop("required", [])
    if _is_nullable(node.get("additionalProperties")):
        return out
    properties = node.get("properties", {})
    kept = [name for name in required if not _is_nullable(properties.get(name))]
    return {**out, "required": kept} if kept else out


def _is_nullable(node: Any) -> bool:
    return isinstance(node, Mapping) and bool(node.get("nullable"))


def _part(key: str, value: Any, prefix: str) -> Any:
    if key == "properties" and isinstance(value, Mapping):
        return {name: _node(inner, prefix) for name, inner in value.items()}
    if key in ("items", "additionalProperties", "not") and isinstance(value, Mapping):
        return _node(value, prefix)
    if key in _INNER and isinstance(value, list):
        return [_node(inner, prefix) for inner in value]
    return value

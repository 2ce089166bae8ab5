"""Definitions of the type table as OpenAPI v2 and v3 write them.

v3 differs where upstream's generator does: a reference that has anything beside it becomes
`allOf`, fields that Go always writes show their zero value as `default`, named texts list their
values (`openapi_enums.txt`), and a kind that is in every group names only those of its document.
"""

from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any, NamedTuple

import orjson

from minikube_py.api import schema

_ZEROS: Mapping[str, Any] = {"string": "", "integer": 0, "number": 0, "boolean": False}
_EITHER: Mapping[str, dict[str, Any]] = {
    "int-or-string": {
        "format": "int-or-string",
        "oneOf": [{"type": "integer"}, {"type": "string"}],
    },
    "quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
}
_GVK = "x-kubernetes-group-version-kind"


def referred(definition: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names that a definition refers to."""
    for key, value in definition.items():
        if key == "$ref" and isinstance(value, str):  # JSONSchemaProps has a field of that name
            yield value
        elif isinstance(value, Mapping):
            yield from referred(value)
        elif key == "allOf" and isinstance(value, list):
            for inner in value:
                yield from referred(inner)


def with_texts(definition: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, Any]:
    """Return a definition with its descriptions ("" names its own)."""
    out = dict(definition)
    if "" in texts:
        out["description"] = texts[""]
    if "properties" in definition:
        out["properties"] = {
            name: {**inner, "description": texts[name]} if name in texts else inner
            for name, inner in definition["properties"].items()
        }
    return out


def schema_v2(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return a definition or a part of one in the form of v2."""
    out: dict[str, Any] = {}
    for key, value in node.items():
        if key == "$ref":
            out[key] = f"#/definitions/{value}"
        elif key in ("items", "additionalProperties"):
            out[key] = schema_v2(value)
        elif key == "properties":
            out[key] = {name: schema_v2(inner) for name, inner in value.items()}
        elif not key.startswith("x-go-"):
            out[key] = value
    return out


class _Values(NamedTuple):
    """What openapi_enums.txt says."""

    enums: Mapping[str, list[str]]
    defaults: Mapping[str, Any]


def _read_values() -> _Values:
    enums: dict[str, list[str]] = {}
    defaults: dict[str, Any] = {}
    for line in files(__package__).joinpath("openapi_enums.txt").read_text().splitlines():
        word, _, rest = line.partition(" ")
        name, _, value = rest.partition(" ")
        if word == "enum":
            enums[name] = [text.strip('"') for text in value.split()]
        elif word == "default":
            defaults[name] = orjson.loads(value)
    return _Values(enums, defaults)


class SchemasV3:
    """Converts definitions for the v3 document of one group and version."""

    def __init__(self, group: str, version: str) -> None:
        self._shown = (("", "v1"), (group, version))
        self._values = _read_values()

    def convert(self, name: str, definition: Mapping[str, Any]) -> dict[str, Any]:
        """Return a definition in the form of v3."""
        kind = schema.type_of(name).kind
        out = self._node(definition)
        if kind in _EITHER:
            del out["type"]
            out.update(_EITHER[kind])
        short = name.rpartition(".")[2]
        for field, inner in definition.get("properties", {}).items():
            shown = self._node(inner)
            if f"{short}.{field}" in self._values.defaults:
                shown["default"] = self._values.defaults[f"{short}.{field}"]
            out["properties"][field] = shown
        if len(out.get(_GVK, ())) > 1:
            out[_GVK] = [gvk for gvk in out[_GVK] if (gvk["group"], gvk["version"]) in self._shown]
        return out

    def _node(self, node: Mapping[str, Any]) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, value in node.items():
            if key in ("items", "additionalProperties"):
                out[key] = self._node(value)
            elif key == "properties":
                out[key] = {}
            elif key != "$ref" and not key.startswith("x-go-"):
                out[key] = value
        enum = self._values.enums.get(node.get("x-go-type", "").rpartition(".")[2])
        if enum is not None and node.get("type") == "string":
            out["enum"] = enum
        default = _default(node)
        if default is not None and enum is None:
            out["default"] = default
        if "$ref" in node:
            ref = {"$ref": f"#/components/schemas/{node['$ref']}"}
            return {"allOf": [ref], **out} if out else ref
        return out


def _default(node: Mapping[str, Any]) -> Any:
    """Return the zero value of a field that is always written, None where v3 shows none."""
    if node.get("x-go-emit") not in ("always", "zero"):
        return None
    if "$ref" in node:
        return {} if schema.type_of(node["$ref"]).kind == "object" else None
    return _ZEROS.get(node.get("type", ""))

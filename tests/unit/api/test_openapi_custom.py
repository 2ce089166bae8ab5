"""Custom kinds in OpenAPI v2, where readers refuse what is not named and know no null."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from minikube_py.api import openapi, openapi_custom, openapi_protobuf
from minikube_py.api.kinds import BUILTIN
from minikube_py.api.resource import Resource
from minikube_py.api.scheme import Scheme
from minikube_py.lib.protowire import Codec

TEXT = {"type": "string"}
KEEPING = {"x-kubernetes-preserve-unknown-fields": True}


def custom(schema: dict[str, Any]) -> Resource:
    resource = Resource(group="example.com", kind="Foo", plural="foos", custom_schema=schema)
    return replace(resource, schema="com.example.v1.Foo", custom=True)


def shown(schema: dict[str, Any], prefix: str = openapi_custom.V2) -> Any:
    resource = custom(schema)
    return openapi_custom.definitions([resource], prefix)[resource.schema]


def spec(schema: dict[str, Any]) -> Any:
    return shown({"type": "object", "properties": {"spec": schema}})["properties"]["spec"]


def test_a_root_that_keeps_unknown_fields_names_none() -> None:
    schema = {"type": "object", "description": "text", "properties": {"spec": TEXT}, **KEEPING}
    gvk = "x-kubernetes-group-version-kind"
    assert set(shown(schema)) == {"type", gvk}
    assert set(shown(schema, openapi_custom.V3)) == {
        "type",
        "description",
        "properties",
        gvk,
        *KEEPING,
    }


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "object", "properties": {"a": TEXT}, **KEEPING}, {"type": "object", **KEEPING}),
        ({"type": "object", "properties": {"a": TEXT}, "nullable": True}, {}),
        ({"type": "array", "items": TEXT}, {"type": "array", "items": TEXT}),
        ({"type": "array", "items": TEXT, **KEEPING}, KEEPING),
    ],
)
def test_what_keeps_unknown_fields_or_null_has_no_parts(schema: Any, expected: Any) -> None:
    assert spec(schema) == expected


def test_what_may_be_null_is_not_required() -> None:
    either = {"a": TEXT, "b": {**TEXT, "nullable": True}}
    found = spec({"type": "object", "required": ["a", "b"], "properties": either})
    assert found["required"] == ["a"]
    values = {"additionalProperties": {**TEXT, "nullable": True}}
    assert "required" not in spec({"type": "object", "required": ["a"], **values})


EVERYTHING = {
    "type": "object",
    "title": "t",
    "description": "d",
    "default": {"a": [1]},
    "example": {"a": None},
    "maxProperties": 5,
    "minProperties": 1,
    "externalDocs": {"description": "d", "url": "https://example.com"},
    "properties": {
        "number": {"type": "number", "maximum": 9, "minimum": 1.5, "multipleOf": 0.5},
        "above": {"type": "number", "exclusiveMinimum": True, "exclusiveMaximum": True},
        "text": {**TEXT, "enum": ["a", "b"], "pattern": "^a", "maxLength": 3, "minLength": 1},
        "list": {"type": "array", "items": TEXT, "maxItems": 3, "minItems": 1, "uniqueItems": True},
        "any": {"type": "object", "additionalProperties": True},
        "map": {"type": "object", "additionalProperties": TEXT},
        "date": {**TEXT, "format": "date-time"},
    },
}
"""All the words that the schema of a custom kind may have in version 2."""


def test_all_that_a_schema_may_say_is_said_in_protobuf() -> None:
    schema = {"type": "object", "properties": {"spec": EVERYTHING}}
    scheme = Scheme([*BUILTIN, custom(schema)])
    plain = orjson.loads(openapi.document(scheme, "/openapi/v2") or b"")
    assert plain["definitions"]["com.example.v1.Foo"]["properties"]["spec"] == EVERYTHING
    data = openapi.document(scheme, "/openapi/v2#protobuf") or b""
    document = Codec(openapi_protobuf.MESSAGES).decode("Document", data)
    found = named(document["definitions"])["com.example.v1.Foo"]
    spec = named(found["properties"])["spec"]
    assert orjson.loads(spec["default"]["yaml"]) == {"a": [1]}
    assert (spec["title"], spec["maxProperties"]) == ("t", 5)
    parts = named(spec["properties"])
    assert (parts["number"]["maximum"], parts["number"]["minimum"]) == (9.0, 1.5)
    assert parts["above"]["exclusiveMaximum"] is True
    assert [orjson.loads(one["yaml"]) for one in parts["text"]["enum"]] == ["a", "b"]
    assert (parts["text"]["pattern"], parts["list"]["maxItems"]) == ("^a", 3)
    assert parts["any"]["additionalProperties"] == {"boolean": True}
    assert parts["map"]["additionalProperties"]["schema"]["type"] == {"value": ["string"]}


def named(entries: dict[str, Any]) -> dict[str, Any]:
    return {one["name"]: one["value"] for one in entries["entries"]}

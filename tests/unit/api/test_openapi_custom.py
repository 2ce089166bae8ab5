"""Custom kinds in OpenAPI v2, where readers refuse what is not named and know no null."""

from dataclasses import replace
from typing import Any

import pytest

from minikube_py.api import openapi_custom
from minikube_py.api.resource import Resource

TEXT = {"type": "string"}
KEEPING = {"x-kubernetes-preserve-unknown-fields": True}


def shown(schema: dict[str, Any], prefix: str = openapi_custom.V2) -> Any:
    resource = Resource(group="example.com", kind="Foo", plural="foos", custom_schema=schema)
    resource = replace(resource, schema="com.example.v1.Foo", custom=True)
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

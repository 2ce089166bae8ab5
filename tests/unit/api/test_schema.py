"""The type table against upstream's own document."""

import json
from pathlib import Path

import pytest

from minikube_py.api import schema

REFERENCE = Path(__file__).resolve().parents[4] / "shared/reference/openapi/swagger-v2.json"
DURATION = "io.k8s.apimachinery.pkg.apis.meta.v1.Duration"
GO_FACTS = ("x-go-type", "x-go-emit")


@pytest.fixture(scope="module")
def reference():
    return json.loads(REFERENCE.read_text())["definitions"]


def plain(value):
    """Drop descriptions and Go facts, and shorten references, at any depth."""
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    out = {}
    for key, inner in value.items():
        if key == "properties":
            out[key] = {name: plain(field) for name, field in inner.items()}
        elif key == "$ref":
            out[key] = inner.removeprefix("#/definitions/")
        elif key != "description" and key not in GO_FACTS:
            out[key] = plain(inner)
    return out


def test_the_table_has_upstreams_definitions_and_those_of_the_metrics_api(reference):
    more = set(schema.builtin()) - set(reference)
    assert set(reference) <= set(schema.builtin())
    assert {name for name in more if ".metrics." not in name} == {DURATION}


def test_every_definition_is_upstreams(reference):
    table = schema.builtin()
    different = [n for n in reference if plain(table.definition(n)) != plain(reference[n])]
    assert different == []


def test_every_description_is_upstreams_but_the_two_that_the_package_lacks(reference):
    texts = {name: json.loads(line) for name, line in schema.read_lines("descriptions.bin").items()}
    different = set()
    for name, definition in reference.items():
        expected = {
            field: inner["description"]
            for field, inner in definition.get("properties", {}).items()
            if "description" in inner
        }
        if "description" in definition:
            expected[""] = definition["description"]
        if texts[name] != expected:
            different.add(name.rpartition(".")[2])
    assert different == {"Quantity", "IntOrString"}


def test_a_list_knows_how_it_is_merged():
    pod_spec = schema.type_of("io.k8s.api.core.v1.PodSpec")
    containers = pod_spec.field("containers")
    assert (containers.kind, containers.list_type, containers.map_keys) == (
        "list",
        "map",
        ("name",),
    )
    assert (containers.patch_strategy, containers.merge_key) == ("merge", "name")
    ports = containers.items.field("ports")
    assert ports.map_keys == ("containerPort", "protocol")


def test_a_field_without_a_list_type_is_atomic():
    command = schema.type_of("io.k8s.api.core.v1.Container").field("command")
    assert (command.list_type, command.patch_strategy) == ("atomic", "")


def test_a_type_may_hold_itself():
    props = schema.type_of(
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"
    )
    inner = props.field("properties").values.field("properties").values
    assert inner.name == props.name


def test_a_schema_that_is_no_definition_makes_the_same_kind_of_type():
    custom = schema.Type(
        {
            "type": "object",
            "properties": {
                "size": {"type": "integer", "format": "int32"},
                "port": {"x-kubernetes-int-or-string": True},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            },
        },
        schema.type_of,
    )
    assert custom.field("size").kind == "int32"
    assert custom.field("port").kind == "int-or-string"
    assert custom.field("free").preserve_unknown
    assert custom.field("other") is None

"""OpenAPI v3 in protobuf says what the document in JSON says."""

import orjson
import pytest

from minikube_py.api import openapi, openapi_v3_protobuf
from minikube_py.api.kinds import BUILTIN
from minikube_py.api.openapi_v3_protobuf import MESSAGES
from minikube_py.api.scheme import Scheme
from minikube_py.lib.protowire import Codec

SCHEME = Scheme(BUILTIN)


def read(data):
    return as_json("Document", Codec(MESSAGES).decode("Document", data))


def as_json(kind, value):
    """Return the JSON value that a decoded message stands for."""
    fields = MESSAGES.get(kind)
    if fields is None:
        return value
    if kind in SPECIAL:
        return SPECIAL[kind](value)
    if "*" in fields:
        inner = MESSAGES[fields["*"][1]]["value"][1]
        return {e["name"]: as_json(inner, e.get("value", {})) for e in value.get("*", [])}
    if "" in fields:
        return alternative(fields, value)
    out = {name: field(fields[name], each) for name, each in value.items() if name != "x-"}
    return {**out, **dict(field(fields["x-"], value.get("x-", [])) if "x-" in fields else [])}


SPECIAL = {
    "Any": lambda value: orjson.loads(value["yaml"]),
    "NamedAny": lambda value: (value["name"], orjson.loads(value["value"]["yaml"])),
    "DefaultType": lambda value: value.get("bool", value.get("number", value.get("string"))),
}


def field(declared, value):
    if declared[2:] == ["repeated"]:
        return [as_json(declared[1], each) for each in value]
    return as_json(declared[1], value)


def alternative(fields, value):
    if "" in value:
        return field(fields[""], value[""])
    if "$ref" in value:
        return value["$ref"]
    return value["bool"]


def comparable(value):
    """Return a JSON value as it survives: what proto3 leaves out and gnostic has no form for."""
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if k != "default" or not isinstance(v, dict | list)}
        items = {k: comparable(v) for k, v in kept.items()}
        return {k: v for k, v in items.items() if v not in (None, [], "")}
    if isinstance(value, list):
        return [comparable(each) for each in value]
    return value


@pytest.mark.parametrize(
    "name", ["api/v1", "apis/apps/v1", "apis/apiextensions.k8s.io/v1", "version", "apis/apps"]
)
def test_the_binary_form_says_the_same_as_json(name):
    plain = orjson.loads(openapi.document(SCHEME, f"/openapi/v3/{name}"))
    data = openapi.document(SCHEME, f"/openapi/v3/{name}#protobuf")
    seen = read(data)
    assert comparable(unlisted(seen)) == comparable(plain)


def unlisted(value):
    """Return a document in which the items of an array are one schema, as JSON has them."""
    if isinstance(value, list):
        return [unlisted(each) for each in value]
    if not isinstance(value, dict):
        return value
    out = {k: unlisted(v) for k, v in value.items()}
    if isinstance(out.get("items"), list):
        out["items"] = out["items"][0]
    return out


def test_a_default_keeps_its_type():
    schema = {"properties": {"a": {"default": 0}, "b": {"default": False}, "c": {"default": "x"}}}
    document = {"openapi": "3.0.0", "components": {"schemas": {"A": schema}}}
    seen = read(openapi_v3_protobuf.encode(document))
    assert unlisted(seen)["components"]["schemas"]["A"] == {
        "properties": {"a": {"default": 0.0}, "b": {"default": False}, "c": {"default": "x"}}
    }


def test_a_document_that_is_not_there_is_not_there_in_any_form():
    assert openapi.document(SCHEME, "/openapi/v3/apis/nosuch/v1#protobuf") is None

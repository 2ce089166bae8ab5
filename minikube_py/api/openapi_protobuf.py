"""OpenAPI v2 in protobuf, the only form of it that kubectl and other Go clients ask for.

The messages are those of gnostic's `openapi.v2`; JSON objects with free keys are lists of named
values there, and what begins with `x-` is a named text in YAML (which JSON is).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from minikube_py.lib.protowire import Codec

MEDIA_TYPE = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
"""What clients ask for."""
CONTENT_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
"""What the answer is called."""


def _named(value: str) -> dict[str, list[Any]]:
    return {"name": [1, "string"], "value": [2, value]}


MESSAGES: Mapping[str, Mapping[str, Any]] = {
    "Document": {
        "swagger": [1, "string"],
        "info": [2, "Info"],
        "paths": [8, "Paths"],
        "definitions": [9, "Definitions"],
        "parameters": [10, "ParameterDefinitions"],
        "security": [12, "SecurityRequirement", "repeated"],
        "securityDefinitions": [13, "SecurityDefinitions"],
    },
    "Info": {"title": [1, "string"], "version": [2, "string"]},
    "Paths": {"path": [2, "NamedPathItem", "repeated"]},
    "NamedPathItem": _named("PathItem"),
    "PathItem": {
        "get": [2, "Operation"],
        "put": [3, "Operation"],
        "post": [4, "Operation"],
        "delete": [5, "Operation"],
        "options": [6, "Operation"],
        "head": [7, "Operation"],
        "patch": [8, "Operation"],
        "parameters": [9, "ParametersItem", "repeated"],
    },
    "Operation": {
        "description": [3, "string"],
        "operationId": [5, "string"],
        "produces": [6, "string", "repeated"],
        "consumes": [7, "string", "repeated"],
        "parameters": [8, "ParametersItem", "repeated"],
        "responses": [9, "Responses"],
        "schemes": [10, "string", "repeated"],
        "extensions": [13, "NamedAny", "repeated"],
    },
    "ParametersItem": {"parameter": [1, "Parameter"], "reference": [2, "JsonReference"]},
    "JsonReference": {"$ref": [1, "string"]},
    "Parameter": {"body": [1, "BodyParameter"], "other": [2, "NonBodyParameter"]},
    "BodyParameter": {
        "name": [2, "string"],
        "in": [3, "string"],
        "required": [4, "bool"],
        "schema": [5, "Schema"],
    },
    "NonBodyParameter": {"query": [3, "QueryParameter"], "path": [4, "PathParameter"]},
    "QueryParameter": {
        "in": [2, "string"],
        "description": [3, "string"],
        "name": [4, "string"],
        "type": [6, "string"],
        "uniqueItems": [20, "bool"],
    },
    "PathParameter": {
        "required": [1, "bool"],
        "in": [2, "string"],
        "description": [3, "string"],
        "name": [4, "string"],
        "type": [5, "string"],
        "uniqueItems": [19, "bool"],
    },
    "Responses": {"code": [1, "NamedResponse", "repeated"]},
    "NamedResponse": _named("ResponseValue"),
    "ResponseValue": {"response": [1, "Response"]},
    "Response": {"description": [1, "string"], "schema": [2, "SchemaItem"]},
    "SchemaItem": {"schema": [1, "Schema"]},
    "Schema": {
        "$ref": [1, "string"],
        "format": [2, "string"],
        "title": [3, "string"],
        "description": [4, "string"],
        "default": [5, "Any"],
        "multipleOf": [6, "double"],
        "maximum": [7, "double"],
        "exclusiveMaximum": [8, "bool"],
        "minimum": [9, "double"],
        "exclusiveMinimum": [10, "bool"],
        "maxLength": [11, "int64"],
        "minLength": [12, "int64"],
        "pattern": [13, "string"],
        "maxItems": [14, "int64"],
        "minItems": [15, "int64"],
        "uniqueItems": [16, "bool"],
        "maxProperties": [17, "int64"],
        "minProperties": [18, "int64"],
        "required": [19, "string", "repeated"],
        "enum": [20, "Any", "repeated"],
        "additionalProperties": [21, "SchemaOrBool"],
        "type": [22, "TypeItem"],
        "items": [23, "ItemsItem"],
        "properties": [25, "Definitions"],
        "externalDocs": [29, "ExternalDocs"],
        "example": [30, "Any"],
        "extensions": [31, "NamedAny", "repeated"],
    },
    "SchemaOrBool": {"schema": [1, "Schema"], "boolean": [2, "bool"]},
    "ExternalDocs": {"description": [1, "string"], "url": [2, "string"]},
    "TypeItem": {"value": [1, "string", "repeated"]},
    "ItemsItem": {"schema": [1, "Schema", "repeated"]},
    "Definitions": {"entries": [1, "NamedSchema", "repeated"]},
    "NamedSchema": _named("Schema"),
    "NamedAny": _named("Any"),
    "Any": {"yaml": [2, "string"]},
    "ParameterDefinitions": {"entries": [1, "NamedParameter", "repeated"]},
    "NamedParameter": _named("Parameter"),
    "SecurityDefinitions": {"entries": [1, "NamedSecurity", "repeated"]},
    "NamedSecurity": _named("SecurityItem"),
    "SecurityItem": {"apiKey": [2, "ApiKey"]},
    "ApiKey": {
        "type": [1, "string"],
        "name": [2, "string"],
        "in": [3, "string"],
        "description": [4, "string"],
    },
    "SecurityRequirement": {"entries": [1, "NamedStrings", "repeated"]},
    "NamedStrings": _named("Strings"),
    "Strings": {"value": [1, "string", "repeated"]},
}


def encode(document: Mapping[str, Any]) -> bytes:
    """Return a v2 document in this form."""
    return Codec(MESSAGES).encode("Document", _document(document))


def _document(document: Mapping[str, Any]) -> dict[str, Any]:
    security = {name: {"apiKey": key} for name, key in document["securityDefinitions"].items()}
    required = [
        {"entries": _entries({name: {"value": scopes} for name, scopes in one.items()})}
        for one in document["security"]
    ]
    return {
        "swagger": document["swagger"],
        "info": document["info"],
        "paths": {"path": _entries(_each(document["paths"], _path_item))},
        "definitions": {"entries": _entries(_each(document["definitions"], _schema))},
        "parameters": {"entries": _entries(_each(document["parameters"], _parameter))},
        "security": required,
        "securityDefinitions": {"entries": _entries(security)},
    }


def _entries(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, "value": value} for name, value in values.items()]


def _each(values: Mapping[str, Any], convert: Any) -> dict[str, Any]:
    return {name: convert(value) for name, value in values.items()}


def _path_item(item: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {
        name: _operation(value) for name, value in item.items() if name != "parameters"
    }
    if "parameters" in item:
        out["parameters"] = _parameters(item["parameters"])
    return out


def _operation(operation: Mapping[str, Any]) -> dict[str, Any]:
    out = _with_extensions(operation)
    if "parameters" in out:
        out["parameters"] = _parameters(out["parameters"])
    responses = _each(out["responses"], lambda response: {"response": _response(response)})
    out["responses"] = {"code": _entries(responses)}
    return out


def _response(response: Mapping[str, Any]) -> dict[str, Any]:
    if "schema" not in response:
        return dict(response)
    return {**response, "schema": {"schema": _schema(response["schema"])}}


def _parameters(listed: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"reference": given} if "$ref" in given else {"parameter": _parameter(given)}
        for given in listed
    ]


def _parameter(given: Mapping[str, Any]) -> dict[str, Any]:
    if given["in"] == "body":
        return {"body": {**given, "schema": _schema(given["schema"])}}
    return {"other": {given["in"]: given}}


def _schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    out = _with_extensions(schema)
    if "type" in out:
        out["type"] = {"value": [out["type"]]}
    if "items" in out:
        out["items"] = {"schema": [_schema(out["items"])]}
    if "additionalProperties" in out:
        out["additionalProperties"] = _schema_or_bool(out["additionalProperties"])
    if "properties" in out:
        out["properties"] = {"entries": _entries(_each(out["properties"], _schema))}
    if "enum" in out:
        out["enum"] = [_any(value) for value in out["enum"]]
    return out | {name: _any(out[name]) for name in ("default", "example") if name in out}


def _schema_or_bool(given: Any) -> dict[str, Any]:
    return {"boolean": given} if isinstance(given, bool) else {"schema": _schema(given)}


def _any(value: Any) -> dict[str, str]:
    return {"yaml": orjson.dumps(value).decode()}


def _with_extensions(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields, those that begin with `x-` apart as texts."""
    out = {name: value for name, value in given.items() if not name.startswith("x-")}
    texts = {name: _any(value) for name, value in given.items() if name.startswith("x-")}
    if texts:
        out["extensions"] = _entries(texts)
    return out

"""OpenAPI v2 as protocol buffers: the only form of it that kubectl asks for.

kubectl validates lists against /openapi/v2 in the messages of gnostic's `openapi.v2` package. The
table holds the fields that our documents use; extensions travel as YAML text (JSON is YAML).
"""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from minikube_py.lib.protowire import Codec

MEDIA_TYPE = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
"""What clients ask for."""
CONTENT_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
"""What the answer is called."""

_NAMED = {"name": (1, "string")}
_PARAMETER = {
    "required": (1, "bool"),
    "in": (2, "string"),
    "description": (3, "string"),
    "name": (4, "string"),
}
MESSAGES: Mapping[str, Mapping[str, Any]] = {
    "Document": {
        "swagger": (1, "string"),
        "info": (2, "Info"),
        "paths": (8, "Paths"),
        "definitions": (9, "Definitions"),
        "security": (12, "SecurityRequirement", "repeated"),
        "securityDefinitions": (13, "SecurityDefinitions"),
    },
    "Info": {"title": (1, "string"), "version": (2, "string")},
    "Paths": {"path": (2, "NamedPathItem", "repeated")},
    "NamedPathItem": {**_NAMED, "value": (2, "PathItem")},
    "PathItem": {
        "get": (2, "Operation"),
        "put": (3, "Operation"),
        "post": (4, "Operation"),
        "delete": (5, "Operation"),
        "options": (6, "Operation"),
        "head": (7, "Operation"),
        "patch": (8, "Operation"),
        "parameters": (9, "ParametersItem", "repeated"),
    },
    "Operation": {
        "tags": (1, "string", "repeated"),
        "description": (3, "string"),
        "operationId": (5, "string"),
        "produces": (6, "string", "repeated"),
        "consumes": (7, "string", "repeated"),
        "parameters": (8, "ParametersItem", "repeated"),
        "responses": (9, "Responses"),
        "schemes": (10, "string", "repeated"),
        "extensions": (13, "NamedAny", "repeated"),
    },
    "ParametersItem": {"parameter": (1, "Parameter"), "reference": (2, "JsonReference")},
    "JsonReference": {"$ref": (1, "string")},
    "Parameter": {"body": (1, "BodyParameter"), "other": (2, "NonBodyParameter")},
    "BodyParameter": {
        "description": (1, "string"),
        "name": (2, "string"),
        "in": (3, "string"),
        "required": (4, "bool"),
        "schema": (5, "Schema"),
    },
    "NonBodyParameter": {"query": (3, "QueryParameter"), "path": (4, "PathParameter")},
    "QueryParameter": {**_PARAMETER, "type": (6, "string"), "uniqueItems": (20, "bool")},
    "PathParameter": {**_PARAMETER, "type": (5, "string"), "uniqueItems": (19, "bool")},
    "Responses": {"code": (1, "NamedResponseValue", "repeated")},
    "NamedResponseValue": {**_NAMED, "value": (2, "ResponseValue")},
    "ResponseValue": {"response": (1, "Response")},
    "Response": {"description": (1, "string"), "schema": (2, "SchemaItem")},
    "SchemaItem": {"schema": (1, "Schema")},
    "Definitions": {"named": (1, "NamedSchema", "repeated")},
    "NamedSchema": {**_NAMED, "value": (2, "Schema")},
    "Schema": {
        "$ref": (1, "string"),
        "format": (2, "string"),
        "description": (4, "string"),
        "default": (5, "Any"),
        "required": (19, "string", "repeated"),
        "enum": (20, "Any", "repeated"),
        "additionalProperties": (21, "AdditionalProperties"),
        "type": (22, "TypeItem"),
        "items": (23, "ItemsItem"),
        "properties": (25, "Properties"),
        "extensions": (31, "NamedAny", "repeated"),
    },
    "AdditionalProperties": {"schema": (1, "Schema")},
    "TypeItem": {"value": (1, "string", "repeated")},
    "ItemsItem": {"schema": (1, "Schema", "repeated")},
    "Properties": {"named": (1, "NamedSchema", "repeated")},
    "NamedAny": {**_NAMED, "value": (2, "Any")},
    "Any": {"yaml": (2, "string")},
    "SecurityRequirement": {"named": (1, "NamedStringArray", "repeated")},
    "NamedStringArray": {**_NAMED, "value": (2, "StringArray")},
    "StringArray": {"value": (1, "string", "repeated")},
    "SecurityDefinitions": {"named": (1, "NamedSecurity", "repeated")},
    "NamedSecurity": {**_NAMED, "value": (2, "Security")},
    "Security": {"apiKey": (2, "ApiKey")},
    "ApiKey": {
        "type": (1, "string"),
        "name": (2, "string"),
        "in": (3, "string"),
        "description": (4, "string"),
    },
}
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch")


def encode(document: bytes) -> bytes:
    """Return the protobuf form of an OpenAPI v2 document in JSON."""
    return Codec(MESSAGES).encode("Document", _document(orjson.loads(document)))


def _document(document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "swagger": document["swagger"],
        "info": _only("Info", document["info"]),
        "paths": {"path": _named(document["paths"], _path_item)},
        "definitions": {"named": _named(document["definitions"], _schema)},
        "security": [
            {"named": _named(entry, lambda scopes: {"value": scopes})}
            for entry in document.get("security", ())
        ],
        "securityDefinitions": {
            "named": _named(
                document.get("securityDefinitions", {}),
                lambda value: {"apiKey": _only("ApiKey", value)},
            )
        },
    }


def _named(values: Mapping[str, Any], convert: Any) -> list[dict[str, Any]]:
    return [{"name": name, "value": convert(value)} for name, value in values.items()]


def _only(message: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a map that its message has."""
    return {key: value[key] for key in MESSAGES[message] if key in value}


def _path_item(item: Mapping[str, Any]) -> dict[str, Any]:
    converted: dict[str, Any] = {m: _operation(item[m]) for m in _METHODS if m in item}
    converted["parameters"] = _parameters(item.get("parameters", ()))
    return converted


def _operation(operation: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **_only("Operation", operation),
        "parameters": _parameters(operation.get("parameters", ())),
        "responses": {"code": _named(operation.get("responses", {}), _response)},
        "extensions": _extensions(operation),
    }


def _parameters(parameters: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [_parameter(parameter) for parameter in parameters]


def _parameter(parameter: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" in parameter:
        return {"reference": {"$ref": parameter["$ref"]}}
    place = parameter["in"]
    if place == "body":
        body = {**_only("BodyParameter", parameter), "schema": _schema(parameter["schema"])}
        return {"parameter": {"body": body}}
    message = "QueryParameter" if place == "query" else "PathParameter"
    return {"parameter": {"other": {place: _only(message, parameter)}}}


def _response(response: Mapping[str, Any]) -> dict[str, Any]:
    converted: dict[str, Any] = {"description": response.get("description", "")}
    if "schema" in response:
        converted["schema"] = {"schema": _schema(response["schema"])}
    return {"response": converted}


def _schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    converted: dict[str, Any] = {
        key: schema[key] for key in ("$ref", "format", "description", "required") if key in schema
    }
    if "type" in schema:
        kind = schema["type"]
        converted["type"] = {"value": [kind] if isinstance(kind, str) else kind}
    if "default" in schema:
        converted["default"] = _any(schema["default"])
    if "enum" in schema:
        converted["enum"] = [_any(value) for value in schema["enum"]]
    if isinstance(schema.get("additionalProperties"), Mapping):
        converted["additionalProperties"] = {"schema": _schema(schema["additionalProperties"])}
    if "items" in schema:
        converted["items"] = {"schema": [_schema(schema["items"])]}
    if "properties" in schema:
        converted["properties"] = {"named": _named(schema["properties"], _schema)}
    converted["extensions"] = _extensions(schema)
    return converted


def _extensions(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"name": key, "value": _any(inner)} for key, inner in value.items() if key.startswith("x-")
    ]


def _any(value: Any) -> dict[str, Any]:
    return {"yaml": orjson.dumps(value).decode() + "\n"}

"""OpenAPI v3 in protobuf: a document of one group and version, as Go clients ask for it.

The messages are those of gnostic's `openapi.v3`, and the table says all there is to know of the
form: what is an object with free keys in JSON is a list of named values here (`_map`), what may be
a reference is one of two (`_either`), and what may be anything is a text in YAML (which JSON is).
A document is brought into that form by walking it along the table.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from minikube_py.lib.protowire import Codec

MEDIA_TYPE = "application/com.github.proto-openapi.spec.v3@v1.0+protobuf"
"""What clients ask for."""
CONTENT_TYPE = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf"
"""What the answer is called."""

Message = Mapping[str, Any]


def _either(kind: str) -> dict[str, Message]:
    """Return the messages of a value that may be a reference, and of values of it by name."""
    return {
        f"{kind}OrReference": {
            "": [1, kind, "oneof is"],
            "$ref": [2, "Reference", "oneof is"],
        },
        **_map(f"{kind}OrReference", f"{kind}sOrReferences"),
    }


def _map(kind: str, many: str, number: int = 1) -> dict[str, Message]:
    return {
        f"Named{kind}": {"name": [1, "string"], "value": [2, kind]},
        many: {"*": [number, f"Named{kind}", "repeated"]},
    }


MESSAGES: Mapping[str, Message] = {
    "Document": {
        "openapi": [1, "string"],
        "info": [2, "Info"],
        "paths": [4, "Paths"],
        "components": [5, "Components"],
        "security": [6, "SecurityRequirement", "repeated"],
        "x-": [9, "NamedAny", "repeated"],
    },
    "Info": {"title": [1, "string"], "description": [2, "string"], "version": [6, "string"]},
    **_map("PathItem", "Paths"),
    "PathItem": {
        "summary": [2, "string"],
        "description": [3, "string"],
        "get": [4, "Operation"],
        "put": [5, "Operation"],
        "post": [6, "Operation"],
        "delete": [7, "Operation"],
        "options": [8, "Operation"],
        "head": [9, "Operation"],
        "patch": [10, "Operation"],
        "parameters": [13, "ParameterOrReference", "repeated"],
        "x-": [14, "NamedAny", "repeated"],
    },
    "Operation": {
        "tags": [1, "string", "repeated"],
        "summary": [2, "string"],
        "description": [3, "string"],
        "operationId": [5, "string"],
        "parameters": [6, "ParameterOrReference", "repeated"],
        "requestBody": [7, "RequestBodyOrReference"],
        "responses": [8, "Responses"],
        "deprecated": [10, "bool"],
        "x-": [13, "NamedAny", "repeated"],
    },
    **_either("Parameter"),
    "Parameter": {
        "name": [1, "string"],
        "in": [2, "string"],
        "description": [3, "string"],
        "required": [4, "bool"],
        "schema": [10, "SchemaOrReference"],
        "x-": [14, "NamedAny", "repeated"],
    },
    **_either("RequestBody"),
    "RequestBody": {
        "description": [1, "string"],
        "content": [2, "MediaTypes"],
        "required": [3, "bool"],
        "x-": [4, "NamedAny", "repeated"],
    },
    **_map("MediaType", "MediaTypes"),
    "MediaType": {"schema": [1, "SchemaOrReference"], "x-": [5, "NamedAny", "repeated"]},
    **_either("Response"),
    **_map("ResponseOrReference", "Responses", 2),
    "Response": {
        "description": [1, "string"],
        "content": [3, "MediaTypes"],
        "x-": [5, "NamedAny", "repeated"],
    },
    "Components": {
        "schemas": [1, "SchemasOrReferences"],
        "securitySchemes": [7, "SecuritySchemesOrReferences"],
        "x-": [10, "NamedAny", "repeated"],
    },
    **_either("SecurityScheme"),
    "SecurityScheme": {
        "type": [1, "string"],
        "description": [2, "string"],
        "name": [3, "string"],
        "in": [4, "string"],
        "x-": [9, "NamedAny", "repeated"],
    },
    **_map("StringArray", "SecurityRequirement"),
    "StringArray": {"": [1, "string", "repeated"]},
    **_either("Schema"),
    **_map("SchemaOrReference", "Properties"),
    "Schema": {
        "nullable": [1, "bool"],
        "readOnly": [3, "bool"],
        "writeOnly": [4, "bool"],
        "externalDocs": [6, "ExternalDocs"],
        "example": [7, "Any"],
        "deprecated": [8, "bool"],
        "title": [9, "string"],
        "multipleOf": [10, "double"],
        "maximum": [11, "double"],
        "exclusiveMaximum": [12, "bool"],
        "minimum": [13, "double"],
        "exclusiveMinimum": [14, "bool"],
        "maxLength": [15, "int64"],
        "minLength": [16, "int64"],
        "pattern": [17, "string"],
        "maxItems": [18, "int64"],
        "minItems": [19, "int64"],
        "uniqueItems": [20, "bool"],
        "maxProperties": [21, "int64"],
        "minProperties": [22, "int64"],
        "required": [23, "string", "repeated"],
        "enum": [24, "Any", "repeated"],
        "type": [25, "string"],
        "allOf": [26, "SchemaOrReference", "repeated"],
        "oneOf": [27, "SchemaOrReference", "repeated"],
        "anyOf": [28, "SchemaOrReference", "repeated"],
        "not": [29, "Schema"],
        "items": [30, "ItemsItem"],
        "properties": [31, "Properties"],
        "additionalProperties": [32, "AdditionalPropertiesItem"],
        "default": [33, "DefaultType"],
        "description": [34, "string"],
        "format": [35, "string"],
        "x-": [36, "NamedAny", "repeated"],
    },
    "ExternalDocs": {
        "description": [1, "string"],
        "url": [2, "string"],
        "x-": [3, "NamedAny", "repeated"],
    },
    "ItemsItem": {"": [1, "SchemaOrReference", "repeated"]},
    "AdditionalPropertiesItem": {
        "": [1, "SchemaOrReference", "oneof is"],
        "bool": [2, "bool", "oneof is"],
    },
    "DefaultType": {
        "number": [1, "double", "oneof is"],
        "bool": [2, "bool", "oneof is"],
        "string": [3, "string", "oneof is"],
    },
    "Reference": {"$ref": [1, "string"]},
    "NamedAny": {"name": [1, "string"], "value": [2, "Any"]},
    "Any": {"yaml": [2, "string"]},
}
"""Fields by their names in JSON. `*` is an object's free keys, `x-` what begins so, and "" the
value itself."""


def encode(document: Mapping[str, Any]) -> bytes:
    """Return a v3 document in this form; what gnostic does not know of is left out, as there."""
    return Codec(MESSAGES).encode("Document", _value("Document", document))


def _value(kind: str, value: Any) -> Any:
    """Return what stands in the table's form for a JSON value."""
    fields = MESSAGES.get(kind)
    if fields is None:
        return value
    if kind == "Any":
        return {"yaml": orjson.dumps(value).decode()}
    if kind == "DefaultType":
        return _default(value)
    if "*" in fields:
        return {"*": [_named(fields["*"][1], *entry) for entry in value.items()]}
    if "" in fields:
        return _alternative(fields, value)
    return _fields(fields, value)


def _fields(fields: Message, value: Mapping[str, Any]) -> dict[str, Any]:
    out = {
        name: _field(fields[name], each)
        for name, each in value.items()
        if name in fields and each is not None
    }
    extensions = [
        _named("NamedAny", name, each) for name, each in value.items() if name.startswith("x-")
    ]
    return {**out, "x-": extensions} if extensions else out


def _field(field: list[Any], value: Any) -> Any:
    kind = field[1]
    if field[2:] == ["repeated"]:
        return [_value(kind, each) for each in value]
    return _value(kind, value)


def _named(kind: str, name: str, value: Any) -> dict[str, Any]:
    return {"name": name, "value": _value(MESSAGES[kind]["value"][1], value)}


def _alternative(fields: Message, value: Any) -> dict[str, Any]:
    """Return a message that is one of several things; JSON shows by its form which one."""
    if isinstance(value, bool):
        return {"bool": value}
    if "$ref" in fields and "$ref" in value:
        return {"$ref": {"$ref": value["$ref"]}}
    _, kind, label = fields[""]
    if label == "repeated":
        listed = value if isinstance(value, list) else [value]
        return {"": [_value(kind, each) for each in listed]}
    return {"": _value(kind, value)}


def _default(value: Any) -> dict[str, Any]:
    """Return a default; gnostic has no form for those that are objects or lists."""
    if isinstance(value, bool):
        return {"bool": value}
    if isinstance(value, int | float):
        return {"number": float(value)}
    return {"string": value} if isinstance(value, str) else {}

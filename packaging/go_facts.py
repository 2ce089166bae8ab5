"""What the Go structs say beyond OpenAPI: empty fields, type names in errors, protobuf numbers.

`annotate` adds to each property of the definitions `x-go-emit` (what becomes of an empty or absent
field; see `minikube_py/api/schema.py`) and, where it is not what the schema suggests, `x-go-type`.
`messages` makes the protobuf table: `{message: {json name: [number, type, label?]}}`, with the
labels `repeated` and `inline` (an embedded struct, whose fields JSON shows in the parent). A named
list that is a message of its own has one field without a name.

The types of two API servers that are linked into no client stand in `extension_types.txt`.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from go_types import GoField, GoType, Program

Messages = dict[str, dict[str, list[Any]]]
Definitions = dict[str, dict[str, Any]]
EXTENSION_TYPES = Path(__file__).parent / "extension_types.txt"
_MODES = {"": "omit", "!": "always", "?": "keep", "n": "null", "~": "zero"}
_EMPTY_SAYS_MORE = {("io.k8s.api.autoscaling.v2.HPAScalingRules", "policies")}
"""Lists that are left out when empty, of which defaults nevertheless tell empty from absent."""
_OPAQUE = {"Quantity", "Time", "MicroTime", "Duration", "IntOrString", "RawExtension", "FieldsV1"}
"""Go structs that write themselves; their JSON is no object of their fields."""
_SCALARS = {"int": "int64", "float64": "double"}
_ROOTS = (
    "k8s.io/apimachinery/pkg/apis/meta/v1.WatchEvent",
    "k8s.io/apimachinery/pkg/apis/meta/v1.Status",
    "k8s.io/apimachinery/pkg/apis/meta/v1.DeleteOptions",
    "k8s.io/apimachinery/pkg/apis/meta/v1.PartialObjectMetadata",
    "k8s.io/apimachinery/pkg/apis/meta/v1.PartialObjectMetadataList",
    "k8s.io/api/apidiscovery/v2.APIGroupDiscoveryList",
    "k8s.io/api/apidiscovery/v2beta1.APIGroupDiscoveryList",
)
"""Messages that are used beside the kinds."""


def definition_name(go: GoType) -> str:
    """Return the name that a Go type has among the definitions: `io.k8s.api.core.v1.Pod`."""
    return _definition(go.package, go.text.rpartition(".")[2])


def _definition(package: str, name: str) -> str:
    host, _, path = package.partition("/")
    return ".".join([*reversed(host.split(".")), *path.split("/"), name])


def _structs(program: Program) -> dict[str, GoType]:
    return {
        _definition(package, name): go
        for (package, name), go in program.structs.items()
        if package.startswith("k8s.io/")
    }


def _json_fields(go: GoType) -> Iterable[tuple[str, GoField]]:
    """Yield the fields of a struct by JSON name, those of embedded structs in their place."""
    for field in go.fields:
        name = field.tag_value("json").split(",")[0]
        if name:
            yield name, field
        else:
            yield from _json_fields(_pointed(field.type))


def _pointed(go: GoType) -> GoType:
    return go.element if go.kind == "pointer" else go


def _emit(field: GoField) -> str:
    options = field.tag_value("json").split(",")[1:]
    if "omitzero" in options:
        return "zero"
    if field.type.kind == "pointer":
        return "keep" if "omitempty" in options else "null"
    if field.type.kind == "interface":
        return "keep"
    # Go's omitempty knows no empty struct.
    return "omit" if "omitempty" in options and field.type.kind != "struct" else "always"


def annotate(definitions: Definitions, program: Program) -> None:
    """Add the Go facts to the properties of all definitions, in place."""
    structs = _structs(program)
    extensions = _extension_types()
    for name, definition in definitions.items():
        properties = definition.get("properties", {})
        if name in structs and properties:
            _annotate_struct(properties, structs[name])
            for field_name in properties:
                if (name, field_name) in _EMPTY_SAYS_MORE:
                    properties[field_name]["x-go-emit"] = "keep"
        elif name in extensions:
            for field_name, (_, mode) in extensions[name].items():
                properties[field_name]["x-go-emit"] = mode
        elif properties:
            raise SystemExit(f"no Go facts for {name}; add it to {EXTENSION_TYPES.name}")


def _annotate_struct(properties: dict[str, Any], go: GoType) -> None:
    for name, field in _json_fields(go):
        properties[name]["x-go-emit"] = _emit(field)
        _annotate_type(properties[name], _pointed(field.type))


def _annotate_type(schema: dict[str, Any], go: GoType) -> None:
    """Say which Go type a property has, where its schema suggests another."""
    if "items" in schema and go.kind == "slice":
        _annotate_type(schema["items"], _pointed(go.element))
    if "additionalProperties" in schema and go.kind == "map":
        _annotate_type(schema["additionalProperties"], _pointed(go.element))
    if "$ref" not in schema and go.text != _suggested(schema):
        schema["x-go-type"] = go.text


def _suggested(schema: Mapping[str, Any]) -> str:
    """Return the Go type that a reader of the table assumes."""
    match schema:
        case {"x-go-type": text}:
            return str(text)
        case {"$ref": ref}:
            return ".".join(ref.split(".")[-2:])
        case {"type": "array", "items": items}:
            return f"[]{_suggested(items)}"
        case {"type": "object", "additionalProperties": values}:
            return f"map[string]{_suggested(values)}"
    kind, form = schema.get("type", ""), schema.get("format", "")
    return _GO_SCALARS.get((kind, form), form or kind)


_GO_SCALARS = {
    ("string", "byte"): "[]uint8",
    ("boolean", ""): "bool",
    ("number", "double"): "float64",
}


# --- protobuf -------------------------------------------------------------------------------------


def messages(definitions: Definitions, program: Program) -> Messages:
    """Return the fields of every message that a definition needs."""
    structs = _structs(program)
    table: Messages = {}
    for package, _, name in (root.rpartition(".") for root in _ROOTS):
        _add(table, program.structs[package, name])
    for name in definitions:
        if name in structs:
            _add(table, structs[name])
    for name, fields in _extension_types().items():
        properties = definitions[name].get("properties", {})
        table[name] = {
            field: [number, *_schema_type(properties[field])]
            for field, (number, _) in fields.items()
            if number
        }
    return table


def _add(table: Messages, go: GoType) -> str:
    """Add a message and those that it holds; return its name."""
    name = definition_name(go)
    if name in table or go.text.rpartition(".")[2] in _OPAQUE:
        return name
    if go.kind == "slice":
        table[name] = {"": [1, _wire_type(table, go.element), "repeated"]}
        return name
    fields = table[name] = {}
    for field in go.fields:
        tag = field.tag_value("protobuf")
        if not tag:
            continue
        json_name = field.tag_value("json").split(",")[0]
        number = int(tag.split(",")[1])
        fields[json_name or field.name] = [number, *_field_type(table, field, tag, json_name)]
    return name


def _field_type(table: Messages, field: GoField, tag: str, json_name: str) -> list[str]:
    go = _pointed(field.type)
    if not json_name:
        return [_add(table, go), "inline"]
    is_message = bool(go.package) and "casttype" not in tag
    if go.kind == "slice" and go.element.kind != "uint8" and not is_message:
        return [_wire_type(table, _pointed(go.element)), "repeated"]
    return [_wire_type(table, go)]


def _wire_type(table: Messages, go: GoType) -> str:
    if go.kind == "slice" and go.element.kind == "uint8":
        return "bytes"
    if go.kind == "map":
        return f"map<string,{_wire_type(table, _pointed(go.element))}>"
    if go.kind in ("struct", "slice"):
        return _add(table, go)
    return _SCALARS.get(go.kind, go.kind)


def _schema_type(schema: Mapping[str, Any]) -> list[str]:
    """Return the wire type of a property whose Go type is not known."""
    match schema:
        case {"$ref": ref}:
            return [ref]
        case {"type": "array", "items": items}:
            return [*_schema_type(items), "repeated"]
        case {"type": "object", "additionalProperties": values}:
            return [f"map<string,{_schema_type(values)[0]}>"]
        case {"format": "byte"}:
            return ["bytes"]
        case {"type": "integer", "format": size}:
            return [size]
    return [{"boolean": "bool", "number": "double"}.get(schema["type"], schema["type"])]


def _extension_types() -> dict[str, dict[str, tuple[int, str]]]:
    """Read number and mode of each field of the types that no client has."""
    out: dict[str, dict[str, tuple[int, str]]] = {}
    package = ""
    for line in EXTENSION_TYPES.read_text().splitlines():
        if line.startswith("#") or not line:
            continue
        if line.startswith("package "):
            package = line.removeprefix("package ")
            continue
        name, *fields = line.split()
        out[f"{package}.{name}"] = dict(map(_extension_field, fields))
    return out


def _extension_field(text: str) -> tuple[str, tuple[int, str]]:
    name, _, number = text.partition("=")
    mode = number.lstrip("0123456789")
    return name, (int(number.removesuffix(mode)), _MODES[mode])

"""The types of objects as data: what fields a kind has, and how its lists and maps are merged.

The build makes a table of upstream's definitions (`packaging/build_schema.py`), one line each; a
line is parsed when its type is first asked for. A `Type` is made from a schema in OpenAPI's form,
so a custom resource makes the same value from its openAPIV3Schema. What is done with types is
elsewhere: `schema_check` decodes bodies, `patch` and `apply` merge, `openapi` publishes.
"""

import enum
import functools
import zlib
from collections.abc import Callable, Iterator, Mapping
from importlib.resources import files
from typing import Any, Final, Literal

import orjson

Kind = Literal[
    "object",  # a struct: named fields, others are unknown
    "map",  # any keys, values of one type
    "list",
    "string",
    "int32",
    "int64",
    "number",
    "boolean",
    "bytes",  # base64 text
    "time",
    "microtime",
    "quantity",
    "int-or-string",
    "any",  # kept as it is
]
Emit = Literal["omit", "keep", "always", "null", "zero"]
"""What becomes of an empty or absent field: empty is dropped (Go's omitempty); empty is kept (a
pointer, where empty and absent differ); absent is written as the zero value, or as
null; an empty struct is dropped (omitzero)."""


class _Drop(enum.Enum):
    DROP = 0


DROP: Final = _Drop.DROP
"""What a check makes of a field that is not stored."""

_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_EXTENSIONS = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."
_SPECIAL: Mapping[str, Kind] = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": "quantity",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "int-or-string",
    "io.k8s.apimachinery.pkg.runtime.RawExtension": "any",
    _META + "Time": "time",
    _META + "MicroTime": "microtime",
    _META + "FieldsV1": "any",
    _META + "Patch": "any",
    _EXTENSIONS + "JSON": "any",
    _EXTENSIONS + "JSONSchemaPropsOrArray": "any",
    _EXTENSIONS + "JSONSchemaPropsOrBool": "any",
    _EXTENSIONS + "JSONSchemaPropsOrStringArray": "any",
}
_BY_FORMAT: Mapping[tuple[str, str], Kind] = {
    ("string", "byte"): "bytes",
    ("integer", "int32"): "int32",
}
_BY_TYPE: Mapping[str, Kind] = {
    "string": "string",
    "integer": "int64",
    "number": "number",
    "boolean": "boolean",
    "array": "list",
}


class Type:
    """One node of a schema: a definition, a field, an element; fields are made when asked for."""

    __slots__ = (
        "_fields", "_items", "_resolve", "adders", "base", "checker", "completers", "emit", "go",
        "kind",
        "list_type", "map_keys", "map_type", "merge_key", "name", "patch_strategy",
        "preserve_unknown", "schema", "zero",
    )  # fmt: skip

    def __init__(
        self, schema: Mapping[str, Any], resolve: "Callable[[str], Type]", name: str = ""
    ) -> None:
        """Make the node of a schema; `resolve` finds the type of a `$ref`."""
        base = resolve(schema["$ref"]) if "$ref" in schema else None
        self.base: Type | None = base
        """The definition that a field or element refers to, where it does."""
        self.schema: Mapping[str, Any] = base.schema if base else schema
        """The schema in OpenAPI's form, without descriptions."""
        self._resolve = resolve
        self._fields: dict[str, Type] = {}
        self._items: Type | None = None
        self.name: str = base.name if base else name
        """The definition's name; "" for what has none."""
        self.kind: Kind = base.kind if base else _kind(schema, name)
        self.patch_strategy: str = schema.get("x-kubernetes-patch-strategy", "")
        """Of strategic merge patch: "", `merge`, `replace`, `retainKeys`, `merge,retainKeys`."""
        self.merge_key: str = schema.get("x-kubernetes-patch-merge-key", "")
        own, inherited = schema, self.schema
        self.list_type: str = own.get("x-kubernetes-list-type", "atomic")
        """Of server-side apply: atomic, set or map."""
        self.map_keys: tuple[str, ...] = tuple(own.get("x-kubernetes-list-map-keys", ()))
        self.map_type: str = own.get("x-kubernetes-map-type") or inherited.get(
            "x-kubernetes-map-type", "granular"
        )
        """Of server-side apply: granular or atomic, for objects and maps."""
        self.preserve_unknown = bool(inherited.get("x-kubernetes-preserve-unknown-fields", False))
        self.emit: Emit = own.get("x-go-emit", "keep")
        self.go: str = own.get("x-go-type") or (base.go if base else _go_name(self))
        """The type's name in upstream's error texts: `v1.Container`, `int32`."""
        self.checker: Callable[[Any], Any] | None = None
        """Compiled and kept by `schema_check`."""
        self.completers: dict[bool, tuple[Callable[[Any], Any], ...]] = {}
        """Compiled and kept by `schema_complete`; empty where there is nothing to complete."""
        self.adders: dict[bool, Callable[[Any], Mapping[str, Any]]] = {}
        """Compiled and kept by `field_walks`."""
        self.zero: Mapping[str, Any] | None = None
        """Kept by `field_walks`: the object that has nothing but what is always written."""

    @property
    def required(self) -> tuple[str, ...]:
        """The fields that the schema requires."""
        return tuple(self.schema.get("required", ()))

    @property
    def field_names(self) -> tuple[str, ...]:
        """The names of an object's fields."""
        return tuple(self.schema.get("properties", ()))

    def field(self, name: str) -> "Type | None":
        """Return the type of a field, or of a map's value; None where there is no such field."""
        if self.kind == "map":
            return self.values
        if self.base is not None:
            return self.base.field(name)
        if name in self._fields:
            return self._fields[name]
        schema = self.schema.get("properties", {}).get(name)
        if schema is None:
            return None
        found = self._fields[name] = Type(schema, self._resolve)
        return found

    @property
    def items(self) -> "Type":
        """The type of a list's elements."""
        if self._items is None:
            self._items = Type(self.schema.get("items", {}), self._resolve)
        return self._items

    @property
    def values(self) -> "Type":
        """The type of a map's values."""
        if self._items is None:
            schema = self.schema.get("additionalProperties")
            self._items = Type(schema if isinstance(schema, Mapping) else {}, self._resolve)
        return self._items

    def __repr__(self) -> str:
        return f"<Type {self.name or self.kind}>"


def _kind(schema: Mapping[str, Any], name: str) -> Kind:
    if name in _SPECIAL:
        return _SPECIAL[name]
    if schema.get("x-kubernetes-int-or-string"):
        return "int-or-string"
    kind = schema.get("type", "")
    if kind == "object":
        # `additionalProperties: false` says the same as none; `true` allows anything.
        return "map" if schema.get("additionalProperties") else "object"
    return _BY_FORMAT.get((kind, schema.get("format", ""))) or _BY_TYPE.get(kind, "any")


_GO_SCALARS: Mapping[Kind, str] = {
    "string": "string",
    "int32": "int32",
    "int64": "int64",
    "boolean": "bool",
    "number": "float64",
    "bytes": "[]uint8",
    "time": "string",
    "microtime": "string",
    "int-or-string": "int32",
}


def _go_name(node: Type) -> str:
    if node.kind == "list":
        return f"[]{node.items.go}"
    if node.kind == "map":
        return f"map[string]{node.values.go}"
    if node.kind == "object":
        return ".".join(node.name.split(".")[-2:])
    return _GO_SCALARS.get(node.kind, "interface {}")


class Table:
    """Definitions by name, each parsed when first used."""

    def __init__(self, lines: Mapping[str, bytes]) -> None:
        self._lines = lines
        self._types: dict[str, Type] = {}

    def type_of(self, name: str) -> Type:
        """Return the type of a definition; raises KeyError where there is none."""
        found = self._types.get(name)
        if found is None:
            found = self._types[name] = Type(self.definition(name), self.type_of, name)
        return found

    def definition(self, name: str) -> dict[str, Any]:
        """Return the schema of a definition, parsed anew."""
        schema: dict[str, Any] = orjson.loads(self._lines[name])
        return schema

    def __contains__(self, name: object) -> bool:
        return name in self._lines

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)


def read_lines(file_name: str) -> dict[str, bytes]:
    """Return the lines of a table that the build made; raises FileNotFoundError without it."""
    text = zlib.decompress(files(__package__).joinpath(file_name).read_bytes())
    pairs = (line.partition(b"\t") for line in text.split(b"\n"))
    return {name.decode(): line for name, _, line in pairs}


@functools.cache
def builtin() -> Table:
    """Return the table of the built-in kinds."""
    return Table(read_lines("schema.bin"))


def type_of(name: str) -> Type:
    """Return the type of a built-in definition, such as `io.k8s.api.core.v1.Pod`."""
    return builtin().type_of(name)

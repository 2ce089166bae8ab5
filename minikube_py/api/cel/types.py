"""Types of expressions: what the checker reasons about and what `type(x)` returns.

A type is a name with parameters. `dyn` fits everything; a single capital letter stands for a type
that an overload leaves open. An object type is a map whose keys the schema knows; its fields may be
any mapping, so that a schema can describe itself lazily.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class Type:
    """A type; two are equal where names and parameters are."""

    name: str
    parameters: tuple["Type", ...] = ()
    fields: "Mapping[str, Type] | None" = field(default=None, compare=False, repr=False)
    list_keys: tuple[str, ...] | None = field(default=None, compare=False, repr=False)
    """Of a list that is a map by the keys of its elements; () for a set, None for a plain list."""

    def __str__(self) -> str:
        name = _SHOWN.get(self.name, self.name)
        if not self.parameters:
            return name
        return f"{name}({', '.join(map(str, self.parameters))})"

    @property
    def declared(self) -> str:
        """The type as its declaration names it: `null_type` where the checker says null."""
        if not self.parameters:
            return self.name
        return f"{self.name}({', '.join(each.declared for each in self.parameters)})"

    @property
    def is_open(self) -> bool:
        """Whether an overload leaves this type open."""
        return len(self.name) == 1


_SHOWN: Final = {
    "google.protobuf.Timestamp": "timestamp",
    "google.protobuf.Duration": "duration",
    "null_type": "null",
}
DYN: Final = Type("dyn")
BOOL: Final = Type("bool")
INT: Final = Type("int")
UINT: Final = Type("uint")
DOUBLE: Final = Type("double")
STRING: Final = Type("string")
BYTES: Final = Type("bytes")
NULL: Final = Type("null_type")
TIMESTAMP: Final = Type("google.protobuf.Timestamp")
DURATION: Final = Type("google.protobuf.Duration")
A: Final = Type("A")
B: Final = Type("B")


def list_of(element: Type, *, keys: tuple[str, ...] | None = None) -> Type:
    """Return the type of lists of such elements; `keys` are those of a set or a map."""
    return Type("list", (element,), None, keys)


def map_of(key: Type, value: Type) -> Type:
    """Return the type of maps."""
    return Type("map", (key, value))


def optional_of(value: Type) -> Type:
    """Return the type of optional values."""
    return Type("optional_type", (value,))


def type_of(value: Type) -> Type:
    """Return the type of a type."""
    return Type("type", (value,))


def object_of(name: str, fields: Mapping[str, Type]) -> Type:
    """Return the type of objects with known fields; field names are escaped as CEL needs them."""
    return Type(name, (), fields)


NAMED: Final[Mapping[str, Type]] = {
    "bool": BOOL, "int": INT, "uint": UINT, "double": DOUBLE, "string": STRING, "bytes": BYTES,
    "null_type": NULL, "list": list_of(DYN), "map": map_of(DYN, DYN), "type": type_of(DYN),
    "optional_type": optional_of(DYN), "google.protobuf.Timestamp": TIMESTAMP,
    "google.protobuf.Duration": DURATION, "dyn": DYN,
}  # fmt: skip
"""Types that an expression may name."""


def resolve(type_: Type, bound: Mapping[str, Type]) -> Type:
    """Replace what is open by what it was bound to; dyn where nothing bound it."""
    if type_.is_open:
        return bound.get(type_.name, DYN)
    if not type_.parameters:
        return type_
    return Type(type_.name, tuple(resolve(each, bound) for each in type_.parameters))


def accepts(target: Type, value: Type, bound: dict[str, Type]) -> bool:
    """Tell whether a value of a type fits where `target` is wanted; binds open types."""
    if target.is_open:
        return _bind(target, value, bound)
    if DYN in (target, value):
        return True
    if target.name != value.name:
        return _is_nullable(target, value) or _is_map(target, value, bound)
    if not target.parameters or not value.parameters:
        return True
    pairs = zip(target.parameters, value.parameters, strict=True)
    return target.name == "type" or all(accepts(one, other, bound) for one, other in pairs)


def _bind(target: Type, value: Type, bound: dict[str, Type]) -> bool:
    known = bound.get(target.name)
    if known is None or known == DYN:
        bound[target.name] = value
        return True
    if value == NULL and known != NULL:
        return _is_nullable(known, value)
    if known == NULL and _is_nullable(value, known):
        bound[target.name] = value
        return True
    return accepts(known, value, bound)


def _is_nullable(target: Type, value: Type) -> bool:
    return value == NULL and (target.fields is not None or target in (TIMESTAMP, DURATION))


def _is_map(target: Type, value: Type, bound: dict[str, Type]) -> bool:
    """An object is no map for upstream's checker; for an open struct it is one."""
    return (
        target.name == "map"
        and value.fields is not None
        and accepts(target.parameters[0], STRING, bound)
        and accepts(target.parameters[1], DYN, bound)
    )


def join(one: Type, other: Type) -> Type:
    """Return the type of a value that may be of either type."""
    if one == other or (other == NULL and _is_nullable(one, other)):
        return one
    if one == NULL and _is_nullable(other, one):
        return other
    bound: dict[str, Type] = {}
    if one.name == other.name and accepts(one, other, bound):
        return Type(one.name, tuple(map(join, one.parameters, other.parameters)), one.fields)
    return DYN

"""What a schema declares to expressions: the types of its values, and how large they can be.

What a schema does not describe is not there for expressions: fields beyond the known ones of an
object, arrays without items. Sizes are bounded by the schema, else by what fits into a request.
The figures are those of apiserver's `pkg/cel/common` and `pkg/cel/limits.go`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from minikube_py.api.cel import types
from minikube_py.api.cel.escaping import escape
from minikube_py.api.cel.types import Type
from minikube_py.api.object import Obj

REQUEST_BYTES_MAX: Final = 3 * 1024 * 1024
_BYTES_A_CHARACTER: Final = 4
_QUOTES: Final = 2
_EMBEDDED: Final = "x-kubernetes-embedded-resource"
_EITHER: Final = "x-kubernetes-int-or-string"
_ROOT_FIELDS: Final[Obj] = {
    "apiVersion": {"type": "string"},
    "kind": {"type": "string"},
    "metadata": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "generateName": {"type": "string"}},
    },
}
_FORMATS: Final[Mapping[str, tuple[Type, int, int]]] = {
    "date": (types.TIMESTAMP, 12, 12),
    "date-time": (types.TIMESTAMP, 21, 32),
    "duration": (types.DURATION, 3, 32),
}
"""Of a text with a format: its type, the bytes that it takes at least and at most."""


@dataclass(frozen=True)
class Declaration:
    """A value as a schema describes it."""

    type: Type
    most: int = 0
    """Elements or characters that it has at most; 0 for what has none."""
    least_bytes: int = 2
    """What it takes in JSON."""
    inner: "Declaration | None" = None
    """Of the elements of a list or the values of a map."""
    fields: "Mapping[str, Declaration]" = field(default_factory=dict)
    """By the name that expressions use."""

    @property
    def times_at_most(self) -> int:
        """How often such a value fits into a request."""
        return REQUEST_BYTES_MAX // (self.least_bytes + 1)


class DeclaredSizes:
    """The sizes of what an expression over `self` sees (`cel.estimate.Sizes`)."""

    def __init__(self, root: Declaration) -> None:
        self._root = root

    def most(self, path: tuple[str, ...]) -> int | None:
        """Return how large what stands at a path is at most; None where nothing is known."""
        place: Declaration | None = self._root
        for name in path[1:]:
            if place is None:
                return None
            place = self._below(place, name)
        return place.most if place is not None else None

    @staticmethod
    def _below(place: Declaration, name: str) -> Declaration | None:
        if name in {"@items", "@values"}:
            return place.inner
        if name == "@keys":
            return _KEY if place.type.name == "map" else None
        return place.fields.get(name)


_KEY: Final = Declaration(types.STRING)
_PLAIN: Final[Mapping[str, Declaration]] = {
    "integer": Declaration(types.INT, 0, 1),
    "number": Declaration(types.DOUBLE, 0, 1),
    "boolean": Declaration(types.BOOL, 0, 4),
}


def with_root_fields(node: Obj) -> Obj:
    """Return a schema with the fields of every object that rules may read."""
    return {**node, "properties": {**(node.get("properties") or {}), **_ROOT_FIELDS}}


def declaration_of(node: Obj, *, root: bool = False) -> Declaration | None:
    """Return what a schema declares; None for what expressions do not see."""
    if node.get(_EITHER):
        return Declaration(types.DYN, _text_most(node), 1)
    if root or node.get(_EMBEDDED):
        node = with_root_fields(node)
    match node.get("type"):
        case "array":
            return _array(node)
        case "object":
            return _map(node) if isinstance(_others(node), Mapping) else _object(node)
        case "string":
            return _text(node)
    return _PLAIN.get(node.get("type") or "")


def _others(node: Obj) -> Any:
    return node.get("additionalProperties")


def _array(node: Obj) -> Declaration | None:
    items = node.get("items")
    inner = declaration_of(items) if isinstance(items, Mapping) else None
    if inner is None:
        return None
    most = node.get("maxItems")
    if most is None:
        most = (REQUEST_BYTES_MAX - 2) // (inner.least_bytes + 1)
    return Declaration(_list_type(node, inner.type), max(most, 0), 2, inner)


def _list_type(node: Obj, inner: Type) -> Type:
    kind = node.get("x-kubernetes-list-type")
    if kind == "set":
        return types.list_of(inner, keys=())
    if kind == "map":
        return types.list_of(inner, keys=tuple(node.get("x-kubernetes-list-map-keys") or ()))
    return types.list_of(inner)


def _map(node: Obj) -> Declaration | None:
    inner = declaration_of(_others(node))
    if inner is None:
        return None
    most = node.get("maxProperties")
    if most is None:
        most = (REQUEST_BYTES_MAX - 2) // (inner.least_bytes + 6)
    return Declaration(types.map_of(types.STRING, inner.type), max(most, 0), 2, inner)


def _object(node: Obj) -> Declaration:
    required = node.get("required") or ()
    fields, least = {}, 2
    for name, property_, declared in _properties(node):
        escaped = escape(name)
        if escaped is not None:
            fields[escaped] = declared
        if name in required and property_.get("default") is None:
            least += len(name) + declared.least_bytes + 4
    type_ = types.object_of("object", {name: each.type for name, each in fields.items()})
    return Declaration(type_, 0, least, None, fields)


def _properties(node: Obj) -> Iterator[tuple[str, Obj, Declaration]]:
    for name, inner in (node.get("properties") or {}).items():
        declared = declaration_of(inner)
        if declared is not None:
            yield name, inner, declared


def _text(node: Obj) -> Declaration:
    form = node.get("format", "")
    if form in _FORMATS:
        type_, least, most = _FORMATS[form]
        return Declaration(type_, most, least)
    if form == "byte":
        given = node.get("maxLength")
        most = REQUEST_BYTES_MAX - _QUOTES if given is None else max(given, 0)
        return Declaration(types.BYTES, most, _QUOTES)
    return Declaration(types.STRING, _text_most(node), _QUOTES)


def _text_most(node: Obj) -> int:
    """Return the bytes of the longest text: a character may take four."""
    given = node.get("maxLength")
    if given is not None:
        return max(int(given), 0) * _BYTES_A_CHARACTER
    texts = [each for each in node.get("enum") or () if isinstance(each, str)]
    if node.get("enum") and not node.get(_EITHER):
        return max((len(each.encode()) for each in texts), default=0)
    return REQUEST_BYTES_MAX - _QUOTES

"""The slow road of decode-checking: says what is wrong with an object and where.

It knows at each value the path in the document and what Go's decoder would know: the struct it is
in and the fields that led there, without list indices. The texts are those of `encoding/json` as
kept by `sigs.k8s.io/json`. A value of the wrong type is remembered and decoding goes on (the first
one is reported); a value that a type of its own refuses (time, quantity) ends it at once.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from minikube_py.api import quantity, times
from minikube_py.api.object import Obj
from minikube_py.api.schema import DROP, Type, type_of

_MICRO_LAYOUT = "2006-01-02T15:04:05.000000Z07:00"
_MICRO = re.compile(r".*:\d\d[.,]\d{6}(Z|[+-]\d\d:\d\d)", re.ASCII)


_APIEXTENSIONS = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."
SCHEMA = f"{_APIEXTENSIONS}JSONSchemaProps"
SCHEMA_OR_ARRAY, SCHEMA_OR_BOOL = f"{SCHEMA}OrArray", f"{SCHEMA}OrBool"
"""Types that OpenAPI says nothing of, but that Go's decoder reads as schemas."""


class DecodeError(ValueError):
    """A body that does not fit its type; the text is upstream's, without the prefix."""


class _Place(NamedTuple):
    """Where a value stands."""

    path: str
    struct: str
    """The Go name of the innermost struct."""
    fields: tuple[str, ...]
    """The fields that lead here, as Go's errors list them."""

    def child(self, name: str, struct: str) -> "_Place":
        path = f"{self.path}.{name}" if self.path else name
        return _Place(path, struct, (*self.fields, name))

    def key(self, name: str) -> "_Place":
        return self._replace(path=f"{self.path}.{name}" if self.path else name)

    def item(self, number: int) -> "_Place":
        return self._replace(path=f"{self.path}[{number}]")


def report(kind: Type, obj: Obj) -> tuple[Obj, list[str]]:
    """Return the pruned object and the paths of its unknown fields.

    Raises:
        DecodeError: a value is of the wrong type.

    """
    walk = _Walk()
    pruned = walk.value(kind, obj, _Place("", "", ()))
    if walk.error is not None:
        raise DecodeError(walk.error)
    return pruned, walk.unknown


class _Walk:
    """One walk over an object."""

    def __init__(self) -> None:
        self.unknown: list[str] = []
        self.error: str | None = None

    def value(self, kind: Type, value: Any, place: _Place) -> Any:
        """Return the value as it is stored; null is the type's zero."""
        if value is None:
            return _ZEROS.get(kind.kind)
        match kind.kind:
            case "object":
                return self._object(kind, value, place)
            case "map":
                return self._map(kind, value, place)
            case "list":
                return self._list(kind, value, place)
            case "any":
                return self._any(kind, value, place)
            case name:
                return _SCALARS[name](self, kind, value, place)

    def _any(self, kind: Type, value: Any, place: _Place) -> Any:
        """Look into schemas of custom resources, which may be something else in places."""
        if kind.name not in (SCHEMA_OR_ARRAY, SCHEMA_OR_BOOL):
            return value
        if isinstance(value, Mapping):
            return self._object(type_of(SCHEMA), value, place)
        if kind.name == SCHEMA_OR_BOOL:
            if not isinstance(value, bool):
                self.error = self.error or "boolean or JSON schema expected"
            return value
        if not isinstance(value, list | tuple):
            return DROP
        return [self.value(type_of(SCHEMA), inner, place.item(i)) for i, inner in enumerate(value)]

    def _object(self, kind: Type, value: Any, place: _Place) -> Any:
        if not isinstance(value, Mapping):
            return self.mismatch(_word(value), kind.go, place)
        struct = kind.go.rpartition(".")[2]
        out = {}
        for name, inner in value.items():
            node = kind.field(name)
            below = place.child(name, struct)
            if node is None:
                if kind.preserve_unknown:
                    out[name] = inner
                else:
                    self.unknown.append(below.path)
                continue
            checked = DROP if inner is None else self.value(node, inner, below)
            if checked is not DROP and (checked or node.emit not in ("omit", "zero")):
                out[name] = checked
        return out

    def _map(self, kind: Type, value: Any, place: _Place) -> Any:
        if not isinstance(value, Mapping):
            return self.mismatch(_word(value), kind.go, place)
        values = kind.values
        return {key: self.value(values, inner, place.key(key)) for key, inner in value.items()}

    def _list(self, kind: Type, value: Any, place: _Place) -> Any:
        if not isinstance(value, list | tuple):
            return self.mismatch(_word(value), kind.go, place)
        items = kind.items
        return [self.value(items, inner, place.item(i)) for i, inner in enumerate(value)]

    def mismatch(self, word: str, go: str, place: _Place) -> Any:
        """Remember that a value of this sort cannot go into that Go type."""
        if self.error is None:
            self.error = mismatch_text(word, go, place.struct, place.fields)
        return DROP


def mismatch_text(word: str, go: str, struct: str, fields: tuple[str, ...]) -> str:
    """Return Go's text for a value of the wrong type."""
    if not struct and not fields:
        return f"json: cannot unmarshal {word} into Go value of type {go}"
    where = ".".join((struct, *fields))
    return f"json: cannot unmarshal {word} into Go struct field {where} of type {go}"


def _word(value: Any, *, exact: bool = False) -> str:
    """Name the sort of a JSON value as Go does; `exact` adds the number."""
    match value:
        case bool():
            return "bool"
        case int() | float():
            return f"number {value!r}" if exact else "number"
        case str():
            return "string"
        case Mapping():
            return "object"
    return "array"


def _string(walk: _Walk, kind: Type, value: Any, place: _Place) -> Any:
    return value if isinstance(value, str) else walk.mismatch(_word(value), kind.go, place)


def _boolean(walk: _Walk, kind: Type, value: Any, place: _Place) -> Any:
    return value if isinstance(value, bool) else walk.mismatch(_word(value), kind.go, place)


def _number(walk: _Walk, kind: Type, value: Any, place: _Place) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    return walk.mismatch(_word(value), kind.go, place)


def _integer(bits: int) -> Callable[[_Walk, Type, Any, _Place], Any]:
    limit = 1 << bits - 1

    def integer(walk: _Walk, kind: Type, value: Any, place: _Place) -> Any:
        if type(value) is int and -limit <= value < limit:
            return value
        return walk.mismatch(_word(value, exact=True), kind.go, place)

    return integer


def _bytes(walk: _Walk, kind: Type, value: Any, place: _Place) -> Any:
    if not isinstance(value, str):
        return walk.mismatch(_word(value), kind.go, place)
    # Go's decoder skips line ends inside base64 and encodes without them.
    text = value.replace("\n", "").replace("\r", "")
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        walk.error = walk.error or f"illegal base64 data at input byte {_illegal_byte(value)}"
        return DROP
    return text


_QUARTET = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


def _illegal_byte(text: str) -> int:
    """Return where Go says that base64 goes wrong."""
    good = _QUARTET.match(text)
    end = good.end() if good else 0
    alphabet = re.compile(r"[A-Za-z0-9+/]*").match(text, end)
    return alphabet.end() if alphabet else end


def _time(_walk: _Walk, _kind: Type, value: Any, place: _Place) -> Any:
    if not isinstance(value, str):
        raise DecodeError(mismatch_text(_word(value), "string", place.struct, place.fields))
    try:
        return times.canonical(value)
    except ValueError as error:
        raise DecodeError(str(error)) from None


def _microtime(_walk: _Walk, _kind: Type, value: Any, place: _Place) -> Any:
    if not isinstance(value, str):
        raise DecodeError(mismatch_text(_word(value), "string", place.struct, place.fields))
    try:
        canonical = times.canonical_micros(value)
    except ValueError as error:
        raise DecodeError(str(error).replace(times.LAYOUT, _MICRO_LAYOUT)) from None
    if _MICRO.fullmatch(value) is None:
        rest = value[19:]
        raise DecodeError(
            f'parsing time "{value}" as "{_MICRO_LAYOUT}": cannot parse "{rest}" as ".000000"'
        )
    return canonical


def _quantity(_walk: _Walk, _kind: Type, value: Any, _place: _Place) -> Any:
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError(quantity.FORMAT_ERROR)  # noqa: TRY301, TRY004 -- upstream's way
        return quantity.canonical(value)
    except ValueError as error:
        raise DecodeError(str(error)) from None


def _int_or_string(_walk: _Walk, _kind: Type, value: Any, place: _Place) -> Any:
    if isinstance(value, str) or (type(value) is int and -0x8000_0000 <= value <= 0x7FFF_FFFF):
        return value
    word = _word(value, exact=True)
    raise DecodeError(mismatch_text(word, "int32", place.struct, place.fields))


_SCALARS: Mapping[str, Callable[[_Walk, Type, Any, _Place], Any]] = {
    "string": _string,
    "int32": _integer(32),
    "int64": _integer(64),
    "number": _number,
    "boolean": _boolean,
    "bytes": _bytes,
    "time": _time,
    "microtime": _microtime,
    "quantity": _quantity,
    "int-or-string": _int_or_string,
}
_ZEROS: Mapping[str, Any] = {
    "object": {},
    "string": "",
    "bytes": "",
    "int32": 0,
    "int64": 0,
    "number": 0,
    "boolean": False,
    "quantity": "0",
    "int-or-string": 0,
}
"""What Go makes of a null in a list or as a map's value; null for the rest."""

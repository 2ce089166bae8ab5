"""Decode-checking: one pass that checks types, prunes unknown fields and drops what is empty.

Two roads give the same result. The usual one is compiled: per type a closure that walks a sound
object and returns it (the same object where nothing had to be dropped). Whatever it does not
expect makes it give up, and the slow road (`schema_report`) walks again, knowing where it is, and
makes the error or the list of unknown fields. What is dropped is what Go's decoding into a struct
and encoding it again would lose: nulls, and empty values of fields that are left out when empty.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from minikube_py.api import quantity, schema_report
from minikube_py.api.object import Obj
from minikube_py.api.schema import DROP, Type, type_of
from minikube_py.api.schema_report import SCHEMA, SCHEMA_OR_ARRAY, SCHEMA_OR_BOOL

Checker = Callable[[Any], Any]
"""Returns the value, a pruned copy or DROP; raises Surprise."""


class Surprise(Exception):  # noqa: N818 -- not an error yet: the slow road decides
    """The compiled check met what it does not handle."""


class Checked(NamedTuple):
    """A decoded object and the paths of the fields that its type does not have."""

    obj: Obj
    unknown: list[str]


def check(kind: Type, obj: Obj) -> Checked:
    """Check an object against its type.

    Raises:
        DecodeError: a value is of the wrong type; the text is that of Go's decoder.

    """
    try:
        return Checked(checker_of(kind)(obj), [])
    except Surprise:
        return Checked(*schema_report.report(kind, obj))


def checker_of(kind: Type) -> Checker:
    """Return the compiled check of a type; compiled when first asked for."""
    if kind.checker is None:
        kind.checker = checker_of(kind.base) if kind.base is not None else _compile(kind)
    return kind.checker


def _compile(kind: Type) -> Checker:
    match kind.kind:
        case "object":
            return _object(kind)
        case "map":
            return _map(kind)
        case "list":
            return _list(kind)
        case "any" if kind.name in (SCHEMA_OR_ARRAY, SCHEMA_OR_BOOL):
            return _schema_or
        case name:
            return _SCALARS[name]


class _Fields(dict[str, Checker]):
    """The checks of an object's fields, each compiled when the field is first met."""

    def __init__(self, kind: Type) -> None:
        super().__init__()
        self._kind = kind

    def __missing__(self, name: str) -> Checker:
        node = self._kind.field(name)
        if node is not None:
            check_field = self[name] = _field(node)
            return check_field
        if not self._kind.preserve_unknown:
            raise Surprise
        return _kept


def _object(kind: Type) -> Checker:
    fields = _Fields(kind)

    def check_object(value: Any) -> Any:
        if type(value) is not dict and not isinstance(value, Mapping):
            raise Surprise
        copy: dict[str, Any] | None = None
        for name, inner in value.items():
            check_field = fields[name]
            if check_field is _string_or_drop and inner and type(inner) is str:
                continue  # the most frequent field by far
            checked = check_field(inner) if inner is not None or check_field is _kept else DROP
            if checked is not inner:
                copy = dict(value) if copy is None else copy
                copy[name] = checked
                if checked is DROP:
                    del copy[name]
        return value if copy is None else copy

    return check_object


def _field(kind: Type) -> Checker:
    """Return the check of a field that is not null: empty is absent where the field says so."""
    check_value = checker_of(kind)
    if kind.emit == "omit" and kind.kind == "string":
        return _string_or_drop
    return _or_drop(check_value) if kind.emit in ("omit", "zero") else check_value


def _or_drop(check_value: Checker) -> Checker:
    def or_drop(value: Any) -> Any:
        return check_value(value) or DROP

    return or_drop


def _string_or_drop(value: Any) -> Any:
    if type(value) is str:
        return value or DROP
    raise Surprise


def _map(kind: Type) -> Checker:
    check_value = checker_of(kind.values)

    def check_map(value: Any) -> Any:
        if type(value) is not dict and not isinstance(value, Mapping):
            raise Surprise
        copy: dict[str, Any] | None = None
        for name, inner in value.items():
            checked = check_value(inner)
            if checked is not inner:
                copy = dict(value) if copy is None else copy
                copy[name] = checked
        return value if copy is None else copy

    return check_map


def _list(kind: Type) -> Checker:
    check_item: Checker | None = None

    def check_list(value: Any) -> Any:
        nonlocal check_item
        if type(value) is not list and type(value) is not tuple:
            raise Surprise
        if check_item is None:  # at the first use, so that a type may hold itself
            check_item = checker_of(kind.items)
        copy: list[Any] | None = None
        for index, inner in enumerate(value):
            checked = check_item(inner)
            if checked is not inner:
                copy = list(value) if copy is None else copy
                copy[index] = checked
        return value if copy is None else copy

    return check_list


# --- scalars --------------------------------------------------------------------------------------

_TIME = re.compile(
    r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{6})?Z",
    re.ASCII,
)
"""Times that are surely right and canonical; the slow road looks at the others (the 31st)."""


def _schema_or(value: Any) -> Any:
    """Check a schema inside the schema of a custom resource; all else goes the slow road."""
    if not isinstance(value, Mapping):
        raise Surprise
    return checker_of(type_of(SCHEMA))(value)


def _any(value: Any) -> Any:
    return value


def _kept(value: Any) -> Any:
    """Keep a field that the type does not have, also null."""
    return value


def _string(value: Any) -> Any:
    if type(value) is not str:
        raise Surprise
    return value


def _int32(value: Any) -> Any:
    if type(value) is not int or not -0x8000_0000 <= value <= 0x7FFF_FFFF:
        raise Surprise
    return value


def _int64(value: Any) -> Any:
    if type(value) is not int or not -(1 << 63) <= value < 1 << 63:
        raise Surprise
    return value


def _number(value: Any) -> Any:
    if type(value) is not float and type(value) is not int:
        raise Surprise
    return value


def _boolean(value: Any) -> Any:
    if type(value) is not bool:
        raise Surprise
    return value


def _bytes(value: Any) -> Any:
    if type(value) is not str:
        raise Surprise
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise Surprise from None
    return value


def _time(value: Any) -> Any:
    if type(value) is not str or len(value) != 20 or not _TIME.fullmatch(value):
        raise Surprise
    return value


def _microtime(value: Any) -> Any:
    if type(value) is not str or len(value) != 27 or not _TIME.fullmatch(value):
        raise Surprise
    return value


def _quantity(value: Any) -> Any:
    if type(value) is not str:
        raise Surprise
    try:
        canonical = quantity.canonical(value)
    except ValueError:
        raise Surprise from None
    return value if canonical == value else canonical


def _int_or_string(value: Any) -> Any:
    return value if type(value) is str else _int32(value)


_SCALARS: Mapping[str, Checker] = {
    "string": _string,
    "int32": _int32,
    "int64": _int64,
    "number": _number,
    "boolean": _boolean,
    "bytes": _bytes,
    "time": _time,
    "microtime": _microtime,
    "quantity": _quantity,
    "int-or-string": _int_or_string,
    "any": _any,
}

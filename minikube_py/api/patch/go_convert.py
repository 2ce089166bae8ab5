"""Why Go cannot make an object of a patched map: apimachinery's `DefaultUnstructuredConverter`.

A strategic merge patch is applied to maps, which are then put into structs field by field; the
first value that does not fit ends it, in words of their own.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from minikube_py.api.schema import Type

_KINDS: Final = {"string": "string", "boolean": "bool", "int32": "int32", "int64": "int64"}
"""Go's kinds of the scalar types."""
_CONTAINERS: Final = {"object": "struct from:", "map": "map from", "list": "slice from"}


def conversion_error(kind: Type, value: Any) -> str:
    """Return the text of the error, "" where the converter finds none."""
    return next(iter(_errors(kind, value)), "")


def _errors(kind: Type, value: Any) -> Iterable[str]:
    given = _go_kind(value)
    if not given:
        return
    if kind.kind in _CONTAINERS:
        wanted = "slice" if kind.kind == "list" else "map"
        if given != wanted:
            yield f"cannot restore {_CONTAINERS[kind.kind]} {given}"
        elif kind.kind == "list":
            for item in value:
                yield from _errors(kind.items, item)
        else:
            yield from _in_map(kind, value)
    elif kind.kind == "bytes" and given != "string":
        yield f"cannot restore slice from {given}"
    elif kind.kind in _KINDS and not _fits(_KINDS[kind.kind], value):
        yield _misfit(kind, given)


def _in_map(kind: Type, value: Mapping[str, Any]) -> Iterable[str]:
    names = kind.field_names if kind.kind == "object" else value
    for name in names:
        node = kind.field(name)
        if node is not None and name in value:
            yield from _errors(node, value[name])


def _fits(wanted: str, value: Any) -> bool:
    given = _go_kind(value)
    if wanted.startswith("int"):
        return given == "int64" or (given == "float64" and float(value).is_integer())
    return given == wanted


def _misfit(kind: Type, given: str) -> str:
    """Return what Go says of a scalar: numbers could be converted, if not so, all else cannot."""
    wanted = _KINDS[kind.kind]
    numbers = given in ("int64", "float64") and wanted.startswith("int")
    if numbers or (given == "int64" and wanted == "string"):
        return f"cannot convert {given} to {kind.go}"
    return f"unrecognized type: {wanted}"


_GO_KINDS: Final = {bool: "bool", int: "int64", float: "float64", str: "string", type(None): ""}


def _go_kind(value: Any) -> str:
    """Return Go's kind of a JSON value, "" for null."""
    scalar = _GO_KINDS.get(type(value))
    if scalar is not None:
        return scalar
    return "map" if isinstance(value, Mapping) else "slice"

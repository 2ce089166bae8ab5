"""What is wrong with an applied configuration, in the words of structured-merge-diff."""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from minikube_py.api.field_sets import element_text
from minikube_py.api.field_walks import MissingKeyError, element, is_leaf
from minikube_py.api.schema import Type

_NUMERIC = ("int32", "int64", "number")
_TEXT = ("string", "bytes", "time", "microtime")


def problems(kind: Type, value: Any, path: str = "") -> Iterator[str]:
    """Yield what does not fit the type: unknown fields, wrong kinds of values, duplicate keys."""
    if value is None:
        return
    match kind.kind:
        case "object" | "map":
            yield from _in_map(kind, value, path)
        case "list":
            yield from _in_list(kind, value, path)
        case _:
            expected = _expected(kind, value)
            if expected:
                yield f"{path}: expected {expected}, got {_go(value)}"


def _in_map(kind: Type, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{path}: expected map, got {_go(value)}"
        return
    for name, inner in value.items():
        node = kind.field(name)
        where = f"{path}.{name}"
        if node is not None:
            yield from problems(node, inner, where)
        elif not kind.preserve_unknown:
            yield f"{where}: field not declared in schema"


def _in_list(kind: Type, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, list | tuple):
        yield f"{path}: expected list, got {_go(value)}"
        return
    seen: set[str] = set()
    for index, item in enumerate(value):
        key = f"i:{index}"
        if not is_leaf(kind):
            try:
                key = element(kind, item)
            except MissingKeyError as error:
                yield f"{path}: element {index}: {error}"
                continue
            if key in seen:
                yield f"{path}: duplicate entries for key {element_text(key)}"
                continue
            seen.add(key)
        yield from problems(kind.items, item, path + element_text(key))


def _expected(kind: Type, value: Any) -> str:
    """Return the sort of scalar that a type wants, "" where the value is one."""
    if kind.kind in _NUMERIC:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        return "" if fits else "numeric (int or float)"
    if kind.kind in _TEXT:
        return "" if isinstance(value, str) else "string"
    if kind.kind == "boolean":
        return "" if isinstance(value, bool) else "boolean"
    if kind.kind in ("quantity", "int-or-string"):
        return "scalar" if isinstance(value, Mapping | list | tuple) else ""
    return ""


def _go(value: Any) -> str:
    return f"&value.valueUnstructured{{Value:{_go_syntax(value)}}}"


def _go_syntax(value: Any) -> str:
    """Write a value as Go's `%#v` does."""
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_go_syntax(k)}:{_go_syntax(value[k])}" for k in sorted(value))
        return f"map[string]interface {{}}{{{inner}}}"
    if isinstance(value, list | tuple):
        return f"[]interface {{}}{{{', '.join(map(_go_syntax, value))}}}"
    return "interface {}(nil)" if value is None else orjson.dumps(value).decode()

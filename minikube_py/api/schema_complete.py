"""The stored form of an object: with the zero values that upstream always writes.

Go writes a field that is not marked `omitempty`, and every embedded struct, whether it was given
or not: `status: {}`, `strategy: {}`, `rules: null`. Clients and managed fields show that, so that
an object is completed once, after defaults and before it is stored. Decode-checking has dropped
the empty values of the other fields, so `check` and `complete` together are what decoding into
the Go struct and encoding it would give.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from minikube_py.api.object import Obj
from minikube_py.api.schema import Type

Completer = Callable[[Any], Any]

_CONTAINERS: Final = frozenset({dict, list, tuple})
"""The classes of what may have something to complete inside."""
_ZEROS: Mapping[str, Any] = {
    "string": "",
    "int32": 0,
    "int64": 0,
    "number": 0,
    "boolean": False,
    "quantity": "0",
    "int-or-string": 0,
}


def complete(kind: Type, obj: Obj) -> Obj:
    """Return the object with what its type always writes; the same object where nothing lacks."""
    completer = completer_of(kind)
    done: Obj = obj if completer is None else completer(obj)
    return done


def completer_of(kind: Type) -> Completer | None:
    """Return the compiled completion of a type, None where it can lack nothing."""
    if kind.base is not None:
        return completer_of(kind.base)
    if kind.completer is None:
        kind.completer = (_later(kind),)  # found by a type that holds itself
        found = _compile(kind)
        kind.completer = (found,) if found is not None else ()
    return kind.completer[0] if kind.completer else None


def _later(kind: Type) -> Completer:
    def later(value: Any) -> Any:
        completer = completer_of(kind)
        return value if completer is None else completer(value)

    return later


def _compile(kind: Type) -> Completer | None:
    match kind.kind:
        case "object":
            return _object(kind)
        case "map":
            values = completer_of(kind.values)
            return None if values is None else _map(values)
        case "list":
            items = completer_of(kind.items)
            return None if items is None else _list(items)
    return None


def _object(kind: Type) -> Completer | None:
    always: dict[str, Any] = {}
    nested: dict[str, Completer] = {}
    for name in kind.field_names:
        node = kind.field(name)
        if node is None:
            continue
        completer = completer_of(node)
        if completer is not None:
            nested[name] = completer
        if node.emit in ("always", "null"):
            always[name] = None if node.emit == "null" else _zero(node, completer)
    if not always and not nested:
        return None
    return _object_completer(always, nested)


def _zero(kind: Type, completer: Completer | None) -> Any:
    if kind.kind == "object":
        return {} if completer is None else completer({})
    return _ZEROS.get(kind.kind)


def _object_completer(always: Mapping[str, Any], nested: Mapping[str, Completer]) -> Completer:
    below = nested.get

    def complete_object(value: Any) -> Any:
        if value is None:
            return None
        copy: dict[str, Any] | None = None
        for name in always:
            if name not in value:
                copy = dict(value) if copy is None else copy
                copy[name] = always[name]
        for name, inner in value.items():
            if inner.__class__ not in _CONTAINERS or (completer := below(name)) is None:
                continue
            done = completer(inner)
            if done is not inner:
                copy = dict(value) if copy is None else copy
                copy[name] = done
        return value if copy is None else copy

    return complete_object


def _map(complete_value: Completer) -> Completer:
    def complete_map(value: Any) -> Any:
        copy: dict[str, Any] | None = None
        for name, inner in value.items():
            done = complete_value(inner)
            if done is not inner:
                copy = dict(value) if copy is None else copy
                copy[name] = done
        return value if copy is None else copy

    return complete_map


def _list(complete_item: Completer) -> Completer:
    def complete_list(value: Any) -> Any:
        copy: list[Any] | None = None
        for index, inner in enumerate(value):
            done = complete_item(inner)
            if done is not inner:
                copy = list(value) if copy is None else copy
                copy[index] = done
        return value if copy is None else copy

    return complete_list

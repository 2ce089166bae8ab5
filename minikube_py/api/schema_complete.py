"""The stored form of an object: with the zero values that upstream always writes.

Go writes a field that is not marked `omitempty`, and every embedded struct, whether it was given
or not: `status: {}`, `strategy: {}`, `rules: null`. Clients and managed fields show that, so that
an object is completed once, after defaults and before it is stored. Decode-checking has dropped
the empty values of the other fields, so `check` and `complete` together are what decoding into
the Go struct and encoding it would give. Protobuf, in which upstream stores the built-in kinds,
knows no difference between an empty list and none: `stored` completes and makes such lists null.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from minikube_py.api.object import Obj
from minikube_py.api.schema import Type

Completer = Callable[[Any], Any]

_CONTAINERS: Final = frozenset({dict, list, tuple})
"""The classes of what may have something to complete inside."""
_NULLABLE: Final = frozenset({"list", "map"})
"""The kinds of fields whose empty value protobuf does not keep."""
_ZEROS: Mapping[str, Any] = {
    "string": "",
    "int32": 0,
    "int64": 0,
    "number": 0,
    "boolean": False,
    "quantity": "0",
    "int-or-string": 0,
}


def complete(kind: Type, obj: Obj, known: Obj | None = None) -> Obj:
    """Return the object with what its type always writes; the same object where nothing lacks.

    What it shares with `known`, an object that is complete, is not looked at again.
    """
    return _done(completer_of(kind), obj, known)


def stored(kind: Type, obj: Obj, known: Obj | None = None) -> Obj:
    """Return the completed object as it comes back from upstream's storage; `known` as above."""
    return _done(completer_of(kind, storing=True), obj, known)


def _done(completer: Completer | None, obj: Obj, known: Obj | None) -> Obj:
    if completer is None:
        return obj
    changed = changed_fields(obj, known)
    done: Obj = completer(changed)
    if changed is obj:
        return done
    missing = {name: value for name, value in done.items() if name not in obj}
    return {**obj, **{name: done[name] for name in changed}, **missing}


def changed_fields(obj: Obj, known: Obj | None) -> Obj:
    """Return the fields of an object that are not the very same in another one."""
    if known is None:
        return obj
    changed = {name: v for name, v in obj.items() if name not in known or known[name] is not v}
    return obj if len(changed) == len(obj) else changed


def completer_of(kind: Type, *, storing: bool = False) -> Completer | None:
    """Return the compiled completion of a type, None where it can lack nothing."""
    if kind.base is not None:
        return completer_of(kind.base, storing=storing)
    found = kind.completers.get(storing)
    if found is None:
        kind.completers[storing] = (_later(kind, storing=storing),)  # for a type that holds itself
        compiled = _compile(kind, storing=storing)
        found = kind.completers[storing] = (compiled,) if compiled is not None else ()
    return found[0] if found else None


def _later(kind: Type, *, storing: bool) -> Completer:
    def later(value: Any) -> Any:
        completer = completer_of(kind, storing=storing)
        return value if completer is None else completer(value)

    return later


def _compile(kind: Type, *, storing: bool) -> Completer | None:
    match kind.kind:
        case "object":
            return _object(kind, storing=storing)
        case "map":
            values = completer_of(kind.values, storing=storing)
            return None if values is None else _map(values)
        case "list":
            items = completer_of(kind.items, storing=storing)
            return None if items is None else _list(items)
    return None


def _object(kind: Type, *, storing: bool) -> Completer | None:
    always: dict[str, Any] = {}
    nested: dict[str, Completer] = {}
    for name in kind.field_names:
        node = kind.field(name)
        if node is None:
            continue
        completer = completer_of(node, storing=storing)
        if completer is not None:
            nested[name] = completer
        if node.emit in ("always", "null"):
            always[name] = None if node.emit == "null" else _zero(node, completer)
        if storing and node.emit == "always" and node.kind in _NULLABLE:
            nested[name] = _null_if_empty(completer)
    if not always and not nested:
        return None
    return _object_completer(always, nested)


def _null_if_empty(completer: Completer | None) -> Completer:
    def null_if_empty(value: Any) -> Any:
        if not value:
            return None
        return value if completer is None else completer(value)

    return null_if_empty


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

"""List, map and object literals."""

from collections.abc import Iterable, Sequence
from typing import Any

from minikube_py.api.cel import ast, cost
from minikube_py.api.cel.context import Context
from minikube_py.api.cel.errors import CelEvaluationError, no_overload
from minikube_py.api.cel.escaping import unescape
from minikube_py.api.cel.frame import Compiled, Frame, Step
from minikube_py.api.cel.types import DYN, Type, accepts, join, list_of, map_of
from minikube_py.api.cel.values import Message, Optional, kind_of, to_key

_KEYS = frozenset({"int", "uint", "bool", "string"})


def compile_list(context: Context, node: ast.ListNode) -> Compiled:
    """Compile `[a, ?b]`."""
    parts = [context.compile(each.value) for each in node.elements]
    types = [
        _inner(part.type, optional=each.optional)
        for part, each in zip(parts, node.elements, strict=True)
    ]
    offsets = [each.value.offset for each in node.elements]
    type_ = list_of(_joined(context, types, offsets))
    constant = all(part.constant for part in parts)
    units = 0 if constant else cost.LIST
    steps = [(part.run, each.optional) for part, each in zip(parts, node.elements, strict=True)]

    def run(frame: Frame) -> Any:
        values = list(_present(frame, steps))
        frame.spend(units)
        return values

    return Compiled(type_, run, constant)


def _present(frame: Frame, steps: Sequence[tuple[Step, bool]]) -> Iterable[Any]:
    for step, optional in steps:
        value = step(frame)
        if not optional:
            yield value
        elif not isinstance(value, Optional):
            raise no_overload()
        elif value.present:
            yield value.value


def _inner(type_: Type, *, optional: bool) -> Type:
    return type_.parameters[0] if optional and type_.name == "optional_type" else type_


def _joined(context: Context, types: Sequence[Type], offsets: Sequence[int]) -> Type:
    """Return the type of all; with homogeneous literals the first one decides."""
    if not types:
        return DYN
    whole = types[0]
    for type_, offset in zip(types[1:], offsets[1:], strict=True):
        if context.homogeneous and not accepts(whole, type_, {}):
            message = f"expected type '{whole}' but found '{type_}'"
            return context.complain(offset, message).type
        whole = join(whole, type_)
    return whole


def compile_map(context: Context, node: ast.MapNode) -> Compiled:
    """Compile `{key: value}`."""
    keys = [context.compile(each.key) for each in node.entries]
    values = [context.compile(each.value) for each in node.entries]
    key_type = _joined(
        context, [key.type for key in keys], [each.key.offset for each in node.entries]
    )
    types = [
        _inner(value.type, optional=each.optional)
        for value, each in zip(values, node.entries, strict=True)
    ]
    value_type = _joined(context, types, [each.value.offset for each in node.entries])
    constant = all(part.constant for part in (*keys, *values))
    units = 0 if constant else cost.MAP
    steps = [
        (key.run, value.run, each.optional)
        for key, value, each in zip(keys, values, node.entries, strict=True)
    ]

    def run(frame: Frame) -> Any:
        made: dict[Any, Any] = {}
        for key, value, optional in steps:
            _put(made, _key(key(frame)), value(frame), optional=optional)
        frame.spend(units)
        return made

    return Compiled(map_of(key_type, value_type), run, constant)


def _key(value: Any) -> Any:
    if kind_of(value) not in _KEYS:
        raise CelEvaluationError("unsupported key type")
    return to_key(value)


def _put(made: dict[Any, Any], key: Any, value: Any, *, optional: bool) -> None:
    if optional:
        if not isinstance(value, Optional):
            raise no_overload()
        if not value.present:
            return
        value = value.value
    if key in made:
        raise CelEvaluationError("Failed with repeated key")
    made[key] = value


def compile_struct(context: Context, node: ast.Struct) -> Compiled:
    """Compile `Name{field: value}`."""
    type_ = context.structs.get(node.name)
    if type_ is None:
        message = f"undeclared reference to '{node.name}' (in container '')"
        return context.complain(node.offset, message)
    steps = []
    for entry in node.entries:
        value = context.compile(entry.value)
        name = entry.key.value if isinstance(entry.key, ast.Constant) else ""
        _check_field(context, type_, entry, value.type)
        steps.append((unescape(name), value.run, entry.optional))

    def run(frame: Frame) -> Any:
        made: dict[Any, Any] = {}
        for field, value, optional in steps:
            _put(made, field, value(frame), optional=optional)
        frame.spend(cost.STRUCT)
        return Message(node.name, made)

    return Compiled(type_, run)


def _check_field(context: Context, type_: Type, entry: ast.Entry, value: Type) -> None:
    name = entry.key.value if isinstance(entry.key, ast.Constant) else ""
    field = (type_.fields or {}).get(name)
    if field is None:
        context.complain(entry.key.offset, f"undefined field '{name}'")
    elif not accepts(field, _inner(value, optional=entry.optional), {}):
        message = f"expected type of field '{name}' is '{field}' but provided type is '{value}'"
        context.complain(entry.offset, message)

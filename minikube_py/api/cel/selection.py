"""`a.b`, `a.?b`, `has(a.b)`, `a[b]` and `a[?b]`."""

from collections.abc import Mapping
from typing import Any

from minikube_py.api.cel import ast
from minikube_py.api.cel.adaptation import Adapter, adapter
from minikube_py.api.cel.context import Context
from minikube_py.api.cel.errors import CelEvaluationError, no_overload
from minikube_py.api.cel.escaping import unescape
from minikube_py.api.cel.frame import Compiled, Frame, Step
from minikube_py.api.cel.types import BOOL, DYN, NAMED, Type, optional_of, type_of
from minikube_py.api.cel.values import NONE, Optional, hashable, kind_of, to_key


def compile_select(context: Context, node: ast.Select) -> Compiled:
    """Compile a selection; a chain of names may be the name of a type."""
    name = "" if node.test or node.optional else _dotted(node)
    found = NAMED.get(name) or context.structs.get(name)
    if found is not None:
        return Compiled(type_of(found), lambda _: found, constant=True)
    if name in context.scope:
        return context.compile(ast.Name(node.offset, name))
    operand = context.compile(node.operand)
    inner, is_optional = _unwrap(operand.type)
    type_ = _field_type(context, node, inner)
    field = unescape(node.field) if inner.fields is not None else node.field
    if node.test:
        return Compiled(BOOL, _test(operand.run, field))
    fit = adapter(type_) if inner.fields is not None else None
    if node.optional or is_optional:
        flat = type_.parameters[0] if type_.name == "optional_type" else type_
        return Compiled(optional_of(flat), _optional(operand.run, lambda _: field, fit))
    return Compiled(type_, _select(operand.run, field, fit))


def _dotted(node: ast.Node) -> str:
    """Return the name that a chain of names spells, or ""; a variable may have dots in its name."""
    if isinstance(node, ast.Name):
        return node.name
    if isinstance(node, ast.Select):
        head = _dotted(node.operand)
        return f"{head}.{node.field}" if head else ""
    return ""


def _unwrap(type_: Type) -> tuple[Type, bool]:
    if type_.name == "optional_type":
        return type_.parameters[0], True
    return type_, False


def _field_type(context: Context, node: ast.Select, type_: Type) -> Type:
    if type_ == DYN:
        return DYN
    if type_.name == "map":
        return type_.parameters[1]
    if type_.fields is None:
        message = f"type '{type_}' does not support field selection"
        return context.complain(node.offset, message).type
    field = type_.fields.get(node.field)
    if field is None:
        return context.complain(node.offset, f"undefined field '{node.field}'").type
    return field


def _select(operand: Step, field: str, fit: Adapter | None) -> Step:
    def run(frame: Frame) -> Any:
        value = operand(frame)
        frame.spend(1)
        if isinstance(value, Mapping):
            if field not in value:
                raise CelEvaluationError(f"no such key: {field}")
            found = value[field]
            return found if fit is None else fit(found)
        if isinstance(value, Optional):
            return chained(value, field)
        raise no_overload()

    return run


def _test(operand: Step, field: str) -> Step:
    def run(frame: Frame) -> Any:
        value = operand(frame)
        frame.spend(1)
        if isinstance(value, Optional):
            return chained(value, field).present
        if isinstance(value, Mapping):
            return field in value
        raise no_overload()

    return run


def _optional(operand: Step, key: Step, fit: Adapter | None = None) -> Step:
    def run(frame: Frame) -> Any:
        value = operand(frame)
        frame.spend(1)
        found = chained(value, key(frame))
        if fit is None or not found.present:
            return found
        return Optional(fit(found.value), present=True)

    return run


def chained(value: Any, key: Any) -> Optional:
    """Return what stands under a key of a value that may be absent."""
    if isinstance(value, Optional):
        if not value.present:
            return NONE
        value = value.value
    if isinstance(value, Mapping):
        name = to_key(key)
        return Optional(value[name], present=True) if hashable(key) and name in value else NONE
    if isinstance(value, list | tuple):
        position = _position(key)
        inside = 0 <= position < len(value)
        return Optional(value[position], present=True) if inside else NONE
    raise no_overload()


def compile_index(context: Context, node: ast.Call) -> Compiled:
    """Compile `a[b]` or `a[?b]`."""
    operand, key = (context.compile(each) for each in node.arguments)
    inner, is_optional = _unwrap(operand.type)
    if inner.name not in {"list", "map", "dyn"} and inner.fields is None:
        shown = f"({operand.type}, {key.type})"
        message = f"found no matching overload for '{node.function}' applied to '{shown}'"
        return context.complain(node.offset, message)
    type_ = inner.parameters[-1] if inner.parameters else DYN
    if is_optional or node.function == "_[?_]":
        return Compiled(optional_of(type_), _optional(operand.run, key.run))
    return Compiled(type_, _index(operand.run, key.run))


def _index(operand: Step, key: Step) -> Step:
    def run(frame: Frame) -> Any:
        value = operand(frame)
        where = key(frame)
        frame.spend(1)
        return item(value, where)

    return run


def item(value: Any, key: Any) -> Any:
    """Return what stands under a key or at a position.

    Raises:
        CelEvaluationError: nothing does, or the value has no parts.

    """
    if isinstance(value, Mapping):
        name = to_key(key)
        if not hashable(key) or name not in value:
            raise CelEvaluationError(f"no such key: {_shown(key)}")
        return value[name]
    if isinstance(value, list | tuple):
        position = _position(key)
        if not 0 <= position < len(value):
            raise CelEvaluationError(f"index out of bounds: {position}")
        return value[position]
    if isinstance(value, Optional):
        return chained(value, key)
    raise no_overload()


def _position(key: Any) -> int:
    if type(key) is bool or not isinstance(key, int | float):
        raise CelEvaluationError(f"unsupported index type '{kind_of(key)}' in list")
    if isinstance(key, float) and not key.is_integer():
        raise CelEvaluationError(f"unsupported index value {key} in list")
    return int(key)


def _shown(key: Any) -> str:
    return str(key).lower() if type(key) is bool else str(key)

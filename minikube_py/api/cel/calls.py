"""Calls: operators that do not always evaluate all they are given, and functions."""

from collections.abc import Sequence
from typing import Any, Final

from minikube_py.api.cel import ast, constants
from minikube_py.api.cel.context import Context
from minikube_py.api.cel.cost import IN_ADVANCE
from minikube_py.api.cel.errors import CelEvaluationError, no_overload
from minikube_py.api.cel.frame import Compiled, Frame, Step
from minikube_py.api.cel.functions import Dispatch, Overload
from minikube_py.api.cel.selection import compile_index
from minikube_py.api.cel.types import BOOL, DYN, Type, accepts, join, optional_of, resolve
from minikube_py.api.cel.values import Optional


def compile_call(context: Context, node: ast.Call) -> Compiled:
    """Compile a call."""
    if node.target is None:
        special = _SPECIAL.get(node.function)
        return special(context, node) if special else _function(context, node, node.function, ())
    qualified = _qualified(context, node)
    if qualified:
        return _function(context, node, qualified, ())
    if (node.function, len(node.arguments)) in {("or", 1), ("orValue", 1)}:
        return _or_value(context, node)
    return _function(context, node, node.function, (node.target,))


def _qualified(context: Context, node: ast.Call) -> str:
    """Return the name of a function in a namespace (`math.greatest`), or ""."""
    target = node.target
    if isinstance(target, ast.Name) and target.name not in context.scope:
        name = f"{target.name}.{node.function}"
        return name if name in context.functions else ""
    return ""


def _function(
    context: Context, node: ast.Call, function: str, target: tuple[ast.Node, ...]
) -> Compiled:
    known = [each for each in context.functions.get(function, ()) if each.member is bool(target)]
    parts = _parts(context, function, (*target, *node.arguments))
    if function not in context.functions:
        message = f"undeclared reference to '{function}' (in container '')"
        return context.complain(node.offset, message)
    found = _matching(known, [part.type for part in parts])
    if not found:
        return _mismatch(context, node, function, parts)
    for offset, message in constants.check(function, (*target, *node.arguments)):
        context.complain(offset, message)
    overloads = tuple(overload for overload, _ in found)
    context.chosen[id(node)] = overloads
    results = {result for _, result in found}
    type_ = results.pop() if len(results) == 1 else DYN
    return Compiled(type_, _run(Dispatch(function, overloads), [part.run for part in parts]))


def _parts(context: Context, function: str, nodes: Sequence[ast.Node]) -> list[Compiled]:
    """Compile arguments; what is printed may be of any type, so a list of that is free."""
    homogeneous = context.homogeneous
    context.homogeneous = homogeneous and function != "format"
    parts = [context.compile(each) for each in nodes]
    context.homogeneous = homogeneous
    return parts


def _mismatch(
    context: Context, node: ast.Call, function: str, parts: Sequence[Compiled]
) -> Compiled:
    shown = [str(part.type) for part in parts]
    if node.target is not None and len(parts) > len(node.arguments):
        applied = f"{shown[0]}.({', '.join(shown[1:])})"
    else:
        applied = f"({', '.join(shown)})"
    message = f"found no matching overload for '{function}' applied to '{applied}'"
    return context.complain(node.offset, message)


def _matching(known: Sequence[Overload], types: Sequence[Type]) -> list[tuple[Overload, Type]]:
    found = []
    for overload in known:
        bound: dict[str, Type] = {}
        if len(overload.parameters) == len(types) and all(
            accepts(parameter, type_, bound)
            for parameter, type_ in zip(overload.parameters, types, strict=True)
        ):
            found.append((overload, resolve(overload.result, bound)))
    return found


def _run(dispatch: Dispatch, arguments: Sequence[Step]) -> Step:
    def run(frame: Frame) -> Any:
        values = [argument(frame) for argument in arguments]
        overload = dispatch.choose(values)
        if overload.cost in IN_ADVANCE:
            frame.spend(overload.cost(None, *values))
            return overload.run(*values)
        result = overload.run(*values)
        frame.spend(overload.cost(result, *values))
        return result

    return run


def _logic(context: Context, node: ast.Call) -> Compiled:
    left, right = parts = [context.compile(each) for each in node.arguments]
    wrong = None
    for argument, part in zip(node.arguments, parts, strict=True):
        if part.type not in {BOOL, DYN}:
            message = f"expected type 'bool' but found '{part.type}'"
            wrong = context.complain(argument.offset, message)
    return wrong or Compiled(
        BOOL, _absorbing(left.run, right.run, decisive=node.function == "_||_")
    )


def _absorbing(left: Step, right: Step, *, decisive: bool) -> Step:
    """Either side alone may decide; an error counts only where the other side does not."""

    def run(frame: Frame) -> Any:
        failure = None
        try:
            one = left(frame)
        except CelEvaluationError as error:
            failure, one = error, None
        if one is decisive:
            return decisive
        other = right(frame)
        if other is decisive:
            return decisive
        if failure is not None:
            raise failure
        if one is not (not decisive) or other is not (not decisive):
            raise no_overload()
        return other

    return run


def _ternary(context: Context, node: ast.Call) -> Compiled:
    condition, truthy, falsy = parts = [context.compile(each) for each in node.arguments]
    bound: dict[str, Type] = {}
    fits = accepts(Type("A"), truthy.type, bound) and accepts(Type("A"), falsy.type, bound)
    if condition.type not in {BOOL, DYN} or not fits:
        return _mismatch(context, node, node.function, parts)

    def run(frame: Frame) -> Any:
        chosen = condition.run(frame)
        if type(chosen) is not bool:
            raise no_overload()
        return truthy.run(frame) if chosen else falsy.run(frame)

    return Compiled(join(truthy.type, falsy.type), run)


def _or_value(context: Context, node: ast.Call) -> Compiled:
    """`a.or(b)` and `a.orValue(b)` evaluate b only where a is absent."""
    target, other = parts = [
        context.compile(each) for each in (node.target, *node.arguments) if each
    ]
    whole = node.function == "or"
    wanted = optional_of(Type("A"))
    bound: dict[str, Type] = {}
    fits = accepts(wanted, target.type, bound) and accepts(
        wanted if whole else Type("A"), other.type, bound
    )
    if not fits:
        return _mismatch(context, node, node.function, parts)

    def run(frame: Frame) -> Any:
        value = target.run(frame)
        if not isinstance(value, Optional):
            raise no_overload()
        if value.present:
            return value if whole else value.value
        return other.run(frame)

    result = resolve(Type("A"), bound)
    return Compiled(optional_of(result) if whole else result, run)


_SPECIAL: Final = {
    "_&&_": _logic,
    "_||_": _logic,
    "_?_:_": _ternary,
    "_[_]": compile_index,
    "_[?_]": compile_index,
}

"""Macros: calls that the parser replaces, since they bind names or do not evaluate an argument."""

from collections.abc import Callable, Mapping
from typing import Final

from minikube_py.api.cel.ast import (
    Bind,
    Call,
    Comprehension,
    Name,
    Node,
    OptionalMap,
    Select,
)
from minikube_py.api.cel.errors import IssueError

_ONE: Final = {
    ("all", 2): "all",
    ("exists", 2): "exists",
    ("exists_one", 2): "exists_one",
    ("existsOne", 2): "exists_one",
    ("map", 2): "map",
    ("map", 3): "map",
    ("filter", 2): "filter",
}
_TWO: Final = {
    ("all", 3): "all",
    ("exists", 3): "exists",
    ("exists_one", 3): "exists_one",
    ("existsOne", 3): "exists_one",
    ("transformList", 3): "map",
    ("transformList", 4): "map",
    ("transformMap", 3): "transformMap",
    ("transformMap", 4): "transformMap",
    ("transformMapEntry", 3): "transformMapEntry",
    ("transformMapEntry", 4): "transformMapEntry",
}


def expand(call: Call) -> Node:
    """Return what a call stands for; the call itself where it is no macro.

    Raises:
        IssueError: the arguments are not what the macro takes.

    """
    if call.target is None:
        return _has(call) if (call.function, len(call.arguments)) == ("has", 1) else call
    signature = (call.function, len(call.arguments))
    if signature in _ONE:
        return _comprehension(call, _ONE[signature], 1)
    if signature in _TWO:
        return _comprehension(call, _TWO[signature], 2)
    special = _SPECIAL.get(signature)
    return special(call) if special else call


def _has(call: Call) -> Node:
    argument = call.arguments[0]
    if not isinstance(argument, Select) or argument.optional:
        raise IssueError(argument.offset, "invalid argument to has() macro")
    return Select(call.offset, argument.operand, argument.field, test=True)


def _variable(node: Node) -> str:
    if not isinstance(node, Name):
        raise IssueError(node.offset, "argument must be a simple name")
    if node.name in {"__result__", "@result"}:
        raise IssueError(node.offset, "iteration variable overwrites accumulator variable")
    return node.name


def _comprehension(call: Call, macro: str, count: int) -> Node:
    names = tuple(map(_variable, call.arguments[:count]))
    if len(set(names)) != len(names):
        raise IssueError(call.arguments[1].offset, "duplicate variable name: " + names[0])
    *condition, body = call.arguments[count:]
    target = call.target
    if target is None:
        raise IssueError(call.offset, "a macro needs a target")
    return Comprehension(
        call.offset, macro, target, names, condition[0] if condition else None, body
    )


def _bind(call: Call) -> Node:
    if call.target != Name(call.target.offset if call.target else 0, "cel"):
        return call
    name, value, body = call.arguments
    if not isinstance(name, Name):
        raise IssueError(name.offset, "cel.bind() variable names must be simple identifiers")
    return Bind(call.offset, name.name, value, body)


def _optional_map(call: Call) -> Node:
    name, body = call.arguments
    flat = call.function == "optFlatMap"
    if not isinstance(name, Name):
        message = f"{call.function}() variable name must be a simple identifier"
        raise IssueError(name.offset, message)
    target = call.target or name
    return OptionalMap(call.offset, target, name.name, body, flat)


_SPECIAL: Final[Mapping[tuple[str, int], Callable[[Call], Node]]] = {
    ("bind", 3): _bind,
    ("optMap", 2): _optional_map,
    ("optFlatMap", 2): _optional_map,
}

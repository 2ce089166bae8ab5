"""From syntax tree to closures, checking types on the way.

Each node becomes a `Compiled`: its static type and a function of the frame. One pass does both, as
the type of a part decides what the closure around it must do. Complaints are collected, and a part
with a complaint counts as dyn so that one mistake is reported once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from minikube_py.api.cel import aggregates, ast, calls, comprehensions, selection
from minikube_py.api.cel.errors import CelEvaluationError, Issue
from minikube_py.api.cel.frame import Compiled, Frame
from minikube_py.api.cel.functions import Functions, Overload
from minikube_py.api.cel.types import DYN, NAMED, Type, type_of
from minikube_py.api.cel.values import NONE, Optional
from minikube_py.api.cel.values import type_of as type_of_value

UNSET: Final = object()
"""Stands in the slot of a variable that the caller did not give."""


@dataclass(slots=True)
class Compiler:
    """What is known while an expression is compiled."""

    functions: Functions
    structs: Mapping[str, Type]
    homogeneous: bool
    scope: dict[str, tuple[int, Type]] = field(default_factory=dict)
    issues: list[Issue] = field(default_factory=list)
    slots: int = 0
    types: dict[int, Type] = field(default_factory=dict)
    """The type of each node, by its identity."""
    used: set[str] = field(default_factory=set)
    """The names of variables that the expression asks for."""
    chosen: dict[int, Sequence[Overload]] = field(default_factory=dict)
    """The overloads that each call may mean."""

    def declare(self, name: str, type_: Type) -> int:
        """Give a variable a slot."""
        slot = self.slots
        self.slots += 1
        self.scope[name] = (slot, type_)
        return slot

    def within(
        self, nodes: Sequence[ast.Node], variables: Mapping[str, Type]
    ) -> tuple[list[int], list[Compiled]]:
        """Compile parts that see further variables; also return their slots."""
        outer = dict(self.scope)
        slots = [self.declare(name, type_) for name, type_ in variables.items()]
        bodies = [self.compile(node) for node in nodes]
        self.scope = outer
        return slots, bodies

    def complain(self, offset: int, message: str) -> Compiled:
        """Record an issue; the part counts as dyn."""
        self.issues.append(Issue(offset, message))
        return Compiled(DYN, _nothing)

    def compile(self, node: ast.Node) -> Compiled:
        """Compile a node."""
        compiled = _BY_NODE[type(node)](self, node)
        self.types[id(node)] = compiled.type
        return compiled


def _nothing(_frame: Frame) -> Any:
    raise CelEvaluationError("expression did not compile")


def _constant(_compiler: Compiler, node: ast.Constant) -> Compiled:
    value = node.value
    return Compiled(type_of_value(value), lambda _: value, constant=True)


def _name(compiler: Compiler, node: ast.Name) -> Compiled:
    known = compiler.scope.get(node.name)
    if known is None:
        return named_type(compiler, node.name) or compiler.complain(
            node.offset, f"undeclared reference to '{node.name}' (in container '')"
        )
    slot, type_ = known
    name = node.name
    compiler.used.add(name)

    def run(frame: Frame) -> Any:
        frame.spend(1)
        value = frame.slots[slot]
        if value is UNSET:
            raise CelEvaluationError(f"no such attribute(s): {name}")
        return value

    return Compiled(type_, run)


def named_type(compiler: Compiler, name: str) -> Compiled | None:
    """Return the type of that name as a value, or None."""
    found = NAMED.get(name) or compiler.structs.get(name)
    if found is None:
        return None
    return Compiled(type_of(found), lambda _: found, constant=True)


def _bind(compiler: Compiler, node: ast.Bind) -> Compiled:
    value = compiler.compile(node.value)
    (slot,), (body,) = compiler.within((node.body,), {node.name: value.type})

    def run(frame: Frame) -> Any:
        frame.slots[slot] = value.run(frame)
        return body.run(frame)

    return Compiled(body.type, run)


def _optional_map(compiler: Compiler, node: ast.OptionalMap) -> Compiled:
    target = compiler.compile(node.target)
    inner = target.type.parameters[0] if target.type.name == "optional_type" else DYN
    (slot,), (body,) = compiler.within((node.body,), {node.name: inner})
    flat = node.flat

    def run(frame: Frame) -> Any:
        value = target.run(frame)
        if not isinstance(value, Optional):
            raise CelEvaluationError("no such overload")
        if not value.present:
            return NONE
        frame.slots[slot] = value.value
        result = body.run(frame)
        return result if flat else Optional(result, present=True)

    return Compiled(body.type if flat else Type("optional_type", (body.type,)), run)


_BY_NODE: Final[Mapping[type, Callable[[Compiler, Any], Compiled]]] = {
    ast.Constant: _constant,
    ast.Name: _name,
    ast.Select: selection.compile_select,
    ast.Call: calls.compile_call,
    ast.ListNode: aggregates.compile_list,
    ast.MapNode: aggregates.compile_map,
    ast.Struct: aggregates.compile_struct,
    ast.Comprehension: comprehensions.compile_comprehension,
    ast.Bind: _bind,
    ast.OptionalMap: _optional_map,
}

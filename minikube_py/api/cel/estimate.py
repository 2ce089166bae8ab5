"""What an expression may cost at worst, reckoned without evaluating it.

The estimate follows the syntax tree as upstream's does after it expanded the macros; where a size
matters it asks how large the data can be (`Sizes`). The figures are those of cel-go's
`checker/cost.go` and of Kubernetes' `cel/library/cost.go`: which rules a custom resource may have
depends on them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from minikube_py.api.cel import ast
from minikube_py.api.cel.estimate_calls import Argument, call_cost
from minikube_py.api.cel.functions import Overload
from minikube_py.api.cel.ranges import MOST, NEVER, ONE, UNKNOWN, ZERO, Range, exactly
from minikube_py.api.cel.types import DYN, Type

Path = tuple[str, ...]
"""From a variable through field names, `@items`, `@values` and `@keys`; () leads nowhere."""
_LIST: Final = exactly(10)
_MAP: Final = exactly(30)
_STRUCT: Final = exactly(40)
_SCALARS: Final = frozenset(
    {"bool", "double", "int", "uint", "google.protobuf.Duration", "google.protobuf.Timestamp"}
)


class Sizes(Protocol):
    """How large data can be."""

    def most(self, path: Path) -> int | None:
        """Return how many elements or characters stand at a path at most; None: not known."""


@dataclass(frozen=True)
class Entry:
    """The sizes of what a list or map holds."""

    key: Range
    value: Range

    def union(self, other: "Entry | None") -> "Entry | None":
        """Return the sizes of what either holds; None where one is not known."""
        if other is None:
            return None
        return Entry(self.key.union(other.key), self.value.union(other.value))


@dataclass(frozen=True)
class Part:
    """The estimate of a part of an expression."""

    cost: Range
    type: Type = DYN
    path: Path = ()
    size: Range | None = None
    entry: Entry | None = None

    @property
    def most(self) -> Range:
        """The size, or that it may be any."""
        return UNKNOWN if self.size is None else self.size


@dataclass
class Estimator:
    """What is known of a checked expression: the types of its nodes, and what its calls mean."""

    sizes: Sizes
    types: Mapping[int, Type]
    chosen: Mapping[int, Sequence[Overload]]
    scope: dict[str, Part] = field(default_factory=dict)

    def part(self, node: ast.Node) -> Part:
        """Estimate a node."""
        part: Part = _BY_NODE[type(node)](self, node)
        part = replace(part, type=self.types.get(id(node), DYN))
        return replace(part, size=self.size(part)) if part.size is None else part

    def size(self, part: Part) -> Range | None:
        """Return the size that the data or the type tells."""
        most = self.sizes.most(part.path) if part.path else None
        return Range(0, min(most, MOST)) if most is not None else _type_size(part.type)

    def within(self, names: Mapping[str, Part], node: ast.Node) -> Part:
        """Estimate a part that sees further variables."""
        outer = dict(self.scope)
        self.scope.update(names)
        part = self.part(node)
        self.scope = outer
        return part

    def argument(self, part: Part, node: ast.Node | None = None) -> Argument:
        """Return what the estimate of a call needs of a part."""
        item = None
        if part.type.parameters:
            most = self.sizes.most((*part.path, "@items")) if part.path else None
            item = UNKNOWN if most is None else Range(0, most)
        constant = node.value if isinstance(node, ast.Constant) else None
        return Argument(part.type, part.most, item, constant)


def _type_size(type_: Type) -> Range | None:
    if type_.name == "optional_type" and type_.parameters:
        return _type_size(type_.parameters[0])
    return ONE if type_.name in _SCALARS else None


def _total(parts: Sequence[Part]) -> Range:
    total = ZERO
    for part in parts:
        total = total.plus(part.cost)
    return total


# --- nodes ----------------------------------------------------------------------------------------


def _constant(_estimator: Estimator, node: ast.Constant) -> Part:
    size = len(node.value) if isinstance(node.value, str | bytes) else 1
    return Part(ZERO, size=exactly(size))


def _name(estimator: Estimator, node: ast.Name) -> Part:
    known = estimator.scope.get(node.name)
    if known is None:
        return Part(ONE, path=(node.name,))
    type_ = estimator.types.get(id(node), DYN)
    size = estimator.size(Part(ONE, type_, known.path)) or known.size
    return Part(ONE, path=known.path, size=size, entry=known.entry)


def _select(estimator: Estimator, node: ast.Select) -> Part:
    operand = estimator.part(node.operand)
    if node.test:
        return Part(operand.cost)
    if node.optional:  # upstream, a call with the name as its second argument
        return Part(operand.cost.plus(ONE))
    inner = operand.type
    charged = inner.name == "map" or inner.fields is not None
    cost = operand.cost.plus(ONE) if charged else operand.cost
    return Part(cost, path=(*operand.path, node.field))


def _call(estimator: Estimator, node: ast.Call) -> Part:
    parts = [estimator.part(each) for each in node.arguments]
    special = _SPECIAL.get(node.function)
    if special is not None:
        return special(parts)
    chosen = estimator.chosen.get(id(node), ())
    target = None
    if node.target is not None and (not chosen or chosen[0].member):
        target = estimator.part(node.target)
    function = chosen[0].function if chosen else node.function
    shown = estimator.argument(target) if target is not None else None
    arguments = [
        estimator.argument(part, each) for part, each in zip(parts, node.arguments, strict=True)
    ]
    own, size = NEVER, None
    for overload in chosen or (None,):
        found = call_cost(function, overload, shown, arguments)
        own = own.union(found.cost)
        if found.size is not None:
            size = found.size if size is None else size.union(found.size)
    cost = own.plus(_total(parts)).plus(target.cost if target is not None else ZERO)
    entry = None
    if function == "_+_" and parts[0].entry is not None:
        entry = parts[0].entry.union(parts[1].entry)
    return Part(cost, size=size, entry=entry)


def _logic(parts: Sequence[Part]) -> Part:
    left, right = parts
    return Part(Range(left.cost.least, left.cost.plus(right.cost).most))


def _conditional(parts: Sequence[Part]) -> Part:
    condition, truthy, falsy = parts
    entry = truthy.entry.union(falsy.entry) if truthy.entry is not None else None
    cost = condition.cost.plus(truthy.cost.union(falsy.cost))
    return Part(cost, size=truthy.most.union(falsy.most), entry=entry)


def _index(parts: Sequence[Part]) -> Part:
    held, _key = parts
    step = "@items" if held.type.name == "list" else "@values"
    size = held.entry.value if held.entry is not None else None
    return Part(_total(parts).plus(ONE), path=(*held.path, step), size=size)


def _optional_index(parts: Sequence[Part]) -> Part:
    return Part(_total(parts).plus(ONE))


def _dyn(parts: Sequence[Part]) -> Part:
    only = parts[0]
    return Part(only.cost.plus(ONE), size=only.size, entry=only.entry)


_SPECIAL: Final[Mapping[str, Callable[[Sequence[Part]], Part]]] = {
    "_&&_": _logic,
    "_||_": _logic,
    "_?_:_": _conditional,
    "_[_]": _index,
    "_[?_]": _optional_index,
    "dyn": _dyn,
}


def _list(estimator: Estimator, node: ast.ListNode) -> Part:
    parts = [estimator.part(each.value) for each in node.elements]
    value = NEVER if parts else ZERO
    for part in parts:
        value = value.union(part.most)
    size = exactly(len(parts))
    return Part(_total(parts).plus(_LIST), size=size, entry=Entry(ONE, value))


def _map(estimator: Estimator, node: ast.MapNode) -> Part:
    keys = [estimator.part(each.key) for each in node.entries]
    values = [estimator.part(each.value) for each in node.entries]
    key = value = NEVER if keys else ZERO
    for part, other in zip(keys, values, strict=True):
        key, value = key.union(part.most), value.union(other.most)
    cost = _total(keys).plus(_total(values)).plus(_MAP)
    return Part(cost, size=exactly(len(keys)), entry=Entry(key, value))


def _struct(estimator: Estimator, node: ast.Struct) -> Part:
    parts = [estimator.part(each.value) for each in node.entries]
    return Part(_total(parts).plus(_STRUCT))


# --- macros ---------------------------------------------------------------------------------------


def _comprehension(estimator: Estimator, node: ast.Comprehension) -> Part:
    """A loop: what upstream's expansion of the macro costs, round by round."""
    walked = estimator.part(node.range)
    names = _variables(walked, node.variables)
    body = estimator.within(names, node.body)
    condition = estimator.within(names, node.condition) if node.condition is not None else None
    loop = _LOOPS[node.macro](names[node.variables[-1]], condition, body)
    rounds = walked.most.times(loop.round)
    cost = walked.cost.plus(loop.start).plus(loop.end).plus(rounds)
    size = walked.most if loop.entry is not None else ONE
    return Part(cost, size=size, entry=loop.entry)


def _variables(walked: Part, names: Sequence[str]) -> dict[str, Part]:
    is_list = walked.type.name == "list"
    key = walked.entry.key if walked.entry is not None else None
    value = walked.entry.value if walked.entry is not None else None
    first = Part(ONE, path=(*walked.path, "@indices" if is_list else "@keys"), size=key)
    second = Part(ONE, path=(*walked.path, "@items" if is_list else "@values"), size=value)
    if len(names) == 2:
        return dict(zip(names, (first, second), strict=True))
    return {names[0]: second if is_list else first}


@dataclass(frozen=True)
class _Loop:
    """The parts of an expanded macro."""

    start: Range
    round: Range
    end: Range
    entry: Entry | None = None
    """Of the list or map that it makes."""


_Expand = Callable[[Part, Part | None, Part], _Loop]


def _quantifier(units: int) -> _Expand:
    """`all` and `exists`: the running result is tested, then joined with the predicate."""

    def expand(_variable: Part, _condition: Part | None, body: Part) -> _Loop:
        step = Range(1, ONE.plus(body.cost).most)
        return _Loop(ZERO, step.plus(exactly(units)), ONE)

    return expand


def _exists_one(_variable: Part, _condition: Part | None, body: Part) -> _Loop:
    return _Loop(ZERO, body.cost.plus(Range(1, 2)), exactly(2))


def _collecting(made: Range, each: Part, test: Range | None) -> _Loop:
    """Add an element to a list in each round, where a test holds if there is one."""
    step = ONE.plus(ONE).plus(made)
    if test is not None:
        step = test.plus(step.union(ONE))
    return _Loop(_LIST, step, ONE, Entry(ONE, ZERO.union(each.most)))


def _mapping(_variable: Part, condition: Part | None, body: Part) -> _Loop:
    test = condition.cost if condition is not None else None
    return _collecting(_LIST.plus(body.cost), body, test)


def _filter(variable: Part, _condition: Part | None, body: Part) -> _Loop:
    return _collecting(_LIST.plus(ONE), variable, body.cost)


def _transform(extra: Range) -> _Expand:
    """`transformMap` and `transformMapEntry`: one more entry in each round."""

    def expand(_variable: Part, condition: Part | None, body: Part) -> _Loop:
        step = ONE.plus(ONE).plus(extra).plus(body.cost)
        if condition is not None:
            step = condition.cost.plus(step.union(ONE))
        return _Loop(_MAP, step, ONE, Entry(UNKNOWN, body.most))

    return expand


_LOOPS: Final[Mapping[str, _Expand]] = {
    "all": _quantifier(2),
    "exists": _quantifier(3),
    "exists_one": _exists_one,
    "map": _mapping,
    "filter": _filter,
    "transformMap": _transform(ONE),
    "transformMapEntry": _transform(ZERO),
}


def _bind(estimator: Estimator, node: ast.Bind) -> Part:
    value = estimator.part(node.value)
    body = estimator.within({node.name: value}, node.body)
    cost = _LIST.plus(value.cost).plus(body.cost)
    return Part(cost, size=body.size, entry=body.entry)


def _optional_map(estimator: Estimator, node: ast.OptionalMap) -> Part:
    target = estimator.part(node.target)
    body = estimator.within({node.name: Part(ONE)}, node.body)
    there = _LIST.plus(ONE).plus(target.cost).plus(body.cost)
    if not node.flat:
        there = there.plus(ONE)
    return Part(ONE.plus(target.cost).plus(there.union(ONE)))


_BY_NODE: Final[Mapping[type, Callable[[Estimator, Any], Part]]] = {
    ast.Constant: _constant,
    ast.Name: _name,
    ast.Select: _select,
    ast.Call: _call,
    ast.ListNode: _list,
    ast.MapNode: _map,
    ast.Struct: _struct,
    ast.Comprehension: _comprehension,
    ast.Bind: _bind,
    ast.OptionalMap: _optional_map,
}

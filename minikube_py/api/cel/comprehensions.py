"""Macros that walk: one small loop each.

With one variable a list gives its elements and a map its keys; with two a list gives positions and
elements, a map keys and values. The costs of a round are those of upstream's expansions.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from minikube_py.api.cel import ast, cost
from minikube_py.api.cel.context import Context
from minikube_py.api.cel.errors import CelEvaluationError, no_overload
from minikube_py.api.cel.frame import Compiled, Frame, Step
from minikube_py.api.cel.types import BOOL, DYN, INT, Type, list_of, map_of
from minikube_py.api.cel.values import keys_of, to_key


class Loop(NamedTuple):
    """The compiled parts of a macro; a round yields the first variable's value."""

    rounds: Callable[[Frame], Iterator[Any]]
    condition: Step | None
    body: Step


def compile_comprehension(context: Context, node: ast.Comprehension) -> Compiled:
    """Compile a macro."""
    walked = context.compile(node.range)
    types = _variable_types(context, node, walked.type)
    variables = dict(zip(node.variables, types, strict=True))
    parts = [node.body, *(() if node.condition is None else (node.condition,))]
    slots, (body, *conditions) = context.within(parts, variables)
    for condition in conditions:
        _check_bool(context, parts[1].offset, condition.type)
    if node.macro in _PREDICATES:
        _check_bool(context, node.body.offset, body.type)
    rounds = (_walk_pairs if len(slots) == 2 else _walk)(walked.run, slots)
    loop = Loop(rounds, conditions[0].run if conditions else None, body.run)
    return Compiled(_result(node.macro, types, body.type), _LOOPS[node.macro](loop))


def _check_bool(context: Context, offset: int, type_: Type) -> None:
    if type_ not in {BOOL, DYN}:
        context.complain(offset, f"expected type 'bool' but found '{type_}'")


def _variable_types(context: Context, node: ast.Comprehension, type_: Type) -> list[Type]:
    two = len(node.variables) == 2
    if type_.name == "list":
        return [INT, type_.parameters[0]] if two else [type_.parameters[0]]
    if type_.name == "map":
        return list(type_.parameters if two else type_.parameters[:1])
    if type_ != DYN:
        message = f"expression of type '{type_}' cannot be range of a comprehension"
        message += " (must be list, map, or dynamic)"
        context.complain(node.range.offset, message)
    return [DYN, DYN] if two else [DYN]


def _result(macro: str, types: Sequence[Type], body: Type) -> Type:
    if macro == "map":
        return list_of(body)
    if macro == "filter":
        return list_of(types[0])
    if macro == "transformMap":
        return map_of(types[0], body)
    return body if macro == "transformMapEntry" else BOOL


def _walk(walked: Step, slots: Sequence[int]) -> Callable[[Frame], Iterator[Any]]:
    slot = slots[0]

    def rounds(frame: Frame) -> Iterator[Any]:
        value = walked(frame)
        for each in keys_of(value) if isinstance(value, Mapping) else _list(value):
            frame.slots[slot] = each
            yield each

    return rounds


def _walk_pairs(walked: Step, slots: Sequence[int]) -> Callable[[Frame], Iterator[Any]]:
    first, second = slots

    def rounds(frame: Frame) -> Iterator[Any]:
        value = walked(frame)
        if isinstance(value, Mapping):
            pairs: Iterable[Any] = zip(keys_of(value), value.values(), strict=True)
        else:
            pairs = enumerate(_list(value))
        for key, each in pairs:
            frame.slots[first] = key
            frame.slots[second] = each
            yield key

    return rounds


def _list(value: Any) -> Any:
    if not isinstance(value, list | tuple):
        raise no_overload()
    return value


def _quantifier(loop: Loop, *, decisive: bool, units: int) -> Step:
    """`all` and `exists`: one round may decide; an error counts where none does."""

    def run(frame: Frame) -> Any:
        failure: CelEvaluationError | None = None
        for _ in loop.rounds(frame):
            frame.spend(units)
            try:
                value = loop.body(frame)
                if value is decisive:
                    return decisive
                if value is not (not decisive):
                    raise no_overload()
            except CelEvaluationError as error:
                failure = failure or error
        frame.spend(1)
        if failure is not None:
            raise failure
        return not decisive

    return run


def _all(loop: Loop) -> Step:
    return _quantifier(loop, decisive=False, units=3)


def _exists(loop: Loop) -> Step:
    return _quantifier(loop, decisive=True, units=4)


def _holds(step: Step, frame: Frame) -> bool:
    value = step(frame)
    if type(value) is not bool:
        raise no_overload()
    return value


def _exists_one(loop: Loop) -> Step:
    def run(frame: Frame) -> Any:
        count = 0
        for _ in loop.rounds(frame):
            frame.spend(1)
            count += _holds(loop.body, frame)
        frame.spend(2)
        return count == 1

    return run


def _map(loop: Loop) -> Step:
    def run(frame: Frame) -> Any:
        made = []
        for _ in loop.rounds(frame):
            frame.spend(1)
            if loop.condition is None or _holds(loop.condition, frame):
                made.append(loop.body(frame))
                frame.spend(cost.LIST + 1)
        frame.spend(1)
        return made

    return run


def _filter(loop: Loop) -> Step:
    def run(frame: Frame) -> Any:
        made = []
        for each in loop.rounds(frame):
            frame.spend(1)
            if _holds(loop.body, frame):
                made.append(each)
                frame.spend(cost.LIST + 2)
        frame.spend(1)
        return made

    return run


def _transform(loop: Loop, *, entries: bool) -> Step:
    def run(frame: Frame) -> Any:
        made: dict[Any, Any] = {}
        for key in loop.rounds(frame):
            frame.spend(1)
            if loop.condition is None or _holds(loop.condition, frame):
                value = loop.body(frame)
                _insert(made, value if entries else {to_key(key): value})
                frame.spend(cost.MAP + 1)
        frame.spend(1)
        return made

    return run


def _insert(made: dict[Any, Any], entries: Any) -> None:
    if not isinstance(entries, Mapping):
        raise no_overload()
    for key, value in entries.items():
        if key in made:
            raise CelEvaluationError(f"insert failed: key {key} already exists")
        made[key] = value


def _transform_map(loop: Loop) -> Step:
    return _transform(loop, entries=False)


def _transform_entry(loop: Loop) -> Step:
    return _transform(loop, entries=True)


_PREDICATES: Final = frozenset({"all", "exists", "exists_one", "filter"})
_LOOPS: Final[Mapping[str, Callable[[Loop], Step]]] = {
    "all": _all,
    "exists": _exists,
    "exists_one": _exists_one,
    "map": _map,
    "filter": _filter,
    "transformMap": _transform_map,
    "transformMapEntry": _transform_entry,
}

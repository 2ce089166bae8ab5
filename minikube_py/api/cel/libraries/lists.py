"""Kubernetes' lists (`isSorted sum min max indexOf lastIndexOf`) and the lists extension."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final

from minikube_py.api.cel import cost
from minikube_py.api.cel.errors import CelCostError, CelEvaluationError, no_overload
from minikube_py.api.cel.functions import Dispatch, Overload, member
from minikube_py.api.cel.libraries import arithmetic, comparison
from minikube_py.api.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    INT,
    STRING,
    TIMESTAMP,
    UINT,
    A,
    Type,
    list_of,
)
from minikube_py.api.cel.values import Duration, equal

_ADDED: Final = (INT, UINT, DOUBLE, DURATION)
_ORDERED: Final = (INT, UINT, DOUBLE, BOOL, DURATION, TIMESTAMP, STRING, BYTES)
_ADD: Final = Dispatch("_+_", [each for each in arithmetic.OVERLOADS if each.function == "_+_"])
_ZEROS: Final[dict[Type, Any]] = {INT: 0, DOUBLE: 0.0, DURATION: Duration(0)}


def _call(dispatch: Dispatch, *arguments: Any) -> Any:
    return dispatch.choose(arguments).run(*arguments)


def _order(name: str) -> Dispatch:
    return Dispatch(name, [each for each in comparison.OVERLOADS if each.function == name])


_LESS: Final = _order("_<_")
_AT_MOST: Final = _order("_<=_")


def _is_sorted(values: Any) -> bool:
    return all(_call(_AT_MOST, left, right) for left, right in pairwise(values))


def _sum(zero: Any) -> Callable[[Any], Any]:
    def run(values: Any) -> Any:
        if not values:
            return zero
        total = values[0]
        for each in values[1:]:
            total = _call(_ADD, total, each)
        return total

    return run


def _least(values: Any) -> Any:
    if not values:
        raise CelEvaluationError("min called on empty list")
    found = values[0]
    for each in values[1:]:
        found = each if _call(_LESS, each, found) else found
    return found


def _greatest(values: Any) -> Any:
    if not values:
        raise CelEvaluationError("max called on empty list")
    found = values[0]
    for each in values[1:]:
        found = each if _call(_LESS, found, each) else found
    return found


def _index_of(values: Any, wanted: Any) -> int:
    return next((at for at, each in enumerate(values) if equal(each, wanted)), -1)


def _last_index_of(values: Any, wanted: Any) -> int:
    found = (at for at in range(len(values) - 1, -1, -1) if equal(values[at], wanted))
    return next(found, -1)


def _slice(values: Any, start: int, end: int) -> Any:
    if start < 0 or end < 0 or start > end or end > len(values):
        raise CelEvaluationError(f"cannot slice({start}, {end}), list is length {len(values)}")
    return values[start:end]


def _flatten(values: Any, depth: int = 1) -> list[Any]:
    if depth < 0:
        raise CelEvaluationError("level must be non-negative")
    flat: list[Any] = []
    for each in values:
        nested = isinstance(each, list | tuple)
        flat.extend(
            (_flatten(each, depth - 1) if depth > 1 else each) if nested and depth else [each]
        )
    return flat


def _distinct(values: Any) -> list[Any]:
    found: list[Any] = []
    for each in values:
        if not any(equal(each, other) for other in found):
            found.append(each)
    return found


def _sort(values: Any) -> list[Any]:
    kinds = {type(each) for each in values}
    if len(kinds) > 1:
        raise CelEvaluationError("list elements must have the same type")
    try:
        return sorted(values)
    except TypeError:
        raise no_overload() from None


def _range(count: int) -> list[int]:
    if count > cost.PER_CALL_LIMIT:
        raise CelCostError("operation cancelled: actual cost limit exceeded")
    return list(range(count))


def _squared(_result: Any, values: Any) -> int:
    return len(values) ** 2


_ANY: Final = list_of(A)

OVERLOADS: Final[tuple[Overload, ...]] = (
    *(member("isSorted", (list_of(each),), BOOL, _is_sorted, cost.elements) for each in _ORDERED),
    *(
        member("sum", (list_of(each),), each, _sum(_ZEROS.get(each, 0)), cost.elements)
        for each in _ADDED
    ),
    *(member("min", (list_of(each),), each, _least, cost.elements) for each in _ORDERED),
    *(member("max", (list_of(each),), each, _greatest, cost.elements) for each in _ORDERED),
    member("indexOf", (_ANY, A), INT, _index_of, cost.elements),
    member("lastIndexOf", (_ANY, A), INT, _last_index_of, cost.elements),
    member("slice", (_ANY, INT, INT), _ANY, _slice, cost.elements),
    member("flatten", (list_of(A),), list_of(Type("dyn")), _flatten, cost.elements),
    member("flatten", (list_of(A), INT), list_of(Type("dyn")), _flatten, cost.elements),
    member("distinct", (_ANY,), _ANY, _distinct, _squared),
    member("sort", (_ANY,), _ANY, _sort, _squared),
    member("reverse", (_ANY,), _ANY, lambda values: values[::-1], cost.elements),
    Overload("lists.range", (INT,), list_of(INT), _range, cost=lambda result, _: len(result)),
)

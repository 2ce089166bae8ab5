"""The math extension: extremes, rounding, signs and bits."""

import math
from collections.abc import Callable
from itertools import product
from typing import Any, Final

from minikube_py.api.cel import cost
from minikube_py.api.cel.errors import CelEvaluationError
from minikube_py.api.cel.functions import Overload
from minikube_py.api.cel.libraries.arithmetic import checked_int
from minikube_py.api.cel.types import BOOL, DOUBLE, DYN, INT, UINT, Type, list_of
from minikube_py.api.cel.values import UINT_MAX, Uint, kind_of

_NUMBERS: Final = (INT, UINT, DOUBLE)
_ARGUMENTS_MAX: Final = 8
"""Numbers that `math.greatest` takes one by one; a list may hold any number of them."""


def _extreme(name: str, pick: Callable[..., Any]) -> Callable[..., Any]:
    def run(*values: Any) -> Any:
        if any(kind_of(each) not in {"int", "uint", "double"} for each in values):
            raise CelEvaluationError("no such overload")
        return pick(values)

    def from_list(*values: Any) -> Any:
        if len(values) == 1 and isinstance(values[0], list | tuple):
            if not values[0]:
                raise CelEvaluationError(f"math.@{name}(list) argument must not be empty")
            return run(*values[0])
        return run(*values)

    return from_list


def _extremes(function: str, run: Callable[..., Any]) -> tuple[Overload, ...]:
    name = f"math.{function}"
    same = (Overload(name, (each,) * n, each, run) for n in (1, 2) for each in _NUMBERS)
    mixed = (Overload(name, (a, b), DYN, run) for a, b in product(_NUMBERS, _NUMBERS) if a != b)
    more = (Overload(name, (DYN,) * n, DYN, run) for n in range(3, _ARGUMENTS_MAX + 1))
    lists = (Overload(name, (list_of(each),), each, run, cost=cost.elements) for each in _NUMBERS)
    return (*same, *mixed, *more, *lists)


def _round(value: float) -> float:
    if not math.isfinite(value):
        return value
    return math.copysign(math.floor(abs(value) + 0.5), value) if abs(value) < 1 << 52 else value


def _trunc(value: float) -> float:
    return float(math.trunc(value)) if math.isfinite(value) else value


def _whole(run: Callable[[float], int]) -> Callable[[float], float]:
    return lambda value: float(run(value)) if math.isfinite(value) else value


def _absolute(value: Any) -> Any:
    return checked_int(abs(value)) if type(value) is int else type(value)(abs(value))


def _sign(value: Any) -> Any:
    if value != value:  # noqa: PLR0124 - only NaN differs from itself
        return value
    return type(value)((value > 0) - (value < 0))


def _root(value: Any) -> float:
    return math.sqrt(value) if value >= 0 else math.nan


def _signed(value: int) -> int:
    return ((value + (1 << 63)) & UINT_MAX) - (1 << 63)


def _shift_left(value: Any, by: int) -> Any:
    _check_shift(by)
    moved = int(value) << min(by, 64)
    return Uint(moved & UINT_MAX) if isinstance(value, Uint) else _signed(moved)


def _shift_right(value: Any, by: int) -> Any:
    _check_shift(by)
    moved = (int(value) & UINT_MAX) >> min(by, 64)
    return Uint(moved) if isinstance(value, Uint) else _signed(moved)


def _check_shift(by: int) -> None:
    if by < 0:
        raise CelEvaluationError(f"math.bitShift() negative offset: {by}")


def _not(value: Any) -> Any:
    return Uint(~int(value) & UINT_MAX) if isinstance(value, Uint) else ~value


def _bits(name: str, run: Callable[[int, int], int]) -> tuple[Overload, ...]:
    return (
        Overload(f"math.{name}", (INT, INT), INT, run),
        Overload(f"math.{name}", (UINT, UINT), UINT, lambda a, b: Uint(run(int(a), int(b)))),
    )


def _each(name: str, run: Callable[..., Any], types: tuple[Type, ...]) -> tuple[Overload, ...]:
    return tuple(Overload(f"math.{name}", (each,), each, run) for each in types)


OVERLOADS: Final[tuple[Overload, ...]] = (
    *_extremes("greatest", _extreme("max", max)),
    *_extremes("least", _extreme("min", min)),
    *_each("ceil", _whole(math.ceil), (DOUBLE,)),
    *_each("floor", _whole(math.floor), (DOUBLE,)),
    *_each("round", _round, (DOUBLE,)),
    *_each("trunc", _trunc, (DOUBLE,)),
    *_each("abs", _absolute, _NUMBERS),
    *_each("sign", _sign, _NUMBERS),
    *(Overload("math.sqrt", (each,), DOUBLE, _root) for each in _NUMBERS),
    Overload("math.isInf", (DOUBLE,), BOOL, math.isinf),
    Overload("math.isNaN", (DOUBLE,), BOOL, math.isnan),
    Overload("math.isFinite", (DOUBLE,), BOOL, math.isfinite),
    *_bits("bitAnd", lambda a, b: a & b),
    *_bits("bitOr", lambda a, b: a | b),
    *_bits("bitXor", lambda a, b: a ^ b),
    *_each("bitNot", _not, (INT, UINT)),
    *(Overload("math.bitShiftLeft", (each, INT), each, _shift_left) for each in (INT, UINT)),
    *(Overload("math.bitShiftRight", (each, INT), each, _shift_right) for each in (INT, UINT)),
)

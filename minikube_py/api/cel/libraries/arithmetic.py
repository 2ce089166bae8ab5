"""`+ - * / %` and negation: 64 bits that do not wrap, and times."""

from collections.abc import Callable
from math import copysign, inf, nan
from typing import Any, Final

from minikube_py.api.cel import cost, times
from minikube_py.api.cel.errors import CelEvaluationError
from minikube_py.api.cel.functions import Overload
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
    list_of,
)
from minikube_py.api.cel.values import (
    INT_MAX,
    INT_MIN,
    UINT_MAX,
    Duration,
    KeyedList,
    Timestamp,
    Uint,
)

Binary = Callable[[Any, Any], Any]


def checked_int(value: int) -> int:
    """Return the value if it fits 64 bits.

    Raises:
        CelEvaluationError: it does not.

    """
    if INT_MIN <= value <= INT_MAX:
        return value
    raise CelEvaluationError("integer overflow")


def checked_uint(value: int) -> Uint:
    """Return the value as an unsigned integer.

    Raises:
        CelEvaluationError: it is negative or does not fit 64 bits.

    """
    if 0 <= value <= UINT_MAX:
        return Uint(value)
    raise CelEvaluationError("unsigned integer overflow")


def _add(left: Any, right: Any) -> Any:
    return int(left) + int(right)


def _subtract(left: Any, right: Any) -> Any:
    return int(left) - int(right)


def _multiply(left: Any, right: Any) -> Any:
    return int(left) * int(right)


def _divide(left: int, right: int) -> int:
    if not right:
        raise CelEvaluationError("division by zero")
    whole = abs(left) // abs(right)
    return whole if (left < 0) is (right < 0) else -whole


def _remainder(left: int, right: int) -> int:
    if not right:
        raise CelEvaluationError("modulus by zero")
    return left - right * _divide(left, right)


def _divide_double(left: float, right: float) -> float:
    if right:
        return left / right
    return nan if not left or left != left else copysign(inf, left) * copysign(1, right)  # noqa: PLR0124


def _signed(run: Binary) -> Binary:
    return lambda left, right: checked_int(run(left, right))


def _unsigned(run: Binary) -> Binary:
    return lambda left, right: checked_uint(run(int(left), int(right)))


def _join(left: Any, right: Any) -> list[Any]:
    return left.joined(right) if isinstance(left, KeyedList) else [*left, *right]


def _later(moment: Timestamp, span: Duration) -> Timestamp:
    return times.timestamp(moment.nanos + span.nanos)


def _earlier(moment: Timestamp, span: Duration) -> Timestamp:
    return times.timestamp(moment.nanos - span.nanos)


def _between(one: Any, other: Any) -> Duration:
    return times.duration(one.nanos - other.nanos)


def _sum(one: Duration, other: Duration) -> Duration:
    return times.duration(one.nanos + other.nanos)


def _overloads(operator: str, run: Binary, double: Binary | None) -> tuple[Overload, ...]:
    integers = (
        Overload(operator, (INT, INT), INT, _signed(run)),
        Overload(operator, (UINT, UINT), UINT, _unsigned(run)),
    )
    if double is None:
        return integers
    return (*integers, Overload(operator, (DOUBLE, DOUBLE), DOUBLE, double))


OVERLOADS: Final = (
    *_overloads("_+_", _add, lambda left, right: left + right),
    *_overloads("_-_", _subtract, lambda left, right: left - right),
    *_overloads("_*_", _multiply, lambda left, right: left * right),
    *_overloads("_/_", _divide, _divide_double),
    *_overloads("_%_", _remainder, None),
    Overload("_+_", (STRING, STRING), STRING, lambda a, b: a + b, cost=cost.both),
    Overload("_+_", (BYTES, BYTES), BYTES, lambda a, b: a + b, cost=cost.both),
    Overload("_+_", (list_of(A), list_of(A)), list_of(A), _join),
    Overload("_+_", (TIMESTAMP, DURATION), TIMESTAMP, _later),
    Overload("_+_", (DURATION, TIMESTAMP), TIMESTAMP, lambda span, moment: _later(moment, span)),
    Overload("_+_", (DURATION, DURATION), DURATION, _sum),
    Overload("_-_", (TIMESTAMP, TIMESTAMP), DURATION, _between),
    Overload("_-_", (TIMESTAMP, DURATION), TIMESTAMP, _earlier),
    Overload("_-_", (DURATION, DURATION), DURATION, _between),
    Overload("-_", (INT,), INT, lambda value: checked_int(-value)),
    Overload("-_", (DOUBLE,), DOUBLE, lambda value: -value),
    Overload("!_", (BOOL,), BOOL, lambda value: not value),
)

"""Kubernetes' `quantity(text)`: compared, added and turned to numbers."""

from typing import Any, Final

from minikube_py.api import quantity
from minikube_py.api.cel import cost
from minikube_py.api.cel.errors import CelEvaluationError
from minikube_py.api.cel.functions import Overload, member
from minikube_py.api.cel.types import BOOL, DOUBLE, INT, STRING, Type
from minikube_py.api.cel.values import INT_MAX, INT_MIN, Opaque

QUANTITY: Final = Type("kubernetes.Quantity")


def _quantity(text: str) -> Opaque:
    try:
        return Opaque(QUANTITY, quantity.parse(text))
    except ValueError as error:
        raise CelEvaluationError(str(error)) from None


def _is_quantity(text: str) -> bool:
    try:
        quantity.parse(text)
    except ValueError:
        return False
    return True


def _is_integer(amount: Opaque) -> bool:
    nanos = amount.value.nanos
    return not nanos % quantity.NANO and INT_MIN <= nanos // quantity.NANO <= INT_MAX


def _as_integer(amount: Opaque) -> int:
    if not _is_integer(amount):
        raise CelEvaluationError("cannot convert value to integer")
    return int(amount.value.nanos // quantity.NANO)


def _compare(one: Opaque, other: Opaque) -> int:
    left, right = one.value.nanos, other.value.nanos
    return int(left > right) - int(left < right)


def _sign(amount: Opaque) -> int:
    return int(amount.value.nanos > 0) - int(amount.value.nanos < 0)


def _other(value: Any) -> quantity.Quantity:
    found: quantity.Quantity = value.value if isinstance(value, Opaque) else quantity.of(value)
    return found


def _add(amount: Opaque, other: Any) -> Opaque:
    return Opaque(QUANTITY, amount.value + _other(other))


def _subtract(amount: Opaque, other: Any) -> Opaque:
    return Opaque(QUANTITY, amount.value - _other(other))


_BOTH: Final = (QUANTITY, QUANTITY)

OVERLOADS: Final = (
    Overload("quantity", (STRING,), QUANTITY, _quantity, cost=cost.first),
    Overload("isQuantity", (STRING,), BOOL, _is_quantity, cost=cost.first),
    member("sign", (QUANTITY,), INT, _sign),
    member("isInteger", (QUANTITY,), BOOL, _is_integer),
    member("asInteger", (QUANTITY,), INT, _as_integer),
    member(
        "asApproximateFloat", (QUANTITY,), DOUBLE, lambda each: each.value.nanos / quantity.NANO
    ),
    member("add", _BOTH, QUANTITY, _add),
    member("add", (QUANTITY, INT), QUANTITY, _add),
    member("sub", _BOTH, QUANTITY, _subtract),
    member("sub", (QUANTITY, INT), QUANTITY, _subtract),
    member("isGreaterThan", _BOTH, BOOL, lambda one, other: one.value > other.value),
    member("isLessThan", _BOTH, BOOL, lambda one, other: one.value < other.value),
    member("compareTo", _BOTH, INT, _compare),
)

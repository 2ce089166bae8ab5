"""`== != < <= > >= in` and `size`."""

import operator
from typing import Any, Final

from minikube_py.api.cel import cost
from minikube_py.api.cel.functions import Overload, member
from minikube_py.api.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    UINT,
    A,
    B,
    list_of,
    map_of,
)
from minikube_py.api.cel.values import equal, is_member, size_of

_ORDERS: Final = {
    "_<_": operator.lt,
    "_<=_": operator.le,
    "_>_": operator.gt,
    "_>=_": operator.ge,
}
_NUMBERS: Final = (INT, UINT, DOUBLE)
_SIZED: Final = (STRING, BYTES, list_of(A), map_of(A, B))


def _unequal(left: Any, right: Any) -> bool:
    return not equal(left, right)


def _scan(_result: Any, _value: Any, values: Any) -> int:
    return size_of(values)


OVERLOADS: Final = (
    Overload("_==_", (A, A), BOOL, equal, cost=cost.smaller),
    Overload("_!=_", (A, A), BOOL, _unequal, cost=cost.smaller),
    Overload("@in", (A, list_of(A)), BOOL, is_member, cost=_scan),
    Overload("@in", (A, map_of(A, B)), BOOL, is_member),
    *(
        Overload(name, (left, right), BOOL, run)
        for name, run in _ORDERS.items()
        for left in _NUMBERS
        for right in _NUMBERS
    ),
    *(
        Overload(name, (type_, type_), BOOL, run, cost=cost.smaller)
        for name, run in _ORDERS.items()
        for type_ in (BOOL, STRING, BYTES, TIMESTAMP, DURATION)
    ),
    *(Overload("size", (type_,), INT, len) for type_ in _SIZED),
    *(member("size", (type_,), INT, len) for type_ in _SIZED),
    Overload("dyn", (A,), DYN, lambda value: value),
)

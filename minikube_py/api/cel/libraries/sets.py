"""Lists as sets: `sets.contains`, `sets.equivalent` and `sets.intersects`."""

from typing import Any, Final

from minikube_py.api.cel import cost
from minikube_py.api.cel.functions import Overload
from minikube_py.api.cel.types import BOOL, A, list_of
from minikube_py.api.cel.values import is_member

_BOTH: Final = (list_of(A), list_of(A))


def _contains(values: Any, wanted: Any) -> bool:
    return all(is_member(each, values) for each in wanted)


def _equivalent(one: Any, other: Any) -> bool:
    return _contains(one, other) and _contains(other, one)


def _intersects(one: Any, other: Any) -> bool:
    return any(is_member(each, one) for each in other)


OVERLOADS: Final = (
    Overload("sets.contains", _BOTH, BOOL, _contains, cost=cost.pairs),
    Overload("sets.equivalent", _BOTH, BOOL, _equivalent, cost=cost.pairs),
    Overload("sets.intersects", _BOTH, BOOL, _intersects, cost=cost.pairs),
)

"""Optional values: made, asked and opened (`or` and `orValue` are in `calls`)."""

from typing import Any, Final

from minikube_py.api.cel.errors import CelEvaluationError
from minikube_py.api.cel.functions import Overload, member
from minikube_py.api.cel.types import BOOL, A, list_of, optional_of
from minikube_py.api.cel.values import NONE, Optional


def _some(value: Any) -> Optional:
    return Optional(value, present=True)


def _some_non_zero(value: Any) -> Optional:
    return _some(value) if value else NONE


def _value(optional: Optional) -> Any:
    if not optional.present:
        raise CelEvaluationError("optional.none() dereference")
    return optional.value


def _unwrap(values: Any) -> list[Any]:
    return [each.value for each in values if isinstance(each, Optional) and each.present]


OVERLOADS: Final = (
    Overload("optional.of", (A,), optional_of(A), _some),
    Overload("optional.ofNonZeroValue", (A,), optional_of(A), _some_non_zero),
    Overload("optional.none", (), optional_of(A), lambda: NONE),
    Overload("optional.unwrap", (list_of(optional_of(A)),), list_of(A), _unwrap),
    member("unwrapOpt", (list_of(optional_of(A)),), list_of(A), _unwrap),
    member("hasValue", (optional_of(A),), BOOL, lambda optional: optional.present),
    member("value", (optional_of(A),), A, _value),
)

"""Conditions of a status in the form that newer kinds share (`metav1.Condition`).

The rules are those of apimachinery's `apis/meta/v1/validation`; kinds that are older than it have
conditions of their own, which hardly anything checks.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from minikube_py.api import names
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj

STATUSES: Final = frozenset({"True", "False", "Unknown"})
REASON_BYTES_MAX: Final = 1024
MESSAGE_BYTES_MAX: Final = 32 * 1024


def validate_conditions(conditions: Sequence[Obj], field: Field) -> Iterator[FieldError]:
    """Report what is wrong with a list of conditions: each type stands once, each is complete."""
    seen: set[str] = set()
    for index, condition in enumerate(conditions):
        kind = condition.get("type", "")
        if kind in seen:
            yield (field[index] / "type").duplicate(kind)
        seen.add(kind)
        yield from _validate_condition(condition, field[index])


def _validate_condition(condition: Obj, field: Field) -> Iterator[FieldError]:
    kind, status = condition.get("type", ""), condition.get("status", "")
    for text in names.qualified_name(kind):
        yield (field / "type").invalid(kind, text)
    if status not in STATUSES:
        yield (field / "status").unsupported(status, STATUSES)
    generation = condition.get("observedGeneration") or 0
    if generation < 0:
        yield (field / "observedGeneration").invalid(
            generation, "must be greater than or equal to zero"
        )
    if condition.get("lastTransitionTime") is None:
        yield (field / "lastTransitionTime").required("must be set")
    yield from _validate_reason(condition.get("reason", ""), field / "reason")
    if len(condition.get("message", "").encode()) > MESSAGE_BYTES_MAX:
        yield (field / "message").too_long(MESSAGE_BYTES_MAX)


def _validate_reason(reason: str, field: Field) -> Iterator[FieldError]:
    if not reason:
        yield field.required("must be set")
        return
    yield from (field.invalid(reason, text) for text in names.condition_reason(reason))
    if len(reason) > REASON_BYTES_MAX:
        yield field.too_long(REASON_BYTES_MAX)

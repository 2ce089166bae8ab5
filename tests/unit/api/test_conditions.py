"""Conditions of a status in the form that newer kinds share."""

from typing import Any

import pytest

from minikube_py.api.conditions import validate_conditions
from minikube_py.api.fields import Field

GOOD = {
    "type": "Ready",
    "status": "True",
    "reason": "Fine",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}


@pytest.mark.parametrize(
    ("changes", "field", "beginning"),
    [
        ({"type": ""}, "type", "Invalid value"),
        ({"type": "a b"}, "type", "Invalid value"),
        ({"status": "true"}, "status", 'Unsupported value: "true": supported values: "False"'),
        ({"observedGeneration": -1}, "observedGeneration", "Invalid value: -1: must be greater"),
        ({"lastTransitionTime": None}, "lastTransitionTime", "Required value: must be set"),
        ({"reason": ""}, "reason", "Required value: must be set"),
        ({"reason": "not one word"}, "reason", "Invalid value"),
        ({"reason": "x" * 1025}, "reason", "Too long: may not be more than 1024 bytes"),
        ({"message": "x" * 32769}, "message", "Too long: may not be more than 32768 bytes"),
    ],
)
def test_a_condition_is_complete(changes: dict[str, Any], field: str, beginning: str) -> None:
    errors = list(validate_conditions([{**GOOD, **changes}], Field("status.conditions")))
    assert {error.field for error in errors} == {f"status.conditions[0].{field}"}
    assert errors[0].text.startswith(beginning)


def test_a_type_stands_once() -> None:
    (error,) = validate_conditions([GOOD, GOOD], Field("status.conditions"))
    assert str(error) == 'status.conditions[1].type: Duplicate value: "Ready"'

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api import intstr
from minikube_py.api.fields import Field


@given(st.integers(0, 200), st.integers(0, 10_000))
def test_a_percentage_rounds_as_asked(percent: int, total: int) -> None:
    up = intstr.scaled(f"{percent}%", total, round_up=True)
    down = intstr.scaled(f"{percent}%", total, round_up=False)
    assert down <= percent * total / 100 <= up
    assert up - down <= 1


def test_a_number_is_itself() -> None:
    assert intstr.scaled(3, 100, round_up=True) == 3


def test_text_that_is_no_percentage_cannot_be_scaled() -> None:
    with pytest.raises(ValueError, match="is not a percentage"):
        intstr.scaled("half", 10, round_up=True)


def test_errors_are_upstreams() -> None:
    field = Field("spec.maxSurge")
    assert [str(e) for e in intstr.validate_positive(-1, field)] == [
        "spec.maxSurge: Invalid value: -1: must be greater than or equal to 0"
    ]
    assert [str(e) for e in intstr.validate_positive("x", field)] == [
        (
            'spec.maxSurge: Invalid value: "x": a valid percent string must be a numeric string '
            "followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is "
            "'[0-9]+%')"
        )
    ]
    assert [str(e) for e in intstr.validate_percent_max("101%", field)] == [
        'spec.maxSurge: Invalid value: "101%": must not be greater than 100%'
    ]
    assert not list(intstr.validate_percent_max("100%", field))

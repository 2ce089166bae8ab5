import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api import quantity
from minikube_py.api.quantity import Quantity, canonical, parse

SUFFIXES = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]
TEXTS = st.builds(
    lambda sign, number, suffix: f"{sign}{number}{suffix}",
    st.sampled_from(["", "-", "+"]),
    st.one_of(
        st.integers(0, 10**9).map(str),
        st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)).map(lambda p: f"{p[0]}.{p[1]}"),
    ),
    st.sampled_from([*SUFFIXES, "e3", "e-2", "E5", "e+1"]),
)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("0", "0"),
        ("1", "1"),
        ("1000m", "1"),
        ("0.5", "500m"),
        ("0.500", "500m"),
        ("1.500", "1.500"),
        ("1.5", "1500m"),
        ("100m", "100m"),
        ("1Gi", "1Gi"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Ki", "512"),
        ("1000", "1k"),
        ("100000k", "100M"),
        ("1e3", "1e3"),
        ("12e2", "1200"),
        ("0.1n", "1n"),
        ("-0.1n", "-1n"),
        ("1.1Ki", "1126400m"),
        ("10Ei", "9223372036854775807"),
        ("", None),
        ("abc", None),
        ("1.2.3", None),
        ("1Kim", None),
        ("1e", None),
        ("1e99999999999999999999", None),
    ],
)
def test_the_canonical_form_is_upstreams(text: str, want: str | None) -> None:
    if want is None:
        with pytest.raises(ValueError, match=r"quantit(ies|y's)"):
            canonical(text)
    else:
        assert canonical(text) == want


def test_a_wrong_form_is_told_with_the_regular_expression() -> None:
    with pytest.raises(ValueError, match="must match the regular expression") as caught:
        parse("one")
    assert str(caught.value) == (
        "quantities must match the regular expression "
        "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )


def test_a_json_number_is_a_quantity_too() -> None:
    assert canonical(2) == "2"
    assert canonical(0.25) == "250m"


@given(TEXTS)
def test_printing_keeps_the_amount_and_is_stable(text: str) -> None:
    amount = parse(text)
    assert parse(str(amount)) == amount
    assert canonical(canonical(text)) == canonical(text)


@given(TEXTS, TEXTS)
def test_order_and_arithmetic_agree(left: str, right: str) -> None:
    a, b = parse(left), parse(right)
    assert (a < b) == ((b - a).nanos > 0)
    assert a + b == b + a
    assert (a + b) - b == a
    assert -a + a == quantity.ZERO
    assert (a == b) == (hash(a) == hash(b) and a - b == quantity.ZERO)


@given(st.integers(-(10**24), 10**24))
def test_whole_units_are_rounded_away_from_zero(nanos: int) -> None:
    amount = Quantity(nanos)
    assert abs(amount.value()) * quantity.NANO >= abs(nanos)
    assert (abs(amount.value()) - 1) * quantity.NANO < abs(nanos)
    assert abs(amount.milli_value()) * 10**6 >= abs(nanos)


def test_a_sum_takes_the_form_of_its_first_amount_that_is_not_zero() -> None:
    assert str(parse("1Gi") + parse("1Gi")) == "2Gi"
    assert str(quantity.ZERO + parse("512Mi")) == "512Mi"
    assert str(parse("500m") + parse("1")) == "1500m"
    assert str(quantity.of(2) - quantity.of_milli(500)) == "1500m"
    assert quantity.value("1500m") == 2
    assert quantity.milli_value("2") == 2000

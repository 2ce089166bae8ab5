"""Lists that are sets or maps (x-kubernetes-list-type): their order says nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api import cel
from minikube_py.api.cel import types
from minikube_py.api.cel.values import KeyedList, equal

SCALARS = st.one_of(st.integers(0, 5), st.text("ab", max_size=2), st.booleans())
SETS = st.lists(SCALARS, max_size=6, unique_by=lambda value: (type(value), value))
PORTS = st.lists(
    st.fixed_dictionaries({"port": st.integers(0, 5), "name": st.text("ab", max_size=1)}),
    max_size=6,
    unique_by=lambda port: port["port"],
)


@given(SETS, st.randoms())
def test_sets_are_equal_in_any_order(values: list[object], chance: object) -> None:
    other = sorted(values, key=lambda _: chance.random())  # type: ignore[attr-defined]
    assert equal(KeyedList(values, ()), KeyedList(other, ()))


@given(SETS, SETS)
def test_the_sum_of_sets_holds_each_element_once(one: list[object], other: list[object]) -> None:
    both = KeyedList(one, ()).joined(other)
    assert list(both[: len(one)]) == one
    for each in (*one, *other):
        assert sum(type(each) is type(it) and each == it for it in both) == 1


@given(PORTS, PORTS)
def test_the_sum_of_maps_takes_what_both_have_from_the_second(
    one: list[dict[str, object]], other: list[dict[str, object]]
) -> None:
    both = KeyedList(one, ("port",)).joined(other)
    second = {port["port"]: port for port in other}
    first = {port["port"]: port for port in one}
    assert {port["port"]: port for port in both} == {**first, **second}
    assert [port["port"] for port in both[: len(one)]] == list(first)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a == b", True),
        ("a + b == a", True),
        ("a + ['z'] == ['z', 'y', 'x']", True),
        ("a == ['y', 'x', 'z']", False),
        ("(a + b).size()", 2),
    ],
)
def test_expressions_see_their_order_as_upstream_does(text: str, value: object) -> None:
    declared = types.list_of(types.STRING)
    program = cel.compile(text, {"a": declared, "b": declared})
    bindings = {"a": KeyedList(["x", "y"], ()), "b": KeyedList(["y", "x"], ())}
    assert program.evaluate(bindings) == value


def test_long_lists_are_joined_at_once() -> None:
    numbers = KeyedList(range(30_000), ())
    assert len(numbers.joined(range(10_000, 50_000))) == 50_000
    assert equal(numbers, KeyedList(reversed(range(30_000)), ()))

"""What expressions are reckoned to cost: never less than they do, and upstream's own figures."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minikube_py.api import cel
from minikube_py.api.cel import types
from minikube_py.api.cel.ranges import MOST, ONE, Range, exactly

WORDS, NUMBERS = types.list_of(types.STRING), types.list_of(types.INT)
SELF = types.object_of(
    "Self",
    {
        "words": WORDS,
        "numbers": NUMBERS,
        "name": types.STRING,
        "count": types.INT,
        "labels": types.map_of(types.STRING, types.STRING),
    },
)
LONGEST, MANY = 20, 5


class Bounded:
    """Texts of at most LONGEST characters, lists and maps of at most MANY."""

    def most(self, path: Sequence[str]) -> int | None:
        if not path or path[-1] in {"count", "self"} or path[-2:] == ("numbers", "@items"):
            return 1
        return MANY if path[-1] in {"words", "numbers", "labels"} else LONGEST


def estimate(text: str) -> tuple[cel.Program, int]:
    return cel.compile_and_estimate(text, {"self": SELF}, Bounded())


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("self.count == 1", 3),
        ("1 + 1 == 2", 2),
        ("self.name == 'a'", 3),
        ("self.name.contains('abc')", 4),
        ("[1, 2].size() == 2", 12),
        ("{'a': 1}.size() == 1", 32),
        ("self.count > 0 || self.count < 9", 6),
        ("self.count > 0 ? self.name : 'b'", 5),
    ],
)
def test_small_expressions_cost_what_they_are_made_of(text: str, units: int) -> None:
    assert estimate(text)[1] == units


def test_loops_cost_as_often_as_the_data_can_be_long() -> None:
    inner, outer = (estimate(text)[1] for text in ("self.numbers", "self.numbers.all(n, n > 0)"))
    nested = estimate("self.numbers.all(n, self.numbers.all(m, m > n))")[1]
    assert inner < outer < nested
    assert nested > outer * MANY


OPERANDS = st.sampled_from(
    [
        "self.name", "'text'", "self.name.lowerAscii()", "(self.name + 'x')", "self.words[0]",
        "self.labels['a']", "self.name.replace('a', 'b')", "string(self.count)",
    ]
)  # fmt: skip
TESTS = st.one_of(
    st.tuples(OPERANDS, st.sampled_from(["==", "!=", "<", ">="]), OPERANDS).map(" ".join),
    st.builds("{}.contains({})".format, OPERANDS, OPERANDS),
    st.builds("{}.startsWith({})".format, OPERANDS, OPERANDS),
    st.builds("{}.matches('^[a-z]*$')".format, OPERANDS),
    st.builds("{} in self.words".format, OPERANDS),
    st.builds("{}.size() > self.count".format, OPERANDS),
    st.just("self.numbers.sum() > 3"),
)
LOOPS = st.recursive(
    TESTS,
    lambda inner: st.one_of(
        st.builds("(({}) && ({}))".format, inner, inner),
        st.builds("(({}) || ({}))".format, inner, inner),
        st.builds("!({})".format, inner),
        st.builds("(({}) ? ({}) : ({}))".format, inner, inner, inner),
        st.builds("self.words.all(w, w != '' && ({}))".format, inner),
        st.builds("self.numbers.exists(n, n > 2 || ({}))".format, inner),
        st.builds("self.words.filter(w, ({})).size() > 1".format, inner),
        st.builds("self.numbers.exists_one(n, ({}))".format, inner),
    ),
    max_leaves=5,
)
TEXTS = st.text("ab ", max_size=LONGEST)
DATA = st.fixed_dictionaries(
    {
        "words": st.lists(TEXTS, max_size=MANY),
        "numbers": st.lists(st.integers(-9, 9), max_size=MANY),
        "name": TEXTS,
        "count": st.integers(-9, 9),
        "labels": st.dictionaries(TEXTS, TEXTS, max_size=MANY),
    }
)


@given(LOOPS, DATA)
@settings(max_examples=150)
def test_nothing_costs_more_than_was_reckoned(text: str, data: Any) -> None:
    program, most = estimate(text)
    try:
        spent = program.run({"self": data}).cost
    except cel.CelEvaluationError as error:
        spent = error.spent
    assert spent <= most


AMOUNTS = st.integers(0, MOST)
RANGES = st.builds(lambda one, other: Range(*sorted((one, other))), AMOUNTS, AMOUNTS)


@given(RANGES, RANGES)
def test_ranges_add_and_multiply_without_running_over(one: Range, other: Range) -> None:
    for joined in (one.plus(other), one.times(other), one.union(other)):
        assert 0 <= joined.least <= joined.most <= MOST
    assert one.plus(other) == other.plus(one)
    assert one.times(ONE) == one
    assert one.plus(exactly(0)) == one

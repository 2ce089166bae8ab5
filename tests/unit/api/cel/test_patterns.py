"""Regular expressions: RE2's syntax, and no text that makes them slow."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minikube_py.api.cel import patterns
from minikube_py.api.cel.errors import CelEvaluationError
from minikube_py.api.cel.machine import Machine, degree

ATOMS = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", "\\w", "\\b", "^", "$", "(?:)", "\\d"])
PATTERNS = st.recursive(
    ATOMS,
    lambda inner: (
        st.builds("{}{}".format, inner, inner)
        | st.builds("(?:{}|{})".format, inner, inner)
        | st.builds("(?:{}){}".format, inner, st.sampled_from(["?", "*?", "+", "{0,2}", "{2}"]))
    ),
    max_leaves=5,
)


@settings(deadline=None, max_examples=300, derandomize=True)
@given(PATTERNS, st.text("ab1 \n", max_size=6))
def test_the_machine_matches_where_backtracking_does(pattern: str, text: str) -> None:
    expected = re.search(pattern.replace("$", r"\Z"), text, re.ASCII)
    machine = Machine(pattern.replace("$", r"\Z"), re.ASCII)
    assert machine.matches(text) is (expected is not None)
    found = machine.find(text, 0)
    assert (found and found[0]) == (expected and expected.start())


@pytest.mark.parametrize(
    ("pattern", "text", "spans"),
    [
        ("a+", "baab", [(1, 3)]),
        ("a+?", "baab", [(1, 2), (2, 3)]),
        ("a*", "baac", [(0, 0), (1, 3), (4, 4)]),
        ("(?i)AB|c", "xab", [(1, 3)]),
        ("a|ab", "ab", [(0, 1)]),
        ("[[:alpha:]]+", "12ab", [(2, 4)]),
        (r"\Qa.b\E", "a.b", [(0, 3)]),
        (r"\x{61}", "a", [(0, 1)]),
        (r"(?P<n>a)\z", "ba", [(1, 2)]),
        (r"(?<n>a)$", "ba", [(1, 2)]),
        ("a$", "a\n", []),
        ("(?m)^b$", "a\nb\nc", [(2, 3)]),
        ("[$a]", "$", [(0, 1)]),
        ("[^]]", "]x", [(1, 2)]),
        (r"\pL+", "1éЖ漢2", [(1, 4)]),
        (r"\p{Lu}\P{L}", "aA1", [(1, 3)]),
        (r"[\p{Nd}_]+", "x٣_4", [(1, 4)]),
        (r"[^\PL]", "1a", [(1, 2)]),
        (r"\p{^L}", "a1", [(1, 2)]),
        ("[[:^alpha:]]+", "a12", [(1, 3)]),
        ("(?U)a+", "aa", [(0, 1), (1, 2)]),
        ("(?U)a+?", "aa", [(0, 2)]),
        ("(?U:a+)a*", "aaa", [(0, 3)]),
        ("a(?i)b|c", "aB C", [(0, 2), (3, 4)]),
        ("(?i:a(?-i)b)c", "Abc AbC ABc", [(0, 3)]),
        ("(?s).(?-s).", "\n\n a", [(1, 3)]),
        ("a{,2}", "a{,2}", [(0, 5)]),
        (r"a\sb", "a\vb a b", [(4, 7)]),
        ("(a)|(?m)b$", "b\na", [(0, 1), (2, 3)]),
    ],
)
def test_matches_are_found_where_re2_finds_them(
    pattern: str, text: str, spans: list[tuple[int, int]]
) -> None:
    assert patterns.spans(pattern, text) == spans
    assert patterns.matches(pattern, text) is bool(spans)


@pytest.mark.parametrize(
    "pattern",
    [
        "(a",
        "a)",
        "[",
        "a**",
        "a*+",
        r"(a)\1",
        "(?=a)",
        "(?<!a)b",
        "(?#a)",
        "(?>a)",
        "(?a)a",
        "a{1001}",
        "a{1000}" * 20,
        r"a\Z",
        r"\pX",
        r"\p{Nope}",
        r"\C",
        "[[:nope:]]",
        "\\",
        "(?P=a)",
    ],
)
def test_what_re2_refuses_is_refused(pattern: str) -> None:
    with pytest.raises(CelEvaluationError):
        patterns.compile_pattern(pattern)


@pytest.mark.parametrize("pattern", ["^(a+)+$", "(a|aa)*b", "(.*a){12}b", "a*a*a*a*a*b"])
def test_a_pattern_that_explodes_elsewhere_stays_quick(pattern: str) -> None:
    start = time.process_time()
    assert not patterns.matches(pattern, "a" * 3000 + "c")
    assert time.process_time() - start < 2


def test_the_degree_is_the_power_of_the_length() -> None:
    assert degree("abc?", 0) == 1
    assert degree("a{3}", 0) == 0
    assert degree("^[a-z]+$", 0) == 1
    assert degree("a*b*", 0) == 2
    assert degree("(a+)+", 0) == 99

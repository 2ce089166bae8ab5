"""Whatever an expression is given, it has a value or fails in its own words."""

import contextlib
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minikube_py.api import cel
from minikube_py.api.cel import libraries, types
from minikube_py.api.cel.values import NONE, Duration, Optional, Timestamp, Uint

VALUES = (
    0,
    -1,
    9223372036854775807,
    Uint(3),
    1e300,
    float("nan"),
    True,
    None,
    "",
    "é[",
    b"\xff",
    [1, "a", None],
    [[1], [{}]],
    {"a": 1},
    Timestamp(0),
    Duration(-(1 << 63)),
    NONE,
    Optional("x", present=True),
    types.INT,
)
FAILURES = (cel.CelError, cel.CelEvaluationError, cel.CelCostError)
CALLS = sorted(
    {
        (overload.function, overload.member, len(overload.parameters))
        for overloads in libraries.ALL.values()
        for overload in overloads
        if len(overload.parameters) <= 3 and overload.function[0].isalpha()
    }
)


def _call(function: str, count: int, *, member: bool) -> str:
    names = ["a", "b", "c"][:count]
    target = f"{names.pop(0)}." if member else ""
    return f"{target}{function}({', '.join(names)})"


@pytest.mark.parametrize(("function", "member", "count"), CALLS)
def test_no_function_fails_in_pythons_words(function: str, *, member: bool, count: int) -> None:
    variables = {"a": types.DYN, "b": types.DYN, "c": types.DYN}
    program = cel.compile(_call(function, count, member=member), variables, functions=libraries.ALL)
    values = VALUES if count < 3 else VALUES[:11]
    ended = 0
    for arguments in product(values, repeat=count):
        with contextlib.suppress(FAILURES):
            program.evaluate(dict(zip("abc", arguments, strict=False)), budget=10_000)
        ended += 1
    assert ended == len(values) ** count


@pytest.mark.parametrize("operator", ["+", "-", "*", "/", "%", "<", "==", "in", "&&", "||"])
def test_no_operator_fails_in_pythons_words(operator: str) -> None:
    program = cel.compile(f"a {operator} b", {"a": types.DYN, "b": types.DYN})
    ended = 0
    for left, right in product(VALUES, repeat=2):
        with contextlib.suppress(FAILURES):
            program.evaluate({"a": left, "b": right})
        ended += 1
    assert ended == len(VALUES) ** 2


@pytest.mark.parametrize("text", ["a[b]", "a[?b]", "a.x", "a.?x", "has(a.x)", "a.map(x, x)", "-a"])
def test_no_access_fails_in_pythons_words(text: str) -> None:
    program = cel.compile(text, {"a": types.DYN, "b": types.DYN})
    for left, right in product(VALUES, repeat=2):
        try:
            result = program.evaluate({"a": left, "b": right})
        except FAILURES as failure:
            result = str(failure)
        assert result != ""


@pytest.mark.parametrize("type_", [types.BYTES, types.TIMESTAMP, types.DURATION])
def test_a_field_that_is_not_what_its_schema_says_is_a_failure(type_: types.Type) -> None:
    self = types.object_of("Self", {"x": type_})
    program = cel.compile("self.x == self.x && size(string(dyn(self.x))) > 99", {"self": self})
    with pytest.raises(cel.CelEvaluationError):
        program.evaluate({"self": {"x": "not such a thing!"}})


WORDS = st.sampled_from(
    (
        *("a", "b", ".", "?.", "(", ")", "[", "]", "{", "}", ",", ":", "?", "+", "-", "!"),
        *("==", "&&", "1", "2u", "1.5", "'x'", "b'y'", "has", "all", "map", "in", "true", "null"),
        *("for", " ", "\n", "\\", '"', "`", "0x", "1e", "é", "\0", "//"),
    )
)


def _compiled(text: str) -> str:
    """Return the text of the program, or the complaint."""
    try:
        return cel.compile(text, {"a": types.DYN}).text
    except cel.CelError as error:
        return str(error)


@settings(deadline=None, max_examples=400, derandomize=True)
@given(st.lists(WORDS, max_size=14).map("".join))
def test_any_text_compiles_or_is_refused(text: str) -> None:
    said = _compiled(text)
    assert said == text or said.startswith("ERROR: <input>:")

"""Every requirement has a test of ours, or stands in the list of those that have none."""

import ast

import pytest

from tests.conformance.entries import Claim, claims, claims_of, entries, matching
from tests.conformance.missing import MISSING


def test_every_marker_means_one_requirement() -> None:
    names = entries()
    wrong = [claim for claim in claims() if len(matching(claim.entry, names)) != 1]
    assert not wrong, f"no or several entries of conformance.yaml are meant: {wrong}"


def test_every_requirement_is_covered_or_listed() -> None:
    names = entries()
    said = {name for claim in claims() for name in matching(claim.entry, names)}
    listed = {name for entry in MISSING for name in matching(entry, names)}
    assert names.keys() - said - listed == set()


def test_the_list_of_the_missing_names_requirements_that_are_not_covered() -> None:
    names = entries()
    said = {name for claim in claims() for name in matching(claim.entry, names)}
    for text in MISSING:
        found = matching(text, names)
        assert len(found) == 1, text
        assert found[0] not in said, f"{text}: is covered; take it out of the list"


def test_markers_are_read_from_the_syntax_of_a_test() -> None:
    source = """
@pytest.mark.conformance("one", "two" " parts")
@pytest.mark.e2e
async def test_a(): ...

class TestB:
    @pytest.mark.conformance("three")
    def test_b(self): ...

ROWS = [entry("four", Case()), other("five")]
"""
    assert set(claims_of("f.py", ast.parse(source))) == {
        Claim("one", "f.py::test_a"),
        Claim("two parts", "f.py::test_a"),
        Claim("four", "f.py"),
        Claim("three", "f.py::test_b"),
    }


@pytest.mark.parametrize(("text", "found"), [("a b", ["a b"]), ("a...", ["a b", "a c"]), ("a", [])])
def test_a_marker_may_be_cut(text: str, found: list[str]) -> None:
    assert matching(text, ["a b", "a c", "d"]) == found

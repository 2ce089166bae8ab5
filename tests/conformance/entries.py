"""The requirements of conformance.yaml, and which tests of ours say that they hold.

A test names the entries it covers: `@pytest.mark.conformance("Discovery should honor...")`,
with the entry's codename less what stands in brackets, whole, or a beginning that is its alone with
three dots. A row of a table of tests says the same: `entry("Discovery should honor...", ...)`.
The markers are read from the syntax of the test files, so that no test needs to be imported, or its
clients installed, to count.
"""

import ast
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[2]
CATALOGUE = ROOT.parent / "shared" / "reference" / "conformance.yaml"
CUT = "..."


class Entry(NamedTuple):
    """One requirement."""

    name: str
    """The codename without brackets; unique."""
    sig: str
    title: str
    description: str


class Claim(NamedTuple):
    """A test that says it covers an entry."""

    entry: str
    where: str


def entries() -> dict[str, Entry]:
    """Return all requirements by name."""
    documents = yaml.safe_load(CATALOGUE.read_text())
    found = [entry_of(document) for document in documents]
    return {entry.name: entry for entry in found}


def entry_of(document: dict[str, str]) -> Entry:
    """Return one requirement as the markers name it."""
    codename = document["codename"]
    sig = codename[1 : codename.index("]")]
    return Entry(name_of(codename), sig, document["testname"], document["description"])


def name_of(codename: str) -> str:
    """Return a codename without what stands in brackets, and with single spaces."""
    return " ".join(re.sub(r"\[[^]]*\]", " ", codename).split())


def claims(folder: Path = ROOT / "tests") -> Iterator[Claim]:
    """Yield what the tests below a folder say they cover."""
    for path in sorted(folder.rglob("test_*.py")):
        text = path.read_text()
        if "mark.conformance(" in text or "entry(" in text:
            yield from claims_of(path.relative_to(ROOT).as_posix(), ast.parse(text))


def claims_of(where: str, tree: ast.Module) -> Iterator[Claim]:
    """Yield the claims of one file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for mark in filter(is_mark, node.decorator_list):
                assert isinstance(mark, ast.Call)
                for argument in mark.args:
                    yield Claim(str(ast.literal_eval(argument)), f"{where}::{node.name}")
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "entry":
            yield Claim(str(ast.literal_eval(node.args[0])), where)


def is_mark(node: ast.expr) -> bool:
    """Tell whether a decorator is `pytest.mark.conformance(...)`."""
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.conformance"


def matching(claim: str, names: Collection[str]) -> list[str]:
    """Return the entries that a marker's text may mean: one, where it is written well."""
    if claim.endswith(CUT):
        return [name for name in names if name.startswith(claim.removesuffix(CUT))]
    return [claim] if claim in names else []

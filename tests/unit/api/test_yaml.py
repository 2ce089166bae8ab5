"""YAML as Go's sigs.k8s.io/yaml reads it."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minikube_py.api import yaml
from minikube_py.api.item import Document

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(min_size=1), inner),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", True),
        ("'on'", "on"),
        ("12:30:00", "12:30:00"),
        ("2026-01-01", "2026-01-01"),
        ("1e3", 1000.0),
        ("0x10", 16),
        ("~", None),
        ("1_000", 1000),
        ("10Gi", "10Gi"),
    ],
)
def test_a_scalar_has_the_type_that_clients_expect(text: str, value: Any) -> None:
    assert yaml.load(text) == value


def test_an_alias_bomb_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(ValueError, match="excessive aliasing"):
        yaml.load("\n".join(lines))


def test_documents_of_a_cache_can_be_shown() -> None:
    assert yaml.dump(Document({"b": 1, "a": Document({"c": "x"})})) == b"a:\n  c: x\nb: 1\n"


@example({"0E0": None, "on": "0x1", "1_0": "~"})
@given(JSON)
def test_what_is_dumped_is_loaded_again(value: Any) -> None:
    assert yaml.load(yaml.dump(value)) == value


@pytest.mark.parametrize("text", ["[" * 200_000, "[" * 2_000 + "]" * 2_000, "- " * 2_000 + "a"])
def test_a_document_that_is_too_deep_is_refused_and_ends_nothing(text: str) -> None:
    with pytest.raises(ValueError, match="nested more than"):
        yaml.load(text)

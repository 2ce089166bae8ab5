"""YAML read in one pass: what anchors, merges and repeated keys come to."""

import asyncio
from typing import Any

import pytest
import yaml as pyyaml
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api import yaml
from minikube_py.lib.patience import patiently

SCALARS = st.sampled_from(
    ["a", "'a'", '"b\\n"', "1", "0x1f", "-2.5", "true", "off", "null", "~", "''", "!!str 1",
     "!!int '7'", "1_000", "9" * 400, "1e3", "2026-01-01"]
)  # fmt: skip
TEXTS = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda items: f"[{', '.join(items)}]")
        | st.lists(st.tuples(SCALARS, inner), max_size=4).map(
            lambda pairs: "{" + ", ".join(f"? {key} : {value}" for key, value in pairs) + "}"
        )
    ),
    max_leaves=12,
)


@given(TEXTS)
def test_a_document_is_what_a_reader_of_nodes_makes_of_it(text: str) -> None:
    shown = repr(pyyaml.load(text, Loader=yaml._Loader))  # noqa: S506 -- a safe loader
    assert repr(yaml.load(text)) == shown


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}),
        ("a: &x [1]\nb: &x [2]\nc: *x", {"a": [1], "b": [2], "c": [2]}),
        ("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}", {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}),
        (
            "- &x {a: 1, b: 1}\n- &y {a: 2, c: 2}\n- {<<: [*x, *y], c: 3}",
            [{"a": 1, "b": 1}, {"a": 2, "c": 2}, {"a": 1, "c": 3, "b": 1}],
        ),
        ("&k a: 1\nb: *k", {"a": 1, "b": "a"}),
        ("'<<': 1", {"<<": 1}),
        ("", None),
        ("--- 1", 1),
    ],
)
def test_anchors_and_merges_are_followed(text: str, value: Any) -> None:
    assert yaml.load(text) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: *x", "yaml: unknown anchor 'x' referenced"),
        ("a: &x [*x]", "yaml: anchor 'x' value contains itself"),
        ("a: 1\n--- 2", "but found another document"),
        ("[1]: 2", "found unhashable key"),
        ("<<: 1", "expected a mapping or list of mappings for merging"),
        ("!!set {a}", "could not determine a constructor for the tag"),
        ("!own 1", "could not determine a constructor for the tag"),
        ("a: [1", "did not find expected"),
    ],
)
def test_what_is_no_document_is_refused(text: str, why: str) -> None:
    with pytest.raises(pyyaml.YAMLError) as refusal:
        yaml.load(text)
    assert why in yaml.error_text(refusal.value)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: 1\nb: 2", ""),
        ("a: 1\na: 2", 'line 2: key "a" already set in map'),
        ("1: a\n1: b\n'1': c", "line 2: key 1 already set in map"),
        (
            "a:\n  b: 1\n  b: 2\na: 3\n",
            'line 3: key "b" already set in map\n  line 4: key "a" already set in map',
        ),
    ],
)
def test_keys_that_stand_twice_are_told(text: str, found: str) -> None:
    told = f"yaml: unmarshal errors:\n  {found}" if found else ""
    assert yaml.repeated_keys(text) == told


def test_all_documents_of_a_text_are_read() -> None:
    assert yaml.load_all("a: &x 1\n---\n---\nb: 2\n") == [{"a": 1}, {"b": 2}]


async def test_a_long_text_is_given_up_and_read_in_a_thread() -> None:
    text = "\n".join(f"key{n}: [{n}, a, b]" for n in range(1000))
    loops: list[bool] = []

    def read() -> Any:
        try:
            asyncio.get_running_loop()
            loops.append(True)
        except RuntimeError:
            loops.append(False)
        return yaml.load(text)

    document = await patiently(read, seconds=1e-6)
    assert document["key999"] == [999, "a", "b"]
    assert loops == [True, False]

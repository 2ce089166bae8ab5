"""Merge patch: the laws of RFC 7386, and the refusals of the API server of Kubernetes."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api.patch import MalformedPatchError, merge_patch
from minikube_py.api.patch.merge_patch import same

SCALARS = st.booleans() | st.integers(0, 2) | st.sampled_from(["", "x", 1.0])
KEYS = st.sampled_from("abc")


def trees(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    values = st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=3),
        max_leaves=10,
    )
    return st.dictionaries(KEYS, values, max_size=3)


OBJECTS = trees(SCALARS)
PATCHES = trees(SCALARS | st.none())


@given(OBJECTS, OBJECTS)
def test_merging_the_difference_gives_the_target(old: Any, new: Any) -> None:
    assert same(merge_patch.apply(old, merge_patch.diff(old, new)), new)


@given(OBJECTS)
def test_the_difference_to_oneself_is_empty(obj: Any) -> None:
    assert merge_patch.diff(obj, obj) == {}


@given(OBJECTS, PATCHES)
def test_applying_twice_is_applying_once(obj: Any, patch: Any) -> None:
    once = merge_patch.apply(obj, patch)
    assert same(merge_patch.apply(once, patch), once)


@given(OBJECTS, PATCHES)
def test_neither_argument_is_touched(obj: Any, patch: Any) -> None:
    before = copy.deepcopy((obj, patch))
    merge_patch.apply(obj, patch)
    assert same([obj, patch], list(before))


@pytest.mark.parametrize(
    ("obj", "patch", "merged"),
    [  # the examples of RFC 7386, appendix A, whose target is an object
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_the_examples_of_the_rfc(obj: Any, patch: Any, merged: Any) -> None:
    assert merge_patch.apply(obj, patch) == merged


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ([], "array into Go value of type map[string]interface {}"),
        (5, "number into Go value of type map[string]interface {}"),
        (True, "bool into Go value of type map[string]interface {}"),
        ("x", "string into Go value of type map[string]interface {}"),
    ],
)
def test_what_is_no_map_is_refused(patch: Any, message: str) -> None:
    with pytest.raises(MalformedPatchError) as refusal:
        merge_patch.apply({}, patch)
    assert refusal.value.message == f"error decoding patch: json: cannot unmarshal {message}"


def test_null_is_refused() -> None:
    with pytest.raises(MalformedPatchError, match="Invalid JSON Patch"):
        merge_patch.apply({}, None)


def test_a_patch_that_is_too_deep_is_refused() -> None:
    patch: Any = {}
    for _ in range(5000):
        patch = {"a": patch}
    with pytest.raises(MalformedPatchError, match="max depth"):
        merge_patch.apply({}, patch)

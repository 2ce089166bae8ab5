"""JSON patch: the RFC, where the API server of Kubernetes follows it, and its own ways."""

import copy
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api.patch import (
    InapplicablePatchError,
    MalformedPatchError,
    PatchTooLargeError,
    json_patch,
)
from minikube_py.api.patch.merge_patch import same

OBJ = {"a": {"b": [1, 2, 3]}, "text": "x", "none": None}
SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "x", "~/"])
KEYS = st.sampled_from(["a", "b", "~", "/", "0", "-", "x~1y"])
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)
OBJECTS = st.dictionaries(KEYS, JSON, max_size=4)


def patched(*operations: dict[str, Any], obj: Any = OBJ) -> Any:
    return json_patch.apply(obj, list(operations))


@given(OBJECTS, OBJECTS)
def test_a_diff_made_by_another_library_leads_to_its_target(old: Any, new: Any) -> None:
    before = copy.deepcopy(old)
    operations = jsonpatch.make_patch(old, new).patch
    if any(operation["path"] == "" for operation in operations):
        return
    untouched = copy.deepcopy(operations)
    assert json_patch.apply(old, operations) == new
    assert same(old, before)
    assert operations == untouched


@given(OBJECTS.filter(bool), st.data())
def test_operations_do_what_another_library_makes_of_them(obj: Any, data: st.DataObject) -> None:
    pointers = [f"/{'/'.join(path)}" for path in _paths(obj)]
    pointer = st.sampled_from(pointers)
    kinds = st.sampled_from(["add", "remove", "replace", "move", "copy", "test"])
    operation = {
        "op": data.draw(kinds),
        "path": data.draw(pointer),
        "from": data.draw(pointer),
        "value": data.draw(JSON),
    }
    before = copy.deepcopy(obj)
    try:
        expected = jsonpatch.apply_patch(obj, [operation])
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException):
        with pytest.raises(InapplicablePatchError):
            json_patch.apply(obj, [operation])
    else:
        if operation["op"] != "test" or same(_at(obj, operation["path"]), operation["value"]):
            assert same(json_patch.apply(obj, [operation]), expected)
    assert same(obj, before)


def _paths(value: Any) -> list[list[str]]:
    items = enumerate(value) if isinstance(value, list) else ()
    items = value.items() if isinstance(value, dict) else items
    found = []
    for key, inner in items:
        token = str(key).replace("~", "~0").replace("/", "~1")
        found += [[token], *([token, *rest] for rest in _paths(inner))]
    return found


def _at(value: Any, pointer: str) -> Any:
    for token in pointer.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value


def test_a_negative_index_counts_from_the_end() -> None:
    assert patched({"op": "remove", "path": "/a/b/-1"})["a"]["b"] == [1, 2]
    assert patched({"op": "add", "path": "/a/b/-1", "value": 4})["a"]["b"] == [1, 2, 3, 4]
    assert patched({"op": "replace", "path": "/a/b/-3", "value": 0})["a"]["b"] == [0, 2, 3]


def test_replacing_what_is_absent_in_a_map_adds_it() -> None:
    assert patched({"op": "replace", "path": "/new", "value": 1})["new"] == 1


def test_an_absent_key_equals_null() -> None:
    assert patched({"op": "test", "path": "/absent", "value": None}) == OBJ
    assert patched({"op": "copy", "from": "/absent", "path": "/a/c"})["a"]["c"] is None


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "add", "path": "", "value": {}},
        {"op": "add", "path": "a", "value": 1},
        {"op": "add", "value": 1},
        {"op": "add", "path": "/no/where", "value": 1},
        {"op": "add", "path": "/text/x", "value": 1},
        {"op": "add", "path": "/none/x", "value": 1},
        {"op": "add", "path": "/a/b/9", "value": 1},
        {"op": "add", "path": "/a/b/-5", "value": 1},
        {"op": "add", "path": "/a/b/x", "value": 1},
        {"op": "add", "path": "/a/b/ 1", "value": 1},
        {"op": "add", "path": "/a/b/" + "9" * 5000, "value": 1},
        {"op": "add", "path": "/a/b/x/y", "value": 1},
        {"op": "add", "path": "/a" * 300, "value": 1},
        {"op": "remove", "path": "/absent"},
        {"op": "remove", "path": "/a/b/3"},
        {"op": "replace", "path": "/a/b/3", "value": 1},
        {"op": "replace", "path": "/a/b/-", "value": 1},
        {"op": "move", "from": "/absent", "path": "/x"},
        {"op": "move", "from": "/a", "path": "/a/b/0"},
        {"op": "copy", "path": "/x"},
        {"op": "test", "path": "/a/b/0", "value": True},
        {"op": "test", "path": "/a/b/0", "value": 1.0},
        {"op": "test", "path": "/a/b"},
        {"op": "eat", "path": "/a"},
        {"path": "/a"},
        {},
    ],
)
def test_what_does_not_fit_is_refused_with_one_text_for_all(operation: dict[str, Any]) -> None:
    with pytest.raises(InapplicablePatchError) as refusal:
        patched({"op": "add", "path": "/first", "value": 1}, operation)
    assert refusal.value.status() == {
        "apiVersion": "v1",
        "kind": "Status",
        "metadata": {},
        "status": "Failure",
        "message": "the server rejected our request due to an error in our request",
        "reason": "Invalid",
        "details": {},
        "code": 422,
    }
    assert "first" not in OBJ


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ({}, "cannot unmarshal object into Go value of type []handlers.jsonPatchOp"),
        ("x", "cannot unmarshal string into Go value of type []handlers.jsonPatchOp"),
        ([1], "cannot unmarshal number into Go value of type handlers.jsonPatchOp"),
        (
            [{"op": 1}],
            "cannot unmarshal number into Go struct field jsonPatchOp.op of type string",
        ),
        (
            [{"op": "add", "path": ["a"]}],
            "cannot unmarshal array into Go struct field jsonPatchOp.path of type string",
        ),
    ],
)
def test_what_is_no_patch_is_named(patch: Any, message: str) -> None:
    with pytest.raises(MalformedPatchError) as refusal:
        json_patch.apply(OBJ, patch)
    assert refusal.value.message == f"error decoding patch: json: {message}"
    assert refusal.value.code == 400


def test_the_empty_patch_changes_nothing() -> None:
    assert patched() == OBJ
    assert json_patch.apply(OBJ, None) == OBJ


def test_ten_thousand_operations_are_carried_out_and_more_are_refused() -> None:
    one = {"op": "add", "path": "/a/b/-", "value": 0}
    assert len(patched(*[one] * 10_000)["a"]["b"]) == 10_003
    with pytest.raises(PatchTooLargeError) as refusal:
        patched(*[one] * 10_001)
    assert refusal.value.message == (
        "The allowed maximum operations in a JSON patch is 10000, got 10001"
    )
    assert (refusal.value.reason, refusal.value.code) == ("RequestEntityTooLarge", 413)


def test_copies_cannot_make_a_small_patch_explode() -> None:
    doublings = ({"op": "copy", "from": "/a", "path": f"/a/{n}"} for n in range(100))
    with pytest.raises(InapplicablePatchError) as refusal:
        patched(*doublings)
    assert "accumulated size increase" in refusal.value.cause


def test_a_copy_changes_by_itself() -> None:
    done = patched(
        {"op": "add", "path": "/a/c", "value": {"d": 1}},
        {"op": "replace", "path": "/a/c/d", "value": 2},
        {"op": "copy", "from": "/a/c", "path": "/copy"},
        {"op": "replace", "path": "/a/c/d", "value": 3},
    )
    assert (done["copy"], done["a"]["c"]) == ({"d": 2}, {"d": 3})


def test_values_of_the_patch_are_not_changed_by_it() -> None:
    operations = [
        {"op": "add", "path": "/new", "value": {"list": []}},
        {"op": "add", "path": "/new/list/-", "value": 1},
    ]
    assert patched(*operations)["new"] == {"list": [1]}
    assert operations[0]["value"] == {"list": []}


def test_unknown_fields_of_operations_are_named() -> None:
    fields = json_patch.unknown_fields([{"op": "add"}, {"op": "add", "valeu": 1}])
    assert fields == ['json patch unknown field "[1].valeu"']

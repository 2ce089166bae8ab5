"""Custom kinds without a server: pruning, defaulting, values, names and JSON paths."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api import field_walks, jsonpath
from minikube_py.api.apiextensions import custom, defaulting, naming, pruning, structural, values
from minikube_py.api.fields import Field

NAMES = st.sampled_from("abcd")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["", "x", "yy"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
LEAVES = st.sampled_from(
    [
        {"type": "string", "default": "d"},
        {"type": "string", "nullable": True, "default": "d"},
        {"type": "integer", "default": 1},
        {"type": "boolean"},
        {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        {"type": "object", "default": {}},
    ]
)
NODES = st.recursive(
    LEAVES,
    lambda inner: (
        st.builds(
            lambda fields: {"type": "object", "properties": fields},
            st.dictionaries(NAMES, inner, max_size=3),
        )
        | st.builds(lambda item: {"type": "array", "items": item}, inner)
        | st.builds(lambda item: {"type": "object", "additionalProperties": item}, inner)
    ),
    max_leaves=8,
)
ROOTS = st.builds(
    lambda fields: {"type": "object", "properties": fields},
    st.dictionaries(NAMES, NODES, max_size=3),
)
OBJECTS = st.dictionaries(NAMES, JSON, max_size=4)


@given(ROOTS, OBJECTS)
def test_pruning_twice_is_pruning_once_and_finds_nothing_more(root: Any, obj: Any) -> None:
    once, _ = pruning.prune(root, obj)
    assert pruning.prune(root, once) == (once, [])


@given(ROOTS, OBJECTS)
def test_defaulting_twice_is_defaulting_once(root: Any, obj: Any) -> None:
    once = defaulting.default(root, obj)
    assert defaulting.default(root, once) is once


@given(ROOTS, OBJECTS)
def test_what_has_not_changed_is_not_judged_again(root: Any, obj: Any) -> None:
    assert not list(values.validate(root, obj, Field(), old=obj))


def test_unknown_fields_go_and_are_named_in_order() -> None:
    keep = {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
        "properties": {"k": {"type": "object", "properties": {"z": {"type": "string"}}}},
    }
    root = {"type": "object", "properties": {"keep": keep}}
    obj = {"keep": {"any": [1], "k": {"z": "1", "drop": 2}}, "b": 1, "a": 2}
    pruned, unknown = pruning.prune(root, obj)
    assert pruned == {"keep": {"any": [1], "k": {"z": "1"}}}
    assert unknown == ["a", "b", "keep.k.drop"]


def test_null_gives_way_to_a_default_unless_it_is_allowed() -> None:
    text = {"type": "string", "default": "d"}
    root = {"type": "object", "properties": {"a": text, "b": {**text, "nullable": True}}}
    assert defaulting.default(root, {"a": None, "b": None}) == {"a": "d", "b": None}


@pytest.mark.parametrize(
    ("node", "value", "text"),
    [
        ({"type": "string"}, 5, 'f in body must be of type string: "integer"'),
        ({"type": "integer", "maximum": 3}, 5, "f in body should be less than or equal to 3"),
        ({"type": "integer", "minimum": 9}, 5, "f in body should be greater than or equal to 9"),
        ({"type": "string", "minLength": 3}, "a", "f in body should be at least 3 chars long"),
        ({"type": "string", "pattern": "^b"}, "a", "f in body should match '^b'"),
        ({"type": "string", "maxLength": 1}, "ab", "f: Too long: may not be more than 1 byte"),
        ({"type": "string", "enum": ["a", "b"]}, "c", 'supported values: "a", "b"'),
        ({"type": "string", "format": "date"}, "x", 'f in body must be of type date: "x"'),
        ({"type": "object", "required": ["a"]}, {}, "f.a: Required value"),
        ({"type": "array", "maxItems": 1}, [1, 2], "f: Too many: 2: must have at most 1 item"),
        ({"anyOf": [{"minimum": 7}]}, 5, '"f" must validate at least one schema (anyOf)'),
        ({"oneOf": [{"minimum": 7}]}, 5, "one and only one schema (oneOf). Found none valid"),
        ({"not": {"minimum": 1}}, 5, '<nil>: Invalid value: "": "f" must not validate the schema'),
        ({"type": "array", "x-kubernetes-list-type": "set"}, [1, 1], "f[1]: Duplicate value: 1"),
    ],
)
def test_a_value_that_does_not_fit_is_reported_in_upstreams_words(
    node: Any, value: Any, text: str
) -> None:
    root = {"type": "object", "properties": {"f": node}}
    errors = [str(error) for error in values.validate(root, {"f": value}, Field(), root=True)]
    assert any(text in error for error in errors), errors


def test_schemas_and_objects_may_be_deep() -> None:
    root: Any = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    obj: Any = {}
    for _ in range(900):
        obj = {"a": obj}
    assert pruning.prune(root, obj) == (obj, [])
    assert field_walks.field_set(custom.type_of(root), obj)


def test_elements_with_equal_keys_are_duplicates() -> None:
    item = {"type": "object", "properties": {"n": {"type": "string"}}}
    keys = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"]}
    root = {"type": "object", "properties": {"l": {"type": "array", "items": item, **keys}}}
    errors = list(values.validate(root, {"l": [{"n": "a"}, {"n": "a"}]}, Field(), root=True))
    assert [error.field for error in errors] == ["l[1]"]


@pytest.mark.parametrize(
    ("root", "field"),
    [
        ({}, "s.type"),
        ({"type": "array", "items": {"type": "string"}}, "s.type"),
        ({"type": "object", "properties": {"a": {}}}, "s.properties[a].type"),
        ({"type": "object", "properties": {"a": {"type": "array"}}}, "s.properties[a].items"),
        ({"type": "object", "additionalProperties": False}, "s.additionalProperties"),
        (
            {"type": "object", "properties": {"a": {"type": "integer", "default": "x"}}},
            "s.properties[a].default",
        ),
    ],
)
def test_a_schema_that_is_not_structural_is_refused_where_it_is_not(root: Any, field: str) -> None:
    assert field in [error.field for error in structural.validate(root, Field("s"))]


def test_paths_find_names_indices_filters_and_everything() -> None:
    obj = {"a": {"b.c": [1, 2]}, "l": [{"t": "x", "v": 1}, {"t": "y", "v": 2}]}
    assert jsonpath.find(obj, ".a['b.c'][-1]") == [2]
    assert jsonpath.find(obj, r".a.b\.c[0]") == [1]
    assert jsonpath.find(obj, ".l[*].v") == [1, 2]
    assert jsonpath.find(obj, '.l[?(@.t=="y")].v') == [2]
    assert jsonpath.find(obj, ".nothing.here") == []


@pytest.mark.parametrize("path", ["", ".a[", ".a..b", ".[x"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        jsonpath.compiled(path)


def crd(name: str, *, kind: str, accepted: Any = None) -> dict[str, Any]:
    names = {"plural": name, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"}
    schema = {"openAPIV3Schema": {"type": "object"}}
    versions = [
        {"name": "v1", "served": True, "storage": False, "schema": schema},
        {"name": "v2", "served": True, "storage": True, "schema": schema},
    ]
    return {
        "metadata": {"name": f"{name}.g.io"},
        "spec": {"group": "g.io", "scope": "Cluster", "names": names, "versions": versions},
        "status": {"acceptedNames": accepted or {}, "conditions": None},
    }


def test_names_that_nobody_has_are_accepted_and_establish_the_kind() -> None:
    mine = crd("foos", kind="Foo")
    status = naming.planned_status(mine, [mine], "now")
    assert status["acceptedNames"] == mine["spec"]["names"]
    assert [(c["type"], c["status"]) for c in status["conditions"]] == [
        ("NamesAccepted", "True"),
        ("Established", "True"),
    ]
    again = {**mine, "status": status}
    assert naming.planned_status(again, [again], "later") == status


def test_a_kind_that_another_has_is_not_accepted() -> None:
    first = crd("foos", kind="Foo")
    first["status"] = naming.planned_status(first, [], "now")
    status = naming.planned_status(crd("bars", kind="Foo"), [first], "now")
    assert status["acceptedNames"] == {"kind": "", "plural": "bars"}
    assert status["conditions"][0]["message"] == '"FooList" is already in use'


def test_versions_are_resources_and_the_stored_one_comes_first() -> None:
    mine = crd("foos", kind="Foo")
    mine["status"] = naming.planned_status(mine, [], "now")
    stored, other = custom.resources(mine)
    assert (stored.version, stored.storage, other.version) == ("v2", None, "v1")
    assert other.storage is not None
    old = {"apiVersion": "g.io/v1", "kind": "Foo", "metadata": {"name": "x"}, "extra": 1}
    assert stored.on_read is not None
    new = stored.on_read(old)
    assert new == {"apiVersion": "g.io/v2", "kind": "Foo", "metadata": {"name": "x"}}
    assert stored.on_read(new) is new
    assert other.storage.from_storage(new)["apiVersion"] == "g.io/v1"


def test_a_pattern_that_backtracks_for_ever_in_others_is_decided_here() -> None:
    found = values.compiled("^(a+)+$")
    assert found is not None
    assert not found.matches("a" * 3000 + "b")

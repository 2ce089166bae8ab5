"""Documents of several servers as if they were one."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from minikube_py.server.aggregator import merge
from minikube_py.server.aggregator.merge import Order, Registered

ORDER = Order(
    [
        Registered("apps", "v1", 17800, 15),
        Registered("late.example.com", "v1", 10, 1),
        Registered("late.example.com", "v2alpha1", 5, 9),
        Registered("early.example.com", "v1", 18000, 1),
    ]
)


def group(name: str, *versions: str) -> dict[str, Any]:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def test_groups_stand_in_the_order_of_their_priorities() -> None:
    own = {"groups": [group(name, "v1") for name in ("apiregistration.k8s.io", "apps", "custom")]}
    foreign = [
        Registered("late.example.com", "v1", 10, 1),
        Registered("late.example.com", "v2alpha1", 5, 9),
        Registered("early.example.com", "v1", 18000, 1),
    ]
    merged = merge.group_list(own, foreign, ORDER)
    assert [found["name"] for found in merged["groups"]] == [
        "apiregistration.k8s.io",
        "early.example.com",
        "apps",
        "custom",
        "late.example.com",
    ]
    assert merged["groups"][-1] == group("late.example.com", "v2alpha1", "v1")


def test_a_group_of_two_servers_has_the_versions_of_both() -> None:
    own = {"kind": "APIGroup", **group("shared", "v1")}
    foreign = [Registered("shared", "v2", 1, 1)]
    merged = merge.one_group("shared", own, foreign, Order([]))
    assert merged is not None
    assert [version["version"] for version in merged["versions"]] == ["v2", "v1"]
    assert merge.one_group("nobody", None, foreign, Order([])) is None


def test_another_servers_entry_stands_in_for_our_own() -> None:
    own = {"items": [{"metadata": {"name": "apps"}, "versions": [{"version": "v1", "ours": 1}]}]}
    entries = {("apps", "v1"): {"version": "v1", "theirs": 1}, ("new", "v1"): {"version": "v1"}}
    merged = merge.aggregated(own, entries, ORDER)
    assert merged["items"] == [
        {"metadata": {"name": "apps"}, "versions": [{"version": "v1", "theirs": 1}]},
        {"metadata": {"name": "new"}, "versions": [{"version": "v1"}]},
    ]


@given(
    st.lists(
        st.builds(
            Registered,
            st.sampled_from(["a", "b", "c", "apps"]),
            st.sampled_from(["v1", "v2", "v1beta1"]),
            st.integers(1, 20000),
            st.integers(1, 1000),
        ),
        unique_by=lambda item: (item.group, item.version),
    )
)
def test_merging_loses_no_version_and_doubles_none(foreign: list[Registered]) -> None:
    own = {"groups": [group("apps", "v1"), group("batch", "v1", "v1beta1")]}
    merged = merge.group_list(own, foreign, Order(foreign))
    names = [found["name"] for found in merged["groups"]]
    assert len(names) == len(set(names))
    versions = [
        (found["name"], version["version"])
        for found in merged["groups"]
        for version in found["versions"]
    ]
    wanted = {("apps", "v1"), ("batch", "v1"), ("batch", "v1beta1")}
    assert sorted(versions) == sorted(wanted | {(item.group, item.version) for item in foreign})


OWN: dict[str, Any] = {
    "paths": {"/api/": {}},
    "definitions": {"Same": {"type": "object"}, "Status": {"type": "object", "x": 1}},
}


def other(definitions: dict[str, Any], path: str = "/apis/g/v1/foos") -> dict[str, Any]:
    shown = {"get": {"schema": {"$ref": "#/definitions/Foo"}}}
    return {"paths": {path: shown, "/version/": {}}, "definitions": definitions}


def test_only_what_a_path_needs_is_added() -> None:
    foo = {"properties": {"a": {"$ref": "#/definitions/Inner"}}}
    definitions = {"Foo": foo, "Inner": {"items": {"$ref": "#/definitions/Inner"}}, "Not": {}}
    merged = merge.openapi_v2(OWN, other(definitions), "/apis/g/v1")
    assert set(merged["paths"]) == {"/api/", "/apis/g/v1/foos"}
    assert set(merged["definitions"]) == {"Same", "Status", "Foo", "Inner"}


def test_a_path_that_only_begins_alike_is_not_below() -> None:
    assert merge.openapi_v2(OWN, other({}, "/apis/g/v10/foos"), "/apis/g/v1") is OWN


def test_two_things_of_one_name_are_told_apart() -> None:
    foo = {"properties": {"s": {"$ref": "#/definitions/Status"}}}
    definitions = {"Foo": foo, "Status": {"type": "string"}, "Same": {"type": "object"}}
    merged = merge.openapi_v2(OWN, other(definitions), "/apis/g/v1")
    assert merged["definitions"]["Status"] == OWN["definitions"]["Status"]
    assert merged["definitions"]["Status_v2"] == {"type": "string"}
    reference = merged["definitions"]["Foo"]["properties"]["s"]["$ref"]
    assert reference == "#/definitions/Status_v2"

"""Strategic merge patch, against what apimachinery does with the same schemas."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api import schema
from minikube_py.api.patch import (
    InapplicablePatchError,
    MalformedPatchError,
    PatchError,
    UnusablePatchError,
    merge_patch,
    strategic_merge_patch,
)
from minikube_py.api.patch.merge_patch import same

POD = schema.type_of("io.k8s.api.core.v1.Pod")
DEPLOYMENT = schema.type_of("io.k8s.api.apps.v1.Deployment")
SERVICE = schema.type_of("io.k8s.api.core.v1.Service")


def spec(old: Any, patch: Any, kind: Any = POD) -> Any:
    obj, patch = {"spec": old}, {"spec": patch}
    before = copy.deepcopy((obj, patch))
    try:
        return strategic_merge_patch.apply(obj, patch, kind)["spec"]
    finally:
        assert (obj, patch) == before


def metadata(old: Any, patch: Any) -> Any:
    return strategic_merge_patch.apply({"metadata": old}, {"metadata": patch}, POD)["metadata"]


def names(items: Any) -> list[str]:
    return [item["name"] for item in items]


A = {"name": "a", "image": "a:1", "env": [{"name": "X", "value": "1"}, {"name": "Y"}]}
B = {"name": "b", "image": "b:1"}


def test_elements_with_the_same_merge_key_are_merged_and_others_stay() -> None:
    merged = spec({"containers": [A, B]}, {"containers": [{"name": "b", "image": "b:2"}]})
    assert merged == {"containers": [A, {"name": "b", "image": "b:2"}]}


def test_lists_within_elements_are_merged_too() -> None:
    patch = {"containers": [{"name": "a", "env": [{"name": "Y", "value": "2"}, {"name": "Z"}]}]}
    env = spec({"containers": [A]}, patch)["containers"][0]["env"]
    assert env == [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}, {"name": "Z"}]


def test_new_elements_come_before_those_that_only_the_object_has() -> None:
    merged = spec({"containers": [A, B]}, {"containers": [{"name": "c"}]})
    assert names(merged["containers"]) == ["c", "a", "b"]


def test_an_element_is_deleted_by_its_key() -> None:
    patch = {"containers": [{"name": "a", "$patch": "delete"}, {"name": "zzz", "$patch": "delete"}]}
    assert spec({"containers": [A, B]}, patch) == {"containers": [B]}


def test_a_list_is_replaced_where_the_patch_says_so() -> None:
    patch = {"containers": [{"$patch": "replace"}, {"name": "c"}]}
    assert spec({"containers": [A, B]}, patch) == {"containers": [{"name": "c"}]}


def test_a_list_without_merge_strategy_is_replaced() -> None:
    old = {"tolerations": [{"key": "a"}]}
    assert spec(old, {"tolerations": [{"key": "b"}]}) == {"tolerations": [{"key": "b"}]}


def test_elements_with_equal_merge_keys_in_the_object_all_stay() -> None:
    old = {"ports": [{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}
    merged = spec(old, {"ports": [{"port": 80}]}, SERVICE)
    assert merged == {"ports": [{"port": 80}, *old["ports"]]}


def test_a_map_is_merged_replaced_or_emptied() -> None:
    old = {"labels": {"a": "1", "b": "2"}}
    assert metadata(old, {"labels": {"a": None, "c": "3"}}) == {"labels": {"b": "2", "c": "3"}}
    assert metadata(old, {"labels": {"$patch": "replace", "c": "3"}}) == {"labels": {"c": "3"}}
    assert metadata(old, {"labels": {"$patch": "delete"}}) == {"labels": {}}
    assert metadata(old, {"labels": None}) == {}


def test_only_the_keys_to_retain_stay() -> None:
    old = {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 2}}}
    patch = {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}
    assert spec(old, patch, DEPLOYMENT) == {"strategy": {"type": "Recreate"}}


def test_values_are_added_to_and_taken_from_a_set() -> None:
    old = {"finalizers": ["x/a", "x/b"]}
    assert metadata(old, {"finalizers": ["x/c", "x/a"]}) == {"finalizers": ["x/c", "x/a", "x/b"]}
    gone = {"$deleteFromPrimitiveList/finalizers": ["x/a", "x/z"]}
    assert metadata(old, gone) == {"finalizers": ["x/b"]}
    assert metadata({}, gone) == {}
    assert metadata({}, {"$deleteFromPrimitiveList/finalizers": "x"}) == {}


def test_the_patch_gives_the_order() -> None:
    order = {"$setElementOrder/containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}]}
    merged = spec({"containers": [A, B]}, {**order, "containers": [{"name": "c"}]})
    assert names(merged["containers"]) == ["b", "c", "a"]
    merged = spec({"containers": [A, B, {"name": "other"}]}, order)
    assert names(merged["containers"]) == ["b", "a", "other"]
    merged = spec({}, {**order, "containers": [{"name": "c"}, {"name": "a", "$patch": "delete"}]})
    assert names(merged["containers"]) == ["c"]
    assert spec({"nodeName": "n"}, order) == {"nodeName": "n"}


def test_the_patch_gives_the_order_of_values() -> None:
    patch = {
        "$setElementOrder/finalizers": ["x/c", "x/b"],
        "$deleteFromPrimitiveList/finalizers": ["x/a"],
        "finalizers": ["x/c"],
    }
    assert metadata({"finalizers": ["x/a", "x/b"]}, patch) == {"finalizers": ["x/c", "x/b"]}


def test_what_the_object_lacks_is_taken_without_nulls_and_directives() -> None:
    patch = {
        "nodeSelector": {"a": "b", "c": None},
        "securityContext": {"$patch": "replace", "runAsUser": 1},
        "containers": [{"name": "a", "image": None}, {"name": "b", "$patch": "delete"}],
    }
    assert spec({}, patch) == {"nodeSelector": {"a": "b"}, "containers": [{"name": "a"}]}


def test_a_value_of_another_type_replaces() -> None:
    assert spec({"containers": [A]}, {"containers": {}}) == {"containers": {}}
    assert spec({"hostNetwork": True}, {"hostNetwork": "x"}) == {"hostNetwork": "x"}


def test_null_as_a_whole_changes_nothing() -> None:
    assert strategic_merge_patch.apply({"spec": {}}, None, POD) == {"spec": {}}


ORDER_TEXT = (
    "The order in patch list:\n[map[image:n:1 name:c]]\n doesn't match $setElementOrder list:\n"
    "[map[name:zzz]]\n"
)


@pytest.mark.parametrize(
    ("patch", "error", "message"),
    [
        ({"$patch": "bogus"}, UnusablePatchError, ("unknown patch type: bogus in map: "
         "map[$patch:bogus]")),
        ({"containers": [{"name": "a", "$patch": "explode"}]}, UnusablePatchError,
         "unknown patch type: explode in map: map[$patch:explode name:a]"),
        ({"containers": [{"name": "a", "$patch": "merge"}]}, UnusablePatchError,
         "merging lists cannot yet be specified in the patch"),
        ({"containers": [{"image": "x"}]}, UnusablePatchError,
         "map: map[image:x] does not contain declared merge key: name"),
        ({"containers": [{"$patch": "delete"}]}, UnusablePatchError,
         "map: map[$patch:delete] does not contain declared merge key: name"),
        ({"containers": [["x"]]}, InapplicablePatchError,
         "the server rejected our request due to an error in our request"),
        ({"containers": [5]}, UnusablePatchError,
         "list element types are not identical: [[map[image:c:1 name:c]] [5]]"),
        ({"$setElementOrder/containers": 5}, UnusablePatchError,
         "expected a []interface {}, but received a int64"),
        ({"$setElementOrder/containers": [{"name": "zzz"}],
          "containers": [{"name": "c", "image": "n:1"}]}, UnusablePatchError, ORDER_TEXT),
        ({"$setElementOrder": []}, MalformedPatchError,
         "invalid patch format of setElementOrder list"),
        ({"$deleteFromPrimitiveList": []}, MalformedPatchError,
         "invalid patch format of primitive list"),
        ({"$retainKeys": "x"}, MalformedPatchError, "invalid patch format of retainKeys"),
        ({"$retainKeys": ["a"], "nodeName": "n"}, MalformedPatchError,
         "invalid patch format of retainKeys"),
        ({"$setElementOrder/nothing": []}, UnusablePatchError,
         'unable to find api field in struct PodSpec for the json field "nothing"'),
    ],
)  # fmt: skip
def test_a_patch_that_makes_no_sense_is_refused_in_upstreams_words(
    patch: Any, error: type[PatchError], message: str
) -> None:
    with pytest.raises(error) as refusal:
        spec({"containers": [{"name": "c", "image": "c:1"}]}, patch)
    assert refusal.value.message == message


def test_an_unusable_patch_is_answered_without_a_reason() -> None:
    with pytest.raises(UnusablePatchError) as refusal:
        spec({}, {"$patch": "bogus"})
    status = refusal.value.status()
    assert status["code"] == 500
    assert not status.keys() & {"reason", "details"}


def test_what_is_no_map_is_refused() -> None:
    with pytest.raises(MalformedPatchError) as refusal:
        strategic_merge_patch.apply({}, [], POD)
    assert refusal.value.message == (
        "json: cannot unmarshal array into Go value of type map[string]interface {}"
    )


NAMES = st.sampled_from("abcde")
CONTAINERS = st.lists(
    st.fixed_dictionaries({"name": NAMES}, optional={"image": st.sampled_from("xyz")}),
    max_size=4,
    unique_by=lambda container: container["name"],
)
SPECS = st.fixed_dictionaries(
    {},
    optional={
        "containers": CONTAINERS,
        "nodeName": NAMES,
        "nodeSelector": st.dictionaries(NAMES, NAMES, max_size=2),
        "tolerations": st.lists(st.fixed_dictionaries({"key": NAMES}), max_size=2),
    },
)


@given(SPECS, SPECS)
def test_applying_twice_is_applying_once(old: Any, patch: Any) -> None:
    once = spec(old, patch)
    assert spec(once, patch) == once


@given(SPECS, SPECS)
def test_merging_loses_no_element_and_invents_none(old: Any, patch: Any) -> None:
    before, wanted = old.get("containers", []), patch.get("containers", [])
    merged = spec(old, patch).get("containers", [])
    assert sorted(names(merged)) == sorted({*names(before), *names(wanted)})
    assert [name for name in names(merged) if name in names(wanted)] == names(wanted)
    untouched = [name for name in names(before) if name not in names(wanted)]
    assert [name for name in names(merged) if name in untouched] == untouched


@given(SPECS, SPECS)
def test_without_lists_it_is_a_merge_patch(old: Any, patch: Any) -> None:
    fields = {key: value for key, value in patch.items() if key != "containers"}
    assert same(spec(old, fields), merge_patch.apply(old, fields))


@given(SPECS, SPECS)
def test_order_and_deletions_lead_to_any_target(old: Any, new: Any) -> None:
    wanted = new.get("containers", [])
    gone = set(names(old.get("containers", []))) - set(names(wanted))
    patch = {
        "$setElementOrder/containers": [{"name": name} for name in names(wanted)],
        "containers": [
            *({"image": None, **container} for container in wanted),
            *({"name": name, "$patch": "delete"} for name in gone),
        ],
    }
    assert spec({"containers": old.get("containers", [])}, patch)["containers"] == wanted

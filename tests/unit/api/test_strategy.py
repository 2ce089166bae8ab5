from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api import strategy
from minikube_py.api.fields import Field

OLD = {
    "metadata": {"name": "x", "generation": 3, "labels": {"a": "1"}},
    "spec": {"replicas": 1},
    "status": {"replicas": 1},
}


def test_a_new_object_starts_at_generation_1_without_a_status() -> None:
    made = strategy.creating({"replicas": 0})(OLD)
    assert made["metadata"]["generation"] == 1
    assert made["status"] == {"replicas": 0}


def test_the_main_endpoint_keeps_the_status_and_counts_changes_of_the_spec() -> None:
    prepare = strategy.updating("spec")
    same = prepare({**OLD, "status": {"replicas": 9}}, OLD)
    assert same == OLD
    other = prepare({**OLD, "spec": {"replicas": 2}}, OLD)
    assert other["metadata"]["generation"] == 4
    assert other["status"] == OLD["status"]


def test_nothing_and_empty_count_as_the_same() -> None:
    prepare = strategy.updating("spec", "metadata.annotations")
    new = {**OLD, "metadata": {**OLD["metadata"], "annotations": {}}}
    assert prepare(new, OLD)["metadata"]["generation"] == 3


def test_the_status_endpoint_keeps_the_spec_and_the_metadata_it_may_not_touch() -> None:
    prepare = strategy.updating_status("spec", metadata=("labels",))
    new = {
        "metadata": {"name": "x", "generation": 3, "annotations": {"n": "1"}},
        "spec": {"replicas": 5},
        "status": {"replicas": 2},
    }
    made = prepare(new, OLD)
    assert made["spec"] == OLD["spec"]
    assert made["status"] == {"replicas": 2}
    assert made["metadata"]["labels"] == {"a": "1"}
    assert made["metadata"]["annotations"] == {"n": "1"}


@given(st.dictionaries(st.sampled_from("abc"), st.integers(-2, 2)))
def test_every_number_below_zero_is_told(obj: dict[str, Any]) -> None:
    errors = list(strategy.non_negative(obj, Field("f"), "a", "b", "c"))
    assert {error.field for error in errors} == {f"f.{k}" for k, v in obj.items() if v < 0}


def test_an_unchanged_object_stays_the_same_object() -> None:
    assert strategy.with_absent(OLD, {"spec": {}}) is OLD
    assert strategy.changed(OLD, "spec", lambda spec: spec) is OLD
    items = [1, 2]
    assert strategy.each(items, lambda item: item) is items

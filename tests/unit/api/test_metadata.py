"""Metadata: what the server fills in, what is checked on create and on update."""

import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api import metadata
from minikube_py.api.resource import Resource
from tests.frozen import freeze

THINGS = Resource(kind="Thing", plural="things")
GLOBALS = Resource(kind="Global", plural="globals", namespaced=False)
NOW = "2026-01-01T00:00:00Z"
OLD: Mapping[str, Any] = freeze(
    {"name": "a", "namespace": "n", "uid": "u", "creationTimestamp": NOW, "generation": 2}
)


def created(resource: Resource = THINGS, **given_metadata: Any) -> list[str]:
    obj = {"metadata": {"name": "a", "namespace": "n", **given_metadata}}
    return [str(error) for error in metadata.validate_create(obj, resource)]


def updated(old: Mapping[str, Any] = OLD, **changes: Any) -> list[str]:
    new = {key: value for key, value in {**old, **changes}.items() if value is not None}
    errors = metadata.validate_update({"metadata": new}, {"metadata": old}, THINGS, checks=())
    return [str(error) for error in errors]


def test_the_server_sets_uid_and_time_and_drops_what_only_it_may_say() -> None:
    given_metadata = freeze({"name": "a", "deletionTimestamp": NOW, "selfLink": "/x", "uid": "me"})
    prepared = metadata.prepare_for_create(given_metadata, uid="u", now=NOW, suffix="")
    assert prepared == {"name": "a", "uid": "u", "creationTimestamp": NOW}


@given(st.text(alphabet="ab-", min_size=1, max_size=80))
def test_a_generated_name_starts_with_its_prefix_and_is_never_too_long(prefix: str) -> None:
    name = metadata.generated_name(prefix, "xxxxx")
    assert name.endswith("xxxxx")
    assert len(name) <= 63
    assert prefix.startswith(name[:-5])


def test_an_update_keeps_what_the_server_set() -> None:
    new = metadata.prepare_for_update(freeze({"name": "a", "generation": 7}), OLD)
    assert new == {"name": "a", "generation": 2, "uid": "u", "creationTimestamp": NOW}


def test_a_good_object_has_no_errors() -> None:
    assert created(labels={"a": "b"}, annotations={"x/y": "anything\n"}) == []
    assert updated() == []


@pytest.mark.parametrize(
    ("given_metadata", "error"),
    [
        ({"name": ""}, "metadata.name: Required value: name or generateName is required"),
        ({"name": "A"}, 'metadata.name: Invalid value: "A": a lowercase RFC 1123 subdomain'),
        ({"generateName": "Ab-"}, 'metadata.generateName: Invalid value: "Ab-"'),
        ({"namespace": ""}, "metadata.namespace: Required value"),
        ({"namespace": "a.b"}, 'metadata.namespace: Invalid value: "a.b": must not contain dots'),
        ({"generation": -1}, "metadata.generation: Invalid value: -1: must be greater than"),
        ({"labels": {"a b": "c"}}, 'metadata.labels: Invalid value: "a b": name part must'),
        ({"labels": {"a": "b c"}}, 'metadata.labels: Invalid value: "b c": a valid label must'),
        ({"annotations": {"a b": ""}}, 'metadata.annotations: Invalid value: "a b"'),
        (
            {"annotations": {"a": "x" * 262144}},
            "metadata.annotations: Too long: may not be more than 262144 bytes",
        ),
        ({"finalizers": ["x"]}, 'metadata.finalizers[0]: Invalid value: "x": name is neither'),
        (
            {"finalizers": ["orphan", "foregroundDeletion"]},
            'metadata.finalizers: Invalid value: ["orphan","foregroundDeletion"]: finalizer',
        ),
        (
            {"managedFields": [{"operation": "Guess"}]},
            'metadata.managedFields[0].operation: Invalid value: "Guess": must be `Apply`',
        ),
        (
            {"managedFields": [{"operation": "Apply", "fieldsType": "V2"}]},
            'metadata.managedFields[0].fieldsType: Invalid value: "V2": must be `FieldsV1`',
        ),
    ],
)
def test_bad_metadata_is_refused(given_metadata: dict[str, Any], error: str) -> None:
    assert any(text.startswith(error) for text in created(**given_metadata))


def test_a_name_in_a_namespace_has_no_place_in_a_kind_without() -> None:
    assert created(GLOBALS) == ["metadata.namespace: Forbidden: not allowed on this type"]


@pytest.mark.parametrize(
    ("reference", "field"),
    [
        ({"apiVersion": "apps/"}, "apiVersion"),
        ({"kind": ""}, "kind"),
        ({"name": ""}, "name"),
        ({"uid": ""}, "uid"),
    ],
)
def test_an_owner_reference_must_be_whole(reference: dict[str, Any], field: str) -> None:
    whole = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": "u", **reference}
    (error,) = created(ownerReferences=[whole])
    assert error.startswith(f"metadata.ownerReferences.{field}: Invalid value")


def test_only_one_owner_is_the_controller() -> None:
    owners = [
        {"apiVersion": "v1", "kind": "A", "name": name, "uid": name, "controller": True}
        for name in "xy"
    ]
    (error,) = created(ownerReferences=owners)
    assert error.endswith('Found "true" in references for A/x and A/y')


def test_an_event_owns_nothing() -> None:
    event = {"apiVersion": "v1", "kind": "Event", "name": "e", "uid": "u"}
    (error,) = created(ownerReferences=[event])
    assert "disallowed from being an owner" in error


@pytest.mark.parametrize("key", ["name", "namespace", "uid", "creationTimestamp"])
def test_what_identifies_an_object_never_changes(key: str) -> None:
    errors = updated(**{key: "other"})
    assert f'metadata.{key}: Invalid value: "other": field is immutable' in errors


def test_a_generation_never_falls() -> None:
    assert updated(generation=1) == [
        "metadata.generation: Invalid value: 1: must not be decremented"
    ]


def test_an_object_that_is_being_deleted_gets_no_new_finalizers() -> None:
    dying = {**OLD, "deletionTimestamp": NOW, "finalizers": ["a/b"]}
    assert updated(dying, finalizers=[]) == []
    (error,) = updated(dying, finalizers=["a/b", "c/d"])
    assert re.search(r'found new finalizers \[\]string\{"c/d"\}$', error)


@pytest.mark.parametrize(
    ("manager", "message"),
    [
        ("x" * 129, "Too long: may not be more than 128 bytes"),
        ("a\tb", 'Invalid value: "a\\tb": invalid character U+0009 (at position 1)'),
    ],
)
def test_the_name_of_a_field_manager_is_short_and_can_be_printed(
    manager: str, message: str
) -> None:
    (error,) = metadata.validate_field_manager(manager, metadata.METADATA)
    assert error.text == message

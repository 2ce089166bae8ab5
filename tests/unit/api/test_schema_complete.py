"""The stored form: what upstream writes whether it was given or not."""

import json
import re
from pathlib import Path

import pytest

from minikube_py.api import schema
from minikube_py.api.schema_check import check
from minikube_py.api.schema_complete import complete, stored

FACTS = Path(__file__).resolve().parents[4] / "shared/reference/facts/defaults.json"
DEPLOYMENT = schema.type_of("io.k8s.api.apps.v1.Deployment")


def stored_objects():
    """Yield what upstream stores for a minimal and a rich object of each kind."""
    text = FACTS.read_text()
    text = text.replace('"<time>"', '"2026-01-02T03:04:05Z"')
    text = text.replace('"<microtime>"', '"2026-01-02T03:04:05.000006Z"')
    for name, case in json.loads(re.sub(r"<\w+:\d+>", "1", text)).items():
        yield pytest.param(case["output"], id=name)


@pytest.fixture(scope="module")
def names():
    table = schema.builtin()
    kinds = {}
    for name in table:
        for gvk in table.definition(name).get("x-kubernetes-group-version-kind", ()):
            version = f"{gvk['group']}/{gvk['version']}" if gvk["group"] else gvk["version"]
            kinds[version, gvk["kind"]] = name
    return kinds


@pytest.mark.parametrize("wanted", list(stored_objects()))
def test_what_upstream_stores_is_what_check_and_complete_make_of_it(names, wanted):
    kind = schema.type_of(names[wanted["apiVersion"], wanted["kind"]])
    checked = check(kind, wanted)
    assert checked.unknown == []
    assert complete(kind, checked.obj) == wanted


def test_structs_are_written_even_when_empty():
    done = complete(DEPLOYMENT, {"spec": {"selector": {}}})
    assert done["status"] == {}
    assert done["spec"]["strategy"] == {}
    assert done["spec"]["template"] == {"metadata": {}, "spec": {"containers": None}}


def test_a_list_that_is_always_written_is_null():
    role = schema.type_of("io.k8s.api.rbac.v1.Role")
    assert complete(role, {"metadata": {"name": "a"}}) == {"metadata": {"name": "a"}, "rules": None}


def test_a_list_that_is_always_written_comes_back_from_the_storage_as_null_where_it_was_empty():
    role = schema.type_of("io.k8s.api.rbac.v1.Role")
    given = {"metadata": {"name": "a"}, "rules": []}
    assert complete(role, given) == given
    assert stored(role, given) == {"metadata": {"name": "a"}, "rules": None}


def test_what_the_storage_keeps_is_returned_as_it_is():
    role = schema.type_of("io.k8s.api.rbac.v1.Role")
    given = {"metadata": {"name": "a"}, "rules": [{"verbs": ["get"]}]}
    assert stored(role, given) is given


def test_a_complete_object_is_returned_as_it_is():
    done = complete(DEPLOYMENT, {"spec": {}})
    assert complete(DEPLOYMENT, done) is done


def test_a_type_that_holds_itself_is_completed_at_every_depth():
    schema_props = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"
    inner = {"x-kubernetes-validations": [{"message": "m"}]}
    done = complete(
        schema.type_of(schema_props), {"properties": {"a": {"properties": {"b": inner}}}}
    )
    rule = done["properties"]["a"]["properties"]["b"]["x-kubernetes-validations"][0]
    assert rule == {"message": "m", "rule": ""}

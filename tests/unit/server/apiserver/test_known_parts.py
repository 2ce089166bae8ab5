"""What a changed object shares with the stored one is left alone, and all else is as without it."""

import pytest

from minikube_py.api import schema
from minikube_py.api.kinds import BUILTIN
from minikube_py.api.schema_complete import changed_fields, complete, stored
from minikube_py.server.apiserver.body import Patched, decode

DEPLOYMENT = schema.type_of("io.k8s.api.apps.v1.Deployment")
CONFIGMAPS = next(one for one in BUILTIN if one.kind == "ConfigMap")


@pytest.mark.parametrize("work", [complete, stored])
def test_the_same_comes_out_whether_the_stored_object_is_known_or_not(work):
    old = work(DEPLOYMENT, {"metadata": {"name": "a"}, "spec": {"replicas": 1}})
    new = {**old, "status": {"conditions": [{"type": "Available"}]}}
    assert work(DEPLOYMENT, new, old) == work(DEPLOYMENT, new)
    assert work(DEPLOYMENT, new, old)["spec"] is old["spec"]
    assert work(DEPLOYMENT, {"metadata": old["metadata"]}, old) == work(
        DEPLOYMENT, {"metadata": old["metadata"]}
    )


def test_null_is_not_what_is_absent():
    assert changed_fields({"a": None}, {}) == {"a": None}
    assert changed_fields({"a": 1, "b": 2}, {"a": 1}) == {"b": 2}


def test_a_patch_is_checked_where_it_changes_something():
    current = {**HEAD, "metadata": {"name": "a"}, "data": {"key": "v"}}
    document = {**current, "binaryData": None, "immutable": True, "nonsense": 1}
    done = decode(document, CONFIGMAPS, patch=Patched(current, ("said before",)))
    assert done.obj == {**current, "immutable": True}
    assert done.obj["data"] is current["data"]
    assert done.warnings == ("said before", 'unknown field "nonsense"')


HEAD = {"kind": "ConfigMap", "apiVersion": "v1"}

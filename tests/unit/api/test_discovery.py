"""Discovery against upstream's own documents, as far as versions are on by default."""

import json
from pathlib import Path

import orjson
import pytest

from minikube_py.api import discovery
from minikube_py.api.kinds import BUILTIN
from minikube_py.api.resource import Resource
from minikube_py.api.scheme import Scheme

REFERENCE = Path(__file__).resolve().parents[4] / "shared/reference/discovery"
SCHEME = Scheme(BUILTIN)
OFF_BY_DEFAULT = {"internal.apiserver.k8s.io", "storagemigration.k8s.io"}


def reference(name):
    return json.loads((REFERENCE / f"{name}.json").read_text())


def is_on(version):
    return "alpha" not in version and "beta" not in version


def resource_lists():
    names = [path.stem for path in REFERENCE.glob("*__v*.json")]
    return sorted(name for name in names if is_on(name.rpartition("__")[2]))


def served(path):
    return orjson.loads(discovery.document(SCHEME, path))


@pytest.mark.parametrize("name", resource_lists())
def test_the_resources_of_a_version_are_upstreams(name):
    assert served("/" + name.replace("__", "/")) == reference(name)


def test_the_groups_and_their_order_are_upstreams():
    expected = reference("apis")
    expected["groups"] = [g for g in expected["groups"] if g["name"] not in OFF_BY_DEFAULT]
    for group in expected["groups"]:
        group["versions"] = [v for v in group["versions"] if is_on(v["version"])]
    assert served("/apis") == expected


def test_a_group_tells_its_versions_the_preferred_one_first():
    assert served("/apis/autoscaling") == reference("apis__autoscaling")


def test_aggregated_discovery_is_upstreams():
    expected = reference("aggregated_v2")
    expected["items"] = [
        g for g in expected["items"] if g["metadata"]["name"] not in OFF_BY_DEFAULT
    ]
    for group in expected["items"]:
        group["versions"] = [v for v in group["versions"] if is_on(v["version"])]
    assert served("/apis#v2") == expected


def test_the_core_group_is_aggregated_apart_and_has_no_name():
    (group,) = served("/api#v2")["items"]
    assert group["metadata"] == {}
    plurals = [r["resource"] for r in group["versions"][0]["resources"]]
    listed = [r["name"] for r in reference("api__v1")["resources"] if "/" not in r["name"]]
    assert plurals == listed


def test_the_older_form_of_aggregated_discovery_differs_in_its_version_only():
    older = served("/apis#v2beta1")
    assert older.pop("apiVersion") == "apidiscovery.k8s.io/v2beta1"
    newer = served("/apis#v2")
    del newer["apiVersion"]
    assert older == newer


def test_the_versions_of_the_core_group_come_with_the_servers_address():
    document = orjson.loads(discovery.document(SCHEME, "/api", server_address="10.0.0.1:6443"))
    assert document == {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [
            {"clientCIDR": "0.0.0.0/0", "serverAddress": "10.0.0.1:6443"}
        ],
    }


@pytest.mark.parametrize(
    "path", ["/apis/nosuch", "/apis/apps/v9", "/api/v2", "/apps", "/api/v1#v2"]
)
def test_what_is_not_served_has_no_document(path):
    assert discovery.document(SCHEME, path) is None


def test_versions_stand_in_the_order_of_kube_priority():
    versions = ["foo10", "v1alpha2", "v1", "v10", "foo1", "v3beta1", "v2", "v11beta2", "v12alpha1"]
    order = sorted(versions, key=discovery.version_priority, reverse=True)
    assert order == [
        "v10", "v2", "v1", "v11beta2", "v3beta1", "v12alpha1", "v1alpha2", "foo1", "foo10",
    ]  # fmt: skip


def test_custom_groups_follow_the_built_in_ones_by_name_and_leave_without_a_trace():
    scheme = Scheme(BUILTIN)
    before = discovery.groups(scheme)
    customs = [
        Resource(group=group, kind="Foo", plural="foos", custom=True)
        for group in ("z.example.com", "a.example.com")
    ]
    for custom in customs:
        scheme.add(custom)
    assert list(discovery.groups(scheme))[-2:] == ["a.example.com", "z.example.com"]
    for custom in customs:
        scheme.remove(custom)
    assert discovery.groups(scheme) == before


def test_equal_documents_have_equal_tags_and_others_do_not():
    assert discovery.etag(b"a") == discovery.etag(b"a") != discovery.etag(b"b")

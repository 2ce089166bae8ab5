"""Static pods: from manifests to pods, and how mirrors follow them."""

import contextlib
import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.agent.kubelet.static.manifest import ManifestError, static_pods
from minikube_py.agent.kubelet.static.mirror_pods import Create, Delete, Keep, mirror_of, plan
from minikube_py.api.object import evolve, uid_of
from tests.frozen import freeze

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web"},
    "spec": {"containers": [{"name": "c", "image": "busybox:1"}]},
}


def read(pod=POD, **more):
    data = pod if isinstance(pod, bytes) else yaml.safe_dump(pod).encode()
    return static_pods(data, **({"source": "file", "origin": "/m/web", "node_name": "n1"} | more))


def with_spec(**spec):
    return POD | {"spec": {**POD["spec"], **spec}}


def test_a_manifest_becomes_a_pod_of_this_node():
    (pod,) = read()
    metadata, spec = pod["metadata"], pod["spec"]
    assert (metadata["name"], metadata["namespace"]) == ("web-n1", "default")
    assert metadata["annotations"] == {
        "kubernetes.io/config.source": "file",
        "kubernetes.io/config.hash": metadata["uid"],
    }
    assert re.fullmatch(r"[0-9a-f]{32}", metadata["uid"])
    assert spec["nodeName"] == "n1"
    assert {"operator": "Exists", "effect": "NoExecute"} in spec["tolerations"]
    assert spec["restartPolicy"] == "Always"  # defaults are in


def test_the_uid_tells_manifests_places_and_nodes_apart():
    changed = with_spec(hostNetwork=True)
    made = [read(), read(changed), read(origin="/m/other"), read(node_name="n2")]
    assert len({uid_of(pods[0]) for pods in made}) == 4
    assert read() == read()


def test_a_uid_that_is_given_is_kept():
    (pod,) = read(POD | {"metadata": {"name": "web", "uid": "mine"}})
    assert uid_of(pod) == "mine"


def test_a_list_holds_several():
    pods = read({"apiVersion": "v1", "kind": "PodList", "items": [POD, with_spec(hostPID=True)]})
    assert [pod["metadata"]["name"] for pod in pods] == ["web-n1", "web-n1"]


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        (b"{", "yaml: line 1: did not find"),
        (b"", 'must be an object of apiVersion "v1"'),
        ({"apiVersion": "v1", "kind": "Service"}, "holds a Pod or a PodList, not 'Service'"),
        (POD | {"metadata": {}}, "metadata.name: Required value"),
        (POD | {"spec": {"containers": []}}, "spec.containers: Required value"),
        (POD | {"spec": 5}, "cannot unmarshal number into Go struct field"),
        (with_spec(serviceAccountName="a"), "static pods may not reference serviceaccounts"),
        (
            with_spec(volumes=[{"name": "v", "configMap": {"name": "m"}}]),
            "static pods may not reference configmaps",
        ),
        (
            with_spec(
                containers=[{"name": "c", "image": "i", "envFrom": [{"secretRef": {"name": "s"}}]}]
            ),
            "static pods may not reference secrets",
        ),
        (b" " * (11 << 20), "larger than"),
    ],
)
def test_what_is_no_pod_for_a_node_says_why(manifest, why):
    with pytest.raises(ManifestError, match=re.escape(why)):
        read(manifest)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=4),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["apiVersion", "kind", "metadata", "spec", "containers", "name", "items"]
                ),
                inner,
            )
        ),
        max_leaves=12,
    )
)
def test_no_manifest_breaks_the_reader(document):
    wrapped = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": document}
    for one in (document, wrapped):
        with contextlib.suppress(ManifestError):
            assert all(pod["spec"]["nodeName"] == "n1" for pod in read(one))


# --- mirrors --------------------------------------------------------------------------------------

STATIC = freeze(read()[0])
MIRROR = freeze(evolve(mirror_of(STATIC, "n1", "node-uid"), "metadata.uid", "mirror-uid"))


def test_a_mirror_is_owned_by_its_node_and_says_what_it_stands_for():
    metadata = mirror_of(STATIC, "n1", "node-uid")["metadata"]
    assert metadata["annotations"]["kubernetes.io/config.mirror"] == uid_of(STATIC)
    assert metadata["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "node-uid", "controller": True}
    ]
    assert "uid" not in metadata


@pytest.mark.parametrize(
    ("static", "mirror", "expected"),
    [
        (None, None, None),
        (STATIC, None, Create(STATIC)),
        (STATIC, MIRROR, Keep(uid_of(STATIC))),
        (None, MIRROR, Delete("mirror-uid")),
        (evolve(STATIC, "metadata.uid", "other"), MIRROR, Delete("mirror-uid")),
        (
            STATIC,
            evolve(MIRROR, "metadata.deletionTimestamp", "2026-01-01T00:00:00Z"),
            Delete("mirror-uid"),
        ),
    ],
)
def test_mirrors_follow_static_pods(static, mirror, expected):
    assert plan(static, mirror) == expected

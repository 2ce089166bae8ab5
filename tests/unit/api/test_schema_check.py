"""Decode-checking: what Go's decoder would say, and what it would lose."""

import pytest

from minikube_py.api import schema, schema_report
from minikube_py.api.schema_check import check, checker_of
from minikube_py.api.schema_report import DecodeError

POD = schema.type_of("io.k8s.api.core.v1.Pod")
DEPLOYMENT = schema.type_of("io.k8s.api.apps.v1.Deployment")
CONFIGMAP = schema.type_of("io.k8s.api.core.v1.ConfigMap")


@pytest.mark.parametrize(
    ("spec", "word", "field", "go"),
    [
        ({"replicas": "x"}, "string", "DeploymentSpec.spec.replicas", "int32"),
        ({"replicas": 1.5}, "number 1.5", "DeploymentSpec.spec.replicas", "int32"),
        ({"replicas": 1 << 32}, "number 4294967296", "DeploymentSpec.spec.replicas", "int32"),
        ({"paused": "x"}, "string", "DeploymentSpec.spec.paused", "bool"),
        ({"selector": "x"}, "string", "DeploymentSpec.spec.selector", "v1.LabelSelector"),
        (
            {"strategy": {"rollingUpdate": {"maxSurge": 1.5}}},
            "number 1.5",
            "RollingUpdateDeployment.spec.strategy.rollingUpdate.maxSurge",
            "int32",
        ),
        (
            {"template": {"spec": {"containers": {}}}},
            "object",
            "PodSpec.spec.template.spec.containers",
            "[]v1.Container",
        ),
        (
            {"template": {"spec": {"containers": [{"ports": [{"containerPort": "x"}]}]}}},
            "string",
            "ContainerPort.spec.template.spec.containers.ports.containerPort",
            "int32",
        ),
    ],
)
def test_a_wrong_type_is_reported_in_the_words_of_gos_decoder(spec, word, field, go):
    with pytest.raises(DecodeError) as caught:
        check(DEPLOYMENT, {"spec": spec})
    text = f"json: cannot unmarshal {word} into Go struct field {field} of type {go}"
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("obj", "word", "field", "go"),
    [
        ({"data": []}, "array", "ConfigMap.data", "map[string]string"),
        ({"data": {"a": 1}}, "number", "ConfigMap.data", "string"),
        ({"metadata": {"labels": {"a": 1}}}, "number", "ObjectMeta.metadata.labels", "string"),
    ],
)
def test_a_wrong_type_in_a_map_is_reported_at_the_map(obj, word, field, go):
    with pytest.raises(DecodeError) as caught:
        check(CONFIGMAP, obj)
    text = f"json: cannot unmarshal {word} into Go struct field {field} of type {go}"
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("obj", "text"),
    [
        ({"binaryData": {"a": "!"}}, "illegal base64 data at input byte 0"),
        (
            {"metadata": {"creationTimestamp": "bad"}},
            'parsing time "bad" as "2006-01-02T15:04:05Z07:00": cannot parse "bad" as "2006"',
        ),
    ],
)
def test_text_that_a_type_of_its_own_refuses_is_reported_in_its_words(obj, text):
    with pytest.raises(DecodeError) as caught:
        check(CONFIGMAP, obj)
    assert str(caught.value) == text


def test_a_bad_time_of_a_lease_is_named_with_its_layout():
    lease = schema.type_of("io.k8s.api.coordination.v1.Lease")
    with pytest.raises(DecodeError) as caught:
        check(lease, {"spec": {"renewTime": "yesterday"}})
    assert str(caught.value) == (
        'parsing time "yesterday" as "2006-01-02T15:04:05.000000Z07:00": '
        'cannot parse "yesterday" as "2006"'
    )


def test_unknown_fields_are_pruned_and_named_in_the_order_of_the_document():
    pod_spec = {"nah": {}, "containers": [{"imagge": "x", "name": "c"}]}
    spec = {"what": 1, "template": {"spec": pod_spec}}
    checked = check(DEPLOYMENT, {"kind": "Deployment", "spec": spec})
    assert checked.obj == {
        "kind": "Deployment",
        "spec": {"template": {"spec": {"containers": [{"name": "c"}]}}},
    }
    assert checked.unknown == [
        "spec.what",
        "spec.template.spec.nah",
        "spec.template.spec.containers[0].imagge",
    ]


def test_a_sound_object_is_returned_as_it_is():
    pod = {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    assert check(POD, pod).obj is pod


def test_nulls_are_dropped_and_the_rest_is_shared():
    pod = {"metadata": {"creationTimestamp": None, "name": "a"}, "spec": {"containers": []}}
    checked = check(POD, pod)
    assert checked.obj["metadata"] == {"name": "a"}
    assert checked.obj["spec"] is pod["spec"]


def test_a_null_in_a_map_of_texts_is_the_empty_text():
    assert check(CONFIGMAP, {"data": {"a": None}}).obj == {"data": {"a": ""}}


def test_amounts_and_times_are_stored_in_canonical_form():
    pod = {
        "metadata": {"deletionTimestamp": "2026-01-02T03:04:05.5+02:00"},
        "spec": {"containers": [{"resources": {"limits": {"cpu": "0.5", "memory": 1024}}}]},
    }
    checked = check(POD, pod).obj
    assert checked["metadata"]["deletionTimestamp"] == "2026-01-02T01:04:05Z"
    assert checked["spec"]["containers"][0]["resources"]["limits"] == {
        "cpu": "500m",
        "memory": "1024",
    }


def test_both_roads_give_the_same_object():
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a", "labels": {}, "annotations": {"a": ""}, "finalizers": None},
        "spec": {
            "containers": [{"name": "c", "image": "", "command": [], "env": [{"name": "A"}]}],
            "volumes": [{"name": "v", "emptyDir": {}}],
            "terminationGracePeriodSeconds": 0,
            "hostNetwork": False,
        },
    }
    fast = checker_of(POD)(pod)
    slow, unknown = schema_report.report(POD, pod)
    assert (fast, []) == (slow, unknown)


def test_empty_fields_that_go_leaves_out_are_dropped_and_pointers_are_kept():
    spec = {"replicas": 0, "minReadySeconds": 0, "paused": False, "template": {"spec": {}}}
    checked = check(DEPLOYMENT, {"metadata": {"namespace": "", "labels": {}}, "spec": spec})
    assert checked.obj == {"metadata": {}, "spec": {"replicas": 0, "template": {"spec": {}}}}


def test_a_named_go_type_is_named():
    with pytest.raises(DecodeError, match=r"PodStatus\.status\.phase of type v1\.PodPhase$"):
        check(POD, {"status": {"phase": 1}})

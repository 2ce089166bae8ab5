"""What kinds refuse and warn of, beside what was recorded: each row is an object and its errors."""

import base64
from typing import Any

import pytest

from minikube_py.api.kinds import BUILTIN
from minikube_py.api.object import Obj
from minikube_py.api.resource import Resource
from minikube_py.api.scheme import Scheme
from tests.frozen import freeze

NOW = "2026-01-01T00:00:00Z"
SCHEME = Scheme(BUILTIN)


def kind(name: str) -> Resource:
    version, _, what = name.rpartition(" ")
    resource = SCHEME.by_kind(version, what)
    assert resource is not None
    return resource


def made(resource: Resource, fields: Obj) -> Obj:
    metadata = {"name": "x", "creationTimestamp": NOW, **fields.get("metadata", {})}
    if resource.namespaced:
        metadata["namespace"] = "n"
    return freeze(resource.default(freeze({**fields, "metadata": metadata})))


def refused(resource: Resource, fields: Obj, old: Obj | None = None) -> list[tuple[str, str]]:
    before = None if old is None else made(resource, old)
    errors = resource.validate(made(resource, fields), before)
    return [(error.field, error.text.partition(":")[0]) for error in errors]


POD = {"containers": [{"name": "c", "image": "i"}]}
LABELS = {"app": "a"}
SET = {
    "selector": {"matchLabels": LABELS},
    "template": {"metadata": {"labels": LABELS}, "spec": POD},
}
MOUNTING = {"containers": [{**POD["containers"][0], "volumeMounts": [
    {"name": "data", "mountPath": "/d"}]}]}  # fmt: skip
INLINE = {"accessModes": ["ReadWriteOnce"], "csi": {"driver": "d", "volumeHandle": "h"}}


def scaler(kind: str = "Deployment", version: str = "apps/v1", **spec: Any) -> Obj:
    target = {"kind": kind, "name": "d", "apiVersion": version}
    return {"spec": {"scaleTargetRef": target, "maxReplicas": 3, **spec}}


def attachment(**source: Any) -> Obj:
    return {"spec": {"attacher": "a.example.com", "nodeName": "n", "source": source}}


@pytest.mark.parametrize(
    ("name", "fields", "errors"),
    [
        ("apps/v1 StatefulSet", {"spec": SET}, []),
        ("storage.k8s.io/v1 CSIDriver", {"spec": {"serviceAccountTokenInSecrets": False}},
         [("spec.serviceAccountTokenInSecrets", "Invalid value")]),
        ("storage.k8s.io/v1 CSIDriver", {"spec": {"tokenRequests": [
            {"audience": "a"}, {"audience": "a", "expirationSeconds": 5}],
            "serviceAccountTokenInSecrets": True}},
         [("spec.tokenRequests[1].audience", "Duplicate value")]),
        ("storage.k8s.io/v1 StorageClass",
         {"provisioner": "p", "allowedTopologies": [{"matchLabelExpressions": [
             {"key": "k", "values": values}]} for values in (["a", "b"], ["c"], ["b", "a"])]},
         [("allowedTopologies[2].matchLabelExpressions", "Duplicate value")]),
        ("storage.k8s.io/v1 StorageClass", {"provisioner": "p", "allowedTopologies": [{}]},
         [("allowedTopologies[0].matchLabelExpressions", "Duplicate value")]),
        ("node.k8s.io/v1 RuntimeClass", {"handler": "h", "scheduling": {"tolerations": [
            {"key": "a", "effect": "NoExecute"},
            {"key": "a", "effect": "NoExecute", "tolerationSeconds": 1},
            {"key": "a", "effect": "NoSchedule"}]}},
         [("scheduling.tolerations[1]", "Duplicate value")]),
        ("autoscaling/v2 HorizontalPodAutoscaler", scaler(), []),
        ("autoscaling/v2 HorizontalPodAutoscaler",
         scaler(kind="ReplicationController", version="v1"), []),
        ("autoscaling/v2 HorizontalPodAutoscaler", scaler(version="v1"),
         [("spec.scaleTargetRef.apiVersion", "Invalid value")]),
        ("autoscaling/v2 HorizontalPodAutoscaler",
         scaler(kind="ReplicationController", version="a/b/c"),
         [("spec.scaleTargetRef.apiVersion", "Invalid value")]),
        ("autoscaling/v2 HorizontalPodAutoscaler", scaler(behavior={
            "scaleDown": {"tolerance": "-1"}, "scaleUp": {"tolerance": "0"}}),
         [("spec.behavior.scaleDown.tolerance", "Invalid value")]),
        ("autoscaling/v2 HorizontalPodAutoscaler", scaler(metrics=[{
            "type": "Object", "object": {"metric": {"name": "m"}, "target": {
                "type": "Value", "value": "1"}, "describedObject": {
                    "kind": "K", "name": "n", "apiVersion": "a/b/c"}}}]),
         [("spec.metrics[0].object.describedObject.apiVersion", "Invalid value")]),
        ("apps/v1 StatefulSet", {"spec": {**SET, "serviceName": "A_b"}},
         [("spec.serviceName", "Invalid value")]),
        ("apps/v1 StatefulSet",
         {"spec": {**SET, "template": {"metadata": {"labels": LABELS}, "spec": {}}}},
         [("spec.template.spec.containers", "Required value")]),
        ("apps/v1 StatefulSet",
         {"spec": {**SET, "template": {"metadata": {"labels": LABELS}, "spec": MOUNTING}}},
         [("spec.template.spec.containers[0].volumeMounts[0].name", "Not found")]),
        ("apps/v1 StatefulSet",
         {"spec": {**SET, "template": {"metadata": {"labels": LABELS}, "spec": MOUNTING},
                   "volumeClaimTemplates": [{"metadata": {"name": "data"}}]}}, []),
        ("storage.k8s.io/v1 VolumeAttachment", attachment(persistentVolumeName=""),
         [("spec.source.persistentVolumeName", "Required value")]),
        ("storage.k8s.io/v1 VolumeAttachment", attachment(inlineVolumeSpec=INLINE), []),
        ("storage.k8s.io/v1 VolumeAttachment",
         attachment(inlineVolumeSpec={**INLINE, "capacity": {"storage": "1Gi"},
                                      "storageClassName": "c", "volumeMode": "Block"}),
         [("spec.source.inlineVolumeSpec.capacity", "Forbidden"),
          ("spec.source.inlineVolumeSpec.storageClassName", "Forbidden"),
          ("spec.source.inlineVolumeSpec.volumeMode", "Forbidden")]),
        ("storage.k8s.io/v1 VolumeAttachment",
         {**attachment(persistentVolumeName="p"),
          "status": {"attachError": {"message": "x" * 1025, "errorCode": -1}}},
         [("status.attachError.message", "Too long"),
          ("status.attachError.errorCode", "Invalid value")]),
        ("policy/v1 PodDisruptionBudget", {"spec": {"minAvailable": 1, "maxUnavailable": 1}},
         [("spec", "Invalid value")]),
    ],
)  # fmt: skip
def test_a_new_object_is_refused(name: str, fields: Obj, errors: list[tuple[str, str]]) -> None:
    assert refused(kind(name), fields) == errors


@pytest.mark.parametrize(
    ("name", "old", "new", "errors"),
    [
        ("autoscaling/v2 HorizontalPodAutoscaler", scaler(version="v1"),
         scaler(version="v1", minReplicas=2), []),
        ("autoscaling/v2 HorizontalPodAutoscaler", scaler(version="v1"), scaler(version="v2"),
         [("spec.scaleTargetRef.apiVersion", "Invalid value")]),
        ("apps/v1 StatefulSet", {"spec": {**SET, "serviceName": "A_b"}},
         {"spec": {**SET, "serviceName": "A_b", "replicas": 2}}, []),
        ("apps/v1 StatefulSet",
         {"spec": {**SET, "template": {"metadata": {"labels": LABELS}, "spec": {}}}},
         {"spec": {**SET, "template": {"metadata": {"labels": LABELS}, "spec": {}},
                   "replicas": 2}}, []),
        ("storage.k8s.io/v1 StorageClass", {"provisioner": "a/b"},
         {"provisioner": "", "reclaimPolicy": "Keep"},
         [("provisioner", "Required value"), ("reclaimPolicy", "Unsupported value"),
          ("provisioner", "Invalid value"), ("reclaimPolicy", "Invalid value")]),
        ("node.k8s.io/v1 RuntimeClass", {"handler": "h"}, {"handler": "A"},
         [("handler", "Invalid value"), ("handler", "Invalid value")]),
        ("storage.k8s.io/v1 VolumeAttributesClass",
         {"driverName": "d", "parameters": {"a": "b"}},
         {"driverName": "e", "parameters": {"a": "c"}},
         [("driverName", "Forbidden"), ("parameters", "Forbidden")]),
    ],
)  # fmt: skip
def test_an_update_is_refused(name: str, old: Obj, new: Obj, errors: list[tuple[str, str]]) -> None:
    assert sorted(refused(kind(name), new, old)) == sorted(errors)


ZONE = "failure-domain.beta.kubernetes.io/zone"
OLD_ZONE = 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead'


def block(**ranges: Any) -> Obj:
    return {"spec": {"podSelector": {}, "egress": [{"to": [{"ipBlock": ranges}]}]}}


def pem(what: str) -> str:
    text = f"-----BEGIN {what}-----\nAAAA\n-----END {what}-----\n" if what else "x"
    return base64.b64encode(text.encode()).decode()


def tls(certificate: str, key: str) -> Obj:
    return {"type": "kubernetes.io/tls", "data": {"tls.crt": pem(certificate), "tls.key": pem(key)}}


@pytest.mark.parametrize(
    ("name", "fields", "warnings"),
    [
        ("storage.k8s.io/v1 StorageClass",
         {"provisioner": "p",
          "allowedTopologies": [{"matchLabelExpressions": [{"key": ZONE, "values": ["a"]}]}]},
         [f"allowedTopologies[0].matchLabelExpressions[0].key: {OLD_ZONE}"]),
        ("storage.k8s.io/v1 CSIStorageCapacity",
         {"storageClassName": "c", "nodeTopology": {
             "matchLabels": {ZONE: "a"}, "matchExpressions": [{"key": ZONE}]}},
         [f"nodeTopology.matchExpressions[0].key: {OLD_ZONE}",
          f"nodeTopology.matchLabels.{ZONE}: {OLD_ZONE}"]),
        ("node.k8s.io/v1 RuntimeClass",
         {"handler": "h", "scheduling": {"nodeSelector": {ZONE: "a"}}},
         [f"scheduling.nodeSelector: {OLD_ZONE}"]),
        ("networking.k8s.io/v1 NetworkPolicy",
         block(cidr="2001:DB8::/32", **{"except": ["2001:db8:1::/48"]}),
         [('spec.egress[0].to[0].ipBlock.cidr: IPv6 CIDR value "2001:DB8::/32" should be in '
          'RFC 5952 canonical format ("2001:db8::/32")')]),
        ("discovery.k8s.io/v1 EndpointSlice",
         {"addressType": "FQDN", "endpoints": [{"addresses": ["a.example.com"]}]},
         ["spec.addressType: FQDN endpoints are deprecated"]),
        ("discovery.k8s.io/v1 EndpointSlice",
         {"addressType": "IPv6", "endpoints": [{"addresses": ["2001:DB8::1"]}]},
         [('endpoints[0].addresses[0]: IPv6 address "2001:DB8::1" should be in RFC 5952 canonical '
          'format ("2001:db8::1")')]),
        ("discovery.k8s.io/v1 EndpointSlice",
         {"addressType": "IPv6", "endpoints": [{"addresses": ["2001:DB8::1"]}],
          "metadata": {"labels": {"endpointslice.kubernetes.io/managed-by":
                                  "endpointslice-controller.k8s.io"}}}, []),
        ("v1 ServiceAccount",
         {"metadata": {"annotations": {"kubernetes.io/enforce-mountable-secrets": "false"}}},
         [("metadata.annotations[kubernetes.io/enforce-mountable-secrets]: deprecated in v1.32+; "
           "prefer separate namespaces to isolate access to mounted secrets")]),
        ("v1 Secret", {"data": {"tls.crt": pem("")}}, []),
        ("v1 Secret", tls("", ""), ["tls: failed to find any PEM data in certificate input"]),
        ("v1 Secret", tls("RSA PRIVATE KEY", ""),
         [("tls: failed to find certificate PEM data in certificate input, but did find a private "
          "key; PEM inputs may have been switched")]),
        ("v1 Secret", tls("CERTIFICATE", ""), ["tls: failed to find any PEM data in key input"]),
        ("v1 Secret", tls("CERTIFICATE", "CERTIFICATE"),
         ["tls: found a certificate rather than a key in the PEM for the private key"]),
        ("v1 Secret", tls("CERTIFICATE", "PRIVATE KEY"), ["x509: malformed certificate"]),
    ],
)  # fmt: skip
def test_the_writer_is_warned(name: str, fields: Obj, warnings: list[str]) -> None:
    resource = kind(name)
    assert list(resource.warn(made(resource, fields), None)) == warnings


CLAIM = {"spec": {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "c"}}]}}}


@pytest.mark.parametrize(
    ("name", "old", "new", "shown"),
    [
        ("resource.k8s.io/v1 ResourceClaim", CLAIM, {"spec": {"devices": {}}},
         '{"Devices":{"Requests":null,"Constraints":null,"Config":null}}'),
        ("storage.k8s.io/v1 CSINode", {"spec": {"drivers": [{"name": "d", "nodeID": "a"}]}},
         {"spec": {"drivers": [{"name": "d", "nodeID": "b"}]}},
         '{"Name":"d","NodeID":"b","TopologyKeys":null,"Allocatable":null}'),
        ("storage.k8s.io/v1 VolumeAttachment", attachment(persistentVolumeName="p"),
         attachment(persistentVolumeName="q"),
         ('{"Attacher":"a.example.com","Source":{"PersistentVolumeName":"q",'
          '"InlineVolumeSpec":null},"NodeName":"n"}')),
        ("batch/v1 Job", {"spec": {"template": {"spec": POD}, "podFailurePolicy": {"rules": []}}},
         {"spec": {"template": {"spec": POD}, "podFailurePolicy": {"rules": [
             {"action": "Ignore", "onPodConditions": [{"type": "t", "status": "True"}]}]}}},
         ('{"Rules":[{"Action":"Ignore","OnExitCodes":null,"OnPodConditions":[{"Type":"t",'
          '"Status":"True"}]}]}')),
    ],
)  # fmt: skip
def test_what_may_not_change_is_shown_in_gos_words(
    name: str, old: Obj, new: Obj, shown: str
) -> None:
    resource = kind(name)
    texts = [error.text for error in resource.validate(made(resource, new), made(resource, old))]
    assert f"Invalid value: {shown}: field is immutable" in texts


@pytest.mark.parametrize(
    ("name", "fields", "text"),
    [
        ("networking.k8s.io/v1 ServiceCIDR",
         {"spec": {"cidrs": ["10.0.0.0/24", "10.1.0.0/24", "10.2.0.0/24"]}},
         ('Invalid value: {"CIDRs":["10.0.0.0/24","10.1.0.0/24","10.2.0.0/24"]}: '
          "may only hold up to 2 values")),
        ("apiregistration.k8s.io/v1 APIService",
         {"metadata": {"name": "v1.g"}, "spec": {"group": "g", "version": "v1", "caBundle": "eA==",
          "groupPriorityMinimum": 1, "versionPriority": 1}},
         'Invalid value: "1 bytes": local APIServices may not have a caBundle'),
        ("batch/v1 CronJob",
         {"metadata": {"name": "c" * 53}, "spec": {"schedule": "@daily", "jobTemplate": {
             "spec": {"template": {"spec": {**POD, "restartPolicy": "Never"}}}}}},
         f'Invalid value: "{"c" * 53}": must be no more than 52 characters'),
    ],
)  # fmt: skip
def test_what_a_refusal_says(name: str, fields: Obj, text: str) -> None:
    resource = kind(name)
    assert [error.text for error in resource.validate(made(resource, fields), None)] == [text]


def test_a_limit_range_without_a_name_gets_one() -> None:
    resource = kind("v1 LimitRange")
    uid = "11111111-2222-3333-4444-555555555555"
    new = resource.prepare_for_create(freeze({"metadata": {"uid": uid}, "spec": {"limits": []}}))
    assert len(new["metadata"]["name"]) == len(uid)
    assert new["metadata"]["name"] != uid

"""Warnings: what a writer should know about an object that is valid all the same."""

from typing import Any

import pytest

from minikube_py.api.core import (
    COMPONENTSTATUSES,
    ENDPOINTS,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    PODTEMPLATES,
    REPLICATIONCONTROLLERS,
    SERVICES,
)
from minikube_py.api.core.pod_warnings import warn_pod_template
from minikube_py.api.fields import Field
from minikube_py.api.object import Obj
from minikube_py.api.resource import Resource
from tests.frozen import freeze

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
CLASS = "volume.beta.kubernetes.io/storage-class"
HINTS = "service.kubernetes.io/topology-aware-hints"


def made(spec: dict[str, Any], **metadata: Any) -> Obj:
    return freeze({"metadata": {"name": "x", **metadata}, "spec": spec})


def warned(resource: Resource, spec: dict[str, Any], **metadata: Any) -> list[str]:
    return list(resource.warn(made(spec, **metadata), None))


def container(**more: Any) -> dict[str, Any]:
    return {"containers": [{"name": "c", "image": "i", **more}]}


@pytest.mark.parametrize(
    ("spec", "beginning"),
    [
        (
            {"nodeSelector": {"beta.kubernetes.io/os": "linux"}},
            "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since",
        ),
        (
            container(resources={"requests": {"memory": "100m"}}),
            'spec.containers[0].resources.requests[memory]: fractional byte value "100m"',
        ),
        (
            container(env=[{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]),
            'spec.containers[0].env[1]: hides previous definition of "A"',
        ),
        (
            {"volumes": [{"name": "v", "gitRepo": {"repository": "r"}}]},
            "spec.volumes[0].gitRepo: deprecated in v1.11",
        ),
        (
            {"topologySpreadConstraints": [{"topologyKey": "zone"}]},
            "spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results",
        ),
        (
            {"imagePullSecrets": [{"name": ""}]},
            "spec.imagePullSecrets[0].name: invalid empty name",
        ),
        (
            {"dnsConfig": {"nameservers": ["FD00::1"]}},
            'spec.dnsConfig.nameservers[0]: IPv6 address "FD00::1" should be in RFC 5952',
        ),
        (
            {
                "affinity": {
                    "nodeAffinity": {
                        REQUIRED: {
                            "nodeSelectorTerms": [
                                {"matchExpressions": [{"key": "beta.kubernetes.io/arch"}]}
                            ]
                        }
                    }
                }
            },
            f"spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms[0].matchExpressions[0].key: ",
        ),
        (
            {
                "affinity": {
                    "nodeAffinity": {
                        PREFERRED: [
                            {"preference": {"matchExpressions": [{"key": "a", "values": ["b c"]}]}}
                        ]
                    }
                }
            },
            f"spec.affinity.nodeAffinity.{PREFERRED}[0].preference.matchExpressions[0].values[0]: ",
        ),
        (
            {"hostAliases": [{"ip": "1.2.3.4"}, {"ip": "1.2.3.4"}]},
            'spec.hostAliases[1].ip: duplicate ip "1.2.3.4"',
        ),
        (
            {"imagePullSecrets": [{"name": "a"}, {"name": "a"}]},
            'spec.imagePullSecrets[1].name: duplicate name "a"',
        ),
        (
            {"overhead": {"memory": "1m"}},
            'spec.overhead[memory]: fractional byte value "1m" is invalid',
        ),
        (
            container(ports=[{"containerPort": 80}, {"containerPort": 80}]),
            "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports",
        ),
        (
            container(ports=[{"containerPort": 80, "hostPort": 1}, {"containerPort": 80}]),
            "spec.containers[0].ports[1]: overlapping port definition with spec.containers[0]",
        ),
        (
            container(
                ports=[
                    {"containerPort": 80, "hostPort": 1},
                    {"containerPort": 80, "hostPort": 1, "hostIP": "1.2.3.4"},
                ]
            ),
            "spec.containers[0].ports[1]: dangerously ambiguous port definition with",
        ),
        (
            {
                "volumes": [
                    {
                        "name": "v",
                        "ephemeral": {
                            "volumeClaimTemplate": {
                                "spec": {"resources": {"requests": {"storage": "1m"}}}
                            }
                        },
                    }
                ]
            },
            "spec.volumes[0].ephemeral.volumeClaimTemplate.spec.resources.requests[storage]: frac",
        ),
        ({"terminationGracePeriodSeconds": -1}, "spec.terminationGracePeriodSeconds: must be >= 0"),
    ],
)
def test_a_pod_that_may_surprise_is_accepted_with_a_word(
    spec: dict[str, Any], beginning: str
) -> None:
    (warning,) = warned(PODS, spec)
    assert warning.startswith(beginning)
    assert list(PODS.warn(made(spec), made(spec))) == []


def test_templates_warn_of_the_same_at_their_own_path() -> None:
    spec = {"volumes": [{"name": "v", "rbd": {}}], **container()}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": spec}
    words = "spec.volumes[0].rbd: deprecated in v1.28, non-functional in v1.31+"
    assert list(warn_pod_template(template, Field("t"))) == [f"t.{words}"]
    held = freeze({"metadata": {"name": "x"}, "template": template})
    assert list(PODTEMPLATES.warn(held, None)) == [f"template.{words}"]
    assert warned(REPLICATIONCONTROLLERS, {"template": template}) == [f"spec.template.{words}"]


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("scheduler.alpha.kubernetes.io/critical-pod", "non-functional in v1.16+"),
        ("seccomp.security.alpha.kubernetes.io/pod", "non-functional in v1.27+"),
        ("container.seccomp.security.alpha.kubernetes.io/c", "non-functional in v1.27+"),
        ("container.apparmor.security.beta.kubernetes.io/c", "deprecated since v1.30"),
    ],
)
def test_annotations_that_became_fields_are_named(key: str, words: str) -> None:
    (warning,) = warned(PODS, container(), annotations={key: "runtime/default"})
    assert warning.startswith(f"metadata.annotations[{key}]: {words}")


def projected(*sources: dict[str, Any]) -> dict[str, Any]:
    return {"projected": {"sources": list(sources)}}


def items(*paths: str, **more: Any) -> dict[str, Any]:
    return {**more, "items": [{"key": "k", "path": path} for path in paths]}


@pytest.mark.parametrize(
    ("volume", "warnings"),
    [
        (
            {"configMap": items("a", "a/b", "c", name="m")},
            ['(ConfigMap "m"): overlapping paths: "a/b" with "a"'],
        ),
        (
            {"secret": items("a", "b", "a/", secretName="s")},
            ['(Secret "s"): overlapping paths: "a"'],
        ),
        ({"downwardAPI": items("a/b", "a")}, ['(DownwardAPI): overlapping paths: "a" with "a/b"']),
        ({"configMap": items("a", "ab", name="m")}, []),
        (projected({}), ["(Projected) has no sources provided"]),
        (
            projected(
                {"serviceAccountToken": {"path": "a/token"}},
                {"configMap": items("a", name="m")},
                {"secret": items("b", name="s")},
                {"clusterTrustBundle": {"path": "b", "signerName": "x/y"}},
                {"downwardAPI": items("c")},
                {"podCertificate": {"keyPath": "c/k"}},
            ),
            [
                '(Projected): overlapping paths: "a" (ConfigMap "m") with "a/token" (ServiceAcc',
                '(Projected): overlapping paths: "b" (ClusterTrustBundle "x/y") with "b" (Secret',
                '(Projected): overlapping paths: "c/k" (PodCertificate key) with "c" (DownwardAPI)',
            ],
        ),
    ],
)
def test_files_that_hide_each_other_are_named(volume: dict[str, Any], warnings: list[str]) -> None:
    found = warned(PODS, {"volumes": [{"name": "v", **volume}]})
    assert len(found) == len(warnings)
    for text, beginning in zip(found, warnings, strict=True):
        assert text.startswith(f'volume "v" {beginning}')


def test_a_name_that_is_no_host_name_surprises() -> None:
    (warning,) = warned(PODS, container(), name="a.b")
    assert warning.endswith("a DNS label is recommended: [must not contain dots]")


@pytest.mark.parametrize(
    ("spec", "warning"),
    [
        (
            {"clusterIPs": ["None"], "loadBalancerIP": "1.2.3.4", "sessionAffinity": "None"},
            'spec.loadBalancerIP is ignored when spec.clusterIP is "None"',
        ),
        (
            {"clusterIPs": ["None"], "sessionAffinity": "ClientIP"},
            "spec.SessionAffinity is ignored for headless services",
        ),
        (
            {"type": "ExternalName", "externalIPs": ["1.2.3.4"]},
            'spec.externalIPs is ignored when spec.type is "ExternalName"',
        ),
        (
            {"type": "ClusterIP", "externalName": "a.b"},
            'spec.externalName is ignored when spec.type is not "ExternalName"',
        ),
        (
            {"clusterIPs": ["FD00::1"]},
            'spec.clusterIPs[0]: IPv6 address "FD00::1" should be in RFC 5952 canonical format',
        ),
        (
            {"externalIPs": ["010.0.0.1"]},
            'spec.externalIPs[0]: non-standard IP address "010.0.0.1" will be considered invalid',
        ),
        (
            {"loadBalancerSourceRanges": ["10.0.0.1/8"]},
            'spec.loadBalancerSourceRanges[0]: CIDR value "10.0.0.1/8" is ambiguous in this',
        ),
        (
            {"loadBalancerSourceRanges": ["010.0.0.0/8"]},
            'spec.loadBalancerSourceRanges[0]: non-standard CIDR value "010.0.0.0/8" will be',
        ),
        (
            {"loadBalancerSourceRanges": ["FD00::/8"]},
            'spec.loadBalancerSourceRanges[0]: IPv6 CIDR value "FD00::/8" should be in RFC 5952',
        ),
    ],
)
def test_a_service_is_told_what_has_no_effect(spec: dict[str, Any], warning: str) -> None:
    (found,) = warned(SERVICES, spec)
    assert found.startswith(warning)


def test_old_annotations_are_named_with_their_heirs() -> None:
    (warning,) = warned(SERVICES, {}, annotations={HINTS: "auto"})
    assert warning.startswith(f"annotation {HINTS} is deprecated, please use ")
    for kind in (PERSISTENTVOLUMES, PERSISTENTVOLUMECLAIMS):
        (warning,) = warned(kind, {}, annotations={CLASS: "fast"})
        assert warning.startswith(f"metadata.annotations[{CLASS}]: deprecated since v1.8")


def test_old_kinds_of_volumes_and_policies_are_named() -> None:
    found = warned(PERSISTENTVOLUMES, {"rbd": {}, "persistentVolumeReclaimPolicy": "Recycle"})
    assert [text.partition(":")[0] for text in found] == [
        "spec.rbd",
        "spec.persistentVolumeReclaimPolicy",
    ]


def test_endpoints_tell_of_odd_addresses() -> None:
    odd = {"subsets": [{"notReadyAddresses": [{"ip": "1.2.3.4"}, {"ip": "01.2.3.4"}]}]}
    (warning,) = ENDPOINTS.warn(freeze({"metadata": {}, **odd}), None)
    assert warning.startswith("subsets[0].notReadyAddresses[1].ip: non-standard IP address")


def test_a_field_of_nodes_that_nobody_reads_is_named() -> None:
    assert len(warned(NODES, {"externalID": "x"})) == 1
    assert warned(NODES, {}) == []


def test_two_kinds_are_deprecated_as_a_whole() -> None:
    assert ENDPOINTS.deprecation.startswith("v1 Endpoints is deprecated in v1.33+")
    assert COMPONENTSTATUSES.deprecation == "v1 ComponentStatus is deprecated in v1.19+"

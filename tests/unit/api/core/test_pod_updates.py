"""What may change about a pod on each of its endpoints, and in which words the rest is refused."""

from typing import Any

import pytest

from minikube_py.api.core import PODS
from minikube_py.api.core.pod_prepare import (
    prepare_ephemeral_update,
    prepare_for_create,
    prepare_for_update,
    prepare_resize,
    prepare_status_update,
)
from minikube_py.api.core.pod_status import validate_status_update
from minikube_py.api.core.pod_update import validate_ephemeral_update, validate_resize
from minikube_py.api.object import Obj
from tests.frozen import freeze

MIRROR = "kubernetes.io/config.mirror"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
TOLERATION = {"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}
ONE_CPU = {"requests": {"cpu": "1"}}


def pod(
    spec: dict[str, Any] | None = None,
    container: dict[str, Any] | None = None,
    status: dict[str, Any] | None = None,
    annotations: dict[str, str] | None = None,
) -> Obj:
    whole = {
        "serviceAccountName": "default",
        "containers": [{"name": "c", "image": "i", **(container or {})}],
        **(spec or {}),
    }
    metadata = {"name": "p", "annotations": annotations or {}, "creationTimestamp": "x"}
    obj = prepare_for_create(PODS.default(freeze({"metadata": metadata, "spec": whole})))
    return freeze({**obj, "status": {**obj["status"], **(status or {})}})


def refused(new: Obj, old: Obj) -> list[str]:
    new = freeze(prepare_for_update(new, old))
    return [str(error) for error in PODS.validate(new, old)]


def gated(**spec: Any) -> Obj:
    return pod({"schedulingGates": [{"name": "g"}], **spec})


def on_nodes(*expressions: dict[str, Any], count: int = 1) -> dict[str, Any]:
    terms = [{"matchExpressions": list(expressions)}] * count
    return {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": terms}}}


@pytest.mark.parametrize(
    ("new", "old"),
    [
        (pod(container={"image": "other"}), pod()),
        (pod({"activeDeadlineSeconds": 5}), pod()),
        (pod({"activeDeadlineSeconds": 5}), pod({"activeDeadlineSeconds": 6})),
        (pod({"tolerations": [TOLERATION]}), pod()),
        (
            pod({"tolerations": [{**TOLERATION, "tolerationSeconds": 9}]}),
            pod({"tolerations": [TOLERATION]}),
        ),
        (pod({"terminationGracePeriodSeconds": 1}), pod({"terminationGracePeriodSeconds": -1})),
        (pod(), gated()),
        (gated(nodeSelector={"a": "b", "c": "d"}), gated(nodeSelector={"a": "b"})),
        (gated(affinity=on_nodes({"key": "a", "operator": "Exists"})), gated()),
        (
            gated(
                affinity=on_nodes(
                    {"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Exists"}
                )
            ),
            gated(affinity=on_nodes({"key": "a", "operator": "Exists"})),
        ),
    ],
)
def test_a_little_of_a_pod_may_change(new: Obj, old: Obj) -> None:
    assert refused(new, old) == []


@pytest.mark.parametrize(
    ("new", "old", "errors"),
    [
        (
            pod({"containers": []}),
            pod(),
            ["spec.containers: Required", "spec.containers: Forbidden: pod updates may not add or"],
        ),
        (pod({"nodeName": "n"}), pod(), ["spec: Forbidden: pod updates may not change fields"]),
        (
            pod(container={"image": "", "imagePullPolicy": "Always"}),
            pod(),
            ["spec.containers[0].image: Required value", "spec.containers[0].image: Required"],
        ),
        (
            pod(),
            pod({"activeDeadlineSeconds": 5}),
            ["spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive"],
        ),
        (
            pod({"activeDeadlineSeconds": 7}),
            pod({"activeDeadlineSeconds": 5}),
            ["spec.activeDeadlineSeconds: Invalid value: 7: must be less than or equal to prev"],
        ),
        (
            pod(),
            pod({"tolerations": [TOLERATION]}),
            ["spec.tolerations: Forbidden: existing toleration can not be modified except its"],
        ),
        (
            gated(),
            pod(),
            [
                "spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new",
            ],
        ),
        (
            gated(nodeSelector={"a": "x"}),
            gated(nodeSelector={"a": "b"}),
            ['spec.nodeSelector: Invalid value: {"a":"x"}: only additions to spec.nodeSelector'],
        ),
        (
            gated(affinity=on_nodes({"key": "a", "operator": "Exists"}, count=2)),
            gated(affinity=on_nodes({"key": "a", "operator": "Exists"})),
            [f'spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms: Invalid value: [{{"Match'],
        ),
        (
            gated(affinity=on_nodes({"key": "b", "operator": "Exists"})),
            gated(affinity=on_nodes({"key": "a", "operator": "Exists"})),
            [f"spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms[0]: Invalid value: "],
        ),
        (
            pod(annotations={MIRROR: "x"}),
            pod(),
            [
                f"metadata.annotations[{MIRROR}]: Invalid value",
                f"metadata.annotations[{MIRROR}]: Forbidden: may not add mirror pod annotation",
                f"metadata.annotations[{MIRROR}]: Invalid value",
            ],
        ),
    ],
)
def test_the_rest_is_refused(new: Obj, old: Obj, errors: list[str]) -> None:
    found = refused(new, old)
    assert len(found) == len(errors)
    for text, beginning in zip(found, errors, strict=True):
        assert text.startswith(beginning)


def test_the_difference_is_shown_as_upstream_names_it() -> None:
    (error,) = refused(pod({"nodeName": "n"}), pod())
    assert '- "NodeName": "",\n+ "NodeName": "n",\n' in error


def debugged(old: Obj, *containers: dict[str, Any], **more: Any) -> list[str]:
    listed = [{"image": "i", **container} for container in containers]
    new = PODS.default(freeze({**old, "spec": {**old["spec"], "ephemeralContainers": listed}}))
    new = freeze(prepare_ephemeral_update(freeze({**new, **more}), old))
    return [str(error) for error in validate_ephemeral_update(new, old)]


def with_debugger(name: str) -> Obj:
    spec = {**pod()["spec"], "ephemeralContainers": [{"name": name, "image": "i"}]}
    return freeze(PODS.default(freeze({**pod(), "spec": spec})))


def test_a_debugger_may_come_but_never_change_or_go() -> None:
    assert debugged(pod(), {"name": "d"}) == []
    old = with_debugger("d")
    assert debugged(old, {"name": "d"}, {"name": "e", "targetContainerName": "c"}) == []
    (error,) = debugged(old)
    assert error.endswith('existing ephemeral containers "d" may not be removed\n')
    (error,) = debugged(old, {"name": "d", "image": "other"})
    assert '- "Image": "i",\n+ "Image": "other",\n' in error


@pytest.mark.parametrize(
    ("container", "error"),
    [
        ({"name": "c"}, 'spec.ephemeralContainers[0].name: Duplicate value: "c"'),
        ({"name": ""}, "spec.ephemeralContainers[0].name: Required value"),
        (
            {"name": "d", "targetContainerName": "x"},
            'spec.ephemeralContainers[0].targetContainerName: Not found: "x"',
        ),
        (
            {"name": "d", "ports": [{"containerPort": 80}]},
            "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral",
        ),
        (
            {"name": "d", "resources": ONE_CPU},
            "spec.ephemeralContainers[0].resources: Forbidden: cannot be set for an Ephemeral",
        ),
        (
            {"name": "d", "lifecycle": {"preStop": {"sleep": {"seconds": 1}}}},
            "spec.ephemeralContainers[0].lifecycle: Forbidden: cannot be set for an Ephemeral",
        ),
    ],
)
def test_a_debugger_is_less_than_a_container(container: dict[str, Any], error: str) -> None:
    assert any(text.startswith(error) for text in debugged(pod(), container))


def test_static_pods_are_what_their_files_say() -> None:
    static = pod({"nodeName": "n"}, annotations={MIRROR: "x"})
    assert debugged(static, {"name": "d"}) == [
        "[]: Forbidden: static pods do not support ephemeral containers"
    ]
    assert resized(static, static) == ["[]: Forbidden: static pods cannot be resized"]


def resized(new: Obj, old: Obj) -> list[str]:
    new = freeze(prepare_resize(new, old))
    return [str(error) for error in validate_resize(new, old)]


def test_a_pod_may_grow_where_it_stands() -> None:
    more = {"resources": {"requests": {"cpu": "2"}}}
    assert resized(pod(container=more), pod(container={"resources": ONE_CPU})) == []
    sidecar = {"name": "s", "image": "i", "restartPolicy": "Always", "resources": ONE_CPU}
    grown = {**sidecar, **more}
    assert resized(pod({"initContainers": [grown]}), pod({"initContainers": [sidecar]})) == []


@pytest.mark.parametrize(
    ("new", "old", "errors"),
    [
        (
            pod(container={"resources": ONE_CPU}),
            pod(),
            ['spec: Invalid value: "BestEffort": Pod QOS Class may not change as a result'],
        ),
        (
            pod(container={"resources": {"requests": {"memory": "1"}}}),
            pod(container={"resources": ONE_CPU}),
            ["spec.containers[0].resources.requests: Forbidden: resource requests cannot be rem"],
        ),
        (
            pod(container={"resources": ONE_CPU}),
            pod(container={"resources": {**ONE_CPU, "limits": {"cpu": "1"}}}),
            ["spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed"],
        ),
        (
            pod(container={"resources": {"requests": {"cpu": "1", "ephemeral-storage": "1"}}}),
            pod(container={"resources": ONE_CPU}),
            ["spec: Forbidden: only cpu and memory resources are mutable"],
        ),
        (
            pod({"containers": []}, status={"qosClass": "BestEffort"}),
            pod(),
            [
                "spec.containers: Required value",
                "spec.containers: Forbidden: containers may not be added or removed on resize",
            ],
        ),
        (
            pod(container={"name": "x"}),
            pod(),
            [
                "spec.containers[0].name: Forbidden: containers may not be renamed or reordered",
            ],
        ),
        (
            pod({"os": {"name": "windows"}}),
            pod({"os": {"name": "windows"}}),
            ["[]: Forbidden: windows pods cannot be resized"],
        ),
        (
            pod(container={"resources": ONE_CPU}),
            pod(
                container={"resources": ONE_CPU},
                status={"containerStatuses": [{"name": "c", "state": {"running": {}}}]},
            ),
            ["spec: Forbidden: Pod running on node without support for resize"],
        ),
        (
            pod(),
            pod({"resources": ONE_CPU}),
            [
                'spec: Invalid value: "Burstable": Pod QOS Class may not change as a result',
                "spec.resources: Forbidden: pod-level resources cannot be removed",
            ],
        ),
    ],
)
def test_a_pod_that_is_resized_stays_the_same_otherwise(
    new: Obj, old: Obj, errors: list[str]
) -> None:
    found = resized(new, old)
    assert len(found) >= len(errors)
    for text, beginning in zip(found, errors, strict=False):
        assert text.startswith(beginning)


def reported(status: dict[str, Any], old: Obj | None = None) -> list[str]:
    old = old or pod()
    new = freeze(prepare_status_update(freeze({**old, "status": status}), old))
    return [str(error) for error in validate_status_update(new, old)]


def ended(key: str, code: int = 1) -> dict[str, Any]:
    return {key: [{"name": "c", "state": {"terminated": {"exitCode": code}}}]}


def running(key: str) -> dict[str, Any]:
    return {key: [{"name": "c", "state": {"running": {}}}]}


@pytest.mark.parametrize(
    ("policy", "code", "count"), [("Always", 1, 0), ("OnFailure", 1, 0), ("OnFailure", 0, 1),
                                  ("Never", 1, 1)]
)  # fmt: skip
def test_only_pods_that_restart_rise_again(policy: str, code: int, count: int) -> None:
    for key in ("containerStatuses", "initContainerStatuses"):
        old = pod({"restartPolicy": policy}, status=ended(key, code))
        errors = reported(running(key), old)
        assert errors == [
            f"status.{key}[0].state: Forbidden: may not be transitioned to non-terminated state"
        ] * count  # fmt: skip


def test_a_debugger_never_rises_again_but_a_sidecar_does() -> None:
    key = "ephemeralContainerStatuses"
    assert len(reported(running(key), pod(status=ended(key)))) == 1
    key = "initContainerStatuses"
    sidecar = {"name": "c", "image": "i", "restartPolicy": "Always"}
    spec = {"restartPolicy": "Never", "initContainers": [sidecar], "containers": []}
    assert reported(running(key), pod(spec, status=ended(key))) == []


@pytest.mark.parametrize(
    ("status", "errors"),
    [
        (
            {"conditions": [{"type": "a b"}, {"type": "Ready"}]},
            ['metadata.conditions[0].Type: Invalid value: "a b"'],
        ),
        ({"nominatedNodeName": "A_"}, ['status.nominatedNodeName: Invalid value: "A_"']),
        ({"qosClass": "Guaranteed"}, ['status.qosClass: Invalid value: "Guaranteed": field is im']),
        ({"podIPs": [{"ip": "bad"}]}, ['status.podIPs[0]: Invalid value: "bad": must be a valid']),
        (
            {"podIPs": [{"ip": "1.2.3.4"}, {"ip": "1.2.3.4"}]},
            [
                'status.podIPs: Invalid value: [{"IP":"1.2.3.4"},{"IP":"1.2.3.4"}]: may specify no',
                'status.podIPs[1]: Duplicate value: {"IP":"1.2.3.4"}',
            ],
        ),
        (
            {"hostIP": "1.2.3.4", "hostIPs": [{"ip": "1.2.3.5"}]},
            ['status.hostIPs[0].ip: Invalid value: "1.2.3.5": must be equal to `hostIP`'],
        ),
        (
            {"resourceClaimStatuses": [{"name": "x", "resourceClaimName": "A_"}]},
            [
                'status.resourceClaimStatuses[0].name: Invalid value: "x": must match the name',
                'status.resourceClaimStatuses[0].name: Invalid value: "A_": a lowercase RFC 1123',
            ],
        ),
        (
            {
                "containerStatuses": [
                    {"name": "c", "user": {"linux": {"uid": -1, "supplementalGroups": [-1]}}}
                ]
            },
            [
                "status.containerStatuses[0].linux.uid: Invalid value: -1",
                "status.containerStatuses[0].linux.supplementalGroups[0]: Invalid value: -1",
            ],
        ),
        (
            {
                "containerStatuses": [
                    {
                        "name": "c",
                        "allocatedResourcesStatus": [
                            {
                                "name": "a.b/c",
                                "resources": [
                                    {"resourceID": "1", "health": "Odd"},
                                    {"resourceID": "1", "health": "Healthy"},
                                ],
                            },
                            {"name": "claim:x/y"},
                        ],
                    }
                ]
            },
            [
                "status.containerStatuses[0].allocatedResourcesStatus[0].name: Invalid value",
                "status.containerStatuses[0].allocatedResourcesStatus[0].resources[0].health: Uns",
                "status.containerStatuses[0].allocatedResourcesStatus[0].resources[1].resourceID:",
                "status.containerStatuses[0].allocatedResourcesStatus[1].name: Invalid value: ",
            ],
        ),
    ],
)  # fmt: skip
def test_a_bad_report_is_refused(status: dict[str, Any], errors: list[str]) -> None:
    found = reported(status)
    assert len(found) == len(errors)
    for text, beginning in zip(found, errors, strict=True):
        assert text.startswith(beginning)

"""What a pod becomes before it is checked, on each of its endpoints."""

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
from tests.frozen import freeze

CONTAINER = {"name": "c", "image": "i"}


def pod(spec: dict[str, Any] | None = None, **more: Any) -> Any:
    whole = {"containers": [CONTAINER], **(spec or {})}
    metadata = {"name": "p", "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"a": "b"}}
    return freeze({"metadata": metadata, "spec": whole, **more})


def test_a_new_pod_waits_in_its_first_generation() -> None:
    made = prepare_for_create(pod(status={"phase": "Running"}))
    assert made["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
    assert made["metadata"]["generation"] == 1


@pytest.mark.parametrize(
    ("resources", "quality"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}, "Burstable"),
        ({k: {"cpu": "1", "memory": "1Gi"} for k in ("limits", "requests")}, "Guaranteed"),
        (
            {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Mi"}},
            "Burstable",
        ),
    ],
)
def test_the_quality_of_service_follows_from_requests_and_limits(
    resources: dict[str, Any], quality: str
) -> None:
    made = prepare_for_create(pod({"containers": [{**CONTAINER, "resources": resources}]}))
    assert made["status"]["qosClass"] == quality


def test_a_gate_is_told_as_a_condition() -> None:
    made = prepare_for_create(pod({"schedulingGates": [{"name": "g"}]}))
    (condition,) = made["status"]["conditions"]
    assert (condition["type"], condition["reason"]) == ("PodScheduled", "SchedulingGated")


def test_label_keys_of_a_term_become_a_part_of_its_selector() -> None:
    term = {
        "topologyKey": "zone",
        "labelSelector": {"matchLabels": {"x": "y"}},
        "matchLabelKeys": ["a", "absent"],
        "mismatchLabelKeys": ["a"],
    }
    affinity = {
        "podAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [term],
            "preferredDuringSchedulingIgnoredDuringExecution": [{"podAffinityTerm": term}],
        }
    }
    spread = {**term, "maxSkew": 1}
    del spread["mismatchLabelKeys"]
    made = prepare_for_create(pod({"affinity": affinity, "topologySpreadConstraints": [spread]}))
    wanted = {"key": "a", "operator": "In", "values": ["b"]}
    other = {"key": "a", "operator": "NotIn", "values": ["b"]}
    terms = made["spec"]["affinity"]["podAffinity"]
    required, preferred = terms.values()
    for changed in (required[0], preferred[0]["podAffinityTerm"]):
        assert changed["labelSelector"]["matchExpressions"] == [wanted, other]
    (constraint,) = made["spec"]["topologySpreadConstraints"]
    assert constraint["labelSelector"]["matchExpressions"] == [wanted]


def test_an_update_keeps_the_status_and_counts_changes_of_the_spec() -> None:
    old = pod(status={"phase": "Running"})
    assert prepare_for_update(pod(status={"phase": "Failed"}), old) == old
    changed = prepare_for_update(pod({"activeDeadlineSeconds": 5}), old)
    assert changed["metadata"]["generation"] == 1
    assert changed["status"] == {"phase": "Running"}


def test_a_status_update_keeps_the_spec_and_what_the_writer_does_not_know() -> None:
    condition = {"type": "Ready", "status": "False"}
    old = pod(
        status={
            "phase": "Pending",
            "qosClass": "Burstable",
            "observedGeneration": 3,
            "conditions": [{**condition, "observedGeneration": 3}],
        }
    )
    new = pod({"nodeName": "other"}, status={"phase": "Running", "conditions": [condition]})
    made = prepare_status_update(new, old)
    assert made["spec"] == old["spec"]
    assert made["status"] == {
        "phase": "Running",
        "qosClass": "Burstable",
        "observedGeneration": 3,
        "conditions": [{**condition, "observedGeneration": 3}],
    }


def test_the_endpoint_of_ephemeral_containers_changes_nothing_else() -> None:
    debugger = {"name": "d", "image": "i"}
    new = pod({"nodeName": "x", "ephemeralContainers": [debugger]}, status={"phase": "Failed"})
    made = prepare_ephemeral_update(new, pod())
    assert made["spec"] == {"containers": [CONTAINER], "ephemeralContainers": [debugger]}
    assert "status" not in made


def test_the_endpoint_for_resizing_changes_resources_alone() -> None:
    more = {"requests": {"cpu": "2"}}
    wanted = [{**CONTAINER, "image": "other", "resources": more}]
    made = prepare_resize(pod({"containers": wanted, "nodeName": "x", "resources": more}), pod())
    assert made["spec"] == {"containers": [{**CONTAINER, "resources": more}], "resources": more}


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        ({"podIP": "1.2.3.4"}, {"podIP": "1.2.3.4", "podIPs": [{"ip": "1.2.3.4"}]}),
        ({"podIPs": [{"ip": "1.2.3.4"}]}, {"podIP": "1.2.3.4", "podIPs": [{"ip": "1.2.3.4"}]}),
        (
            {"podIP": "1.2.3.4", "podIPs": [{"ip": "5.6.7.8"}]},
            {"podIP": "1.2.3.4", "podIPs": [{"ip": "1.2.3.4"}]},
        ),
    ],
)
def test_the_address_and_the_first_of_the_addresses_are_one(
    status: dict[str, Any], wanted: dict[str, Any]
) -> None:
    made = PODS.default(pod(status=status))
    assert {key: made["status"][key] for key in ("podIP", "podIPs")} == wanted
    selected = PODS.selected(made)
    assert selected["status.podIP"] == selected["status.podIPs"] == wanted["podIP"]

"""What objects use of quotas, and which scopes they are in."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api import quantity
from minikube_py.api.core.quota import Change, added, amounts, growth, texts, used_by
from minikube_py.api.core.quota_kinds import evaluator_of
from minikube_py.api.core.quota_pods import complaint, in_scope
from tests.frozen import freeze

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def pod(*containers: Any, **spec: Any) -> dict[str, Any]:
    status = spec.pop("status", {})
    spec = {"containers": list(containers) or [sized()], **spec}
    return {"metadata": {"name": "p", "namespace": "a"}, "spec": spec, "status": status}


def sized(requests: Any = None, limits: Any = None, name: str = "c", **more: Any) -> dict[str, Any]:
    return {"name": name, "resources": {"requests": requests, "limits": limits}, **more}


def usage(kind: str, obj: dict[str, Any]) -> dict[str, str]:
    return texts(evaluator_of(kind).usage(freeze(obj), NOW))


def test_a_pod_counts_with_its_requests_and_limits() -> None:
    used = usage(
        "pods",
        pod(
            sized({"cpu": "100m", "memory": "1Gi", "hugepages-2Mi": "4Mi"}, {"cpu": "1"}),
            sized({"cpu": "200m", "example.com/gpu": "2"}, {"memory": "2Gi"}),
        ),
    )
    assert used == {
        "count/pods": "1",
        "pods": "1",
        "cpu": "300m",
        "requests.cpu": "300m",
        "limits.cpu": "1",
        "memory": "1Gi",
        "requests.memory": "1Gi",
        "limits.memory": "2Gi",
        "hugepages-2Mi": "4Mi",
        "requests.hugepages-2Mi": "4Mi",
        "requests.example.com/gpu": "2",
    }


def test_init_containers_count_where_they_need_more_and_sidecars_beside_all() -> None:
    init = [
        sized({"cpu": "1"}, name="sidecar", restartPolicy="Always"),
        sized({"cpu": "5"}, name="init"),
    ]
    used = usage("pods", pod(sized({"cpu": "2"}), initContainers=init))
    assert used["requests.cpu"] == "6"
    used = usage("pods", pod(sized({"cpu": "9"}), initContainers=init))
    assert used["requests.cpu"] == "10"


def test_what_stands_at_pod_level_goes_before_and_overhead_comes_on_top() -> None:
    used = usage(
        "pods",
        pod(
            sized({"cpu": "1", "memory": "1Gi"}, {"cpu": "1"}),
            resources={"requests": {"cpu": "3"}},
            overhead={"cpu": "500m", "memory": "64Mi"},
        ),
    )
    assert (used["requests.cpu"], used["requests.memory"]) == ("3500m", "1088Mi")
    assert used["limits.cpu"] == "1500m"
    assert "limits.memory" not in used


@pytest.mark.parametrize(
    ("conditions", "cpu"),
    [
        ([], "4"),
        ([{"type": "PodResizePending", "status": "True", "reason": "Infeasible"}], "2"),
    ],
)
def test_a_pod_that_is_being_resized_counts_with_the_higher_amount(
    conditions: Any, cpu: str
) -> None:
    given = {
        "name": "c",
        "resources": {"requests": {"cpu": "2"}},
        "allocatedResources": {"cpu": "1"},
    }
    status = {"conditions": conditions, "containerStatuses": [given]}
    assert usage("pods", pod(sized({"cpu": "4"}), status=status))["requests.cpu"] == cpu
    status["conditions"] = []
    assert usage("pods", pod(sized({"cpu": "1"}), status=status))["requests.cpu"] == "2"


@pytest.mark.parametrize(
    ("status", "metadata", "ended"),
    [
        ({"phase": "Succeeded"}, {}, True),
        ({"phase": "Failed"}, {}, True),
        ({"phase": "Running"}, {}, False),
        ({}, {"deletionTimestamp": "2026-01-01T11:59:00Z", "deletionGracePeriodSeconds": 30}, True),
        (
            {},
            {"deletionTimestamp": "2026-01-01T11:59:00Z", "deletionGracePeriodSeconds": 90},
            False,
        ),
    ],
)
def test_a_pod_that_has_ended_is_only_an_object_any_more(
    status: Any, metadata: Any, *, ended: bool
) -> None:
    made = pod(sized({"cpu": "1"}), status=status)
    made["metadata"] |= metadata
    used = usage("pods", made)
    assert used["count/pods"] == "1"
    assert (used == {"count/pods": "1"}) is ended


def test_containers_must_name_what_a_quota_of_cpu_or_memory_counts() -> None:
    made = pod(sized({"cpu": "1"}), sized(name="b"), initContainers=[sized(name="a")])
    names = ("requests.cpu", "limits.memory", "requests.ephemeral-storage", "pods")
    assert complaint(names, made) == (
        "must specify limits.memory for: a,b,c; requests.cpu for: a,b"
    )
    assert complaint(("pods",), made) == ""
    assert complaint(names, pod(sized(), resources={"requests": {"cpu": "1"}})) == ""


TERM = {"topologyKey": "zone", "namespaceSelector": {}}


@pytest.mark.parametrize(
    ("spec", "scopes"),
    [
        ({}, {"NotTerminating", "BestEffort"}),
        ({"activeDeadlineSeconds": 0}, {"Terminating", "BestEffort"}),
        ({"containers": [sized({"cpu": "1"})]}, {"NotTerminating", "NotBestEffort"}),
        ({"priorityClassName": "high"}, {"NotTerminating", "BestEffort", "PriorityClass"}),
        (
            {
                "affinity": {
                    "podAntiAffinity": {
                        "preferredDuringSchedulingIgnoredDuringExecution": [
                            {"weight": 1, "podAffinityTerm": TERM}
                        ]
                    }
                }
            },
            {"NotTerminating", "BestEffort", "CrossNamespacePodAffinity"},
        ),
        (
            {
                "affinity": {
                    "podAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": [
                            {"topologyKey": "zone", "namespaces": ["b"]}
                        ]
                    }
                }
            },
            {"NotTerminating", "BestEffort", "CrossNamespacePodAffinity"},
        ),
    ],
)
def test_a_pod_is_in_the_scopes_that_its_spec_says(spec: Any, scopes: set[str]) -> None:
    known = {
        "Terminating",
        "NotTerminating",
        "BestEffort",
        "NotBestEffort",
        "PriorityClass",
        "CrossNamespacePodAffinity",
        "VolumeAttributesClass",
    }
    made = freeze(pod(**spec))
    found = {s for s in known if in_scope({"scopeName": s, "operator": "Exists"}, made)}
    assert found == scopes


@pytest.mark.parametrize(
    ("operator", "values", "name", "meets"),
    [
        ("In", ["high"], "high", True),
        ("In", ["high"], "low", False),
        ("In", ["high"], "", False),
        ("NotIn", ["high"], "low", True),
        ("NotIn", ["high"], "high", False),
        ("NotIn", ["high"], "", True),
        ("DoesNotExist", [], "", True),
        ("DoesNotExist", [], "high", False),
    ],
)
def test_priority_classes_are_selected_by_name(
    operator: str, values: list[str], name: str, *, meets: bool
) -> None:
    requirement = {"scopeName": "PriorityClass", "operator": operator, "values": values}
    assert in_scope(requirement, pod(priorityClassName=name)) is meets


def claim(**spec: Any) -> dict[str, Any]:
    spec = {"resources": {"requests": {"storage": "10Gi"}}, **spec}
    return {"metadata": {"name": "c"}, "spec": spec}


def test_a_claim_counts_by_itself_and_for_its_class() -> None:
    suffix = "gold.storageclass.storage.k8s.io"
    assert usage("persistentvolumeclaims", claim(storageClassName="gold")) == {
        "count/persistentvolumeclaims": "1",
        "persistentvolumeclaims": "1",
        "requests.storage": "10Gi",
        f"{suffix}/persistentvolumeclaims": "1",
        f"{suffix}/requests.storage": "10Gi",
    }
    grown = {**claim(), "status": {"allocatedResources": {"storage": "20Gi"}}}
    assert usage("persistentvolumeclaims", grown)["requests.storage"] == "20Gi"
    broken = claim(resources={"requests": {"storage": "1500m"}})
    assert usage("persistentvolumeclaims", broken)["requests.storage"] == "2"


def test_claims_are_in_the_scope_of_their_attributes_class() -> None:
    evaluator = evaluator_of("persistentvolumeclaims")
    moving = {
        **claim(volumeAttributesClassName="new"),
        "status": {"currentVolumeAttributesClassName": "old"},
    }
    for values, meets in ((["new"], True), (["old"], True), (["other"], False)):
        requirement = {"scopeName": "VolumeAttributesClass", "operator": "In", "values": values}
        assert evaluator.in_scope(requirement, moving) is meets
    exists = {"scopeName": "VolumeAttributesClass", "operator": "Exists"}
    assert not evaluator.in_scope(exists, claim())
    assert not evaluator.in_scope({"scopeName": "BestEffort", "operator": "Exists"}, moving)


@pytest.mark.parametrize(
    ("spec", "node_ports", "balancers"),
    [
        ({}, "0", "0"),
        ({"type": "NodePort"}, "2", "0"),
        ({"type": "LoadBalancer"}, "2", "1"),
        ({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False}, "1", "1"),
        ({"type": "ExternalName"}, "0", "0"),
    ],
)
def test_services_count_node_ports_and_load_balancers(
    spec: Any, node_ports: str, balancers: str
) -> None:
    ports = [{"port": 80, "nodePort": 30080}, {"port": 443}]
    used = usage("services", {"metadata": {"name": "s"}, "spec": {**spec, "ports": ports}})
    assert used == {
        "count/services": "1",
        "services": "1",
        "services.nodeports": node_ports,
        "services.loadbalancers": balancers,
    }


def test_resource_claims_count_the_devices_that_they_may_get() -> None:
    requests = [
        {
            "name": "a",
            "exactly": {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 2},
        },
        {"name": "b", "exactly": {"deviceClassName": "gpu", "allocationMode": "All"}},
        {
            "name": "c",
            "firstAvailable": [
                {"name": "x", "deviceClassName": "gpu", "count": 3},
                {"name": "y", "deviceClassName": "gpu", "count": 1},
                {"name": "z", "deviceClassName": "nic", "count": 1},
            ],
        },
    ]
    used = usage(
        "resourceclaims.resource.k8s.io",
        {"metadata": {"name": "r"}, "spec": {"devices": {"requests": requests}}},
    )
    assert used == {
        "count/resourceclaims.resource.k8s.io": "1",
        "gpu.deviceclass.resource.k8s.io/devices": "37",
        "nic.deviceclass.resource.k8s.io/devices": "1",
    }


@pytest.mark.parametrize(
    ("kind", "used"),
    [
        ("configmaps", {"count/configmaps": "1", "configmaps": "1"}),
        ("deployments.apps", {"count/deployments.apps": "1"}),
        ("widgets.example.com", {"count/widgets.example.com": "1"}),
    ],
)
def test_other_kinds_are_counted_by_name(kind: str, used: dict[str, str]) -> None:
    assert usage(kind, {"metadata": {"name": "x"}}) == used
    assert set(evaluator_of(kind).names([*used, "pods", "count/other"])) == set(used)


@pytest.mark.parametrize(
    ("kind", "change", "handled"),
    [
        ("configmaps", {"operation": "CREATE"}, True),
        ("configmaps", {"operation": "UPDATE", "old": {}}, False),
        ("pods", {"operation": "UPDATE", "old": pod()}, False),
        ("pods", {"operation": "UPDATE", "old": pod(), "subresource": "resize"}, True),
        ("pods", {"operation": "UPDATE", "old": pod(activeDeadlineSeconds=1)}, True),
        ("pods", {"operation": "UPDATE", "old": pod(), "subresource": "status"}, False),
        ("services", {"operation": "UPDATE", "old": {}}, True),
        ("persistentvolumeclaims", {"operation": "UPDATE", "subresource": "status"}, True),
    ],
)
def test_writes_that_change_no_use_are_not_counted(
    kind: str, change: Any, *, handled: bool
) -> None:
    assert evaluator_of(kind).handles(Change(new=pod(), **change)) is handled


def test_a_quota_with_scopes_counts_what_is_in_all_of_them() -> None:
    quota = {
        "spec": {
            "hard": {"pods": "5", "secrets": "1"},
            "scopes": ["NotTerminating"],
            "scopeSelector": {
                "matchExpressions": [
                    {"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}
                ]
            },
        }
    }
    pods = [
        pod(priorityClassName="high"),
        pod(priorityClassName="high", activeDeadlineSeconds=5),
        pod(),
    ]
    assert texts(used_by(evaluator_of("pods"), quota, pods, NOW)) == {"pods": "1"}


LISTS = st.dictionaries(
    st.sampled_from(["cpu", "memory", "pods"]),
    st.integers(0, 10**6).map(lambda number: f"{number}m"),
)


@given(LISTS, LISTS)
def test_what_an_update_adds_brings_the_old_use_to_the_new_one_or_beyond(
    new: dict[str, str], old: dict[str, str]
) -> None:
    after, before = amounts(new), amounts(old)
    total = added(before, growth(after, before))
    zero = quantity.parse("0")
    for name in total:
        assert total[name] == max(after.get(name, zero), before.get(name, zero))

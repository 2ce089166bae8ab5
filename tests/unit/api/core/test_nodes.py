"""Nodes and namespaces."""

from typing import Any

import pytest

from minikube_py.api.core import NODES
from minikube_py.api.core.node import cells, default, roles_of, validate_update
from minikube_py.api.object import Obj
from minikube_py.api.resource import Age
from tests.frozen import freeze

NOW = "2026-01-01T00:00:00Z"
TAINT = {"key": "a", "effect": "NoSchedule"}


def node(status: dict[str, Any] | None = None, **spec: Any) -> Obj:
    metadata = {"name": "n", "creationTimestamp": NOW}
    return default(freeze({"metadata": metadata, "spec": spec, "status": status or {}}))


def refused(new: Obj, old: Obj | None = None) -> list[str]:
    return [str(error) for error in NODES.validate(new, old)]


@pytest.mark.parametrize(
    "spec",
    [
        {"podCIDR": "10.0.0.0/24"},
        {"podCIDRs": ["10.0.0.0/24"]},
        {"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.9.0.0/24"]},
    ],
)
def test_the_range_and_the_first_of_the_ranges_are_one(spec: dict[str, Any]) -> None:
    made = node(**spec)["spec"]
    assert made == {"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.0.0/24"]}


def test_all_that_a_node_has_can_be_used_where_it_does_not_say_less() -> None:
    assert node({"capacity": {"cpu": "2"}})["status"]["allocatable"] == {"cpu": "2"}


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ({"podCIDRs": ["bad"]}, 'spec.podCIDRs[0]: Invalid value: "bad": must be a valid CIDR'),
        (
            {"podCIDRs": ["10.0.0.0/24", "10.1.0.0/24"]},
            'spec.podCIDRs: Invalid value: ["10.0.0.0/24","10.1.0.0/24"]: may specify no more',
        ),
        (
            {"taints": [TAINT, TAINT]},
            'metadata.taints[1]: Duplicate value: {"Key":"a","Value":"","Effect":"NoSchedule","T',
        ),
        ({"taints": [{"key": "a"}]}, "metadata.taints[0].effect: Required value"),
        (
            {"taints": [{"key": "a", "effect": "Odd"}]},
            'metadata.taints[0].effect: Unsupported value: "Odd"',
        ),
        (
            {"taints": [{**TAINT, "value": "a b"}]},
            'metadata.taints[0].value: Invalid value: "a b": a valid label must be',
        ),
    ],
)
def test_a_bad_node_is_refused(spec: dict[str, Any], error: str) -> None:
    (found,) = refused(node(**spec))
    assert found.startswith(error)


def test_amounts_are_whole_and_not_negative() -> None:
    amounts = {"pods": "1500m", "cpu": "-1", "memory": "1Gi"}
    found = refused(node({"capacity": amounts, "allocatable": {}}))
    assert [text.partition(":")[0] for text in found] == [
        "status.capacity.pods",
        "status.capacity.cpu",
    ]


def test_two_ranges_of_two_families_are_fine() -> None:
    assert refused(node(podCIDRs=["10.0.0.0/24", "fd00::/64"])) == []


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ({"podCIDR": "10.0.0.0/24"}, {"podCIDR": "10.1.0.0/24"}, "spec.podCIDRs"),
        ({"podCIDR": "10.0.0.0/24"}, {}, "spec.podCIDRs"),
        ({"providerID": "a"}, {"providerID": "b"}, "spec.providerID"),
        ({"externalID": "a"}, {}, "spec.externalID"),
    ],
)
def test_what_was_given_to_a_node_stays(
    old: dict[str, Any], new: dict[str, Any], field: str
) -> None:
    (error,) = NODES.validate(node(**new), node(**old))
    assert (error.reason, error.field) == ("FieldValueForbidden", field)
    assert refused(node(**old), node(**old)) == []


def test_a_node_has_each_address_once() -> None:
    address = {"type": "InternalIP", "address": "10.0.0.1"}
    new = node({"addresses": [address, address]})
    assert [str(error) for error in validate_update(new, node())] == [
        'status.addresses[1]: Duplicate value: {"Type":"InternalIP","Address":"10.0.0.1"}'
    ]


def test_features_of_a_node_are_names_in_order() -> None:
    features = ["Beta", "Alpha/sub", "Alpha/sub", "odd name"]
    found = [error.text for error in NODES.validate(node({"declaredFeatures": features}), None)]
    assert [text.partition(":")[0] for text in found] == [
        "Invalid value",
        "Duplicate value",
        "Invalid value",
    ]
    assert found[0].endswith("list must be sorted alphabetically")


def test_roles_come_from_two_kinds_of_labels() -> None:
    labels = {
        "node-role.kubernetes.io/worker": "",
        "node-role.kubernetes.io/": "",
        "kubernetes.io/role": "edge",
    }
    assert roles_of({"metadata": {"labels": labels}}) == ["edge", "worker"]


@pytest.mark.parametrize(
    ("conditions", "spec", "word"),
    [
        ([], {}, "Unknown"),
        ([{"type": "Ready", "status": "True"}], {}, "Ready"),
        ([{"type": "Ready", "status": "Unknown"}], {}, "NotReady"),
        (
            [{"type": "Ready", "status": "True"}],
            {"unschedulable": True},
            "Ready,SchedulingDisabled",
        ),
    ],
)
def test_the_status_of_a_node_is_its_readiness(
    conditions: list[Any], spec: dict[str, Any], word: str
) -> None:
    assert cells(node({"conditions": conditions}, **spec))[1] == word


def test_a_row_shows_addresses_and_versions() -> None:
    status = {
        "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
        "nodeInfo": {
            "kubeletVersion": "v1.36.0",
            "osImage": "Linux",
            "kernelVersion": "6.1",
            "architecture": "amd64",
            "containerRuntimeVersion": "r://1",
        },
    }
    assert cells(node(status))[2:] == (
        *("<none>", Age(NOW), "v1.36.0", "10.0.0.1", "<none>"),
        *("Linux", "6.1 (amd64)", "r://1"),
    )
    assert cells(node())[7:] == ("<unknown>",) * 3

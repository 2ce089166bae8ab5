"""Kinds of which the conformance suite asks that every operation works."""

from collections.abc import Callable
from typing import Any

import pytest

from minikube_py.api.object import evolve
from tests.integration.conformance.api import Api, Watcher
from tests.integration.conformance.kinds import (
    DEVICES,
    MACHINERY,
    NETWORK,
    NODES,
    OTHERS,
    STORED,
    WORKLOADS,
    Kind,
)
from tests.integration.conftest import Answer
from tests.integration.patience import eventually

VERBS = {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}
SELECTION = "e2e=yes"


def each(*kinds: Kind) -> Callable[[Any], Any]:
    return pytest.mark.parametrize("kind", kinds, ids=lambda kind: kind.plural)


@pytest.mark.conformance(
    "API priority and fairness should support FlowSchema API operations",
    "API priority and fairness should support PriorityLevelConfiguration API operations",
    "ValidatingAdmissionPolicy should support ValidatingAdmissionPolicy API operations",
    "ValidatingAdmissionPolicy should support ValidatingAdmissionPolicyBinding API operations",
    "MutatingAdmissionPolicy should support MutatingAdmissionPolicy API operations",
    "MutatingAdmissionPolicy should support MutatingAdmissionPolicyBinding API operations",
)
@each(*MACHINERY)
async def test_a_kind_of_the_api_supports_all_operations(api: Api, space: str, kind: Kind) -> None:
    await operate(api, kind)


@pytest.mark.conformance(
    "ControllerRevision should manage the lifecycle of a ControllerRevision",
    "CronJob should support CronJob API operations",
    "Daemon set should list and delete a collection of DaemonSets",
    "Daemon set should verify changes to a daemon set status",
    "Deployment should validate Deployment Status endpoints",
    "DisruptionController Listing PodDisruptionBudgets for all namespaces should list and...",
    "DisruptionController should update/patch PodDisruptionBudget status",
    "Job should apply changes to a job status",
    "ReplicaSet should list and delete a collection of ReplicaSets",
    "ReplicaSet should validate Replicaset Status endpoints",
    "StatefulSet Basic StatefulSet functionality should list, patch and delete a...",
    "StatefulSet Basic StatefulSet functionality should validate Statefulset Status...",
)
@each(*WORKLOADS)
async def test_a_kind_of_workload_supports_all_operations(api: Api, space: str, kind: Kind) -> None:
    await operate(api, kind)


@pytest.mark.conformance(
    "EndpointSlice should support creating EndpointSlice API operations",
    "Endpoints should test the lifecycle of an Endpoint",
    "Ingress API should support creating Ingress API operations",
    "IngressClass API should support creating IngressClass API operations",
    "ServiceCIDR and IPAddress API should support IPAddress API operations",
    "ServiceCIDR and IPAddress API should support ServiceCIDR API operations",
    "Services should complete a service status lifecycle",
    "Services should delete a collection of services",
    "Services should find a service from listing all namespaces",
)
@each(*NETWORK)
async def test_a_kind_of_the_network_supports_all_operations(
    api: Api, space: str, kind: Kind
) -> None:
    await operate(api, kind)


@pytest.mark.conformance(
    "ConfigMap should run through a ConfigMap lifecycle",
    "Lease lease API should be available",
    "Node Lifecycle should run through the lifecycle of a node",
    "PodTemplates should delete a collection of pod templates",
    "PodTemplates should run the lifecycle of PodTemplates",
    "Pods should delete a collection of pods",
    "Pods should patch a pod status",
    "RuntimeClass should support RuntimeClasses API operations",
    "SchedulerPreemption PriorityClass endpoints verify PriorityClass endpoints can be...",
    "Secrets should patch a secret",
)
@each(*NODES)
async def test_a_kind_about_nodes_supports_all_operations(api: Api, space: str, kind: Kind) -> None:
    await operate(api, kind)


@pytest.mark.conformance(
    "CSIInlineVolumes should run through the lifecycle of a CSIDriver",
    "CSINodes CSI Conformance should run through the lifecycle of a csinode",
    "CSIStorageCapacity should support CSIStorageCapacities API operations",
    "StorageClasses CSI Conformance should run through the lifecycle of a StorageClass",
    "VolumeAttachment Conformance should apply changes to a volumeattachment status",
    "VolumeAttachment Conformance should run through the lifecycle of a VolumeAttachment",
    "VolumeAttributesClass should run through the lifecycle of a VolumeAttributesClass",
)
@each(*STORED)
async def test_a_kind_of_storage_supports_all_operations(api: Api, space: str, kind: Kind) -> None:
    await operate(api, kind)


@pytest.mark.conformance(
    "CRUD Tests resource.k8s.io/v1 DeviceClass",
    "CRUD Tests resource.k8s.io/v1 ResourceClaim",
    "CRUD Tests resource.k8s.io/v1 ResourceClaimTemplate",
    "CRUD Tests resource.k8s.io/v1 ResourceSlice",
)
@each(*DEVICES)
async def test_a_kind_of_devices_supports_all_operations(api: Api, space: str, kind: Kind) -> None:
    await operate(api, kind)


@each(*OTHERS)
async def test_any_other_kind_supports_all_operations(api: Api, space: str, kind: Kind) -> None:
    await operate(api, kind)


async def operate(api: Api, kind: Kind) -> None:
    """Do with a kind all that can be done, and watch."""
    await discovered(api, kind)
    listing = f"{kind.path}?labelSelector={SELECTION}"
    everywhere = f"{kind.group}/{kind.plural}?labelSelector={SELECTION}"
    first = kind.names[0]
    one = f"{kind.path}/{first}"
    async with api.watch(kind.path, labelSelector=SELECTION) as watcher:
        for name in kind.names:
            metadata = {"name": name, "labels": {"e2e": "yes"}}
            await api.create(kind.path, {**kind.body, "metadata": metadata})
        await until(watcher, "ADDED", *kind.names)
        assert await api.names(listing) == await api.names(everywhere) == list(kind.names)

        patched = await api.patch(one, {"metadata": {"annotations": {"patched": "1"}}})
        assert patched["metadata"]["annotations"]["patched"] == "1"
        await until(watcher, "MODIFIED", first)
        assert holds(await api.patch(one, kind.change), kind.change)
        updated = await updated_with(api, one, {"updated": "1"})
        assert holds(updated, kind.change)
        assert holds(updated["metadata"]["annotations"], {"patched": "1", "updated": "1"})
        assert holds(await api.get(one), kind.change)
        if kind.status:
            await write_status(api, one, kind.status)
        await api.delete(one)
        await until(watcher, "DELETED", first)
    await api.until_gone(one)
    await api.delete(listing)
    await api.until(listing, lambda found: found["items"] == [])


async def discovered(api: Api, kind: Kind) -> None:
    """Check that discovery tells of a kind, its verbs and its status."""
    if kind.group != "/api/v1":
        _, _, group, version = kind.group.split("/")
        found = {g["name"]: g["versions"] for g in (await api.get("/apis"))["groups"]}
        assert {"groupVersion": f"{group}/{version}", "version": version} in found[group]
    shown = (await api.get(kind.group))["resources"]
    resources = {resource["name"]: resource["verbs"] for resource in shown}
    assert set(resources[kind.plural]) == VERBS
    if kind.status:
        assert set(resources[f"{kind.plural}/status"]) == {"get", "patch", "update"}


def holds(found: Any, wanted: Any) -> bool:
    """Tell whether all that is wanted is there; lists are equal in length."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(holds(found.get(k), v) for k, v in wanted.items())
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(holds, found, wanted))
    return bool(found == wanted)


async def until(watcher: Watcher, kind: str, *names: str) -> None:
    """Wait for events; a controller may write the status in between."""
    waiting = set(names)
    while waiting:
        event = await watcher.next()
        if event.type == kind:
            waiting.discard(event.object["metadata"]["name"])
        else:
            assert event.type == "MODIFIED"


async def updated_with(api: Api, path: str, annotations: dict[str, str]) -> Any:
    """Replace an object by itself with more annotations; try again where another was faster."""

    async def update() -> Answer:
        found = await api.get(path)
        more = {**found["metadata"]["annotations"], **annotations}
        return await api.call("PUT", path, evolve(found, "metadata.annotations", more))

    answer = await eventually(update, lambda answer: answer.status != 409)
    assert answer.status == 200, answer.raw
    return answer.body


async def write_status(api: Api, one: str, status: dict[str, Any]) -> None:
    patched = await api.patch(f"{one}/status", {"status": status})
    for name, wanted in status.items():
        found = patched["status"][name]
        # Others have conditions of their own.
        assert holds(found[-1:] if name == "conditions" else found, wanted), found
    assert "status" in await api.get(f"{one}/status")

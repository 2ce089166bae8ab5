"""Devices on a real node: of a device plugin, and of a DRA driver; containers see them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.node.machine import wait_until
from tests.node_plugins import (
    CDI_KIND,
    DRIVER,
    RESOURCE,
    DevicePluginDouble,
    DraDriverDouble,
    beside,
    device,
)

pytestmark = pytest.mark.e2e
IMAGE = "kpy.local/busybox:1"
WAIT_SECONDS = 60.0


def kubelet_folder(cluster: Cluster) -> Path:
    return cluster.folder / "n1" / "agent" / "kubelet"


def pod(name: str, script: str, **more: Any) -> dict[str, Any]:
    container = {"name": "c", "image": IMAGE, "command": ["sh", "-c", script], **more}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def amounts(cluster: Cluster) -> tuple[str, str]:
    status = cluster.get("node", "n1")["status"]
    return status["capacity"].get(RESOURCE, ""), status["allocatable"].get(RESOURCE, "")


def until(true: Any, what: str) -> Any:
    return wait_until(true, WAIT_SECONDS, what)


def log_of(cluster: Cluster, namespace: str, name: str) -> str:
    """Return what a pod printed, once it has."""

    def printed() -> str:
        return cluster.run("logs", "-n", namespace, name).stdout

    return str(until(printed, f"pod {name} printed something"))


@pytest.fixture
def plugin(cluster: Cluster) -> Iterator[DevicePluginDouble]:
    """Run a device plugin with three devices, one of them unwell."""
    folder = kubelet_folder(cluster) / "device-plugins"
    made = DevicePluginDouble(folder, [device("a"), device("b"), device("c", healthy=False)])
    made.options = {"pre_start_required": True}
    node = {"container_path": "/dev/widget", "host_path": "/dev/zero", "permissions": "r"}
    made.answer = {"devices": [node], "annotations": {"widgets": "yes"}}
    with beside(made.serving):
        until(lambda: amounts(cluster) == ("3", "2"), "the node has widgets")
        yield made


def test_devices_of_a_plugin_reach_a_container_and_are_counted(
    cluster: Cluster, namespace: str, plugin: DevicePluginDouble
) -> None:
    limits = {"limits": {RESOURCE: "2"}}
    script = "echo $WIDGETS; head -c 3 /dev/widget | od -An -tx1; exec sleep 3600"
    cluster.apply(pod("user", script, resources=limits), namespace=namespace)
    assert log_of(cluster, namespace, "user").split() == ["a,b", "00", "00", "00"]
    assert plugin.calls() == ["Allocate", "PreStartContainer"]

    def health() -> Any:
        [status] = cluster.get("pod", "user", "-n", namespace)["status"]["containerStatuses"]
        return status.get("allocatedResourcesStatus")

    both = [{"resourceID": name, "health": "Healthy"} for name in ("a", "b")]
    until(lambda: health() == [{"name": RESOURCE, "resources": both}], "the devices are well")
    # A second one finds none left, though it comes past the scheduler.
    late = pod("late", "true", resources={"limits": {RESOURCE: "1"}})
    late["spec"]["nodeName"] = "n1"
    cluster.apply(late, namespace=namespace)

    def refused() -> Any:
        status = cluster.get("pod", "late", "-n", namespace)["status"]
        return status if status["phase"] == "Failed" else None

    status = until(refused, "the second pod is refused")
    assert status["reason"] == "UnexpectedAdmissionError"
    assert status["message"] == (
        "Pod was rejected: Allocate failed due to requested number of devices unavailable for"
        f" {RESOURCE}. Requested: 1, Available: 0, which is unexpected"
    )
    kept = kubelet_folder(cluster) / "device-plugins" / "kubelet_internal_checkpoint"
    [entry] = json.loads(kept.read_bytes())["Data"]["PodDeviceEntries"]
    assert (entry["ResourceName"], entry["DeviceIDs"]) == (RESOURCE, {"-1": ["a", "b"]})
    cluster.kubectl("delete", "pod", "user", "-n", namespace)
    until(
        lambda: not json.loads(kept.read_bytes())["Data"]["PodDeviceEntries"],
        "the devices are taken back",
    )


def test_a_node_has_no_devices_of_a_plugin_that_left(cluster: Cluster) -> None:
    folder = kubelet_folder(cluster) / "device-plugins"
    made = DevicePluginDouble(folder, [device("a")])
    with beside(made.serving):
        until(lambda: amounts(cluster) == ("1", "1"), "the node has a widget")
    until(lambda: amounts(cluster)[1] == "0", "the node has none to give")
    with beside(made.serving):
        until(lambda: amounts(cluster) == ("1", "1"), "the node has it again")
    until(lambda: amounts(cluster)[1] == "0", "the node has none to give")


@pytest.fixture
def driver(cluster: Cluster) -> Iterator[DraDriverDouble]:
    """Run a DRA driver, whose CDI specification names a variable and a device node."""
    edits = {
        "env": ["GADGET=one"],
        "deviceNodes": [{"path": "/dev/gadget", "hostPath": "/dev/zero", "permissions": "r"}],
    }
    spec = {
        "cdiVersion": "0.5.0",
        "kind": CDI_KIND,
        "devices": [{"name": "one", "containerEdits": edits}],
    }
    cluster.machine.sh("mkdir", "-p", "/var/run/cdi")
    write = f"echo '{json.dumps(spec)}' > /var/run/cdi/gadget.json"
    cluster.machine.sh("sh", "-c", write)

    def devices(_uid: str) -> list[Any]:
        names = {"pool_name": "n1", "device_name": "one", "request_names": ["r"]}
        return [{**names, "cdi_device_ids": [f"{CDI_KIND}=one"]}]

    folder = kubelet_folder(cluster)
    made = DraDriverDouble(folder / "dra-driver.sock", devices)
    with beside(lambda: made.serving(folder / "plugins_registry")):
        until(lambda: made.registered, "the driver is registered")
        assert made.registered[0] == {"plugin_registered": True}
        yield made
    cluster.machine.sh("rm", "/var/run/cdi/gadget.json")


def claim_objects(namespace: str) -> list[dict[str, Any]]:
    api = "resource.k8s.io/v1"
    slice_spec = {
        "driver": DRIVER,
        "nodeName": "n1",
        "pool": {"name": "n1", "generation": 1, "resourceSliceCount": 1},
        "devices": [{"name": "one"}],
    }
    request = {"name": "r", "exactly": {"deviceClassName": namespace}}
    selector = {"cel": {"expression": f"device.driver == '{DRIVER}'"}}
    return [
        {"apiVersion": api, "kind": "DeviceClass", "metadata": {"name": namespace},
         "spec": {"selectors": [selector]}},
        {"apiVersion": api, "kind": "ResourceSlice", "metadata": {"name": namespace},
         "spec": slice_spec},
        {"apiVersion": api, "kind": "ResourceClaimTemplate", "metadata": {"name": "t"},
         "spec": {"spec": {"devices": {"requests": [request]}}}},
    ]  # fmt: skip


def test_a_claim_is_prepared_by_its_driver_and_given_back(
    cluster: Cluster, namespace: str, driver: DraDriverDouble
) -> None:
    user = pod(
        "user",
        "echo $GADGET; head -c 2 /dev/gadget | od -An -tx1; exec sleep 3600",
        resources={"claims": [{"name": "gadget"}]},
    )
    user["spec"]["resourceClaims"] = [{"name": "gadget", "resourceClaimTemplateName": "t"}]
    try:
        cluster.apply(*claim_objects(namespace), user, namespace=namespace)
        assert log_of(cluster, namespace, "user").split() == ["one", "00", "00"]
        assert driver.calls() == ["NodePrepareResources"]
        kept = kubelet_folder(cluster) / "dra_manager_state"
        assert CDI_KIND in kept.read_text()
        cluster.kubectl("delete", "pod", "user", "-n", namespace)
        both = ["NodePrepareResources", "NodeUnprepareResources"]
        until(lambda: driver.calls() == both, "the claim is given back")
        until(lambda: CDI_KIND not in kept.read_text(), "nothing is kept of the claim")
    finally:
        cluster.kubectl("delete", "deviceclass,resourceslice", namespace)

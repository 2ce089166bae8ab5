"""A CSI driver beside a real node: its volumes reach containers, and are given back."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.csi_driver import NAME, FakeDriver, serving
from tests.e2e.cluster import Cluster
from tests.e2e.node.machine import wait_until

pytestmark = pytest.mark.e2e


@pytest.fixture
def driver(cluster: Cluster) -> Iterator[FakeDriver]:
    """Run a driver in a thread; it makes folders, which need no namespace."""
    registry = cluster.folder / "n1" / "agent" / "kubelet" / "plugins_registry"
    made = FakeDriver(registry.parent / "csi.sock")
    loop, begun = asyncio.new_event_loop(), threading.Event()
    ended = asyncio.Event()

    async def serve() -> None:
        async with serving(made, registry):
            begun.set()
            await ended.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert begun.wait(60)
        wait_until(lambda: made.registered, 20, "the driver is registered")
        yield made
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(60)
        loop.close()


def objects(namespace: str) -> list[dict[str, Any]]:
    asked = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
    driver = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSIDriver",
        "metadata": {"name": NAME},
        "spec": {"attachRequired": False, "fsGroupPolicy": "File"},
    }
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": namespace},
        "spec": {
            **asked,
            "capacity": {"storage": "1Gi"},
            "csi": {"driver": NAME, "volumeHandle": "h"},
            "claimRef": {"namespace": namespace, "name": "data"},
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {**asked, "resources": {"requests": {"storage": "1Gi"}}, "volumeName": namespace},
    }
    container = {
        "name": "c",
        "image": "kpy.local/busybox:1",
        "command": ["sh", "-c", "echo hello > /data/file && exec sleep 3600"],
        "volumeMounts": [{"name": "v", "mountPath": "/data"}],
    }
    spec = {
        "terminationGracePeriodSeconds": 0,
        "securityContext": {"runAsUser": 1000, "fsGroup": 2000},
        "containers": [container],
        "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}],
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "user"}, "spec": spec}
    return [driver, volume, claim, pod]


def test_a_drivers_volume_is_mounted_and_given_back(
    cluster: Cluster, namespace: str, driver: FakeDriver
) -> None:
    drivers = "jsonpath={.spec.drivers[*].name}"
    assert cluster.says(NAME, "get", "csinode", "n1", "-o", drivers) == NAME
    cluster.apply(*objects(namespace), namespace=namespace)
    ready = ("--for=condition=Ready", "--timeout=120s")
    cluster.kubectl("wait", "pod/user", "-n", namespace, *ready)
    target = Path(driver.said("NodePublishVolume")["target_path"])
    wait_until((target / "file").exists, 20, "the pod has written")
    in_use = f"kubernetes.io/csi/{NAME}^h"
    wait_until(
        lambda: cluster.get("node", "n1")["status"].get("volumesInUse") == [in_use],
        20,
        "the node says what it uses",
    )
    (target / "file").unlink()  # the driver removes empty folders only
    cluster.kubectl("delete", "pod", "user", "-n", namespace)
    wait_until(lambda: "NodeUnstageVolume" in driver.verbs(), 30, "the volume is given back")
    assert driver.verbs() == [
        *("NodeStageVolume", "NodePublishVolume"),
        *("NodeUnpublishVolume", "NodeUnstageVolume"),
    ]
    wait_until(
        lambda: "volumesInUse" not in cluster.get("node", "n1")["status"],
        20,
        "the node uses nothing any more",
    )
    cluster.kubectl("delete", "pvc", "data", "-n", namespace)
    cluster.kubectl("delete", "pv", namespace, "--timeout=120s")


def test_a_pod_gets_a_block_device_of_a_driver(
    cluster: Cluster, namespace: str, driver: FakeDriver
) -> None:
    _, volume, claim, pod = objects(namespace)
    source = {
        "driver": NAME,
        "volumeHandle": "block",
        "volumeAttributes": {"device": "1:0"},  # the first RAM disk; nobody opens it
    }
    volume["spec"] |= {"csi": source, "volumeMode": "Block"}
    claim["spec"]["volumeMode"] = "Block"
    container = pod["spec"]["containers"][0]
    del container["volumeMounts"]
    container["volumeDevices"] = [{"name": "v", "devicePath": "/dev/disk"}]
    container["command"] = ["sh", "-c", "test -b /dev/disk && exec sleep 3600"]
    asks = {"attachRequired": False, "tokenRequests": [{"audience": "vault"}]}
    kind = {"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": NAME}}
    cluster.run("delete", "csidriver", NAME)
    cluster.apply({**kind, "spec": asks}, volume, claim, pod, namespace=namespace)
    ready = ("--for=condition=Ready", "--timeout=120s")
    cluster.kubectl("wait", "pod/user", "-n", namespace, *ready)
    said = driver.said("NodePublishVolume")
    assert "block" in said["volume_capability"]
    tokens = json.loads(said["volume_context"]["csi.storage.k8s.io/serviceAccount.tokens"])
    assert tokens["vault"]["token"].count(".") == 2
    device = Path(said["target_path"])
    assert device.is_block_device()
    cluster.kubectl("delete", "pod", "user", "-n", namespace)
    wait_until(lambda: "NodeUnstageVolume" in driver.verbs(), 30, "the volume is given back")
    wait_until(lambda: not device.parent.exists(), 20, "its folder is gone")
    cluster.kubectl("delete", "pvc", "data", "-n", namespace)
    cluster.kubectl("delete", "pv", namespace, "--timeout=120s")
    cluster.kubectl("delete", "csidriver", NAME)

"""Volumes on the node's disk: a stateful set keeps its data, and takes it along when it goes."""

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.node.machine import says, wait_until

pytestmark = pytest.mark.e2e
LABELS = {"app": "store"}
WRITE = "trap exit TERM; echo $(hostname) >> /data/log; sleep 3600 & wait"


def stateful_set() -> dict[str, Any]:
    container = {
        "name": "c",
        "image": "kpy.local/busybox:1",
        "command": ["sh", "-c", WRITE],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }
    pod = {
        "terminationGracePeriodSeconds": 1,
        "securityContext": {"runAsUser": 1000, "fsGroup": 2000},
        "containers": [container],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "store"},
        "spec": {
            "serviceName": "store",
            "selector": {"matchLabels": LABELS},
            "template": {"metadata": {"labels": LABELS}, "spec": pod},
            "volumeClaimTemplates": [claim],
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"},
        },
    }


def claim(name: str, size: str) -> dict[str, Any]:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    metadata = {"name": name}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def pod(name: str, claim_name: str) -> dict[str, Any]:
    container = {"name": "c", "image": "kpy.local/busybox:1", "command": ["sleep", "3600"]}
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": claim_name}}]
    spec = {"containers": [container], "volumes": volumes}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def lines(cluster: Cluster, namespace: str) -> list[str]:
    shown = cluster.run("exec", "store-0", "-n", namespace, "--", "cat", "/data/log")
    return shown.stdout.split()


def rolled_out(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("rollout", "status", "statefulset/store", "-n", namespace, "--timeout=120s")


def test_a_stateful_set_keeps_its_data_until_it_is_deleted(
    cluster: Cluster, namespace: str
) -> None:
    cluster.apply(stateful_set(), namespace=namespace)
    rolled_out(cluster, namespace)
    wait_until(lambda: lines(cluster, namespace) == ["store-0"], 20, "the first pod wrote")
    [bound] = cluster.get("pvc", "-n", namespace)["items"]
    assert bound["status"]["phase"] == "Bound"
    volume = cluster.get("pv", bound["spec"]["volumeName"])
    folder = Path(volume["spec"]["local"]["path"])
    assert (folder / "log").read_text() == "store-0\n"

    cluster.kubectl("delete", "pod", "store-0", "-n", namespace)
    rolled_out(cluster, namespace)
    wait_until(lambda: lines(cluster, namespace) == ["store-0"] * 2, 20, "the second pod wrote")

    cluster.server.stop()
    cluster.start()
    cluster.kubectl("delete", "pod", "store-0", "-n", namespace)
    rolled_out(cluster, namespace)
    wait_until(lambda: lines(cluster, namespace) == ["store-0"] * 3, 20, "the third pod wrote")

    cluster.kubectl("delete", "statefulset", "store", "-n", namespace)
    wait_until(lambda: not folder.exists(), 30, "the data is gone")
    name = volume["metadata"]["name"]
    cluster.kubectl("wait", "--for=delete", f"pv/{name}", "--timeout=120s")


def test_a_claim_that_no_disk_can_meet_says_so(cluster: Cluster, namespace: str) -> None:
    cluster.apply(claim("huge", "1000Ti"), pod("huge", "huge"), namespace=namespace)

    def message() -> str:
        found = cluster.get("pod", "huge", "-n", namespace)
        conditions = found["status"].get("conditions", ())
        return "".join(c.get("message", "") for c in conditions if c["type"] == "PodScheduled")

    wait_until(lambda: "did not have enough free storage" in message(), 20, "the scheduler says so")
    cluster.says("WaitFor", "describe", "pvc", "huge", "-n", namespace)


def test_a_volume_that_a_pod_brings_goes_with_it(cluster: Cluster, namespace: str) -> None:
    made = pod("scratch", "")
    template = {"spec": claim("", "1Mi")["spec"]}
    volume = {"name": "data", "ephemeral": {"volumeClaimTemplate": template}}
    mounts = [{"name": "data", "mountPath": "/data"}]
    command = ["sh", "-c", "echo written > /data/file; exec sleep 3600"]
    container = {**made["spec"]["containers"][0], "volumeMounts": mounts, "command": command}
    spec = {"terminationGracePeriodSeconds": 0, "volumes": [volume], "containers": [container]}
    cluster.apply({**made, "spec": spec}, namespace=namespace)
    ready = ("--for=condition=Ready", "--timeout=120s")
    cluster.kubectl("wait", "pod/scratch", "-n", namespace, *ready)
    bound = cluster.get("pvc", "scratch-data", "-n", namespace)
    path = cluster.get("pv", bound["spec"]["volumeName"])["spec"]["local"]["path"]
    wait_until(Path(path, "file").exists, 20, "the pod has written")
    cluster.kubectl("delete", "pod", "scratch", "-n", namespace)
    wait_until(lambda: not Path(path).exists(), 30, "the data is gone")


def test_tables_show_volumes_claims_and_classes(cluster: Cluster, namespace: str) -> None:
    cluster.apply(claim("small", "1Mi"), pod("small", "small"), namespace=namespace)
    cluster.kubectl("wait", "pod/small", "-n", namespace, "--for=condition=Ready", "--timeout=120s")
    claims = cluster.kubectl("get", "pvc", "-n", namespace).splitlines()
    assert claims[0].split() == [
        *("NAME", "STATUS", "VOLUME", "CAPACITY", "ACCESS", "MODES", "STORAGECLASS"),
        *("VOLUMEATTRIBUTESCLASS", "AGE"),
    ]
    cells = claims[1].split()
    assert (cells[0], cells[1], cells[3:6]) == ("small", "Bound", ["1Mi", "RWO", "local-path"])
    [volume] = (
        line.split()
        for line in cluster.kubectl("get", "pv").splitlines()
        if f"{namespace}/small" in line
    )
    assert volume[0] == cells[2]
    assert volume[1:5] == ["1Mi", "RWO", "Delete", "Bound"]
    [only] = cluster.kubectl("get", "sc").splitlines()[1:]
    assert only.split()[:6] == [
        *("local-path", "(default)", "local-path.kpy.dev", "Delete"),
        *("WaitForFirstConsumer", "false"),
    ]
    told = cluster.kubectl("describe", "pvc", "small", "-n", namespace)
    assert "Used By:       small" in told
    about = "involvedObject.name=small,involvedObject.kind=PersistentVolumeClaim"
    events = ("get", "events", "-n", namespace, f"--field-selector={about}", "-o", "wide")
    wanted = ("ExternalProvisioning", "Provisioning ", "ProvisioningSucceeded")
    assert "Failed" not in says(lambda: cluster.kubectl(*events), *wanted)


def test_a_namespace_takes_its_volumes_along(cluster: Cluster, namespace: str) -> None:
    inner = f"{namespace}-inner"
    cluster.kubectl("create", "namespace", inner)
    cluster.kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=120s", "-n", inner)
    made = pod("user", "data")
    spec = {**made["spec"], "terminationGracePeriodSeconds": 0}
    cluster.apply(claim("data", "1Mi"), {**made, "spec": spec}, namespace=inner)
    cluster.kubectl("wait", "pod/user", "-n", inner, "--for=condition=Ready", "--timeout=120s")
    name = cluster.get("pvc", "data", "-n", inner)["spec"]["volumeName"]
    folder = Path(cluster.get("pv", name)["spec"]["local"]["path"])
    assert folder.is_dir()
    cluster.kubectl("delete", "namespace", inner, "--timeout=120s")
    cluster.kubectl("wait", "--for=delete", f"pv/{name}", "--timeout=120s")
    assert not folder.exists()

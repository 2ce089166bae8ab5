"""What nodes and pods use: the kubelet's pages, as clients read them through the API server."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.node.machine import wait_until

BUSY: dict[str, Any] = {
    "terminationGracePeriodSeconds": 0,
    "containers": [
        {
            "name": "burn",
            "image": "kpy.local/busybox:1",
            "command": ["busybox", "sh", "-c", "echo begin; while :; do :; done"],
            "resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "200m"}},
            "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
        },
        {
            "name": "rest",
            "image": "kpy.local/busybox:1",
            "command": ["busybox", "sleep", "600"],
        },
    ],
    "initContainers": [
        {
            "name": "fill",
            "image": "kpy.local/busybox:1",
            "command": ["busybox", "dd", "if=/dev/zero", "of=/scratch/a", "bs=1M", "count=3"],
            "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
        }
    ],
    "volumes": [{"name": "scratch", "emptyDir": {}}],
}  # fmt: skip


@pytest.fixture
def busy(cluster: Cluster, namespace: str) -> str:
    """Run a pod that takes what it gets; return its namespace."""
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "busy"}, "spec": BUSY}
    cluster.apply(pod, namespace=namespace)
    cluster.kubectl("wait", "--for=condition=Ready", "pod/busy", "-n", namespace, "--timeout=120s")
    return namespace


def raw(cluster: Cluster, path: str) -> str:
    return cluster.kubectl("get", "--raw", f"/api/v1/nodes/n1/proxy/{path}")


def values(page: str, name: str, **labels: str) -> Mapping[str, float]:
    """Return the samples of a metric that have these labels, by their text."""
    found = {}
    for line in page.splitlines():
        head, _, rest = line.partition(" ") if "{" not in line else _split(line)
        wanted = all(f'{key}="{value}"' in head for key, value in labels.items())
        if head.partition("{")[0] == name and wanted:
            found[head] = float(rest.split()[0])
    return found


def _split(line: str) -> tuple[str, str, str]:
    head, _, rest = line.rpartition("} ")
    return f"{head}}}", " ", rest


def test_the_kubelet_tells_what_node_pods_and_containers_use(cluster: Cluster, busy: str) -> None:
    def measured() -> Any:
        pods = json.loads(raw(cluster, "stats/summary"))["pods"]
        found = {pod["podRef"]["namespace"]: pod for pod in pods}[busy]
        told = {one["name"]: one for one in found["containers"]}
        kept = {one["name"]: one for one in found["volume"]}["scratch"]["usedBytes"] >= 3 << 20
        whole = told["burn"]["rootfs"]["usedBytes"] >= 0 and told["rest"]["memory"]
        said = told["burn"]["logs"]["usedBytes"] > 0 and whole and kept
        return said and found["cpu"].get("usageNanoCores", 0) > 50_000_000 and found

    pod = wait_until(measured, 60, "the pod is seen to be busy")
    containers = {one["name"]: one for one in pod["containers"]}
    assert 0 < containers["burn"]["cpu"]["usageNanoCores"] < 1e9
    assert containers["rest"]["memory"]["workingSetBytes"] > 0
    assert containers["burn"]["logs"]["usedBytes"] > 0
    assert "usedBytes" in containers["burn"]["rootfs"]
    assert pod["network"]["name"] == "eth0"
    volume = next(one for one in pod["volume"] if one["name"] == "scratch")
    assert volume["usedBytes"] >= 3 << 20

    labels = {"container": "burn", "namespace": busy, "pod": "busy"}
    page = raw(cluster, "metrics/resource")
    assert sum(values(page, "container_cpu_usage_seconds_total", **labels).values()) > 0
    assert values(page, "node_memory_working_set_bytes")
    assert values(page, "resource_scrape_error") == {"resource_scrape_error": 0.0}
    detailed = raw(cluster, "metrics/cadvisor")
    assert values(detailed, "container_cpu_cfs_throttled_periods_total", **labels)
    assert values(detailed, "container_network_receive_bytes_total", pod="busy", interface="eth0")
    assert values(raw(cluster, "metrics"), "kubelet_running_pods")


def test_kubectl_top_shows_nodes_pods_and_containers(cluster: Cluster, busy: str) -> None:
    measured = wait_until(
        lambda: cluster.kubectl("top", "node", "n1"), 60, "there are measurements of the node"
    )
    header, node = measured.splitlines()
    assert header.split()[:2] == ["NAME", "CPU(cores)"]
    assert node.split()[1].endswith("m")
    assert node.split()[3].endswith("Mi")

    def shown() -> Any:
        done = cluster.run("top", "pod", "-n", busy, "--containers", "--no-headers")
        rows = {line.split()[1]: line.split() for line in done.stdout.splitlines()}
        busiest = int(rows["burn"][2].removesuffix("m")) if "burn" in rows else 0
        return rows if busiest > 50 else None

    rows = wait_until(shown, 60, "kubectl top shows the busy container")
    assert set(rows) == {"burn", "rest"}

    listed = json.loads(
        cluster.kubectl("get", "--raw", f"/apis/metrics.k8s.io/v1beta1/namespaces/{busy}/pods")
    )
    assert listed["kind"] == "PodMetricsList"
    (one,) = listed["items"]
    assert {"timestamp", "window", "containers", "metadata"} <= set(one)
    table = cluster.kubectl("get", "pods.metrics.k8s.io", "-n", busy)
    assert table.split()[:4] == ["NAME", "CPU", "MEMORY", "WINDOW"]
    gone = cluster.run("get", "pods.metrics.k8s.io", "nothing", "-n", busy)
    assert 'pods "nothing" not found' in gone.stderr
    service = cluster.get("apiservice", "v1beta1.metrics.k8s.io")
    assert service["status"]["conditions"][0]["reason"] == "Local"
    assert "usage" in cluster.kubectl(
        "explain", "pods.containers", "--api-version=metrics.k8s.io/v1beta1"
    )

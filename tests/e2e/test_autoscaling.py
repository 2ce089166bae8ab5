"""A deployment that burns what it gets is scaled up, and down again when it rests."""

from typing import Any

from tests.e2e.cluster import Cluster
from tests.e2e.node.machine import wait_until

BURN = "while [ -e /work/go ]; do :; done; exec busybox sleep 600"
RULES = {"stabilizationWindowSeconds": 0, "policies": [
    {"type": "Percent", "value": 100, "periodSeconds": 1}
]}  # fmt: skip


def deployment(folder: str) -> dict[str, Any]:
    labels = {"app": "burner"}
    container = {
        "name": "burn",
        "image": "kpy.local/busybox:1",
        "command": ["busybox", "sh", "-c", BURN],
        "resources": {"requests": {"cpu": "50m"}, "limits": {"cpu": "150m"}},
        "volumeMounts": [{"name": "work", "mountPath": "/work"}],
    }
    spec = {
        "terminationGracePeriodSeconds": 0,
        "containers": [container],
        "volumes": [{"name": "work", "hostPath": {"path": folder, "type": "DirectoryOrCreate"}}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "burner"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def autoscaler() -> dict[str, Any]:
    target = {"type": "Utilization", "averageUtilization": 50}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "burner"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "burner"},
            "maxReplicas": 3,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
            "behavior": {"scaleUp": RULES, "scaleDown": RULES},
        },
    }


def test_a_busy_deployment_is_scaled_up_and_down_again(cluster: Cluster, namespace: str) -> None:
    folder = cluster.folder / "burner"
    folder.mkdir()
    (folder / "go").touch()
    cluster.apply(deployment(str(folder)), autoscaler(), namespace=namespace)

    def replicas() -> int:
        return int(cluster.get("deployment", "burner", "-n", namespace)["spec"]["replicas"])

    wait_until(lambda: replicas() == 3, 60, "the deployment has three replicas")
    (folder / "go").unlink()
    wait_until(lambda: replicas() == 1, 60, "the deployment has one replica again")

    def settled() -> Any:
        found = cluster.get("hpa", "burner", "-n", namespace)
        conditions = {one["type"]: one["status"] for one in found["status"]["conditions"]}
        return conditions["AbleToScale"] == conditions["ScalingActive"] == "True" and found

    hpa = wait_until(settled, 60, "the autoscaler is at rest")
    assert hpa["status"]["currentMetrics"][0]["resource"]["name"] == "cpu"
    assert "lastScaleTime" in hpa["status"]
    failed = [line for line in cluster.logs().splitlines() if "reconcile failed" in line]
    assert not [line for line in failed if f"{namespace}/burner" in line]
    told = ("get", "events", "-n", namespace, "-o", "jsonpath={..message}")
    above = "reason: cpu resource utilization (percentage of request) above target"
    cluster.says(f"New size: 2; {above}", *told)
    cluster.says("New size: 1; reason: All metrics below target", *told)

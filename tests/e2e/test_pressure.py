"""A pod that takes more of the node's disk than it may is ended, and says why."""

from typing import Any

from tests.e2e.cluster import Cluster
from tests.e2e.node.machine import wait_until

POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "greedy"},
    "spec": {
        "terminationGracePeriodSeconds": 0,
        "containers": [
            {
                "name": "fill",
                "image": "kpy.local/busybox:1",
                "command": [
                    "busybox", "sh", "-c", "dd if=/dev/zero of=/scratch/a bs=1M count=4; sleep 600"
                ],
                "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
            }
        ],
        "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "1Mi"}}],
    },
}  # fmt: skip


def test_a_pod_whose_volume_grows_beyond_its_size_is_evicted(
    cluster: Cluster, namespace: str
) -> None:
    cluster.apply(POD, namespace=namespace)

    def evicted() -> Any:
        status = cluster.get("pod", "greedy", "-n", namespace)["status"]
        return status if status.get("reason") == "Evicted" else None

    status = wait_until(evicted, 60, "the pod is evicted")
    assert status["phase"] == "Failed"
    message = 'Usage of EmptyDir volume "scratch" exceeds the limit "1Mi". '
    assert status["message"] == message
    conditions = {one["type"]: one for one in status["conditions"]}
    assert conditions["DisruptionTarget"]["reason"] == "TerminationByKubelet"
    wait_until(
        lambda: message in cluster.kubectl("get", "events", "-n", namespace, "-o", "wide"),
        30,
        "the eviction is told in an event",
    )
    node = cluster.get("node", "n1")["status"]["conditions"]
    assert {one["type"]: one["status"] for one in node if one["type"].endswith("Pressure")} == {
        "MemoryPressure": "False",
        "DiskPressure": "False",
        "PIDPressure": "False",
    }

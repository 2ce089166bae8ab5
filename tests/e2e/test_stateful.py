"""Stateful sets: pods with names of their own, in order."""

import json
from typing import Any

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.node.machine import wait_until

pytestmark = pytest.mark.e2e
LABELS = {"app": "db"}


def objects() -> list[dict[str, Any]]:
    container = {
        "name": "c",
        "image": "kpy.local/busybox:1",
        "command": ["sh", "-c", "trap exit TERM; sleep 3600 & wait"],
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "db"},
        "spec": {"clusterIP": "None", "selector": LABELS, "ports": [{"port": 80}]},
    }
    spec = {
        "serviceName": "db",
        "replicas": 2,
        "selector": {"matchLabels": LABELS},
        "template": {
            "metadata": {"labels": LABELS},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
        },
    }
    stateful = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "db"},
        "spec": spec,
    }
    return [service, stateful]


def test_pods_come_in_order_with_names_that_resolve(cluster: Cluster, namespace: str) -> None:
    cluster.apply(*objects(), namespace=namespace)
    cluster.kubectl("rollout", "status", "statefulset/db", "-n", namespace, "--timeout=120s")
    pods = {p["metadata"]["name"]: p for p in cluster.get("pods", "-n", namespace)["items"]}
    assert sorted(pods) == ["db-0", "db-1"]
    assert pods["db-0"]["status"]["startTime"] <= pods["db-1"]["status"]["startTime"]
    for name in pods:
        asked = (
            "exec",
            "db-0",
            "-n",
            namespace,
            "--",
            "nslookup",
            f"{name}.db.{namespace}.svc.cluster.local",
        )
        address = pods[name]["status"]["podIP"]
        wait_until(
            lambda asked=asked, address=address: address in cluster.run(*asked).stdout,
            20,
            f"{name} resolves",
        )

    cluster.kubectl("delete", "pod", "db-1", "-n", namespace)
    uid = pods["db-1"]["metadata"]["uid"]
    wait_until(
        lambda: cluster.get("pod", "db-1", "-n", namespace)["metadata"]["uid"] != uid,
        60,
        "there is another one of the name",
    )
    cluster.kubectl("rollout", "status", "statefulset/db", "-n", namespace, "--timeout=120s")

    scale = json.dumps({"spec": {"replicas": 1}})
    cluster.kubectl("patch", "statefulset", "db", "-n", namespace, "-p", scale)
    wait_until(
        lambda: (
            [p["metadata"]["name"] for p in cluster.get("pods", "-n", namespace)["items"]]
            == ["db-0"]
        ),
        30,
        "the last pod is gone",
    )


def test_a_budget_keeps_the_last_pod_from_being_evicted(cluster: Cluster, namespace: str) -> None:
    cluster.apply(*objects(), namespace=namespace)
    cluster.kubectl(
        "create", "pdb", "db", "-n", namespace, "--selector=app=db", "--min-available=1"
    )
    cluster.kubectl("rollout", "status", "statefulset/db", "-n", namespace, "--timeout=120s")

    def allowed() -> int:
        status = cluster.get("pdb", "db", "-n", namespace)["status"]
        return int(status.get("disruptionsAllowed", 0))

    wait_until(lambda: allowed() == 1, 20, "one pod may go")
    cluster.kubectl("scale", "statefulset/db", "--replicas=1", "-n", namespace)
    wait_until(lambda: allowed() == 0, 20, "the last pod may not go")
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": "db-0", "namespace": namespace},
    }
    path = f"/api/v1/namespaces/{namespace}/pods/db-0/eviction"
    refused = cluster.run("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
    assert refused.returncode == 1
    assert "violate the pod's disruption budget" in refused.stderr

"""Daemon sets and cron jobs on a real node."""

from typing import Any

import pytest

from tests.e2e.cluster import Cluster

POD: dict[str, Any] = {
    "terminationGracePeriodSeconds": 1,
    "containers": [
        {"name": "c", "image": "kpy.local/busybox:1", "command": ["busybox", "sleep", "600"]}
    ],
}


def daemonset(mark: str) -> dict[str, Any]:
    labels = {"app": "daemon"}
    metadata = {"labels": labels, "annotations": {"mark": mark}}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "daemon"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": metadata, "spec": POD},
        },
    }


def test_a_daemon_set_gets_its_pod_and_rolls_out_a_change(cluster: Cluster, namespace: str) -> None:
    wait = ("rollout", "status", "ds/daemon", "-n", namespace, "--timeout=120s")
    for mark in ("one", "two"):
        cluster.apply(daemonset(mark), namespace=namespace)
        cluster.kubectl(*wait)
        pods = cluster.get("pods", "-n", namespace, "-l", "app=daemon")["items"]
        marks = {pod["metadata"]["annotations"]["mark"]: pod["spec"]["nodeName"] for pod in pods}
        assert mark in marks
        status = cluster.get("ds", "daemon", "-n", namespace)["status"]
        assert status["numberReady"] == status["desiredNumberScheduled"] == 1
    assert "2" in cluster.kubectl("rollout", "history", "ds/daemon", "-n", namespace)


def test_a_job_made_from_a_cron_job_runs(cluster: Cluster, namespace: str) -> None:
    container = {**POD["containers"][0], "command": ["busybox", "true"]}
    pod = {"restartPolicy": "Never", "containers": [container]}
    cronjob = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "yearly"},
        "spec": {
            "schedule": "0 0 1 1 *",
            "jobTemplate": {"spec": {"template": {"spec": pod}}},
        },
    }
    cluster.apply(cronjob, namespace=namespace)
    cluster.kubectl("create", "job", "now", "--from=cronjob/yearly", "-n", namespace)
    wait = "--for=jsonpath={.status.lastSuccessfulTime}"
    cluster.kubectl("wait", wait, "cronjob/yearly", "-n", namespace, "--timeout=120s")


@pytest.mark.conformance(
    "ReplicaSet should serve a basic image on each replica with a public image",
    "ReplicationController should serve a basic image on each replica with a public image",
)
@pytest.mark.parametrize("kind", ["ReplicaSet", "ReplicationController"])
def test_each_replica_serves_its_own_name(cluster: Cluster, namespace: str, kind: str) -> None:
    serve = "mkdir /www; hostname > /www/index.html; exec httpd -f -p 9376 -h /www"
    container = {**POD["containers"][0], "command": ["busybox", "sh", "-c", serve]}
    container["readinessProbe"] = {"httpGet": {"port": 9376, "path": "/"}, "periodSeconds": 1}
    labels = {"app": "name"}
    whole = kind == "ReplicaSet"
    replicated = {
        "apiVersion": "apps/v1" if whole else "v1",
        "kind": kind,
        "metadata": {"name": "basic"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels} if whole else labels,
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }
    cluster.apply(replicated, namespace=namespace)
    wait = "--for=jsonpath={.status.readyReplicas}=2"
    cluster.kubectl("wait", wait, f"{kind}/basic", "-n", namespace, "--timeout=120s")
    pods = cluster.get("pods", "-n", namespace, "-l", "app=name")["items"]
    names = [pod["metadata"]["name"] for pod in pods]
    served = [
        cluster.kubectl("get", "--raw", f"/api/v1/namespaces/{namespace}/pods/{name}:9376/proxy/")
        for name in names
    ]
    assert [one.strip() for one in served] == names
    cluster.kubectl("delete", kind, "basic", "-n", namespace, "--wait=false")

"""Daemon sets and cron jobs on a real node."""

from typing import Any

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
    wait = ("rollout", "status", "ds/daemon", "-n", namespace, "--timeout=40s")
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
    cluster.kubectl("wait", wait, "cronjob/yearly", "-n", namespace, "--timeout=40s")

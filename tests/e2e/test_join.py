"""A second machine joins with the token, and pods on both reach each other."""

import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.cluster import BIN, Cluster, Program
from tests.e2e.node.machine import wait_until


@pytest.fixture(scope="module")
def worker(cluster: Cluster) -> Iterator[Program]:
    made = cluster.add_worker("n2", "192.168.77.2")
    yield made
    cluster.remove_worker(made)


def pod(name: str, node: str) -> dict[str, Any]:
    container = {
        "name": "web",
        "image": "kpy.local/busybox:1",
        "command": ["sh", "-c", "mkdir /www; hostname > /www/index.html; exec httpd -f -h /www"],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "nodeName": node,
            "containers": [container],
            "terminationGracePeriodSeconds": 0,
        },
    }


def untainted(cluster: Cluster) -> list[str]:
    """Return the nodes that take pods: one that has just become ready may have its taint still."""
    nodes = cluster.get("nodes")["items"]
    return [node["metadata"]["name"] for node in nodes if not node["spec"].get("taints")]


@pytest.mark.conformance("Conformance Tests should have at least two untainted nodes")
def test_pods_of_two_nodes_reach_each_other(
    cluster: Cluster, worker: Program, namespace: str
) -> None:
    wait_until(lambda: len(untainted(cluster)) == 2, 60, "both nodes take pods")
    cluster.apply(pod("here", "n1"), pod("there", "n2"), namespace=namespace)
    cluster.kubectl(
        "wait", "--for=condition=Ready", "pod", "--all", "-n", namespace, "--timeout=120s"
    )
    for source, target in (("here", "there"), ("there", "here")):
        address = cluster.get("pod", target, "-n", namespace)["status"]["podIP"]
        asked = ("exec", source, "-n", namespace, "--", "wget", "-q", "-O-", f"http://{address}")
        found: Any = wait_until(
            lambda asked=asked: cluster.run(*asked).stdout.strip(), 20, f"{source} reaches {target}"
        )
        assert found == target


def test_a_killed_worker_goes_on_where_it_was(
    cluster: Cluster, worker: Program, namespace: str
) -> None:
    cluster.apply(pod("before", "n2"), namespace=namespace)
    ready = ("wait", "--for=condition=Ready", "-n", namespace, "--timeout=120s")
    cluster.kubectl(*ready, "pod/before")
    worker.stop(signal.SIGKILL)
    worker.start()
    cluster.apply(pod("after", "n2"), namespace=namespace)
    cluster.kubectl(*ready, "pod/after")
    (state,) = cluster.get("pod", "before", "-n", namespace)["status"]["containerStatuses"]
    assert state["restartCount"] == 0
    assert state["state"].keys() == {"running"}


def test_a_volume_lies_on_the_machine_of_its_pod_and_goes_also_after_a_crash(
    cluster: Cluster, worker: Program, namespace: str
) -> None:
    asked = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}}
    made = pod("writer", "")
    spec = {key: value for key, value in made["spec"].items() if key != "nodeName"}
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}
    mounts = [{"name": "v", "mountPath": "/www"}]
    command = ["sh", "-c", "hostname > /www/file; exec sleep 3600"]
    container = {**spec["containers"][0], "volumeMounts": mounts, "command": command}
    selector = {"kubernetes.io/hostname": "n2"}
    spec |= {"volumes": [volume], "containers": [container], "nodeSelector": selector}
    cluster.apply({**claim, "spec": asked}, {**made, "spec": spec}, namespace=namespace)
    cluster.kubectl(
        "wait", "--for=condition=Ready", "pod/writer", "-n", namespace, "--timeout=120s"
    )
    name = cluster.get("pvc", "data", "-n", namespace)["spec"]["volumeName"]
    folder = cluster.folder / "n2" / "storage" / name
    wait_until((folder / "file").exists, 20, "the pod has written")
    worker.stop(signal.SIGKILL)
    cluster.kubectl("delete", "pod", "writer", "-n", namespace, "--force", "--grace-period=0")
    cluster.kubectl("delete", "pvc", "data", "-n", namespace)
    worker.start()
    wait_until(lambda: not folder.exists(), 40, "the data is gone")
    cluster.kubectl("wait", "--for=delete", f"pv/{name}", "--timeout=120s")


def test_a_third_machine_cannot_take_the_name(cluster: Cluster, worker: Program) -> None:
    token = (cluster.folder / "n1" / "server" / "token").read_text().strip()
    line = [
        str(BIN / "kpy"),
        "agent",
        "--node-name=n2",
        "--node-ip=192.168.77.1",
        "--server=https://192.168.77.1:6443",
        f"--data-dir={cluster.folder / 'impostor'}",
        f"--token={token}",
    ]
    done = subprocess.run(
        cluster.inside(line), check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert "node name 'n2' belongs to another machine" in done.stderr

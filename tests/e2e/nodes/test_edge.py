"""Nodes at the edge: the server goes away, the power goes, and pods are the same pods after it."""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from minikube_py.agent.kept import PURPOSE
from minikube_py.lib.sealed_log import SealedLog, key_of
from tests.e2e.cluster import Cluster, Program
from tests.e2e.node.machine import Machine, wait_until

SECONDS = 60.0


def pod(name: str, node: str, number: int) -> dict[str, Any]:
    """Return a pod whose only process is found by its number; it has what a power cut takes."""
    mounts = [{"name": "memory", "mountPath": "/memory"}, {"name": "disk", "mountPath": "/disk"}]
    container = {
        "name": "c",
        "image": "kpy.local/busybox:1",
        "command": ["sleep", str(number)],
        "volumeMounts": mounts,
    }
    volumes = [
        {"name": "memory", "emptyDir": {"medium": "Memory"}},
        {"name": "disk", "emptyDir": {}},
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "nodeName": node,
            "containers": [container],
            "volumes": volumes,
            "terminationGracePeriodSeconds": 0,
        },
    }  # fmt: skip


def settings() -> list[dict[str, Any]]:
    """Return a configMap and a secret."""
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "settings"},
            "data": {"colour": "green"},
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "password"},
            "stringData": {"p": "correct horse"},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "edge"},
            "spec": {"selector": {"app": "edge"}, "ports": [{"port": 80, "targetPort": 8080}]},
        },
    ]


def with_settings(made: dict[str, Any]) -> dict[str, Any]:
    """Return a pod with those: one is mounted, one is in its environment."""
    (container,) = made["spec"]["containers"]
    source = {"secretKeyRef": {"name": "password", "key": "p"}}
    container["env"] = [{"name": "PASSWORD", "valueFrom": source}]
    container["volumeMounts"].append({"name": "settings", "mountPath": "/settings"})
    made["spec"]["volumes"].append({"name": "settings", "configMap": {"name": "settings"}})
    made["metadata"]["labels"] = {"app": "edge"}
    made["spec"]["containers"].append(
        {
            "name": "web",
            "image": container["image"],
            "command": ["sh", "-c", "echo edge > /tmp/i; exec httpd -f -p 8080 -h /tmp"],
        }
    )
    return made


def kept(worker: Program) -> dict[str, bytes]:
    """Return the objects that a node keeps on its disk, by name."""
    secret = (worker.data_dir / "agent" / "tls" / "node-password").read_bytes()
    copy = worker.data_dir / "kept-copy"
    shutil.copy(worker.data_dir / "agent" / "kept", copy)
    log = SealedLog(copy, key_of(secret, PURPOSE))
    log.open()
    try:
        return {name.rpartition("/")[2]: log.read(name) or b"" for name in log.names()}
    finally:
        log.close()


def is_kept(worker: Program, address: str) -> bool:
    """Tell whether a node keeps its pod, what that refers to, and the endpoint of its service."""
    found = kept(worker)
    led = any(n.startswith("edge-") and address.encode() in data for n, data in found.items())
    return led and {"on-n2", "settings", "password", "edge"} <= set(found)


def endpoints(cluster: Cluster) -> list[str]:
    """Return the addresses that the service leads to."""
    label = "kubernetes.io/service-name=edge"
    slices = cluster.get("endpointslices", "-l", label)["items"]
    return [ip for one in slices for end in one["endpoints"] or () for ip in end["addresses"]]


def environment(machine: Machine, pid: str) -> list[str]:
    """Return the environment of a process."""
    return machine.sh("cat", f"/proc/{pid}/environ").split("\0")


def process(machine: Machine, number: int) -> str:
    """Return the process of such a pod, "" where it does not run."""
    return machine.sh("pgrep", "-f", f"^sleep {number}$", check=False).strip()


def runs_again(cluster: Cluster, name: str, restarts: int) -> Any:
    """Return the pod where it is ready and its container has been restarted so often."""
    found = cluster.get("pod", name)
    states = found["status"].get("containerStatuses") or ({},)
    state = next((one for one in states if one.get("name") == "c"), {})
    return found if state.get("ready") and state.get("restartCount", 0) >= restarts else None


@pytest.fixture
def worker(two_nodes: Cluster) -> Iterator[Program]:
    """Have the second node, and nothing on it afterwards."""
    yield two_nodes.workers[0]
    two_nodes.kubectl("delete", "pods", "--all", "--grace-period=0", "--force", "--wait=false")


def test_what_crashes_while_the_server_is_away_starts_again_and_is_the_same_pod(
    two_nodes: Cluster, worker: Program
) -> None:
    two_nodes.apply(pod("lasting", "n2", 810001))
    before = wait_until(lambda: runs_again(two_nodes, "lasting", 0), SECONDS, "it runs")
    two_nodes.server.stop(signal.SIGKILL)
    try:
        first = process(worker.machine, 810001)
        worker.machine.sh("kill", "-9", first)
        wait_until(
            lambda: process(worker.machine, 810001) not in ("", first), SECONDS, "it runs again"
        )
        inside = ("nsenter", "-m", "-n", "-t", process(worker.machine, 810001))
        answer = worker.machine.sh(*inside, "nslookup", "kubernetes.default.svc.cluster.local")
        assert "10.43.0.1" in answer.split(), answer
    finally:
        two_nodes.start()
    after = wait_until(lambda: runs_again(two_nodes, "lasting", 1), SECONDS, "it is told of")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["status"]["podIP"] == before["status"]["podIP"]
    assert after["status"]["containerStatuses"][0]["restartCount"] == 1
    two_nodes.wait_ready("n2")


def test_after_a_power_cut_of_all_machines_every_pod_comes_back(
    two_nodes: Cluster, worker: Program
) -> None:
    numbers = {"n1": 820001, "n2": 820002}
    two_nodes.apply(*settings())
    pods = {node: pod(f"on-{node}", node, number) for node, number in numbers.items()}
    two_nodes.apply(pods["n1"], with_settings(pods["n2"]))
    for node in numbers:
        wait_until(lambda node=node: runs_again(two_nodes, f"on-{node}", 0), SECONDS, "it runs")
    before = {node: two_nodes.get("pod", f"on-{node}")["metadata"]["uid"] for node in numbers}
    static = worker.data_dir / "agent" / "pod-manifests" / "still.yaml"
    static.write_text(yaml.safe_dump(pod("still", "n2", 820003)))
    wait_until(lambda: process(worker.machine, 820003), SECONDS, "the static pod runs")

    address = two_nodes.get("service", "edge")["spec"]["clusterIP"]
    (ip,) = wait_until(lambda: endpoints(two_nodes), SECONDS, "the service has an endpoint")
    wait_until(lambda: is_kept(worker, ip), SECONDS, "it is on the disk")
    worker.machine.crash()
    two_nodes.machine.crash()
    assert two_nodes.fabric is not None
    worker.machine.boot()
    two_nodes.fabric.connect(worker.machine)
    worker.start()
    # Nobody answers it: what it runs it finds on its own disk.
    wait_until(lambda: process(worker.machine, 820003), SECONDS, "the static pod runs again")
    alone = wait_until(lambda: process(worker.machine, 820002), SECONDS, "its pod runs again")
    assert "PASSWORD=correct horse" in environment(worker.machine, alone)
    root = f"/proc/{alone}/root"
    assert worker.machine.sh("cat", f"{root}/settings/colour") == "green"
    token = f"{root}/var/run/secrets/kubernetes.io/serviceaccount/token"
    assert worker.machine.sh("cat", token).count(".") == 2
    service = f"http://{address}/i"
    get = ("busybox", "timeout", "2", "busybox", "wget", "-q", "-O-", service)
    wait_until(
        lambda: worker.machine.sh(*get, check=False) == "edge\n", SECONDS, "its service answers"
    )
    memory = worker.data_dir / "agent" / "kept"
    assert memory.stat().st_mode & 0o777 == 0o600
    assert b"horse" not in memory.read_bytes()
    two_nodes.machine.boot()
    two_nodes.fabric.connect(two_nodes.machine)
    two_nodes.start()
    two_nodes.wait_ready("n2")
    for node, number in numbers.items():
        machine = worker.machine if node == "n2" else two_nodes.machine
        found = wait_until(
            lambda node=node: runs_again(two_nodes, f"on-{node}", 1), SECONDS, "it runs again"
        )
        assert found["metadata"]["uid"] == before[node]
        assert len(process(machine, number).split()) == 1
    assert process(worker.machine, 820002) == alone  # the server has started nothing anew
    static.unlink()
    wait_until(lambda: not process(worker.machine, 820003), SECONDS, "the static pod is gone")
    told = wait_until(lambda: rebooted(two_nodes), SECONDS, "the reboot is told of")
    assert Path("/proc/sys/kernel/random/boot_id").read_text().strip() not in told


def rebooted(cluster: Cluster) -> str:
    told = cluster.kubectl("get", "events", "--field-selector", "reason=Rebooted")
    return told if "Node n2 has been rebooted, boot id: " in told else ""

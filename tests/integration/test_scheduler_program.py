"""The scheduler of a server as a program: its configuration file, and `kpy why` beside it."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.program import KPY, Server

CONFIG = """
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
profiles:
- schedulerName: default-scheduler
- schedulerName: packing
  pluginConfig:
  - name: NodeResourcesFit
    args: {scoringStrategy: {type: MostAllocated}}
"""
NODE = """
{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"},
 "status": {"allocatable": {"cpu": "1", "memory": "1Gi", "pods": "9"}}}
"""
WAIT_SECONDS = 120.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "scheduler.yaml").write_text(CONFIG)
    flag = f"--scheduler-config={tmp_path / 'scheduler.yaml'}"
    made = Server(tmp_path, "--disable-controller-manager", flag)
    made.start()
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait()


def why(server: Server, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environ = {**os.environ, "KUBECONFIG": str(server.folder / "kubeconfig")}
    line = [str(KPY), "why", *arguments]
    return subprocess.run(
        line, check=False, capture_output=True, text=True, timeout=180, env=environ
    )


def make(server: Server, folder: Path, name: str, cpu: str, scheduler: str) -> None:
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}
    spec = {
        "containers": [container],
        "schedulerName": scheduler,
        "serviceAccountName": "default",
        "tolerations": [{"operator": "Exists"}],  # nobody says that the node is ready
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    (folder / "pod.json").write_text(json.dumps(pod))
    server.kubectl("create", "-f", str(folder / "pod.json"))


def wait_for(server: Server, name: str, path: str) -> str:
    """Wait until a field of a pod says something."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        found = server.kubectl("get", "pod", name, "-o", f"jsonpath={{{path}}}")
        if found:
            return found
        assert time.monotonic() < deadline, server.log.read_text()
        time.sleep(0.05)


def test_profiles_place_pods_and_why_tells_of_the_rest(server: Server, tmp_path: Path) -> None:
    (tmp_path / "node.json").write_text(NODE)
    server.kubectl("create", "-f", str(tmp_path / "node.json"))
    server.kubectl("create", "serviceaccount", "default")
    make(server, tmp_path, "small", "500m", "packing")
    assert wait_for(server, "small", ".spec.nodeName") == "n1"
    make(server, tmp_path, "large", "4", "default-scheduler")
    message = wait_for(server, "large", '.status.conditions[?(@.type=="PodScheduled")].message')
    assert message == (
        "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: "
        "1 Preemption is not helpful for scheduling."
    )
    said = why(server, "pod/large")
    assert "pod default/large has no node" in said.stdout, said.stderr
    assert "n1: does not fit" in said.stdout
    assert "NodeResourcesFit: Insufficient cpu" in said.stdout
    missing = why(server, "nobody", "-n", "default")
    assert missing.returncode != 0
    assert "there is no pod 'nobody' in namespace 'default'" in missing.stderr


def test_a_server_does_not_start_with_a_wrong_configuration(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(CONFIG.replace("MostAllocated", "Best"))
    line = Server(tmp_path, f"--scheduler-config={wrong}").line()
    done = subprocess.run(line, check=False, capture_output=True, text=True, timeout=180)
    assert done.returncode != 0
    assert 'scoringStrategy.type: Unsupported value: "Best"' in done.stdout + done.stderr

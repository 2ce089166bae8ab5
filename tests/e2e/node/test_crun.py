"""Pods of either runtime live on one node: what is installed is a handler of a RuntimeClass."""

import pytest

from tests.e2e.node.conftest import Node, make
from tests.e2e.node.machine import wait_until

pytestmark = pytest.mark.e2e
RUNTIMES = ("runc", "crun")


@pytest.fixture(scope="module")
def pods(node: Node) -> Node:
    """Have a pod of each runtime."""
    for name in RUNTIMES:
        kind = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass"}
        node.apply(kind | {"metadata": {"name": name}, "handler": name})
        node.apply(make(name, runtimeClassName=name))
    return node


def test_each_pod_has_the_runtime_that_it_asked_for(pods: Node) -> None:
    for name in RUNTIMES:
        status = pods.wait(name, "Running")["status"]["containerStatuses"][0]
        container = status["containerID"].removeprefix("containerd://")
        # crun keeps a file named status beside its container, runc one named state.json.
        kept = pods.machine.sh("ls", f"/run/containerd/runc/k8s.io/{container}").split()
        assert ("state.json" in kept) == (name == "runc")
        assert pods.exec(name, "echo", "hello") == "hello\n"


def test_both_live_on_when_containerd_dies_and_end_when_they_are_deleted(pods: Node) -> None:
    before = {
        name: pods.wait(name, "Running")["status"]["containerStatuses"][0]["containerID"]
        for name in RUNTIMES
    }
    pid = pods.machine.sh("pgrep", "-x", "containerd").strip()
    pods.machine.sh("kill", "-9", pid)
    wait_until(
        lambda: pods.machine.sh("pgrep", "-x", "containerd").strip() != pid and pods.ctr("version"),
        30,
        "another one runs",
    )
    for name in RUNTIMES:
        wait_until(lambda name=name: pods.exec(name, "true") == "", 30, "it answers")
        (now,) = pods.pod(name)["status"]["containerStatuses"]
        assert (now["containerID"], now["restartCount"]) == (before[name], 0)
        pods.delete(name)
    wait_until(lambda: not pods.ctr("containers", "ls", "-q"), 30, "all containers are gone")

"""What outlives what: pods live on when kpy, containerd or both are killed, and are found again."""

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.node.conftest import Node, make
from tests.e2e.node.machine import wait_until

pytestmark = pytest.mark.e2e
TICK = "n=0; while :; do n=$((n + 1)); echo $n; sleep 0.2; done"


@pytest.fixture(scope="module")
def ticking(node: Node) -> Node:
    """Have a pod that counts, with a probe that may take its time."""
    slow = {"timeoutSeconds": 30, "failureThreshold": 10}
    probe = {"exec": {"command": ["true"]}, "periodSeconds": 1, **slow}
    node.apply(make("tick", TICK, container={"readinessProbe": probe, "startupProbe": probe}))
    node.wait("tick", "Running")
    wait_until(lambda: status(node)["ready"], 10, "it is ready")
    return node


def status(node: Node, name: str = "tick") -> Any:
    return node.pod(name)["status"]["containerStatuses"][0]


def containerd_pid(node: Node) -> str:
    return node.machine.sh("pgrep", "-x", "containerd").strip()


def is_same_run(before: Any, after: Any) -> bool:
    keys = ("containerID", "restartCount", "state", "ready", "started")
    return [before[key] for key in keys] == [after[key] for key in keys]


def ticks(node: Node) -> list[int]:
    return [int(line) for line in node.logs("tick").split()]


def goes_on(node: Node) -> bool:
    last = wait_until(lambda: ticks(node), 20, "what it wrote is there")[-1]
    return bool(wait_until(lambda: ticks(node)[-1] > last, 5, "it goes on ticking"))


def test_pods_live_on_when_kpy_is_killed(ticking: Node):
    before, pod_before = status(ticking), ticking.pod("tick")
    pid = containerd_pid(ticking)
    ticking.kill()
    ticking.start()
    assert containerd_pid(ticking) == pid
    assert goes_on(ticking)
    assert is_same_run(before, status(ticking))
    # A pod that was ready has been ready all along.
    assert ticking.pod("tick")["status"]["conditions"] == pod_before["status"]["conditions"]
    assert ticking.exec("tick", "echo", "hello") == "hello\n"


def test_pods_live_on_when_kpy_is_stopped(ticking: Node):
    before, pid = status(ticking), containerd_pid(ticking)
    assert ticking.stop() < 10
    ticking.start()
    assert containerd_pid(ticking) == pid
    assert goes_on(ticking)
    assert is_same_run(before, status(ticking))
    written = ticks(ticking)
    assert written == list(range(1, len(written) + 1))  # nothing was lost


def test_a_containerd_that_dies_is_started_again(ticking: Node):
    before, pid = status(ticking), containerd_pid(ticking)
    ticking.machine.sh("kill", "-9", pid)
    wait_until(lambda: containerd_pid(ticking) != pid, 10, "another containerd runs")
    wait_until(lambda: ticking.ctr("version"), 10, "it answers")
    assert goes_on(ticking)
    assert is_same_run(before, status(ticking))
    ticking.apply(make("after"))
    ticking.wait("after", "Running")
    ticking.delete("after")


def test_pods_live_on_when_both_are_killed(ticking: Node):
    before, pid = status(ticking), containerd_pid(ticking)
    ticking.kill()
    ticking.machine.sh("kill", "-9", pid)
    ticking.start()
    assert goes_on(ticking)
    assert is_same_run(before, status(ticking))


def test_a_log_goes_on_though_kpy_died_while_it_was_rotated(ticking: Node):
    uid = ticking.pod("tick")["metadata"]["uid"]
    (path,) = Path("/var/log/pods").glob(f"*_{uid}/c/0.log")
    ticking.kill()
    path.rename(f"{path}.20260131-080000")
    ticking.start()
    wait_until(path.exists, 30, "the log is there again")
    assert goes_on(ticking)


def test_what_ended_meanwhile_is_found(ticking: Node):
    folder = f"{ticking.folder}/signal"
    volume = {"name": "v", "hostPath": {"path": folder, "type": "DirectoryOrCreate"}}
    ticking.apply(
        make(
            "ends",
            "until [ -e /v/go ]; do sleep 0.1; done; exit 3",
            container={"volumeMounts": [{"name": "v", "mountPath": "/v"}]},
            volumes=[volume],
            restartPolicy="Never",
        )
    )
    ticking.wait("ends", "Running")
    ticking.kill()
    (Path(folder) / "go").touch()
    wait_until(lambda: "until [" not in ticking.machine.sh("ps", "-ef"), 5, "it has ended")
    ticking.start()
    ended = ticking.wait("ends", "Failed")["status"]["containerStatuses"][0]["state"]["terminated"]
    assert ended["exitCode"] == 3


def test_a_pod_that_was_deleted_meanwhile_is_removed(ticking: Node):
    ticking.apply(make("orphan"))
    pod = ticking.wait("orphan", "Running")
    uid = pod["metadata"]["uid"]
    container = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    ticking.stop()
    ticking.start("--disable-agent", ready=b"kubeconfig is")
    ticking.delete("orphan")
    assert "orphan" not in ticking.kubectl("get", "pods")
    ticking.kill()
    ticking.start()
    wait_until(lambda: container not in ticking.ctr("containers", "ls", "-q"), 20, "it is gone")
    pods = ticking.folder / "agent" / "kubelet" / "pods"
    wait_until(lambda: not (pods / uid).exists(), 5, "its files are gone")
    groups = ("find", "/sys/fs/cgroup", "-name", f"*{uid}*")
    wait_until(lambda: ticking.machine.sh(*groups) == "", 20, "its groups are gone")
    assert goes_on(ticking)


def test_containerd_ends_with_kpy_where_no_pod_is_left(node: Node):
    names = [p["metadata"]["name"] for p in node.pods()]
    for name in names:
        node.delete(name)
    wait_until(lambda: not node.ctr("containers", "ls", "-q"), 20, "all containers are gone")
    pid = containerd_pid(node)
    assert node.stop() < 10
    assert pid not in node.machine.sh("pgrep", "-x", "containerd", check=False).split()
    node.start()

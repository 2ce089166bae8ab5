"""Static pods on a real node: a file in a folder is a pod, and the cluster sees it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.node.conftest import Node, make
from tests.e2e.node.machine import wait_until

pytestmark = pytest.mark.e2e


def manifest(node: Node, script: str) -> Path:
    """Write the manifest of a pod, in one step as careful writers do."""
    pod = make("own", script)
    del pod["spec"]["nodeName"]
    path = node.folder / "agent" / "pod-manifests" / "own.yaml"
    beside = path.with_name(".own")
    beside.write_text(yaml.safe_dump(pod))
    return beside.rename(path)


def started(node: Node) -> Any:
    """Return when the container of the mirror has started; None while it does not run."""
    pods = [pod for pod in node.pods() if pod["metadata"]["name"] == "own-n1"]
    statuses = pods[0]["status"].get("containerStatuses", ()) if pods else ()
    running = [one["state"]["running"] for one in statuses if "running" in one["state"]]
    return running and (running[0]["startedAt"], pods[0]["metadata"]["uid"], statuses[0])


def test_a_file_is_a_pod_that_only_the_file_can_end(node: Node):
    path = manifest(node, "echo first; sleep 3600")
    began, uid, status = wait_until(lambda: started(node), 30, "the static pod runs")
    assert wait_until(lambda: node.logs("own-n1"), 10, "it has spoken") == "first\n"
    assert node.exec("own-n1", "echo", "inside") == "inside\n"

    node.kubectl("delete", "pod", "own-n1", "--wait=false")
    again = wait_until(
        lambda: (now := started(node)) and now[1] != uid and now, 30, "the mirror is there again"
    )
    assert again[2]["containerID"] == status["containerID"]

    node.kill()
    node.start()
    told = wait_until(lambda: started(node), 30, "the mirror is told of")
    assert told[0] == began, "a restart of kpy leaves it alone"

    manifest(node, "echo second; sleep 3600")
    changed = wait_until(
        lambda: (now := started(node)) and now[2]["containerID"] != status["containerID"] and now,
        30,
        "the changed manifest runs",
    )
    container = changed[2]["containerID"].removeprefix("containerd://")
    assert wait_until(lambda: node.logs("own-n1"), 10, "it has spoken") == "second\n"
    path.unlink()
    wait_until(lambda: not node.pods(), 30, "pod and mirror are gone")
    wait_until(
        lambda: container not in node.ctr("containers", "ls", "-q"), 30, "its container is gone"
    )

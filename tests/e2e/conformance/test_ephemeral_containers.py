"""Containers that are added to a running pod, with and without a terminal."""

import json
from typing import Any

import pytest

from tests.e2e.conformance.batch import IMAGE
from tests.e2e.conformance.net import Net, pod
from tests.e2e.node.machine import wait_until

pytestmark = pytest.mark.e2e


def state_of(net: Net, name: str) -> Any:
    """Return the state of an ephemeral container, empty while nothing is known of it."""
    statuses = net.get("pod", "a")["status"].get("ephemeralContainerStatuses", ())
    return next((one["state"] for one in statuses if one["name"] == name), {})


def look_into_a_terminal(net: Net) -> None:
    """Add a container with a terminal by the subresource, run a command in it, read its log."""
    found = net.get("pod", "a")
    added = {
        "name": "terminal",
        "image": IMAGE,
        "command": ["sh", "-c", "while true; do echo polo; sleep 1; done"],
        "stdin": True,
        "tty": True,
    }
    path = f"/api/v1/namespaces/{net.namespace}/pods/a/ephemeralcontainers"
    changed = {**found, "spec": {**found["spec"], "ephemeralContainers": [added]}}
    net.cluster.kubectl("replace", "--raw", path, "-f", "-", stdin=json.dumps(changed))
    assert net.get("pod", "a")["metadata"]["generation"] == 2
    wait_until(lambda: "running" in state_of(net, "terminal"), 60, "it runs")
    assert net.do("exec", "a", "-c", "terminal", "--", "echo", "marco") == "marco\n"
    wait_until(lambda: "polo" in net.do("logs", "a", "-c", "terminal"), 20, "it has spoken")


@pytest.mark.conformance(
    "Ephemeral Containers will start an ephemeral container in an existing pod",
    "Ephemeral Containers should update the ephemeral containers in an existing pod",
)
def test_ephemeral_containers_are_added_one_after_the_other(net: Net) -> None:
    net.make(pod("a"))
    look_into_a_terminal(net)
    for count, name in enumerate(("debugger", "debugger2"), 2):
        words = ("debug", "a", f"--image={IMAGE}", "-c", name, "--", "sh", "-c", "echo polo")
        net.do(*words)
        wait_until(lambda name=name: "terminated" in state_of(net, name), 60, f"{name} ends")
        assert len(net.get("pod", "a")["spec"]["ephemeralContainers"]) == count
        assert net.do("logs", "a", "-c", name) == "polo\n"

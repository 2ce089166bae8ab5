"""The end of a machine, told by SIGPWR as where there is no logind: pods end in order."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.node.conftest import Node, make
from tests.e2e.node.machine import Machine, says, wait_until

pytestmark = pytest.mark.e2e


@pytest.fixture
def ending_node(images: Path) -> Iterator[Node]:
    """Have a node that ends its pods before its machine goes down."""
    folder = Path(tempfile.mkdtemp(prefix="kpy-", dir="/tmp"))
    archives = folder / "agent" / "images"
    archives.mkdir(parents=True)
    for archive in images.glob("*.tar"):
        shutil.copy(archive, archives)
    machine = Machine("ending", folder, "192.168.78.1")
    try:
        made = Node(machine, folder)
        made.start("--shutdown-grace-period=40s", "--shutdown-grace-period-critical-pods=20s")
        yield made
    finally:
        machine.close()


def test_pods_end_in_order_and_say_why_when_the_machine_goes_down(ending_node: Node) -> None:
    node = ending_node
    namespace = {"metadata": {"namespace": "kube-system"}}
    critical = make("critical", priorityClassName="system-node-critical")
    critical["metadata"] |= namespace["metadata"]
    node.apply(make("plain", "trap 'exit 0' TERM; sleep 3600 & wait"), critical)
    ready = ("--for=condition=Ready", "--timeout=120s")
    node.kubectl("wait", "pod/plain", *ready)
    node.kubectl("wait", "pod/critical", "-n", "kube-system", *ready)
    node.machine.sh("kill", "-PWR", node.pid())
    plain = node.wait("plain", "Failed", 60)
    assert plain["status"]["reason"] == "Terminated"
    message = "Pod was terminated in response to imminent node shutdown."
    assert plain["status"]["message"] == message
    conditions = {one["type"]: one for one in plain["status"]["conditions"]}
    assert conditions["DisruptionTarget"]["reason"] == "TerminationByKubelet"
    told = ("get", "node", "n1", "-o", "jsonpath={.status.conditions[*].message}")
    says(lambda: node.kubectl(*told), "node is shutting down")

    def ended() -> bool:
        path = "jsonpath={.status.phase}"
        return node.kubectl("get", "pod", "critical", "-n", "kube-system", "-o", path) == "Failed"

    wait_until(ended, 60, "the critical pod has ended too")
    node.apply(make("late"))
    refused = node.wait("late", "Failed", 60)
    assert refused["status"]["reason"] == "NodeShutdown"
    assert refused["status"]["message"] == "Pod was rejected as the node is shutting down."

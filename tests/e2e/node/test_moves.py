"""A machine that gets another address: the node follows it, and its pods do not notice."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.node.conftest import Node, make
from tests.e2e.node.machine import Machine, ProgramError, wait_until

pytestmark = pytest.mark.e2e
BEFORE, AFTER = "192.168.79.1", "192.168.80.7"


class WanderingNode(Node):
    """A node that finds its address by itself."""

    def line(self, *more: str) -> list[str]:
        line = super().line(*more)
        at = line.index("--node-ip")
        return line[:at] + line[at + 2 :]


@pytest.fixture
def wandering(images: Path) -> Iterator[Node]:
    folder = Path(tempfile.mkdtemp(prefix="kpy-", dir="/tmp"))
    archives = folder / "agent" / "images"
    archives.mkdir(parents=True)
    for archive in images.glob("*.tar"):
        shutil.copy(archive, archives)
    machine = Machine("wandering", folder, BEFORE)
    try:
        made = WanderingNode(machine, folder)
        made.start()
        yield made
    finally:
        machine.close()


def address_of(node: Node) -> str:
    addresses: list[dict[str, Any]] = node.get("node", "n1")["status"]["addresses"]
    return next(str(one["address"]) for one in addresses if one["type"] == "InternalIP")


def test_a_node_follows_the_address_of_its_machine(wandering: Node) -> None:
    node = wandering
    assert address_of(node) == BEFORE
    node.apply(make("plain"), make("on-the-node", hostNetwork=True))
    node.kubectl("wait", "pod", "--all", "--for=condition=Ready", "--timeout=120s")
    before = {pod["metadata"]["name"]: pod for pod in node.pods()}
    node.machine.sh("ip", "address", "add", f"{AFTER}/24", "dev", "uplink")
    node.machine.sh("ip", "address", "del", f"{BEFORE}/24", "dev", "uplink")
    wait_until(lambda: address_of(node) == AFTER, 60, "the node tells its new address")

    def told() -> Any:
        pods = {pod["metadata"]["name"]: pod["status"] for pod in node.pods()}
        same = {status.get("hostIP") for status in pods.values()} == {AFTER}
        return pods if same and pods["on-the-node"]["podIP"] == AFTER else None

    after = wait_until(told, 60, "the pods tell it too")
    for name, pod in before.items():
        (was,), (now,) = pod["status"]["containerStatuses"], after[name]["containerStatuses"]
        assert now["containerID"] == was["containerID"]
    node.kubectl("wait", "node/n1", "--for=condition=Ready", "--timeout=120s")
    node.apply(make("late"))
    node.kubectl("wait", "pod/late", "--for=condition=Ready", "--timeout=120s")

    def reached() -> bool:
        with contextlib.suppress(ProgramError):  # until the server has a certificate for it
            return node.exec("late", "echo", "hello").strip() == "hello"
        return False

    wait_until(reached, 60, "the kubelet is reached at the new address")
    (led,) = node.get("endpoints", "kubernetes")["subsets"]
    assert [one["ip"] for one in led["addresses"]] == [AFTER]
    answer = node.exec("late", "nc", "-w", "5", "10.43.0.1", "443", "-e", "true")
    assert answer == ""  # it was connected: else nc fails

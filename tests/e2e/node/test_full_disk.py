"""The disk under the data folder fills up: pods go, kpy stays, and all is well when there is room.

The disk is a small file system in memory, mounted in the machine alone; what kpy prints lies
outside of it, under the mount.
"""

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.node.conftest import Node, make
from tests.e2e.node.machine import Machine, ProgramError, wait_until

pytestmark = pytest.mark.e2e
SECONDS = 180.0
FLAGS = (
    "--eviction-hard=nodefs.available<20%",
    "--eviction-pressure-transition-period=20s",
    "--image-gc-high-threshold=100",
)


@pytest.fixture(scope="module")
def small(images: Path) -> Iterator[Node]:
    """Have a node whose disk holds little."""
    folder = Path(tempfile.mkdtemp(prefix="kpy-", dir="/tmp"))
    machine = Machine("small", folder)
    try:
        machine.sh("mount", "-t", "tmpfs", "-o", "size=200m,mode=700", "tmpfs", str(folder))
        archives = folder / "agent" / "images"
        machine.sh("mkdir", "-p", str(archives))
        inside = Path(f"/proc/{machine.pid}/root")
        for archive in images.glob("*.tar"):
            shutil.copy(archive, inside / archives.relative_to("/"))
        made = Node(machine, folder)
        made.start(*FLAGS)
        yield made
    finally:
        machine.close()


def fill(node: Node, name: str = "fill") -> None:
    """Write until the disk is full."""
    node.machine.sh("dd", "if=/dev/zero", f"of={node.folder / name}", "bs=1M", check=False)


def has_disk_pressure(node: Node) -> str:
    conditions = node.get("node", "n1")["status"]["conditions"]
    return str(next(c["status"] for c in conditions if c["type"] == "DiskPressure"))


def test_who_fills_the_disk_is_evicted_and_nobody_else(small: Node) -> None:
    small.apply(make("modest"))
    small.wait("modest", "Running")
    volume: dict[str, Any] = {"mountPath": "/scratch", "name": "scratch"}
    small.apply(
        make(
            "greedy",
            "cat /dev/zero >/scratch/a; sleep 3600",
            container={"volumeMounts": [volume]},
            volumes=[{"name": "scratch", "emptyDir": {}}],
        )
    )
    status = small.wait("greedy", "Failed", SECONDS)["status"]
    assert status["reason"] == "Evicted"
    assert status["message"].startswith("The node was low on resource: ephemeral-storage. ")
    wait_until(
        lambda: any("NodeHasDiskPressure" in one for one in small.events("n1")), SECONDS, "an event"
    )
    wait_until(lambda: has_disk_pressure(small) == "False", 120, "the disk has room again")
    assert small.pod("modest")["status"]["phase"] == "Running"
    assert small.pod("modest")["status"]["containerStatuses"][0]["restartCount"] == 0


def test_a_full_disk_is_told_of_and_ends_nothing_that_runs_and_kpy_starts_on_it(
    small: Node,
) -> None:
    before = small.pid(), small.machine.sh("pgrep", "-x", "containerd")
    fill(small)
    try:
        numbers = itertools.count()
        refused = wait_until(lambda: refusal(small, next(numbers)), SECONDS, "a write is refused")
        assert "database or disk is full" in refused
        assert "modest" in small.kubectl("get", "pods")
        noticed = len(said(small).split("node is short of"))
        wait_until(
            lambda: len(said(small).split("node is short of")) > noticed, SECONDS, "it is noticed"
        )
        assert (small.pid(), small.machine.sh("pgrep", "-x", "containerd")) == before
        small.kill()
        fill(small, "more")  # what was evicted has made a little room
        small.start(*FLAGS)
        assert small.machine.sh("pgrep", "-x", "containerd") == before[1]
    finally:
        small.machine.sh("rm", "-f", str(small.folder / "fill"), str(small.folder / "more"))
    wait_until(lambda: small.kubectl("create", "configmap", "one"), SECONDS, "a write is taken")
    wait_until(lambda: has_disk_pressure(small) == "False", 120, "the disk has room again")
    small.apply(make("after"))
    small.wait("after", "Running", SECONDS)


def refusal(node: Node, number: int) -> str:
    """Write something large; return why it was refused, "" where it was not."""
    try:
        node.kubectl("create", "configmap", f"large-{number}", f"--from-literal=a={'x' * 100_000}")
    except ProgramError as error:
        return str(error)
    return ""


def said(node: Node) -> str:
    return node.log.read_text()

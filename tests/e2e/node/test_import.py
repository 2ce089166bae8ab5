"""A start that is cut short while it imports images goes on where it was, whoever was killed."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.node.conftest import Node, make
from tests.e2e.node.machine import Machine, says, wait_until

pytestmark = pytest.mark.e2e
RUNS = "containerd runs with pid"


@pytest.fixture
def fresh(images: Path) -> Iterator[Node]:
    """Have a machine on which kpy was never started, with images beside it."""
    folder = Path(tempfile.mkdtemp(prefix="kpy-", dir="/tmp"))
    archives = folder / "agent" / "images"
    archives.mkdir(parents=True)
    for archive in images.glob("*.tar"):
        shutil.copy(archive, archives)
    machine = Machine("fresh", folder)
    try:
        yield Node(machine, folder)
    finally:
        machine.close()


def begin(node: Node) -> "subprocess.Popen[bytes]":
    """Start kpy; return when containerd runs and the import begins."""
    before = node.log.stat().st_size if node.log.exists() else 0
    program = node.machine.start(node.line(), node.log)

    def begun() -> bool:
        said = node.log.read_bytes()[before:]
        assert program.poll() is None, said.decode()
        return RUNS.encode() in said

    wait_until(begun, 60, RUNS)
    return program


def test_an_import_that_was_cut_short_is_done_by_the_next_start(fresh: Node) -> None:
    program = begin(fresh)
    fresh.machine.sh("pkill", "-9", "-x", "containerd", check=False)
    fresh.machine.sh("kill", "-9", fresh.pid())
    program.wait(120)
    fresh.program = begin(fresh)
    fresh.machine.sh("pkill", "-9", "-x", "containerd", check=False)
    says(fresh.log.read_text, "node n1 is ready")
    fresh.apply(make("here", container={"imagePullPolicy": "Never"}))
    fresh.wait("here", "Running", 60)

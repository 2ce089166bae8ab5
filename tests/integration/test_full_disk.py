"""A server whose disk is full starts: it serves what there is and refuses what it cannot keep.

No file may grow while it runs, by a limit of the kernel: that is a disk without any room, for root
too.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.program import Server


class Cramped(Server):
    """A server that cannot write a byte to any file."""

    cramped = False

    def line(self, *flags: str) -> list[str]:
        before = ["prlimit", "--fsize=0", "--"] if self.cramped else []
        return [*before, *super().line(*flags)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Cramped]:
    made = Cramped(tmp_path, "--disable-controller-manager", "--disable-scheduler")
    made.log = Path("/dev/null")
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait()


def test_a_server_whose_disk_is_full_starts_and_serves_reads(server: Cramped) -> None:
    server.start()
    server.kubectl("create", "configmap", "kept")
    server.stop()
    server.cramped = True
    server.start()
    assert "kept" in server.kubectl("get", "configmaps", "-o", "name")
    assert "the datastore refused the write" in server.refused("create", "configmap", "more")

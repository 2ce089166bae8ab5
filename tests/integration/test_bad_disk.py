"""A server whose disk fails, turns read-only or is slow: it says so, serves reads, and goes on."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.datastore.proof import power
from tests.program import Server


class OnBadDisk(Server):
    """A server whose datastore lies on a disk with the faults that a test gives it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "--disable-controller-manager", "--disable-scheduler")
        self.faults = folder / "faults"
        power.set_faults(self.faults)
        watched = folder / "data/server/db"
        self.environment = power.environment(
            power.build(folder), watched, folder / "journal", self.faults
        )

    def line(self, *flags: str) -> list[str]:
        named = [f"{name}={value}" for name, value in self.environment.items()]
        return ["env", *named, *super().line(*flags)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OnBadDisk]:
    made = OnBadDisk(tmp_path)
    try:
        made.start()
        made.kubectl("create", "configmap", "kept")
        yield made
    finally:
        if made.process is not None and made.process.poll() is None:
            made.process.kill()
            made.process.wait()


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        ({"write_error": errno.EIO}, "disk I/O error"),
        ({"write_error": errno.EROFS}, "disk I/O error"),
        ({"write_error": errno.ENOSPC}, "full"),
        ({"sync_error": errno.EIO}, "disk I/O error"),
    ],
)
def test_writes_are_refused_while_the_disk_fails(
    server: OnBadDisk, faults: dict[str, int], words: str
) -> None:
    power.set_faults(server.faults, **faults)
    told = server.refused("create", "configmap", "more")
    assert "the datastore refused the write" in told
    assert words in told
    assert "kept" in server.kubectl("get", "configmaps", "-o", "name")
    metrics = server.kubectl("get", "--raw", "/metrics")
    assert 'etcd_request_errors_total{operation="create",type="configmaps"}' in metrics
    power.set_faults(server.faults)
    server.kubectl("create", "configmap", "more")
    assert server.stop()[0] == 0


def test_a_disk_that_is_slow_is_told_of(server: OnBadDisk) -> None:
    power.set_faults(server.faults, sync_milliseconds=1200)
    server.kubectl("create", "configmap", "late")
    power.set_faults(server.faults)
    assert "late" in server.kubectl("get", "configmaps", "-o", "name")
    assert "the datastore is slow" in server.log.read_text()

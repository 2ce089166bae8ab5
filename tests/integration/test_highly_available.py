"""Three servers as programs, each with a member of etcd: any one of them may die."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.program import Server

WAIT_SECONDS = 120.0
"""The others go on within 3 s; the rest is for a machine with other things to do."""


class Machine(Server):
    """A server with its member of etcd, which can be lost together."""

    def __init__(self, folder: Path, number: int, *flags: str) -> None:
        folder.mkdir()
        super().__init__(
            folder,
            f"--advertise-address=192.0.2.{number}",
            f"--etcd-client-port={free_port()}",
            f"--etcd-peer-port={free_port()}",
            *flags,
        )
        self.members = folder / "data/server/db/etcd"

    def lose(self) -> None:
        """End everything on the machine at once."""
        pid = self.members / "etcd.pid"
        if self.process is not None and self.process.poll() is None:
            self.stop(signal.SIGKILL)
        if pid.exists() and is_etcd(int(pid.read_text()), self.members):
            os.kill(int(pid.read_text()), signal.SIGKILL)

    def has(self, name: str) -> bool:
        done = self._kubectl("get", "namespace", name, "-o", "name")
        return done.returncode == 0

    def make(self, name: str) -> bool:
        """Tell whether a namespace is there; an attempt that failed may have made it."""
        done = self._kubectl("create", "namespace", name)
        return done.returncode == 0 or "AlreadyExists" in done.stderr

    def told(self) -> str:
        return self.log.read_text()[-4000:]


def is_etcd(pid: int, folder: Path) -> bool:
    try:
        return os.fsencode(folder) in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def wait_for(true: Callable[[], bool], what: Callable[[], str]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not true():
        assert time.monotonic() < deadline, what()
        time.sleep(0.1)


@pytest.fixture
def three(tmp_path: Path) -> Iterator[tuple[Machine, Machine, Machine]]:
    first = Machine(tmp_path / "1", 1, "--cluster-init")
    machines = [first]
    try:
        first.start()
        token = first.kpy("token").strip()
        for number in (2, 3):
            join = (f"--server=https://127.0.0.1:{first.port}", f"--token={token}")
            machines.append(Machine(tmp_path / str(number), number, *join))
            machines[-1].start()
        yield machines[0], machines[1], machines[2]
    finally:
        for machine in machines:
            machine.lose()


def test_two_of_three_servers_go_on_and_the_lost_one_comes_back(
    three: tuple[Machine, Machine, Machine],
) -> None:
    first, second, third = three
    wait_for(lambda: first.make("before"), first.told)
    wait_for(lambda: second.has("before"), second.told)
    wait_for(lambda: third.has("before"), third.told)
    first.lose()
    wait_for(lambda: second.make("during"), second.told)
    wait_for(lambda: third.has("during"), third.told)
    first.start()
    wait_for(lambda: first.has("during"), first.told)
    # Without most of the members nothing is promised, and that is said.
    second.lose()
    third.lose()
    refused = first.refused("get", "namespaces", "--request-timeout=30s")
    assert "unavailable" in refused.lower() or "timeout" in refused.lower(), refused
    assert first.process is not None
    assert first.process.poll() is None
    second.start()
    wait_for(lambda: first.has("during"), first.told)
    wait_for(lambda: first.make("after"), first.told)
    wait_for(lambda: second.has("after"), second.told)

"""Machines that each have a server and its member of etcd, as programs on loopback."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from minikube_py.lib.pids import find_processes
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
        if self.process is not None and self.process.poll() is None:
            self.stop(signal.SIGKILL)
        for pid in find_processes(f"--data-dir={self.members / 'data'}"):
            os.kill(pid, signal.SIGKILL)

    def has(self, name: str) -> bool:
        """Tell whether there is a namespace."""
        done = self._kubectl("get", "namespace", name, "-o", "name")
        return done.returncode == 0

    def make(self, name: str) -> bool:
        """Tell whether a namespace is there; an attempt that failed may have made it."""
        done = self._kubectl("create", "namespace", name)
        return done.returncode == 0 or "AlreadyExists" in done.stderr

    def told(self) -> str:
        """Return what the server printed last."""
        return self.log.read_text()[-4000:]


def wait_for(true: Callable[[], bool], what: Callable[[], str]) -> None:
    """Return once something is true."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not true():
        assert time.monotonic() < deadline, what()
        time.sleep(0.1)

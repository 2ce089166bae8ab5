"""Members of real etcd that a test session starts for itself, on ports of the loopback."""

import contextlib
import itertools
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from minikube_py.datastore.etcd.connection import Connection, EtcdError
from minikube_py.datastore.etcd.endpoint import etcd_endpoint
from tests.datastore.servers import await_stopped
from tests.ports import free_port

START_SECONDS = 60.0
QUICK = ("--heartbeat-interval=10", "--election-timeout=100")
"""A member that is alone elects itself; there is nobody to wait for."""
LEASES = range(1, 31)
_names = itertools.count(1)


class Member:
    """One member; `start` it, `kill` it, start it again."""

    def __init__(self, folder: Path, tls: Sequence[str] = ()) -> None:
        self.name = f"m{next(_names)}"
        self.folder = folder / self.name
        self.folder.mkdir()
        self.secure = bool(tls)
        self.port, self.peer_port = free_port(), free_port()
        self.client = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.peer = f"http://127.0.0.1:{self.peer_port}"
        self._options = tls
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, cluster: str = "", *options: str) -> None:
        """Start the member and wait until it answers (a cluster's first may wait for others)."""
        command = [
            "etcd",
            f"--name={self.name}",
            f"--data-dir={self.folder / 'data'}",
            f"--listen-client-urls={self.client}",
            f"--advertise-client-urls={self.client}",
            f"--listen-peer-urls={self.peer}",
            f"--initial-advertise-peer-urls={self.peer}",
            f"--initial-cluster={cluster or f'{self.name}={self.peer}'}",
            *self._options,
            *options,
        ]
        with (self.folder / "log").open("ab") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output)

    def wait(self) -> None:
        """Return once it has a leader and takes writes."""
        until = time.monotonic() + START_SECONDS
        while self.ctl("put", "\x7fready", "", seconds=2).returncode != 0:
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > until:
                raise AssertionError((self.folder / "log").read_text()[-2000:])

    def ctl(self, *words: str, seconds: int = 30) -> subprocess.CompletedProcess[str]:
        """Run etcdctl against this member; it gives up after so long."""
        dial = f"--dial-timeout={seconds // 2}s"
        command = ["etcdctl", f"--endpoints={self.client}", dial]
        command += self._client_options()
        return subprocess.run(
            [*command, f"--command-timeout={seconds}s", *words],
            env={"ETCDCTL_API": "3", "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )

    def _client_options(self) -> Sequence[str]:
        if not self.secure:
            return ()
        given = dict(option.lstrip("-").split("=", 1) for option in self._options if "=" in option)
        return (
            f"--cacert={given['trusted-ca-file']}",
            f"--cert={given['cert-file']}",
            f"--key={given['key-file']}",
        )

    def endpoint(self) -> str:
        """Return the endpoint of a store that nothing is in."""
        self.empty()
        return self.client

    async def grant(self) -> None:
        """Make leases of known numbers, which tests may give to keys; etcdctl cannot choose."""
        connection = Connection(etcd_endpoint(self.client))
        for lease in LEASES:
            with contextlib.suppress(EtcdError):  # it is there
                await connection.call("Lease", "LeaseGrant", {"ID": lease, "TTL": 10_000})
        await connection.close()

    def kill(self) -> None:
        """End it as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def runs(self) -> bool:
        """Tell whether it has not ended."""
        return self._process is not None and self._process.poll() is None

    def stop(self, *, going_on: bool = False) -> None:
        """Make it stand still, or go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT if going_on else signal.SIGSTOP)
        if not going_on:
            await_stopped(self._process.pid)

    def empty(self) -> int:
        """Remove every key; return the revision after that."""
        made = self.ctl("del", "", "--prefix", "-w", "json")
        assert made.returncode == 0, made.stderr
        return int(made.stdout.partition('"revision":')[2].partition(",")[0])


@contextmanager
def etcd(tls: Sequence[str] = ()) -> Iterator[Member]:
    """Run one member."""
    folder = Path(tempfile.mkdtemp(prefix="kpy-etcd-"))
    member = Member(folder, tls)
    try:
        member.start("", *QUICK)
        member.wait()
        yield member
    finally:
        member.kill()
        shutil.rmtree(folder)


@contextmanager
def cluster(folder: Path, *flags: str) -> Iterator[Sequence[Member]]:
    """Have three members that are one cluster."""
    members = [Member(folder) for _ in range(3)]
    peers = ",".join(f"{one.name}={one.peer}" for one in members)
    try:
        for one in members:
            one.start(peers, *flags)
        members[0].wait()
        yield members
    finally:
        for one in members:
            one.kill()

"""Real database servers that a test session starts for itself, reached through a socket file.

Each has its own folder and listens on no port. They do not sync to disk unless asked to: what the
suite checks of durability is done where the server is killed, not the machine.
"""

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

START_SECONDS = 60.0
UNPRIVILEGED = "nobody"
"""PostgreSQL refuses to run as root."""
_numbers = itertools.count(1)


class Server:
    """A database server; every test has a database of its own in it."""

    def __init__(self, folder: Path, command: Sequence[object], user: str, socket: str) -> None:
        self.folder = folder
        self._command = [str(word) for word in command]
        self._user = user
        self._socket = folder / socket
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""
        self.create: tuple[str, ...] = ()

    def endpoint(self) -> str:
        """Return the endpoint of a database that nothing is in."""
        name = f"kpy_{os.getpid()}_{next(_numbers)}"
        words = [word.format(name=name) for word in self.create]
        until = time.monotonic() + START_SECONDS
        while (done := _run(words)).returncode:  # it listens before it is there
            assert time.monotonic() < until, done.stderr.decode()
            time.sleep(0.05)
        return self.url.format(name=name)

    def start(self) -> None:
        """Start the server and wait until it listens."""
        self._socket.unlink(missing_ok=True)
        log = self.folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command, stdout=output, stderr=output, user=self._user, cwd=self.folder
            )
        until = time.monotonic() + START_SECONDS
        while not self._socket.exists():
            if self._process.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"{self._command}: {log.read_text()[-2000:]}")
            time.sleep(0.02)

    def kill(self) -> None:
        """End the server as a power cut ends it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @property
    def pid(self) -> int | None:
        """Return the number of the process while it runs."""
        return self._process.pid if self._process is not None else None


def _run(words: Sequence[str]) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(words, check=False, capture_output=True, timeout=START_SECONDS)


def stop_all(server: Server, signalled: signal.Signals) -> None:
    """Signal the server and the processes that it made, one for each connection."""
    assert server.pid is not None
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    pids = (server.pid, *map(int, children))
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # its connection has just ended
            os.kill(pid, signalled)
    if signalled is signal.SIGSTOP:
        for pid in pids:
            await_stopped(pid)


def await_stopped(pid: int) -> None:
    """Return once every thread of a process stands still; some of them go on for a moment."""
    until = time.monotonic() + START_SECONDS
    while not set(_states(pid)) <= set("TtZX"):
        assert time.monotonic() < until
        time.sleep(0.001)


def _states(pid: int) -> Iterator[str]:
    for thread in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            yield thread.read_text().rpartition(")")[2].split()[0]


@contextmanager
def postgres(*options: str) -> Iterator[Server]:
    """Run PostgreSQL."""
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"))
    with _folder(UNPRIVILEGED) as folder:
        data = folder / "data"
        init = [programs / "initdb", "--pgdata", data, "--auth=trust", "--no-sync", "-U", "kpy"]
        subprocess.run(init, check=True, capture_output=True, user=UNPRIVILEGED, cwd=folder)
        settings = ("listen_addresses=", f"unix_socket_directories={folder}", "fsync=off", *options)
        command = [programs / "postgres", "-D", data, *(f"-c{one}" for one in settings)]
        server = Server(folder, command, UNPRIVILEGED, ".s.PGSQL.5432")
        connect = ("psql", "-h", str(folder), "-U", "kpy", "-d", "template1", "-qc")
        server.create = (*connect, "CREATE DATABASE {name}")
        server.url = f"postgres://kpy@/{{name}}?host={folder}"
        yield from _running(server)


@contextmanager
def mariadb(*options: str) -> Iterator[Server]:
    """Run MariaDB."""
    with _folder("root") as folder:
        base = ("--no-defaults", f"--datadir={folder / 'data'}", "--user=root")
        login = "--auth-root-authentication-method=normal"
        init = ["mariadb-install-db", *base, login, "--skip-test-db"]
        subprocess.run(init, check=True, capture_output=True, cwd=folder)
        socket = folder / "my.sock"
        quick = ("--skip-networking", "--innodb-flush-method=nosync", *options)
        command = ["mariadbd", *base, f"--socket={socket}", *quick]
        server = Server(folder, command, "root", "my.sock")
        connect = ("mariadb", "--no-defaults", f"--socket={socket}", "-uroot", "-e")
        server.create = (*connect, "CREATE DATABASE {name}")
        server.url = f"mysql://root@unix({socket})/{{name}}"
        yield from _running(server)


def _running(server: Server) -> Iterator[Server]:
    try:
        server.start()
        yield server
    finally:
        server.kill()


@contextmanager
def _folder(owner: str) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="kpy-database-"))
    try:
        shutil.chown(folder, owner)
        yield folder
    finally:
        shutil.rmtree(folder)

"""A machine of its own inside this one: namespaces and cgroups in which a real node can run.

Everything ends with the first process of the namespaces: pods, mounts, addresses. What stays are
the empty cgroup folders, which `close` removes.
"""

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from tests.e2e import logs

HERE = Path(__file__).resolve().parent
CGROUPS = Path("/sys/fs/cgroup")
CONTROLLERS = (
    "cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd"
)  # fmt: skip
NAMESPACES = ("--net", "--mount", "--uts", "--ipc", "--pid", "--cgroup")
CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)
PATIENCE_SECONDS = 120.0
"""What has not come by then on the busiest machine does not come."""


class ProgramError(AssertionError):
    """A program that a test ran failed; the message says what it printed."""


class Machine:
    """Namespaces with one address; programs run inside by `start` and `sh`."""

    def __init__(self, name: str, folder: Path, address: str = "192.168.77.1") -> None:
        self.name = name
        self.address = address
        self.folder = folder
        self._group = f"kpy-{name}-{uuid.uuid4().hex[:6]}"
        self._started: list[subprocess.Popen[bytes]] = []
        self._logs: set[Path] = set()
        self.boot()

    def boot(self) -> None:
        """Begin to be a machine: at first, and again after a `crash`."""
        self._make_groups()
        address = f"{self.address}/24" if self.address else "none"
        self._process = subprocess.Popen(
            self._in_groups(
                ["unshare", *NAMESPACES, "--fork", "--kill-child", "--propagation", "private",
                 "bash", str(HERE / "node-init.sh"), self.name, address, str(self.folder)]
            ),
            stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        self.pid = int(children.read_text().split()[0])

    def _make_groups(self) -> None:
        for controller in CONTROLLERS:
            (CGROUPS / controller / self._group).mkdir()
        for name in ("cpuset.cpus", "cpuset.mems"):
            root = CGROUPS / "cpuset"
            (root / self._group / name).write_text((root / name).read_text())

    def _in_groups(self, command: Sequence[str]) -> list[str]:
        """Return a command that enters the groups and then becomes the given one."""
        groups = [str(CGROUPS / c / self._group / "cgroup.procs") for c in CONTROLLERS]
        enter = f'for g in {" ".join(groups)}; do echo $$ > "$g"; done; exec "$@"'
        return ["sh", "-c", enter, "sh", *command]

    def inside(self, command: Sequence[str]) -> list[str]:
        """Return the command line that runs a program inside.

        The program is a child of nsenter's, and ends with it: who kills the process that he has
        started, because its time is over, has killed the program and waits for no output of it.
        """
        enter = ["nsenter", "--all", "--target", str(self.pid), "--"]
        return [*enter, "setpriv", "--pdeathsig", "KILL", *command]

    def start(self, command: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
        """Start a program inside; it ends with the machine at the latest."""
        with log.open("ab") as output:
            process = subprocess.Popen(
                self._in_groups(self.inside(command)),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self._started.append(process)
        self._logs.add(log)
        logs.follow(log)
        return process

    def sh(self, *command: str, timeout: float = 120, check: bool = True) -> str:
        """Run a program inside and return what it prints; it must succeed where `check` is set."""
        done = subprocess.run(
            self.inside(command), check=False, capture_output=True, text=True, timeout=timeout
        )
        if check and done.returncode != 0:
            raise ProgramError(f"{command}: {done.stdout}{done.stderr}")
        return done.stdout

    def run(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Run a coroutine function in an event loop of its own, in the machine's network."""
        future: Future[Any] = Future()

        async def main() -> Any:
            try:
                return await work()
            finally:
                await _all_closed()

        def enter() -> None:
            try:
                handle = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)
                assert libc.setns(handle, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
                os.close(handle)
                future.set_result(asyncio.run(main()))
            except BaseException as error:  # noqa: BLE001 -- raised again in the test's thread
                future.set_exception(error)

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        return future.result()

    def crash(self) -> None:
        """End everything inside at once, as a power cut does; what is on disk stays."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        for process in self._started:
            process.wait()
        self._started.clear()
        with contextlib.suppress(AttributeError):
            self._process.stdout.close()  # type: ignore[union-attr]
        for controller in CONTROLLERS:
            _remove_group(CGROUPS / controller / self._group)
        _remove_group(CGROUPS / "unified" / self._group)

    def close(self) -> None:
        """End everything inside, and remove what it had on disk."""
        self.crash()
        logs.forget(self._logs)
        shutil.rmtree(self.folder, ignore_errors=True)


async def _all_closed() -> None:
    """Wait until connections that were closed are gone: those with TLS say goodbye first."""
    open_files = asyncio.get_running_loop()._selector.get_map()  # type: ignore[attr-defined]
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(10):
            while len(open_files) > 1:  # noqa: ASYNC110 -- one is the own of the loop
                await asyncio.sleep(0.01)


def _remove_group(folder: Path) -> None:
    """Remove a cgroup with all below; the kernel needs a moment after the last process."""
    for path, _, _ in os.walk(folder, topdown=False):
        for _ in range(100):
            try:
                Path(path).rmdir()
            except OSError:
                time.sleep(0.02)
            else:
                break


def says(say: Callable[[], str], *wanted: str) -> str:
    """Wait until all of some words are in what is said, and return it."""
    last = ""

    def true() -> bool:
        nonlocal last
        last = say()
        return all(words in last for words in wanted)

    wait_until(true, PATIENCE_SECONDS, lambda: f"{wanted} is said, but only: {last}")
    return last


def wait_until(true: Callable[[], Any], seconds: float, what: str | Callable[[], str]) -> Any:
    """Return the first true result; fail with `what` when none came in time.

    A bound is for what never comes: it may be raised to `PATIENCE_SECONDS`, because a machine may
    be slow. Programs that fail and things that are not there are asked for again; of the last
    such error is told, and `what` may be a function that tells what was seen last.
    """
    bound = max(seconds, PATIENCE_SECONDS)
    deadline = time.monotonic() + bound
    while True:
        failure = ""
        try:
            if result := true():
                return result
        except (ProgramError, LookupError, FileNotFoundError, subprocess.TimeoutExpired) as error:
            failure = f"; at last: {error!r}"
        if time.monotonic() >= deadline:
            told = what if isinstance(what, str) else what()
            raise AssertionError(f"not within {bound:g} s: {told}{failure}")
        time.sleep(0.05)

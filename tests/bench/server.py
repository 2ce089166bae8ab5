"""A server process of its own in an empty folder, and what /proc says of it.

KPY_BENCH_SERVER is the command that takes the flags of `kpy server`, where it is another build.
"""

import asyncio
import base64
import contextlib
import os
import signal
import ssl
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.ports import free_port

COMMAND = "KPY_BENCH_SERVER"
START_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 15.0
QUIET_SHARE = 0.05
"""Who uses less of a core has nothing left to do but what comes by the clock."""
QUIET_SLICE_SECONDS, QUIET_SLICES, QUIET_SLICES_MAX = 5.0, 4, 24
"""So many slices in a row are to be quiet, of so many at most."""


@dataclass(frozen=True)
class Server:
    """A running server."""

    pids: tuple[int, ...]
    """The processes that serve: what they use is counted together."""
    port: int
    tls: ssl.SSLContext | None
    """Trusts the server and carries the administrator's certificate."""
    ready_seconds: float
    """From the start of the process to the first `ok` of /readyz."""
    blocking: Path | None = None
    """Where `tests.bench.blocking` writes what held the loop, if it runs there."""

    def cpu_seconds(self) -> float:
        """Return the CPU time that all threads have used."""
        tasks = (task for pid in self.pids for task in Path(f"/proc/{pid}/task").iterdir())
        stats = ((task / "schedstat").read_text() for task in tasks)
        return sum(int(stat.split()[0]) for stat in stats) / 1e9

    async def quiet(self) -> bool:
        """Wait until what was asked of it is done; tell whether it came to rest in two minutes."""
        calm, before = 0, self.cpu_seconds()
        for _ in range(QUIET_SLICES_MAX):
            await asyncio.sleep(QUIET_SLICE_SECONDS)
            used, before = self.cpu_seconds() - before, self.cpu_seconds()
            calm = calm + 1 if used / QUIET_SLICE_SECONDS <= QUIET_SHARE else 0
            if calm == QUIET_SLICES:
                return True
        return False

    def rss_megabytes(self) -> float:
        """Return the resident memory."""
        return sum(_megabytes(pid, "VmRSS") for pid in self.pids)

    def peak_megabytes(self) -> float:
        """Return the most memory that was resident since the start or `forget_peak`."""
        return sum(_megabytes(pid, "VmHWM") for pid in self.pids)

    def forget_peak(self) -> None:
        """Begin to look for the peak anew; see proc(5), clear_refs."""
        for pid in self.pids:
            Path(f"/proc/{pid}/clear_refs").write_text("5")


def _megabytes(pid: int, what: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    line = next(line for line in status if line.startswith(f"{what}:"))
    return int(line.split()[1]) / 1024


@asynccontextmanager
async def running(*flags: str, folder: str = "") -> AsyncIterator[Server]:
    """Start `kpy server` without an agent, and stop it at the end; what it keeps goes with it.

    A folder that is given stays, for another server to go on with.
    """
    with contextlib.ExitStack() as stack:
        folder = folder or stack.enter_context(tempfile.TemporaryDirectory(prefix="kpy-bench-"))
        kubeconfig = Path(folder, "kubeconfig")
        port = free_port()
        command = _command(folder, kubeconfig, port, flags)
        started = time.perf_counter()
        log = Path(folder, "log")
        with log.open("wb") as output:  # noqa: ASYNC230 -- before anything runs
            process = await asyncio.create_subprocess_exec(*command, stdout=output, stderr=output)
        try:

            def credentials() -> ssl.SSLContext | None:
                return _tls(kubeconfig) if kubeconfig.exists() else None

            tls = await until_ready(process, credentials, port, log)
            ready_seconds = time.perf_counter() - started
            yield Server((process.pid,), port, tls, ready_seconds)
        except (OSError, EOFError) as error:
            if process.returncode is None:
                raise
            text = log.read_text()  # noqa: ASYNC240
            raise RuntimeError(f"the server ended during the measurement:\n{text}") from error
        finally:
            await stopped(process)


def _command(folder: str, kubeconfig: Path, port: int, flags: Sequence[str]) -> list[str]:
    usual = f"{Path(sys.executable).with_name('kpy')} server"
    return [
        *os.environ.get(COMMAND, usual).split(),
        "--disable-agent",
        *("--data-dir", f"{folder}/data", "--write-kubeconfig", str(kubeconfig)),
        *("--https-listen-port", str(port), "--bind-address", "127.0.0.1"),
        *flags,
    ]


async def until_ready(
    process: asyncio.subprocess.Process,
    credentials: Callable[[], ssl.SSLContext | None],
    port: int,
    log: Path,
) -> ssl.SSLContext:
    """Return the TLS to speak with once the server says that it is ready."""
    deadline = time.perf_counter() + START_SECONDS_MAX
    while time.perf_counter() < deadline and process.returncode is None:
        tls, answer = None, b""
        try:
            tls = credentials()
            if tls is not None:
                reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
                writer.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                answer = await reader.read()
                writer.close()
        except (OSError, KeyError, TypeError):
            answer = b""
        if tls is not None and answer.startswith(b"HTTP/1.1 200"):
            return tls
        await asyncio.sleep(0.01)
    raise RuntimeError(f"the server did not become ready:\n{log.read_text()}")  # noqa: ASYNC240


def _tls(kubeconfig: Path) -> ssl.SSLContext:
    document = yaml.safe_load(kubeconfig.read_text())
    cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    context.check_hostname = False
    with tempfile.NamedTemporaryFile() as pair:
        for part in ("client-certificate-data", "client-key-data"):
            pair.write(base64.b64decode(user[part]) + b"\n")
        pair.flush()
        context.load_cert_chain(pair.name)
    return context


async def stopped(process: asyncio.subprocess.Process) -> None:
    """Stop a process, and wait until it has ended."""
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), STOP_SECONDS_MAX)
    except TimeoutError:
        process.kill()
        await process.wait()

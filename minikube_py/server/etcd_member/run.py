"""Runs etcd as a child of the server, for as long as the server runs.

The order at a start, of which any step may be the last before a crash: an etcd that a killed server
left behind is ended; a member without data is let in by another server (or begins a cluster, or is
made of a snapshot);
certificates are made; etcd is started, and started again whenever it dies; a learner is promoted as
soon as it has caught up; the server goes on when etcd answers, which needs most of the members.
"""

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime

from minikube_py.datastore.etcd.connection import Connection, EtcdError
from minikube_py.datastore.etcd.endpoint import etcd_endpoint
from minikube_py.datastore.kv import UnavailableError
from minikube_py.datastore.open import FILE
from minikube_py.lib import renewal
from minikube_py.lib.backoff import Backoff
from minikube_py.lib.clock import Clock
from minikube_py.lib.errors import StartError
from minikube_py.lib.fsutil import read_if_there
from minikube_py.lib.tasks import Nursery, restarting
from minikube_py.server.config import ServerConfig
from minikube_py.server.etcd_member.joining import Admission, admitted
from minikube_py.server.etcd_member.layout import Layout, find_program, is_managed, layout_of
from minikube_py.server.etcd_member.left_behind import STOP_SECONDS, end_left_behind
from minikube_py.server.etcd_member.restored import restored

log = logging.getLogger(__name__)
Report = Callable[[str], None]
LOG_BYTES_MAX = 16 << 20
ASK = Backoff(first_seconds=0.05, max_seconds=1.0)
EXITS_MAX = 4
"""etcd that ended so often before it ever answered cannot run here."""


@contextlib.asynccontextmanager
async def running(
    config: ServerConfig,
    clock: Clock,
    report: Report,
    *,
    host: str = "",
    addresses: Sequence[str] = (),
) -> AsyncIterator[ServerConfig]:
    """Run the member that a server is told to run; yield the options that make it the datastore.

    A server that is told of no member gets its options back.

    Raises:
        StartError: etcd is missing, cannot run, or the cluster does not let it in.

    """
    if not is_managed(config):
        yield config
        return
    if not config.cluster_init and not config.server and config.datastore_endpoint:
        raise StartError(
            "--datastore-endpoint is given, but this server has run a member of etcd; move"
            f" {config.data_dir / 'server/db/etcd'} away to use another datastore"
        )
    if (config.data_dir / FILE).exists():
        raise StartError(
            f"{config.data_dir / FILE} holds a cluster; move it away to begin or join another one"
        )
    member = Member(config, layout_of(config, host, addresses), clock)
    await member.prepare()
    async with Nursery("etcd") as nursery:
        nursery.start("etcd", restarting("etcd", member.run))
        keep = member.keep_certificates
        nursery.start("etcd certificates", restarting("etcd certificates", keep))
        await member.ready(report)
        yield member.layout.applied(config)


class Member:
    """The member of one server."""

    def __init__(self, config: ServerConfig, layout: Layout, clock: Clock) -> None:
        self.layout = layout
        self._config = config
        self._clock = clock
        self._program = find_program(config.data_dir)
        self._admission: Admission | None = None
        self._due: datetime = clock.now()
        self._exits = 0

    async def prepare(self) -> None:
        """Be let in where that is needed, and have certificates."""
        await end_left_behind(self.layout.folder)
        if self.layout.restored.exists():
            await restored(self.layout, self._config.data_dir)
        elif self.layout.has_data:
            self._admission = Admission.kept(self.layout.folder)
        elif self._config.server:
            self._admission = await admitted(self._config, self.layout, self._clock)
            self._admission.keep(self.layout.folder)
        self._due = await asyncio.to_thread(self.layout.certify, self._clock.now())

    async def keep_certificates(self) -> None:
        """Renew the certificates in time; etcd reads them at every connection."""

        async def renew() -> datetime:
            return await asyncio.to_thread(self.layout.certify, self._clock.now())

        await renewal.keep(renew, self._due, self._clock)

    async def run(self) -> None:
        """Run etcd until it ends; to be run for ever by `restarting`."""
        others = self._admission.cluster if self._admission is not None else ""
        command = self.layout.command(self._program, others)
        log_path = self.layout.folder / "etcd.log"
        if log_path.exists() and log_path.stat().st_size > LOG_BYTES_MAX:
            log_path.replace(log_path.with_suffix(".log.1"))
        with log_path.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        log.info("etcd started pid=%d", process.pid)
        try:
            status = await process.wait()
            self._exits += 1
            log.warning("etcd ended pid=%d status=%d: %s", process.pid, status, self._last_words())
        finally:
            if process.returncode is None:
                await _end(process)

    def _last_words(self) -> str:
        text = read_if_there(self.layout.folder / "etcd.log") or b""
        lines = text[-4096:].decode(errors="replace").strip().splitlines()
        told = [line for line in lines if '"fatal"' in line or '"error"' in line]
        return (told or lines or ["it printed nothing"])[-1][:500]

    async def ready(self, report: Report) -> None:
        """Return when etcd answers; raises StartError where it cannot run."""
        applied = self.layout.applied(self._config)
        connection = Connection(etcd_endpoint(applied.datastore_endpoint, applied.datastore_tls))
        report(f"etcd starts as member {self.layout.name}")
        asked, waits = 0, False
        try:
            while not await self._is_ready(connection):
                asked += 1
                if self._exits >= EXITS_MAX:
                    raise StartError(
                        f"etcd does not run: {self._last_words()}; see"
                        f" {self.layout.folder / 'etcd.log'}"
                    )
                if asked * ASK.max_seconds > 20 and not waits:
                    waits = True
                    report("etcd waits for the other members")
                await self._clock.sleep(ASK.wait_seconds(asked))
        finally:
            await connection.close()
        report("etcd is ready")

    async def _is_ready(self, connection: Connection) -> bool:
        try:
            status = await connection.call("Maintenance", "Status", {})
            if status.get("isLearner"):
                await self._promote(int(status["header"]["member_id"]))
                return False
            await connection.call("KV", "Range", {"key": b"\0", "count_only": True})
        except (UnavailableError, EtcdError) as error:
            log.debug("etcd is not ready: %s", error)
            return False
        return True

    async def _promote(self, own: int) -> None:
        """Ask the other members to give this one a vote; they refuse until it has caught up."""
        clients = self._admission.clients if self._admission is not None else ()
        others = [url for url in clients if url != self.layout.client_url]
        if not others:
            return
        tls = self.layout.applied(self._config).datastore_tls
        connection = Connection(etcd_endpoint(",".join(others), tls))
        try:
            await connection.call("Cluster", "MemberPromote", {"ID": own})
            log.info("member of etcd promoted name=%s", self.layout.name)
        except EtcdError as error:
            log.debug("not promoted yet: %s", error)
        finally:
            await connection.close()


async def _end(process: asyncio.subprocess.Process) -> None:
    """Let etcd hand over what it leads and close its files; by force if it does not go."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, TimeoutError):
            process.send_signal(number)
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
            return

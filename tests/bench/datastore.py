"""What a durable write costs in each datastore, beside etcd (and kine) in the same run.

So many clients update a key of their own each, again and again, by compare and swap with a value of
1 KB. Every store waits for the disk. The CPU time of all processes of a store counts: for the
embedded one that is this process, clients included; for a database this process and the server;
for etcd and kine the server alone, for their clients are others.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass
from pathlib import Path

from minikube_py.datastore.etcd.messages import SERVICES, codec
from minikube_py.datastore.kv import Backend
from minikube_py.datastore.open import FILE, open_backend
from minikube_py.datastore.sql import WAL_KEPT_BYTES
from minikube_py.lib.grpc import grpc_library
from tests.bench.report import Figure
from tests.datastore import servers
from tests.ports import free_port

ETCD, KINE = "KPY_BENCH_ETCD", "KPY_BENCH_KINE"
CLIENTS = (1, 16, 128)
VALUE = os.urandom(1000)
SECONDS, WARM_SECONDS = 3.0, 0.3
START_SECONDS = 30.0
COMPACT_EVERY, KEPT_REVISIONS = 5_000, 1_000
"""As the measurement of kine's schema was done that the design goes by."""
GROW_UPDATES, GROW_KEYS = 100_000, 100
COMPARED = ("sqlite", 128)
ETCD_TIMES, LIVE_TIMES = 2, 3
"""Budgets: CPU of a write beside etcd's, and size of the file beside what is live in it."""
KILOBYTES = {1: 13, 16: 6, 128: 4}
"""Budgets: what the disk of the embedded store gets for an update of 1 KB, compaction included."""

Update = Callable[[str, bytes, int], Awaitable[int]]
"""(key, value, revision) -> the new one; revision 0 creates the key."""


@dataclass(frozen=True)
class Store:
    """Something that is written to."""

    name: str
    update: Update
    pids: Sequence[int]
    """The processes whose CPU time and disk writes count, with all they started."""
    compact: Callable[[int], Awaitable[object]] | None = None


@dataclass(frozen=True)
class Measured:
    """What so many clients at a time got out of a store."""

    store: str
    clients: int
    writes: int
    seconds: float
    cpu_seconds: float
    disk_bytes: int
    latencies: Sequence[float]

    @property
    def cpu_us(self) -> float:
        """CPU microseconds of one write."""
        return self.cpu_seconds / self.writes * 1e6

    @property
    def kilobytes(self) -> float:
        """Kilobytes that went to the disk for one write."""
        return self.disk_bytes / self.writes / 1000

    @property
    def cells(self) -> tuple[str, ...]:
        """The row of the table."""
        ordered = sorted(self.latencies)
        p50, p99 = (ordered[len(ordered) * part // 100] * 1e3 for part in (50, 99))
        return (
            self.store,
            str(self.clients),
            f"{self.writes / self.seconds:.0f}",
            f"{p50:.2f} / {p99:.1f}",
            f"{self.cpu_us:.0f}",
            f"{self.kilobytes:.1f}",
        )


HEAD = ("store", "clients", "writes/s", "p50 / p99 ms", "CPU us a write", "disk KB a write")


async def datastore(scale: float, names: Sequence[str] = ()) -> tuple[list[Measured], list[Figure]]:
    """Measure the stores of these names, or every one; the second is what has a budget."""
    measured: list[Measured] = []
    for name in names or STORES:
        async with STORES[name]() as store:
            if store is not None:
                measured += [await _load(store, clients, scale) for clients in CLIENTS]
    figures = [*_figures(measured), *await _growth(scale)]
    with _folder() as folder:
        figures.append(_bare_syncs(folder, max(int(300 * scale), 20)))
    return measured, figures


def _figures(measured: Sequence[Measured]) -> Iterator[Figure]:
    found = {(one.store, one.clients): one for one in measured}
    for clients, budget in KILOBYTES.items():
        one = found["sqlite", clients]
        name = f"sqlite, {clients} at a time: written to disk"
        yield Figure(name, one.kilobytes, "KB", budget, "for an update of 1 KB, with compaction")
    etcd = found.get(("etcd", COMPARED[1]))
    if etcd is not None:
        ours = found[COMPARED]
        note = f"{ours.cpu_us:.0f} us beside {etcd.cpu_us:.0f}: the writes of one core"
        times = ours.cpu_us / etcd.cpu_us
        yield Figure("sqlite, 128 at a time: CPU beside etcd", times, "", ETCD_TIMES, note)


async def _load(store: Store, clients: int, scale: float) -> Measured:
    """Write for some seconds."""
    latencies: list[float] = []
    newest = 0
    until = time.perf_counter() + WARM_SECONDS * scale

    async def client(number: int, revision: int = 0) -> int:
        nonlocal newest
        key = f"/bench/{store.name}-{clients}-{number}"
        while not revision or time.perf_counter() < until:
            began = time.perf_counter()
            revision = await store.update(key, VALUE, revision)
            latencies.append(time.perf_counter() - began)
            newest = max(newest, revision)
        return revision

    async def compact() -> None:
        done = 0
        while store.compact is not None:
            await asyncio.sleep(0.05)
            if newest - done > COMPACT_EVERY:
                done = newest - KEPT_REVISIONS
                await store.compact(done)

    revisions = await asyncio.gather(*(client(n) for n in range(clients)))
    latencies.clear()
    cpu, disk, began = _cpu_seconds(store.pids), _disk_bytes(store.pids), time.perf_counter()
    until = began + SECONDS * scale
    compacting = asyncio.ensure_future(compact())
    await asyncio.gather(*(client(n, revision) for n, revision in enumerate(revisions)))
    seconds = time.perf_counter() - began
    compacting.cancel()
    await asyncio.wait((compacting,))
    return Measured(
        store.name,
        clients,
        len(latencies),
        seconds,
        _cpu_seconds(store.pids) - cpu,
        _disk_bytes(store.pids) - disk,
        latencies,
    )


async def _growth(scale: float) -> list[Figure]:
    """Update few keys very often; return how large the file is beside what is live in it."""
    updates, keys = int(GROW_UPDATES * scale), GROW_KEYS
    with _folder() as folder:
        backend = await open_backend("", data_dir=folder)
        revisions = [await backend.create(f"/bench/{n}", VALUE) for n in range(keys)]
        for done in range(0, updates, keys):
            written = (
                backend.update(f"/bench/{n}", VALUE, revision=revision)
                for n, revision in enumerate(revisions)
            )
            revisions = list(await asyncio.gather(*written))
            if done % COMPACT_EVERY < keys:
                await backend.compact(max(revisions[-1] - KEPT_REVISIONS, 0))
        with_history = _size(folder)
        await backend.compact(revisions[-1])
        await backend.close()
        live = keys * len(VALUE)
        note = f"{updates} updates of {keys} keys; {live / 1000:.0f} KB are live"
        kept = f"{KEPT_REVISIONS} revisions of history and the log of writes ahead, while it runs"
        most = LIVE_TIMES * (KEPT_REVISIONS * len(VALUE) + live) / 1e6 + WAL_KEPT_BYTES / 1e6
        return [
            Figure("size beside what is live", _size(folder) / live, "", LIVE_TIMES, note),
            Figure("size with history", with_history / 1e6, "MB", most, kept),
        ]


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in (folder / FILE).parent.iterdir())


def _bare_syncs(folder: Path, count: int) -> Figure:
    """Append 4 KB and sync, one after the other: what the disk allows."""
    with (folder / "bare").open("wb", buffering=0) as file:
        began = time.perf_counter()
        for _ in range(count):
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
        seconds = (time.perf_counter() - began) / count
    return Figure("bare append of 4 KB and fsync", seconds * 1e3, "ms", 100, f"{1 / seconds:.0f}/s")


def _family(pids: Sequence[int]) -> set[int]:
    """Return processes with all that they started; of this one only itself."""
    found: set[int] = set()
    waiting = list(pids)
    while waiting:
        pid = waiting.pop()
        found.add(pid)
        if pid != os.getpid():
            waiting += map(int, _text(f"/proc/{pid}/task/{pid}/children").split())
    return found


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""  # it has just ended: its parent has its CPU time


def _cpu_seconds(pids: Sequence[int]) -> float:
    """Return what processes used, and what those of theirs used that have ended."""
    stats = [_text(f"/proc/{pid}/stat").rpartition(")")[2].split() for pid in _family(pids)]
    return sum(int(ticks) for stat in stats for ticks in stat[11:15]) / os.sysconf("SC_CLK_TCK")


def _disk_bytes(pids: Sequence[int]) -> int:
    lines = [line for pid in _family(pids) for line in _text(f"/proc/{pid}/io").splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="kpy-bench-") as folder:
        yield Path(folder)


def _of_backend(name: str, backend: Backend, pids: Sequence[int]) -> Store:
    async def update(key: str, value: bytes, revision: int) -> int:
        if not revision:
            return await backend.create(key, value)
        return await backend.update(key, value, revision=revision)

    return Store(name, update, pids, backend.compact)


@asynccontextmanager
async def _opened(name: str, endpoint: str, pids: Sequence[int]) -> AsyncIterator[Store]:
    with _folder() as folder:
        backend = await open_backend(endpoint, data_dir=folder)
        try:
            yield _of_backend(name, backend, pids)
        finally:
            await backend.close()


@asynccontextmanager
async def _sqlite() -> AsyncIterator[Store]:
    async with _opened("sqlite", "", [os.getpid()]) as store:
        yield store


@asynccontextmanager
async def _postgres() -> AsyncIterator[Store]:
    with servers.postgres("fsync=on") as server:
        pids = [os.getpid(), server.pid or 0]
        async with _opened("postgres", server.endpoint(), pids) as store:
            yield store


@asynccontextmanager
async def _mariadb() -> AsyncIterator[Store]:
    with servers.mariadb("--innodb-flush-method=fsync") as server:
        pids = [os.getpid(), server.pid or 0]
        async with _opened("mariadb", server.endpoint(), pids) as store:
            yield store


@asynccontextmanager
async def _etcd() -> AsyncIterator[Store]:
    client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    with _folder() as folder:
        line = [
            os.environ.get(ETCD, "etcd"),
            f"--data-dir={folder}",
            *(f"--listen-client-urls={client}", f"--advertise-client-urls={client}"),
            *(f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"),
            f"--initial-cluster=default={peer}",
        ]
        async with _served("etcd", line, client, folder) as store:
            yield store


@asynccontextmanager
async def _kine() -> AsyncIterator[Store | None]:
    program = os.environ.get(KINE)
    if not program:
        yield None
        return
    client = f"http://127.0.0.1:{free_port()}"
    with _folder() as folder:
        place = f"sqlite://{folder}/state.db?_journal=WAL&_txlock=immediate&_sync=FULL"
        line = [program, f"--listen-address={client}", f"--endpoint={place}"]
        async with _served("kine", line, client, folder) as store:
            yield store


@asynccontextmanager
async def _served(
    name: str, line: Sequence[str], client: str, folder: Path
) -> AsyncIterator[Store]:
    """Run a program that serves etcd's API."""
    async with AsyncExitStack() as stack:
        log = stack.enter_context((folder.parent / f"{folder.name}.log").open("wb"))
        stack.callback(Path(log.name).unlink)
        process = await asyncio.create_subprocess_exec(*line, stdout=log, stderr=log)
        stack.push_async_callback(process.wait)
        stack.callback(process.kill)
        channel = grpc_library().aio.insecure_channel(client.removeprefix("http://"))
        await stack.enter_async_context(channel)
        async with asyncio.timeout(START_SECONDS):
            await channel.channel_ready()
        yield Store(name, _transactions(channel), [process.pid])


def _transactions(channel: object) -> Update:
    """Return updates in the form in which the API server of Kubernetes writes to etcd."""
    method, messages = SERVICES["KV"]["Txn"], codec()
    call = channel.unary_unary(  # type: ignore[attr-defined]
        "/etcdserverpb.KV/Txn",
        request_serializer=lambda message: messages.encode(method.request, message),
        response_deserializer=lambda data: messages.decode(method.response, data),
    )

    async def update(key: str, value: bytes, revision: int) -> int:
        name = key.encode()
        compare = {"result": "EQUAL", "target": "MOD", "key": name, "mod_revision": revision}
        put = {"request_put": {"key": name, "value": value}}
        answer = await call({"compare": [compare], "success": [put]}, wait_for_ready=True)
        assert answer["succeeded"]
        return int(answer["header"]["revision"])

    return update


STORES: Mapping[str, Callable[[], AbstractAsyncContextManager[Store | None]]] = {
    "sqlite": _sqlite,
    "postgres": _postgres,
    "mariadb": _mariadb,
    "etcd": _etcd,
    "kine": _kine,
}

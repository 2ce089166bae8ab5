"""What watches and clients are told holds while the disk fails or the database server is away.

Killed processes are in test_crash_rounds.py, lost power in test_power_cut.py.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from minikube_py.datastore.kv import Backend, UnavailableError
from minikube_py.datastore.open import open_backend
from minikube_py.datastore.shared import database
from minikube_py.datastore.sqlite import SqliteBackend
from minikube_py.lib.tasks import Nursery
from tests.datastore import servers
from tests.datastore.proof import aftermath
from tests.datastore.proof.clients import crowd, finish, follow
from tests.datastore.proof.history import History, Told
from tests.datastore.servers import Server, stop_all

BOUND_SECONDS = 120.0
CLIENTS, STEPS, WATCHES = 6, 30, 3
FAULTS = 2
SERVERS = {"postgres": servers.postgres, "mariadb": servers.mariadb}
Fault = Callable[[], Awaitable[None]]


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of the test's own, which it may stop."""
    with ExitStack() as stack:
        yield stack.enter_context(SERVERS[request.param]())


async def under(backend: Backend, fault: Fault) -> None:
    """Let clients and watches use a store that fails now and then.

    All watches get to the end, and what they brought and all were told is what the store has.
    """
    told = Told()
    async with asyncio.timeout(BOUND_SECONDS), Nursery("test") as nursery:
        for n in range(WATCHES):
            nursery.start(f"watch {n}", follow(backend, told, f"watch-{n}"))
        for number in range(FAULTS):
            working = crowd((backend,), told, clients=CLIENTS, steps=STEPS, seed=f"work {number}")
            async with asyncio.TaskGroup() as group:
                group.create_task(working)
                group.create_task(fault())
        await told.reached(await finish(backend, told), watches=WATCHES)
    await aftermath.check(backend, History(told.lines))


async def test_a_database_server_that_stands_still(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = await open_backend(server.endpoint(), data_dir=Path("/nonexistent"))
    monkeypatch.setattr(database, "CALL_SECONDS", 0.3)

    async def stand_still() -> None:
        stop_all(server, signal.SIGSTOP)
        try:
            with pytest.raises(UnavailableError):
                await backend.create("/other", b"")
        finally:
            stop_all(server, signal.SIGCONT)

    await under(backend, stand_still)
    await backend.close()


async def test_a_database_server_that_is_killed(server: Server) -> None:
    backend = await open_backend(server.endpoint(), data_dir=Path("/nonexistent"))

    async def kill() -> None:
        server.kill()
        with pytest.raises(UnavailableError):
            await backend.create("/other", b"")
        await asyncio.to_thread(server.start)

    await under(backend, kill)
    await backend.close()


async def test_a_disk_that_is_full(tmp_path: Path) -> None:
    backend = await SqliteBackend.open(tmp_path / "state.db")

    async def limit(pages: int) -> None:
        await backend._database.execute_fetchall(f"PRAGMA max_page_count = {pages}")

    async def fill() -> None:
        await limit(1)
        with pytest.raises(UnavailableError, match="full"):  # noqa: PT012
            for n in range(100):
                key = f"/other/{await backend.revision()}-{n}"
                await backend.create(key, b"v" * 4000)
        await limit(1 << 20)

    await under(backend, fill)
    await backend.close()

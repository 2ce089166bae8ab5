"""The database server is killed, stands still or breaks connections, and its clients are killed."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from minikube_py.datastore.kv import Backend, DatastoreError, UnavailableError
from minikube_py.datastore.open import open_backend
from minikube_py.datastore.shared import database
from tests.datastore import servers
from tests.datastore.anomaly.ledger import BOUND_SECONDS, Ledger, written
from tests.datastore.servers import Server, stop_all

SERVERS = {"postgres": servers.postgres, "mariadb": servers.mariadb}


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of the test's own, which it may kill."""
    with ExitStack() as stack:
        yield stack.enter_context(SERVERS[request.param]())


async def opened(server: Server) -> Backend:
    return await open_backend(server.endpoint(), data_dir=Path("/nonexistent"))


async def listed(backend: Backend) -> dict[str, int]:
    """List, again where a connection that the kill has broken is found to be so only now."""
    async with asyncio.timeout(BOUND_SECONDS):
        while True:
            try:
                return {item.key: item.revision for item in (await backend.list("/r/")).items}
            except UnavailableError:
                await asyncio.sleep(0.05)


async def test_what_was_acknowledged_outlives_a_killed_server(server: Server) -> None:
    backend = await opened(server)
    ledger = Ledger(backend)
    watch = aiter(backend.watch("/r/", after=0))
    clients = [asyncio.ensure_future(ledger.write(n)) for n in range(8)]
    for _ in range(3):
        await ledger.grown(50)
        server.kill()
        await asyncio.sleep(0.05)
        server.start()
    for client in clients:
        client.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
    end = await written(backend, "/r/end")
    found = await listed(backend)
    assert ledger.revisions.items() <= found.items()
    seen = []
    while not seen or seen[-1].revision < end:
        seen += await anext(watch)
    assert [event.revision for event in seen] == list(range(1, end + 1))
    await backend.close()


async def test_a_server_that_stands_still_fails_requests_in_time(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = await opened(server)
    await backend.create("/r/a", b"")
    monkeypatch.setattr(database, "CALL_SECONDS", 0.5)
    stop_all(server, signal.SIGSTOP)
    try:
        with pytest.raises(UnavailableError, match="does not answer"):
            async with asyncio.timeout(BOUND_SECONDS):
                await backend.create("/r/b", b"")
    finally:
        stop_all(server, signal.SIGCONT)
    monkeypatch.undo()
    try:
        await backend.create("/r/b", b"")
    except DatastoreError:
        await written(backend, "/r/c")
    found = await backend.get("/r/a")
    assert found is not None
    await backend.close()


CLIENT = """
import asyncio, os, sys
from pathlib import Path
from minikube_py.datastore.open import open_backend

async def client(backend, number):
    key = f"/own/{os.getpid()}-{number}"
    revision, n = await backend.create(key, b"0"), 0
    while True:
        n += 1
        revision = await backend.update(key, str(n).encode(), revision=revision)
        os.write(1, f"{key} {revision} {n}\\n".encode())

async def main():
    backend = await open_backend(sys.argv[1], data_dir=Path("/nonexistent"))
    await asyncio.gather(*(client(backend, number) for number in range(4)))

asyncio.run(main())
"""


async def test_of_two_killed_servers_nothing_acknowledged_is_lost(server: Server) -> None:
    endpoint = server.endpoint()
    told = write_until_killed(endpoint)
    acknowledged = {key: (revision, n) for key, revision, n in told}
    revisions = [revision for _, revision, _ in told]
    backend = await open_backend(endpoint, data_dir=Path("/nonexistent"))
    found = {item.key: item for item in (await backend.list("/own/")).items}
    assert len(revisions) == len(set(revisions))
    for key, (revision, n) in acknowledged.items():
        assert found[key].revision >= revision
        assert int(found[key].value) >= n
    assert await backend.create("/after", b"") > max(revisions)
    await backend.close()


def write_until_killed(endpoint: str) -> list[tuple[str, int, int]]:
    """Return what two servers, killed one after the other, acknowledged, in each one's order."""
    command = [sys.executable, "-c", CLIENT, endpoint]
    clients = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told: list[tuple[str, int, int]] = []
    for client in clients:
        assert client.stdout is not None
        with client, client.stdout as output:
            for count, line in enumerate(output, start=1):
                if line.endswith("\n"):
                    key, revision, n = line.split()
                    told.append((key, int(revision), int(n)))
                if count == 100:
                    os.kill(client.pid, signal.SIGKILL)
    return told

"""The n-th use of the disk fails, at each step of it: what was acknowledged stays."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from minikube_py.datastore import sql
from minikube_py.datastore.kv import Event, UnavailableError
from minikube_py.datastore.sqlite import SqliteBackend

STEPS = ("BEGIN IMMEDIATE", "INSERT", "COMMIT")


class Broken:
    """A connection whose n-th statement of a sort fails."""

    def __init__(self, connection: sqlite3.Connection, step: str, number: int) -> None:
        self._connection = connection
        self._step = step
        self._left = number

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)

    def execute(self, statement: str, *arguments: object) -> sqlite3.Cursor:
        self._fail(statement)
        return self._connection.execute(statement, *arguments)  # type: ignore[arg-type]

    def executemany(self, statement: str, rows: object) -> sqlite3.Cursor:
        # A failure in the middle: some rows are in, the rest are not.
        listed = list(rows)  # type: ignore[call-overload]
        self._connection.executemany(statement, listed[: len(listed) // 2])
        self._fail(statement)
        return self._connection.executemany(statement, listed[len(listed) // 2 :])

    def _fail(self, statement: str) -> None:
        if statement.startswith(self._step):
            self._left -= 1
            if self._left == 0:
                raise sqlite3.OperationalError("disk I/O error")


@contextmanager
def breaking(step: str, number: int) -> Iterator[None]:
    """Let every connection that is opened now fail at the n-th statement of a sort."""
    connect = sql._connect

    def broken(path: Path) -> object:
        return Broken(connect(path), step, number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sql, "_connect", broken)
        yield


async def opened(path: Path) -> SqliteBackend:
    return await SqliteBackend.open(path, lazy_prefixes=("/lazy/",))


Acknowledged = dict[str, tuple[int, bytes]]


class Client:
    """Writes in ever new ways, and keeps what was acknowledged."""

    def __init__(self, backend: SqliteBackend) -> None:
        self.backend = backend
        self.done: Acknowledged = {}
        self.failures = 0

    async def work(self) -> None:
        for turn in range(4):
            value = f"turn {turn}".encode()
            await asyncio.gather(*(self.put(f"/{turn}/{n}", value) for n in range(3)))
            for key in list(self.done)[:2]:
                await self.put(key, value)
            for key in list(self.done)[2:3]:
                await self.delete(key)
            await self.put("/lazy/a", value)

    async def put(self, key: str, value: bytes) -> None:
        try:
            if key in self.done:
                at = self.done[key][0]
                revision = await self.backend.update(key, value, revision=at)
            else:
                revision = await self.backend.create(key, value)
        except UnavailableError:
            self.failures += 1
        else:
            self.done[key] = revision, value

    async def delete(self, key: str) -> None:
        try:
            await self.backend.delete(key, revision=0)
        except UnavailableError:
            self.failures += 1
        else:
            del self.done[key]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("number", range(1, 25))
async def test_what_was_acknowledged_stays_and_the_store_goes_on(
    tmp_path: Path, step: str, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    with breaking(step, number):
        backend = await opened(tmp_path / "state.db")
    seen: list[Event] = []
    watching = asyncio.ensure_future(_collect(backend, seen))
    await asyncio.sleep(0)
    client = Client(backend)
    await client.work()
    assert client.failures <= 3
    before = await backend.list("")
    assert {item.key: (item.revision, item.value) for item in before.items} == client.done
    await backend.close()
    await asyncio.wait((watching,))
    assert _replayed(seen) == client.done
    backend = await opened(tmp_path / "state.db")
    # Only a heartbeat may be lost, and only where the last attempt to save it failed.
    lost = "heartbeats not saved" in caplog.text
    after = [i for i in (await backend.list("")).items if not (lost and _lazy(i.key))]
    assert after == [i for i in before.items if not (lost and _lazy(i.key))]
    assert await backend.create("/next", b"") > before.revision
    await backend.close()


async def test_a_failure_is_an_error_of_the_write_that_it_hits(tmp_path: Path) -> None:
    with breaking("COMMIT", 2):
        backend = await opened(tmp_path / "state.db")
    await backend.create("/a", b"")
    results = await asyncio.gather(
        backend.create("/b", b""), backend.create("/c", b""), return_exceptions=True
    )
    assert [str(result) for result in results] == ["the datastore failed: disk I/O error"] * 2
    assert await backend.revision() == 1
    assert await backend.create("/b", b"") == 2
    await backend.close()


async def test_who_waits_for_a_failed_write_is_checked_against_what_is_there(
    tmp_path: Path,
) -> None:
    with breaking("COMMIT", 1):
        backend = await opened(tmp_path / "state.db")
    first, second = await asyncio.gather(
        backend.create("/a", b"1"), backend.create("/a", b"2"), return_exceptions=True
    )
    assert isinstance(first, UnavailableError)
    assert second == 1
    current = await backend.get("/a")
    assert current is not None
    assert current.value == b"2"
    await backend.close()


def _lazy(key: str) -> bool:
    return key.startswith("/lazy/")


async def _collect(backend: SqliteBackend, seen: list[Event]) -> None:
    try:
        async for events in backend.watch("", after=0):
            seen += events
    except UnavailableError:
        return


def _replayed(events: list[Event]) -> Acknowledged:
    state: Acknowledged = {}
    for event in events:
        if event.deleted:
            del state[event.key]
        else:
            state[event.key] = (event.revision, event.value)
    return state

"""Several servers on one database: each shows what any acknowledged, and of rivals one wins."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from minikube_py.datastore.kv import (
    Backend,
    Change,
    CompactedError,
    DatastoreError,
    Event,
    KeyExistsError,
    RevisionMismatchError,
    UnavailableError,
)
from minikube_py.datastore.open import open_backend
from minikube_py.datastore.shared import backend as shared_backend
from minikube_py.datastore.shared import writer as shared_writer
from minikube_py.datastore.shared.backend import SharedBackend
from minikube_py.datastore.shared.tables import FORMAT
from tests.datastore.counting import count

BOUND_SECONDS = 120.0


async def opened(endpoint: str) -> SharedBackend:
    backend = await open_backend(endpoint, data_dir=Path("/nonexistent"))
    assert isinstance(backend, SharedBackend)
    return backend


@pytest.fixture
async def two(shared: str) -> AsyncIterator[tuple[SharedBackend, SharedBackend]]:
    """Two servers on one database."""
    first, second = await opened(shared), await opened(shared)
    yield first, second
    await first.close()
    await second.close()


Two = tuple[SharedBackend, SharedBackend]


async def test_what_one_server_acknowledged_the_other_shows(two: Two) -> None:
    first, second = two
    for n in range(20):
        revision = await first.create(f"/r/{n}", b"1")
        found = await second.get(f"/r/{n}")
        assert found is not None
        assert found.revision == revision
        assert await second.update(f"/r/{n}", b"2", revision=revision) == revision + 1
        assert (await first.list("/r/")).revision == revision + 1


async def test_a_write_on_what_another_server_changed_is_refused(two: Two) -> None:
    first, second = two
    revision = await first.create("/r/a", b"1")
    await second.update("/r/a", b"2", revision=revision)
    with pytest.raises(RevisionMismatchError) as refusal:
        await first.update("/r/a", b"3", revision=revision)
    assert refusal.value.current == await second.get("/r/a")
    with pytest.raises(KeyExistsError):
        await first.create("/r/a", b"")
    assert await first.delete("/r/a", revision=0) == 3
    assert await second.create("/r/a", b"again") == 4


async def test_of_many_on_both_servers_exactly_one_creates_a_key(two: Two) -> None:
    creations = (two[n % 2].create("/r/a", str(n).encode()) for n in range(40))
    results = await asyncio.gather(*creations, return_exceptions=True)
    assert [result for result in results if isinstance(result, int)] == [1]
    assert sum(isinstance(result, KeyExistsError) for result in results) == 39


async def test_counting_on_both_servers_counts_every_step(two: Two) -> None:
    await two[0].create("/count", b"0")
    await asyncio.gather(*(count(two[n % 2], "/count", 10) for n in range(6)))
    counted = await two[1].get("/count")
    assert counted is not None
    assert counted.value == b"60"


async def follow(backend: Backend, seen: list[Event]) -> None:
    async for events in backend.watch("/r/", after=0):
        seen += events
        if seen[-1].key == "/r/end":
            return


async def test_watches_of_both_servers_see_the_same_writes_in_the_same_order(two: Two) -> None:
    async def churn(backend: Backend, client: int) -> None:
        for n in range(30):
            await backend.create(f"/r/{client}-{n}", b"1")
            await backend.delete(f"/r/{client}-{n}", revision=0)

    seen: tuple[list[Event], list[Event]] = ([], [])
    async with asyncio.timeout(BOUND_SECONDS), asyncio.TaskGroup() as group:
        for backend, events in zip(two, seen, strict=True):
            group.create_task(follow(backend, events))
        await asyncio.gather(*(churn(two[n % 2], n) for n in range(8)))
        end = await two[0].create("/r/end", b"")
    assert seen[0] == seen[1]
    assert [event.revision for event in seen[0]] == list(range(1, end + 1))
    assert all(event.value == b"1" for event in seen[0][:-1])


async def test_an_idle_server_hears_of_writes_without_being_asked(two: Two) -> None:
    watch = aiter(two[1].watch("/r/", after=0))
    waiting = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    await two[0].create("/r/a", b"1")
    async with asyncio.timeout(BOUND_SECONDS):
        (event,) = await waiting
    assert (event.key, event.value) == ("/r/a", b"1")


async def test_what_one_server_compacts_is_gone_on_the_other(two: Two) -> None:
    first, second = two
    revision = await first.create("/r/a", b"1")
    for n in range(10):
        revision = await first.update("/r/a", str(n).encode(), revision=revision)
    await first.create("/r/gone", b"")
    newest = await first.delete("/r/gone", revision=0)
    assert (await second.list("/r/", revision=3)).items[0].value == b"1"
    await first.compact(newest)
    found = await second.get("/r/a")
    assert found is not None
    assert found.value == b"9"
    with pytest.raises(CompactedError):
        await second.list("/r/", revision=3)
    with pytest.raises(CompactedError):
        await anext(aiter(second.watch("/r/", after=3)))
    async with first._database._engine.connect() as connection:
        rows = await connection.execute(text("SELECT count(*) FROM kpy_log"))
        assert rows.scalar_one() == 1


async def test_both_servers_may_compact_at_the_same_time(two: Two) -> None:
    revision = await two[0].create("/r/a", b"")
    for _ in range(60):
        revision = await two[0].update("/r/a", b"", revision=revision)
    await asyncio.gather(*(two[n % 2].compact(revision - n) for n in range(6)))
    assert (await two[1].list("/r/")).items == (await two[0].list("/r/")).items
    with pytest.raises(CompactedError):
        await two[1].list("/r/", revision=revision - 1)


async def test_a_server_that_compaction_passed_reads_the_log_anew(
    shared: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await opened(shared)
    await first.create("/r/gone", b"")
    revision = await first.create("/r/a", b"")
    async with asyncio.timeout(BOUND_SECONDS):
        second = await opened(shared)
        watch = aiter(second.watch("/r/", after=0))
        await anext(watch)
        monkeypatch.setattr(shared_backend, "ASK_FIRST_SECONDS", 1000.0)
        await second._tasks.cancel()  # it hears nothing for a while
        await first.delete("/r/gone", revision=0)
        for n in range(10):
            revision = await first.update("/r/a", str(n).encode(), revision=revision)
        revision = await first.create("/r/b", b"")
        await first.compact(revision)
        assert await second.list("/r/") == await first.list("/r/")
        assert await second.get("/r/gone") is None
        with pytest.raises(CompactedError):
            await anext(watch)
        assert await second.create("/r/c", b"") == revision + 1
    await first.close()
    await second.close()


async def test_a_server_that_joins_late_has_everything(shared: str) -> None:
    first = await opened(shared)
    for n in range(30):
        await first.create(f"/r/{n}", str(n).encode(), lease=n)
    await first.delete("/r/7", revision=0)
    second = await opened(shared)
    assert await second.list("") == await first.list("")
    assert (await second.list("/r/", revision=30)).items == (
        await first.list("/r/", revision=30)
    ).items
    await first.close()
    await second.close()


async def test_many_servers_start_on_an_empty_database_at_once(shared: str) -> None:
    servers = await asyncio.gather(*(opened(shared) for _ in range(4)))
    revisions = await asyncio.gather(*(s.create(f"/r/{n}", b"") for n, s in enumerate(servers)))
    assert sorted(revisions) == [1, 2, 3, 4]
    for server in servers:
        await server.close()


async def test_tables_of_a_newer_kpy_are_refused(shared: str) -> None:
    first = await opened(shared)
    async with first._database._engine.begin() as connection:
        await connection.execute(text("UPDATE kpy_state SET value = 99 WHERE name = 'format'"))
    await first.close()
    with pytest.raises(DatastoreError, match=f"format 99, this kpy knows {FORMAT}; use a newer"):
        await opened(shared)


async def test_a_transaction_that_fails_answers_all_its_writes_and_the_next_one_works(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = two
    await first.create("/r/a", b"")
    monkeypatch.setattr(
        "minikube_py.datastore.shared.database.SET_MARK", text("UPDATE nothing SET at = :mark")
    )
    results = await asyncio.gather(
        *(first.create(f"/r/{n}", b"") for n in range(5)), return_exceptions=True
    )
    assert all(isinstance(result, UnavailableError) for result in results)
    monkeypatch.undo()
    assert await second.revision() == 1
    assert await first.create("/r/0", b"") == 2


async def test_what_one_server_writes_together_the_other_tells_together(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_writer, "NEWS_ROWS", 7)
    first, second = two
    watch = aiter(second.watch("/r/", after=0))
    left = 10
    for group in range(left):
        await first.write([Change(f"/r/{group}/{n}", b"", 0) for n in range(20)])
    async with asyncio.timeout(BOUND_SECONDS):
        while left:
            told = Counter(event.key.split("/")[2] for event in await anext(watch))
            assert set(told.values()) == {20}
            left -= len(told)

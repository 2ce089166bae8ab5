"""Many writers at once: one wins, nothing is lost, and the disk is asked once for all of them."""

import asyncio
from pathlib import Path

import pytest

from minikube_py.datastore import batches
from minikube_py.datastore.kv import (
    Backend,
    KeyExistsError,
    RevisionMismatchError,
    UnavailableError,
)
from minikube_py.datastore.sql import Database
from minikube_py.datastore.sqlite import SqliteBackend
from tests.datastore.counted import CountedBackend
from tests.datastore.counting import count


async def test_of_many_who_create_a_key_exactly_one_wins(backend: Backend) -> None:
    creations = (backend.create("/r/a", str(n).encode()) for n in range(20))
    results = await asyncio.gather(*creations, return_exceptions=True)
    assert [result for result in results if isinstance(result, int)] == [1]
    assert sum(isinstance(result, KeyExistsError) for result in results) == 19
    assert await backend.revision() == 1


async def test_of_many_who_update_a_revision_exactly_one_wins(backend: Backend) -> None:
    await backend.create("/r/a", b"")
    updates = (backend.update("/r/a", str(n).encode(), revision=1) for n in range(20))
    results = await asyncio.gather(*updates, return_exceptions=True)
    losers = [result for result in results if isinstance(result, RevisionMismatchError)]
    assert [result for result in results if isinstance(result, int)] == [2]
    assert len(losers) == 19
    current = await backend.get("/r/a")
    assert all(loser.current == current for loser in losers)


async def test_counting_by_compare_and_swap_counts_every_step(backend: Backend) -> None:
    await backend.create("/count", b"0")
    await asyncio.gather(*(count(backend, "/count", 10) for _ in range(6)))
    counted = await backend.get("/count")
    assert counted is not None
    assert counted.value == b"60"


async def test_unconditional_deletes_of_a_key_that_is_written_follow_the_write(
    backend: Backend,
) -> None:
    creation = asyncio.ensure_future(backend.create("/r/a", b""))
    await asyncio.sleep(0)
    try:
        deleted = await backend.delete("/r/a", revision=0)
    except RevisionMismatchError:
        assert isinstance(backend, CountedBackend), "only etcd may take the later request first"
        await creation
        deleted = await backend.delete("/r/a", revision=0)
    assert (await creation, deleted) == (1, 2)


async def test_waiting_writes_share_one_transaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = await SqliteBackend.open(tmp_path / "state.db")
    transactions: list[int] = []
    append = Database._append

    def counted(self: Database, rows, state, deleted):  # type: ignore[no-untyped-def]
        transactions.append(len(rows))
        return append(self, rows, state, deleted)

    monkeypatch.setattr(Database, "_append", counted)
    await asyncio.gather(*(backend.create(f"/r/{n}", b"") for n in range(1000)))
    assert transactions == [512, 488]
    await backend.close()


async def test_a_caller_who_gives_up_harms_nobody(backend: Backend) -> None:
    first = asyncio.ensure_future(backend.create("/r/a", b""))
    second = asyncio.ensure_future(backend.create("/r/b", b""))
    await asyncio.sleep(0)
    first.cancel()
    await second
    async with asyncio.timeout(60):
        async for _ in backend.watch("/r/a", after=0):
            break
    with pytest.raises(KeyExistsError):
        await backend.create("/r/a", b"")
    assert await backend.revision() == 2


async def test_too_many_waiting_writes_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "WAITING_WRITES_MAX", 10)
    backend = await SqliteBackend.open(tmp_path / "state.db")
    creations = (backend.create(f"/r/{n}", b"") for n in range(12))
    results = await asyncio.gather(*creations, return_exceptions=True)
    assert sum(isinstance(result, UnavailableError) for result in results) == 2
    assert await backend.create("/r/later", b"") == 11
    await backend.close()

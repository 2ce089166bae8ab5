"""The log stays as small as what is in it."""

import asyncio
from pathlib import Path

import pytest

from minikube_py.datastore import compaction
from minikube_py.datastore.compaction import compact_forever
from minikube_py.datastore.kv import Backend, CompactedError, UnavailableError
from minikube_py.datastore.memory import MemoryBackend
from minikube_py.datastore.sqlite import SqliteBackend
from minikube_py.lib.tasks import Nursery


class StepClock:
    """A clock whose sleepers are let go one by one by the test."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._slept = asyncio.Event()
        self._go = asyncio.Event()

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self._slept.set()
        await self._go.wait()
        self._go.clear()
        self.seconds += seconds

    async def step(self) -> None:
        await self._slept.wait()
        self._slept.clear()
        self._go.set()
        await self._slept.wait()


async def oldest(backend: Backend) -> int:
    try:
        await backend.list("", revision=1)
    except CompactedError as error:
        return error.oldest
    return 1


async def test_history_is_kept_for_five_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "FEW_REVISIONS", 0)
    backend, clock = MemoryBackend(), StepClock()
    async with Nursery("test") as nursery:
        nursery.start("compaction", compact_forever(backend, clock))  # type: ignore[arg-type]
        for minute in range(10):
            await backend.create(f"/{minute}", b"")
            await clock.step()
            await clock.step()
            age = 2 * (minute + 1) * compaction.STEP_SECONDS
            kept_from = (age - compaction.KEEP_SECONDS) // 60
            assert await oldest(backend) == max(1, kept_from)


async def test_a_quiet_store_is_compacted_every_four_minutes() -> None:
    backend, clock = MemoryBackend(), StepClock()
    seen = set()
    async with Nursery("test") as nursery:
        nursery.start("compaction", compact_forever(backend, clock))  # type: ignore[arg-type]
        for minute in range(21):
            await backend.create(f"/{minute}", b"")
            await clock.step()
            await clock.step()
            seen.add(await oldest(backend))
    assert len(seen) == 5
    assert max(seen) >= 21 - 5 - 5


async def test_no_revision_is_kept_for_ten_minutes() -> None:
    backend, clock = MemoryBackend(), StepClock()
    ages = []
    async with Nursery("test") as nursery:
        nursery.start("compaction", compact_forever(backend, clock))  # type: ignore[arg-type]
        for step in range(120):
            revision = await backend.create(f"/{step}", b"")
            assert revision == step + 1
            await clock.step()
            ages.append((step + 1 - await oldest(backend)) * compaction.STEP_SECONDS)
    assert compaction.KEEP_SECONDS < max(ages) <= 570


async def test_history_that_is_too_long_is_dropped_however_young(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compaction, "KEEP_REVISIONS", 10)
    backend, clock = MemoryBackend(), StepClock()
    async with Nursery("test") as nursery:
        nursery.start("compaction", compact_forever(backend, clock))  # type: ignore[arg-type]
        for n in range(50):
            await backend.create(f"/{n}", b"")
        await clock.step()
        assert await oldest(backend) == 40


async def test_a_datastore_that_is_away_for_a_while_is_compacted_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compaction, "KEEP_REVISIONS", 1)
    backend, clock = MemoryBackend(), StepClock()
    ask, away = backend.revision, 2

    async def revision() -> int:
        nonlocal away
        if away:
            away -= 1
            raise UnavailableError("away")
        return await ask()

    monkeypatch.setattr(backend, "revision", revision)
    await backend.create("/a", b"")
    await backend.create("/b", b"")
    await backend.create("/c", b"")
    async with Nursery("test") as nursery:
        nursery.start("compaction", compact_forever(backend, clock))  # type: ignore[arg-type]
        for _ in range(3):
            await clock.step()
        assert await oldest(backend) == 2


async def test_a_failed_compaction_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "KEEP_REVISIONS", 1)
    backend, clock = MemoryBackend(), StepClock()
    compact = backend.compact
    failures = 2

    async def failing(revision: int) -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise UnavailableError("disk full")
        await compact(revision)

    monkeypatch.setattr(backend, "compact", failing)
    for n in range(5):
        await backend.create(f"/{n}", b"")
    async with Nursery("test") as nursery:
        nursery.start("compaction", compact_forever(backend, clock))  # type: ignore[arg-type]
        await clock.step()
        await clock.step()
        assert await oldest(backend) == 4


async def test_the_file_shrinks_and_the_write_ahead_log_stays_small(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    backend = await SqliteBackend.open(path)
    revisions = [0] * 20
    value = b"v" * 10_000
    for n in range(20):
        revisions[n] = await backend.create(f"/{n}", value)
    for _ in range(100):
        updates = (backend.update(f"/{n}", value, revision=revisions[n]) for n in range(20))
        revisions = list(await asyncio.gather(*updates))
    grown = path.stat().st_size
    assert grown > 20 * 90 * len(value)
    assert path.with_name("state.db-wal").stat().st_size < 12 << 20
    await backend.compact(await backend.revision())
    listed = await backend.list("")
    assert {item.value for item in listed.items} == {value}
    await backend.close()
    assert path.stat().st_size < grown / 3


async def test_writes_go_on_while_the_log_is_compacted(tmp_path: Path) -> None:
    backend = await SqliteBackend.open(tmp_path / "state.db")
    revision = await backend.create("/a", b"")
    for _ in range(3000):
        revision = await backend.update("/a", b"", revision=revision)
    compacting = asyncio.ensure_future(backend.compact(revision))
    during = 0
    while not compacting.done():
        revision = await backend.update("/a", b"", revision=revision)
        during += 1
    assert during > 5
    await backend.close()


async def test_reading_the_newest_state_is_not_disturbed_by_compaction(tmp_path: Path) -> None:
    backend = await SqliteBackend.open(tmp_path / "state.db")
    revisions = [await backend.create(f"/{n:03}", b"0") for n in range(300)]

    async def change() -> None:
        for value in (b"1", b"2"):
            for n in range(300):
                revisions[n] = await backend.update(f"/{n:03}", value, revision=revisions[n])
            await backend.compact(await backend.revision())

    changing = asyncio.ensure_future(change())
    while not changing.done():
        assert len((await backend.list("/")).items) == 300
    await backend.close()

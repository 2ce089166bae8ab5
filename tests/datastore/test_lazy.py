"""Heartbeats: published at once, on disk a little later, and never the cause of a lie."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from minikube_py.datastore.kv import Backend, RevisionMismatchError
from minikube_py.datastore.open import FILE, open_backend
from minikube_py.datastore.sql import Database
from minikube_py.datastore.writer import CEILING_STEP, LAZY_SECONDS

LAZY = "/leases/"


class HandClock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        self._sleepers.append((self.seconds + seconds, woken))
        await woken.wait()

    def advance(self, seconds: float) -> None:
        self.seconds += seconds
        for due, woken in self._sleepers:
            if due <= self.seconds:
                woken.set()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def transactions(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The keys of every transaction, as they reach the disk."""
    made: list[list[str]] = []
    append = Database._append

    def noted(self: Database, rows, state, deleted):  # type: ignore[no-untyped-def]
        made.append([row.key for row in rows])
        return append(self, rows, state, deleted)

    monkeypatch.setattr(Database, "_append", noted)
    return made


@pytest.fixture
async def backend(tmp_path: Path, clock: HandClock) -> AsyncIterator[Backend]:
    opened = await open_backend("", data_dir=tmp_path, lazy_prefixes=(LAZY,), clock=clock)
    yield opened
    await opened.close()


async def crashed(data_dir: Path, to: Path) -> Backend:
    """Open what a crash at this moment would leave: the files as they are."""
    shutil.copytree((data_dir / FILE).parent, (to / FILE).parent)
    return await open_backend("", data_dir=to, lazy_prefixes=(LAZY,))


async def test_heartbeats_are_seen_at_once_and_written_together_later(
    backend: Backend, clock: HandClock, transactions: list[list[str]]
) -> None:
    nodes = [f"{LAZY}node-{n}" for n in range(5)]
    revisions = {node: await backend.create(node, b"0") for node in nodes}
    watch = aiter(backend.watch(LAZY, after=revisions[nodes[0]]))
    revisions[nodes[0]] = await backend.update(nodes[0], b"1", revision=revisions[nodes[0]])
    transactions.clear()
    for beat in range(3):
        for node in nodes:
            value = str(beat).encode()
            revisions[node] = await backend.update(node, value, revision=revisions[node])
    assert transactions == []
    seen = 0
    while seen < revisions[nodes[-1]]:
        seen = (await anext(watch))[-1].revision
    listed = await backend.list(LAZY)
    assert {item.key: item.revision for item in listed.items} == revisions
    assert {item.value for item in listed.items} == {b"2"}
    clock.advance(LAZY_SECONDS)
    while not transactions:  # noqa: ASYNC110 -- the disk has no event for it
        await asyncio.sleep(0.001)
    await backend.create("/other", b"")
    assert [sorted(keys) for keys in transactions] == [nodes, ["/other"]]


async def test_a_durable_write_takes_the_heartbeats_along(
    backend: Backend, transactions: list[list[str]]
) -> None:
    revision = await backend.create(LAZY + "a", b"0")
    revision = await backend.update(LAZY + "a", b"1", revision=revision)
    await backend.update(LAZY + "a", b"2", revision=revision)
    transactions.clear()
    await backend.create("/other", b"")
    assert transactions == [[LAZY + "a", "/other"]]


async def test_after_a_crash_a_heartbeat_may_be_lost_but_no_revision_repeats(
    backend: Backend, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    created = await backend.create(LAZY + "a", b"0")
    first = await backend.update(LAZY + "a", b"1", revision=created)
    second = await backend.update(LAZY + "a", b"2", revision=first)
    after_crash = await crashed(tmp_path, tmp_path_factory.mktemp("crashed"))
    kept = await after_crash.get(LAZY + "a")
    assert kept is not None
    assert kept.revision == first
    with pytest.raises(RevisionMismatchError):
        await after_crash.update(LAZY + "a", b"3", revision=second)
    assert await after_crash.update(LAZY + "a", b"3", revision=first) > second
    assert await after_crash.revision() <= second + CEILING_STEP + 2
    await after_crash.close()


async def test_a_clean_stop_loses_nothing_and_skips_no_revision(tmp_path: Path) -> None:
    backend = await open_backend("", data_dir=tmp_path, lazy_prefixes=(LAZY,))
    revision = await backend.create(LAZY + "a", b"0")
    for beat in range(4):
        revision = await backend.update(LAZY + "a", str(beat).encode(), revision=revision)
    before = await backend.list("")
    await backend.close()
    backend = await open_backend("", data_dir=tmp_path, lazy_prefixes=(LAZY,))
    assert await backend.list("") == before
    assert await backend.create("/next", b"") == revision + 1
    await backend.close()


async def test_a_resumed_watch_sees_the_newest_heartbeat_whether_saved_or_not(
    backend: Backend,
) -> None:
    created = await backend.create(LAZY + "a", b"0")
    other = await backend.create("/other", b"")
    revision = created
    for beat in range(3):
        revision = await backend.update(LAZY + "a", str(beat).encode(), revision=revision)
    unsaved = await anext(aiter(backend.watch("", after=created)))
    assert next(event.revision for event in unsaved) == other
    assert unsaved[-1].value == b"2"
    await backend.delete("/other", revision=other)
    saved = await anext(aiter(backend.watch(LAZY, after=other)))
    assert saved[-1] == unsaved[-1]


async def test_snapshots_and_deletes_know_heartbeats_that_are_not_saved(backend: Backend) -> None:
    created = await backend.create(LAZY + "a", b"0")
    first = await backend.update(LAZY + "a", b"1", revision=created)
    second = await backend.update(LAZY + "a", b"2", revision=first)
    old = await backend.list(LAZY, revision=created)
    assert [item.value for item in old.items] == [b"0"]
    end = await backend.delete(LAZY + "a", revision=second)
    events = await anext(aiter(backend.watch(LAZY, after=second)))
    assert [(event.revision, event.value, event.deleted) for event in events] == [(end, b"2", True)]
    before = await backend.list(LAZY, revision=second)
    assert [item.value for item in before.items] == [b"2"]


async def test_compaction_saves_heartbeats_first(backend: Backend) -> None:
    revision = await backend.create(LAZY + "a", b"0")
    for beat in range(4):
        revision = await backend.update(LAZY + "a", str(beat).encode(), revision=revision)
    await backend.compact(revision)
    current = await backend.get(LAZY + "a")
    assert current is not None
    assert (current.value, current.revision) == (b"3", revision)
    next_revision = await backend.update(LAZY + "a", b"4", revision=revision)
    listed = await backend.list(LAZY, revision=revision)
    assert [item.value for item in listed.items] == [b"3"]
    assert next_revision == revision + 1

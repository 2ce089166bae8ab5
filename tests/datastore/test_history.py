"""What a store tells of its past, and what that costs."""

import asyncio
import random
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from minikube_py.datastore.history import AUTHOR, Historian, Written, history_of
from minikube_py.datastore.kv import Backend, CompactedError, FutureRevisionError
from minikube_py.datastore.memory import MemoryBackend
from minikube_py.datastore.open import FILE, open_backend
from minikube_py.datastore.retention import Retention
from minikube_py.datastore.sqlite import SqliteBackend
from minikube_py.lib.clock import SystemClock


class SetClock(SystemClock):
    """A clock that a test puts forward."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


KEEPS = Retention(1 << 20, passing=("/registry/events/",))


def written(versions: Sequence[Written]) -> list[tuple[int, bytes | None]]:
    return [(one.revision, one.value) for one in versions]


async def test_versions_come_newest_first_also_of_what_was_deleted_and_made_again(
    endpoint: str, tmp_path: Path
) -> None:
    store = await open_backend(endpoint, data_dir=tmp_path, retention=KEEPS)
    try:
        first = await store.create("/a", b"1")
        second = await store.update("/a", b"2", revision=first)
        await store.create("/ab", b"other")
        gone = await store.delete("/a", revision=second)
        again = await store.create("/a", b"3")
        end = await store.delete("/a", revision=0)
        wanted = [(end, None), (again, b"3"), (gone, None), (second, b"2"), (first, b"1")]
        history = history_of(store)
        assert written(await history.versions("/a")) == wanted
        await store.compact(await store.revision())
        assert written(await history.versions("/a")) == wanted
        assert written(await history.versions("/a", before=gone, limit=1)) == [(second, b"2")]
        assert [one.deleted for one in await history.versions("/a", limit=2)] == [True, False]
    finally:
        await store.close()


async def test_the_past_is_shown_as_it_was_also_after_compaction_and_a_restart(
    endpoint: str, tmp_path: Path
) -> None:
    store = await open_backend(endpoint, data_dir=tmp_path, retention=KEEPS)
    dice = random.Random(7)  # noqa: S311 -- no secret
    shown = {}
    for step in range(60):
        key = f"/{dice.randrange(12)}"
        found = await store.get(key)
        if found is None:
            revision = await store.create(key, b"%d" % step)
        elif dice.random() < 0.3:
            revision = await store.delete(key, revision=found.revision)
        else:
            revision = await store.update(key, b"%d" % step, revision=found.revision)
        page = await store.list("")
        shown[revision] = [(kv.key, kv.value, kv.revision, kv.create_revision) for kv in page.items]
        if step % 20 == 19:
            await store.compact(revision - 3)
    await store.close()
    store = await open_backend(endpoint, data_dir=tmp_path, retention=KEEPS)
    try:
        history = history_of(store)
        for revision, wanted in shown.items():
            page = await history.past("", revision=revision)
            assert [tuple(kv[:4]) for kv in page.items] == wanted
        now = await store.list("")
        assert [(kv.key, kv.value) for kv in now.items] == [kv[:2] for kv in shown[now.revision]]
        with pytest.raises(CompactedError):
            await store.list("", revision=1)
        with pytest.raises(FutureRevisionError):
            await history.past("", revision=now.revision + 1)
    finally:
        await store.close()


async def test_pages_of_the_past_follow_each_other(tmp_path: Path) -> None:
    store = await open_backend("", data_dir=tmp_path, retention=KEEPS)
    revisions = [await store.create(f"/{n}", b"") for n in range(5)]
    for n, revision in enumerate(revisions):
        await store.delete(f"/{n}", revision=revision)
    await store.compact(await store.revision())
    history = history_of(store)
    first = await history.past("/", revision=5, limit=3)
    assert (len(first.items), first.more, first.remaining) == (3, True, 2)
    second = await history.past("/", revision=5, limit=3, after=first.items[-1].key)
    assert [kv.key for kv in (*first.items, *second.items)] == [f"/{n}" for n in range(5)]
    assert not second.more
    await store.close()


async def test_a_revision_has_a_time_and_a_write_an_author(tmp_path: Path, endpoint: str) -> None:
    clock = SetClock()
    store = await open_backend(endpoint, data_dir=tmp_path, retention=KEEPS, clock=clock)
    try:
        before = clock.now().timestamp()
        AUTHOR.set("create alice")
        first = await store.create("/a", b"1")
        clock.ahead = timedelta(seconds=60)
        AUTHOR.set("patch/status system:node:b")
        second = await store.update("/a", b"2", revision=first)
        history = history_of(store)
        newest, oldest = await history.versions("/a")
        assert (oldest.author, newest.author) == ("create alice", "patch/status system:node:b")
        assert newest.at - oldest.at == pytest.approx(60, abs=20)
        assert await history.revision_at(before - 1) == 0
        assert await history.revision_at(oldest.at + 30) == first
        assert await history.revision_at(newest.at + 1) == second
        assert await history.time_of(first) == oldest.at
    finally:
        await store.close()


def files_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def grown(store: Backend, key: str, writes: int) -> None:
    """Write a key again and again, and compact now and then."""
    found = await store.get(key)
    revision = found.revision if found else await store.create(key, b"")
    for n in range(writes):
        revision = await store.update(key, bytes(1000), revision=revision)
        if n % 40 == 39:
            await store.compact(revision)


async def test_the_history_stays_within_its_bytes_and_the_oldest_goes_first(
    endpoint: str, tmp_path: Path
) -> None:
    small = Retention(50_000)
    store = await open_backend(endpoint, data_dir=tmp_path, retention=small)
    try:
        kept = await store.create("/kept", b"kept")
        await grown(store, "/a", 120)
        history = history_of(store)
        versions = await history.versions("/a", limit=1000)
        assert 40 <= len(versions) <= 52
        newest = await store.revision()
        assert [one.revision for one in versions] == list(range(newest, newest - len(versions), -1))
        oldest = await history.oldest("/")
        assert newest - len(versions) <= oldest < newest
        page = await history.past("", revision=oldest)
        assert [kv.key for kv in page.items] == ["/a", "/kept"]
        with pytest.raises(CompactedError) as refused:
            await history.past("", revision=oldest - 1)
        assert refused.value.oldest == oldest
        assert written(await history.versions("/kept")) == [(kept, b"kept")]
    finally:
        await store.close()


async def test_what_means_nothing_later_pushes_nothing_out(endpoint: str, tmp_path: Path) -> None:
    small = Retention(50_000, passing=("/events/",))
    store = await open_backend(endpoint, data_dir=tmp_path, retention=small)
    try:
        first = await store.create("/a", b"1")
        await store.update("/a", b"2", revision=first)
        await grown(store, "/events/e", 80)
        history = history_of(store)
        assert [one.value for one in await history.versions("/a")] == [b"2", b"1"]
        assert len(await history.versions("/events/e", limit=1000)) == 1
        assert await history.oldest("/events/") == await store.revision()
    finally:
        await store.close()


async def test_without_history_a_store_is_as_small_as_what_is_in_it(
    endpoint: str, tmp_path: Path
) -> None:
    store = await open_backend(endpoint, data_dir=tmp_path)
    try:
        await grown(store, "/a", 80)
        await store.delete("/a", revision=0)
        await store.compact(await store.revision())
        assert await history_of(store).versions("/a") == []
    finally:
        await store.close()


async def test_history_that_is_switched_off_goes_and_begins_anew(
    endpoint: str, tmp_path: Path
) -> None:
    store = await open_backend(endpoint, data_dir=tmp_path, retention=KEEPS)
    await grown(store, "/a", 40)
    assert len(await history_of(store).versions("/a", limit=1000)) == 41
    await store.close()
    store = await open_backend(endpoint, data_dir=tmp_path)
    await grown(store, "/a", 40)
    assert len(await history_of(store).versions("/a", limit=1000)) == 1
    await store.close()
    store = await open_backend(endpoint, data_dir=tmp_path, retention=KEEPS)
    try:
        begun = await store.revision()
        await grown(store, "/a", 40)
        history = history_of(store)
        assert len(await history.versions("/a", limit=1000)) == 41
        assert await history.oldest("/a") == begun
    finally:
        await store.close()


async def test_a_kept_version_takes_no_memory(tmp_path: Path) -> None:
    store = await SqliteBackend.open(tmp_path / "state.db", retention=KEEPS)
    await grown(store, "/a", 80)
    assert store._index.garbage(1 << 60, 1000) == []
    head = store._index.head("/a")
    assert head is not None
    assert head.previous is None
    await store.close()
    store = await SqliteBackend.open(tmp_path / "state.db", retention=KEEPS)
    assert store._index.garbage(1 << 60, 1000) == []
    await store.close()


async def test_writes_go_on_while_somebody_reads_the_past(tmp_path: Path) -> None:
    store = await SqliteBackend.open(tmp_path / "state.db", retention=Retention(64 << 20))
    revision = await store.create("/a", b"")
    await asyncio.gather(*(store.create(f"/{n}", b"") for n in range(4000)))
    reading = asyncio.ensure_future(store.history.versions("/none"))
    during = 0
    while not reading.done():
        revision = await store.update("/a", b"", revision=revision)
        during += 1
    assert during > 1
    await store.close()


async def test_a_file_of_format_2_gets_a_history_from_now_on(tmp_path: Path) -> None:
    store = await open_backend("", data_dir=tmp_path)
    first = await store.create("/a", b"1")
    second = await store.update("/a", b"2", revision=first)
    await store.create("/gone", b"")
    await store.delete("/gone", revision=0)
    await store.close()
    file = sqlite3.connect(tmp_path / FILE)
    for column in ("at", "author", "more", "sum"):
        file.execute(f"ALTER TABLE log DROP COLUMN {column}")
    # A compaction at 4 that a crash cut off before it removed anything.
    file.execute("DELETE FROM state")
    file.execute("INSERT INTO state (name, value) VALUES ('compacted', 4)")
    file.execute("PRAGMA user_version = 2")
    file.commit()
    file.close()
    store = await open_backend("", data_dir=tmp_path, retention=KEEPS)
    history = history_of(store)
    assert written(await history.versions("/a")) == [(second, b"2")]
    assert await history.versions("/gone") == []
    assert await history.oldest("/") == 4
    assert (await history.versions("/a"))[0].at == 0
    await store.update("/a", b"3", revision=second)
    await store.compact(5)
    assert [one.value for one in await history.versions("/a")] == [b"3", b"2"]
    await store.close()


async def test_a_store_without_a_history_of_its_own_tells_what_it_can_still_list() -> None:
    class Plain:
        """A store of which only the protocol is known."""

        def __init__(self) -> None:
            inner = MemoryBackend()
            self.revision, self.list = inner.revision, inner.list
            self.inner = inner

    plain = Plain()
    first = await plain.inner.create("/a", b"1")
    second = await plain.inner.update("/a", b"2", revision=first)
    third = await plain.inner.update("/a", b"3", revision=second)
    history: Historian = history_of(plain)
    assert [one.value for one in await history.versions("/a")] == [b"3", b"2", b"1"]
    assert [one.value for one in await history.versions("/a", before=third)] == [b"2", b"1"]
    await plain.inner.compact(second)
    assert [one.value for one in await history.versions("/a")] == [b"3", b"2"]
    assert await history.oldest("/") == second
    assert [kv.value for kv in (await history.past("/", revision=second)).items] == [b"2"]


async def test_what_was_deleted_stays_deleted_when_another_rule_keeps_the_history(
    endpoint: str, tmp_path: Path
) -> None:
    store = await open_backend(endpoint, data_dir=tmp_path, retention=KEEPS)
    await grown(store, "/a", 40)
    await store.close()
    other = Retention(1 << 20, passing=("/a",))
    store = await open_backend(endpoint, data_dir=tmp_path, retention=other)
    await grown(store, "/a", 40)
    await store.delete("/a", revision=0)
    await store.compact(await store.revision())
    await store.close()
    store = await open_backend(endpoint, data_dir=tmp_path, retention=other)
    try:
        assert (await store.list("")).items == ()
        assert await history_of(store).versions("/a") == []
    finally:
        await store.close()


async def test_old_versions_are_stored_otherwise_and_nothing_is_left_of_what_they_were(
    endpoint: str, tmp_path: Path
) -> None:
    """Small ones, such as take pages of their own, such as were deleted, and trimmed ones."""
    store = await open_backend(endpoint, data_dir=tmp_path, retention=Retention(1 << 20, ("/p/",)))
    try:
        for n, size in enumerate((1, 300)):
            first = await store.create(f"/s/{n}", b"planted" * 10 * size)
            second = await store.update(f"/s/{n}", b"planted2" * 10 * size, revision=first)
            await store.compact(second)
            await store.update(f"/s/{n}", b"sealed", revision=second)
            await store.create(f"/gone/{n}", b"planted" * 10 * size)
            await store.delete(f"/gone/{n}", revision=0)
            passing = await store.create(f"/p/{n}", b"planted" * 10 * size)
            await store.update(f"/p/{n}", b"sealed", revision=passing)
        history = history_of(store)
        size_before = await history.size()

        async def sealed(key: str, value: bytes) -> bytes:
            assert key.startswith("/")
            return b"sealed" if value.startswith(b"planted") else value

        assert await history.rewrite("/", sealed) == 7
        await history.erase()
        assert await history.rewrite("/", sealed) == 0
        assert await history.size() < size_before
        versions = await history.versions("/s/1")
        assert [one.value for one in versions] == [b"sealed"] * 3
        assert [one.value for one in await history.versions("/gone/1")] == [None, b"sealed"]
        assert b"planted" not in files_in(tmp_path)
        await store.create("/after", b"")
    finally:
        await store.close()

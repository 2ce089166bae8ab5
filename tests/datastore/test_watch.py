"""The laws of a watch, on every backend."""

import asyncio
from collections import Counter, defaultdict

import pytest

from minikube_py.datastore import tail
from minikube_py.datastore.kv import (
    Backend,
    Change,
    CompactedError,
    DatastoreError,
    Event,
    UnavailableError,
)
from minikube_py.lib.tasks import Nursery


async def follow(backend: Backend, prefix: str, after: int, until: int, seen: list[Event]) -> None:
    async for events in backend.watch(prefix, after=after):
        assert events
        seen += events
        if events[-1].revision >= until or events[-1].key == "/r/end":
            return


def replayed(events: list[Event]) -> dict[str, bytes]:
    state: dict[str, bytes] = {}
    for event in events:
        if event.deleted:
            assert state.pop(event.key) == event.value
        else:
            state[event.key] = event.value
    return state


async def churn(backend: Backend, client: int, rounds: int) -> None:
    """Write one's own keys and fight over a shared one."""
    own = f"/r/own-{client}"
    revision = await backend.create(own, b"0")
    for n in range(rounds):
        try:
            current = await backend.get("/r/shared")
            if current is None:
                await backend.create("/r/shared", f"{client}-{n}".encode())
            elif n % 5 == 4:
                await backend.delete("/r/shared", revision=current.revision)
            else:
                await backend.update(
                    "/r/shared", f"{client}-{n}".encode(), revision=current.revision
                )
        except DatastoreError as error:
            assert "shared" in str(error)  # noqa: PT017 -- another client was faster
        revision = await backend.update(own, str(n).encode(), revision=revision)


async def test_all_watchers_see_every_write_once_in_order_whenever_they_join(
    backend: Backend,
) -> None:
    histories: dict[int, list[Event]] = defaultdict(list)
    async with asyncio.TaskGroup() as group:
        writers = [group.create_task(churn(backend, client, 30)) for client in range(8)]
        for number in range(6):
            watch = follow(backend, "/r/", 0, 10**9, histories[number])
            group.create_task(watch)
            await asyncio.sleep(0.002)
        await asyncio.wait(writers)
        end = await backend.create("/r/end", b"")
    first = histories[0]
    assert [event.revision for event in first] == list(range(1, end + 1))
    assert all(seen == first for seen in histories.values())
    listed = await backend.list("/r/")
    assert replayed(first) == {item.key: item.value for item in listed.items}


async def test_a_watch_may_be_resumed_at_any_revision(backend: Backend) -> None:
    await churn(backend, 1, 20)
    newest = await backend.revision()
    whole: list[Event] = []
    await follow(backend, "/r/", 0, newest, whole)
    for cut in range(newest):
        part: list[Event] = []
        await follow(backend, "/r/", cut, newest, part)
        assert part == whole[cut:]


async def test_a_write_is_published_before_it_is_answered(backend: Backend) -> None:
    seen: list[Event] = []
    async with Nursery("test") as nursery:
        nursery.start("watch", follow(backend, "/r/", 0, 1, seen))
        await asyncio.sleep(0)
        await backend.create("/r/a", b"x")
        assert [event.key for event in seen] == ["/r/a"]


async def test_a_slow_watcher_reads_on_from_the_log_without_a_gap(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "WAITING_EVENTS_MAX", 8)
    await backend.create("/r/first", b"")
    watch = aiter(backend.watch("/r/", after=0))
    seen = list(await anext(watch))
    for n in range(100):
        await backend.create(f"/r/{n}", b"")
        await backend.create(f"/other/{n}", b"")
    while len(seen) < 101:
        seen += await anext(watch)
    assert [event.key for event in seen[1:]] == [f"/r/{n}" for n in range(100)]
    live = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    revision = await backend.create("/r/live", b"")
    assert [event.revision for event in await live] == [revision]


async def test_a_watcher_that_compaction_passes_is_told(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "WAITING_EVENTS_MAX", 2)
    revision = await backend.create("/r/a", b"")
    watch = aiter(backend.watch("/r/", after=0))
    await anext(watch)
    for _ in range(10):
        revision = await backend.update("/r/a", b"", revision=revision)
    await backend.compact(revision)
    with pytest.raises(CompactedError):
        await anext(watch)


async def test_an_idle_watch_survives_compactions(backend: Backend) -> None:
    await backend.create("/r/a", b"")
    watch = aiter(backend.watch("/r/", after=0))
    await anext(watch)
    waiting = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    for n in range(10):
        await backend.create(f"/other/{n}", b"")
    await backend.compact(11)
    revision = await backend.create("/r/b", b"")
    assert [event.revision for event in await waiting] == [revision]


async def test_closing_ends_every_watch_after_what_it_has_coming(backend: Backend) -> None:
    await backend.create("/r/a", b"")
    watch = aiter(backend.watch("/r/", after=0))
    await anext(watch)
    await backend.create("/r/b", b"")
    await backend.close()
    assert [event.key for event in await anext(watch)] == ["/r/b"]
    with pytest.raises(UnavailableError, match="closed"):
        await anext(watch)
    with pytest.raises(UnavailableError, match="closed"):
        await backend.create("/r/c", b"")


async def test_a_key_that_is_a_watched_prefix_is_seen_once(backend: Backend) -> None:
    streams = [backend.watch(prefix, after=0) for prefix in ("/a", "/a/longer", "/a/longer/yet")]
    waiting = [asyncio.ensure_future(anext(stream)) for stream in streams]
    await asyncio.sleep(0)
    await backend.create("/a", b"1")
    async with asyncio.timeout(5):
        assert [event.key for event in await waiting[0]] == ["/a"]
    for other in waiting[1:]:
        other.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_what_was_written_together_comes_together(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also to a watcher that reads it from the log, hundreds of events at a time."""
    monkeypatch.setattr(tail, "WAITING_EVENTS_MAX", 100)
    await backend.create("/r/first", b"")
    behind = aiter(backend.watch("/r/", after=0))
    await anext(behind)
    groups, size = 20, 30
    for group in range(groups):
        changes = [Change(f"/{where}/{group}/{n}", b"", 0) for n in range(size) for where in "ra"]
        await backend.write(changes)
    for watch in (behind, aiter(backend.watch("/r/", after=1))):
        left = {f"/r/{group}/{n}" for group in range(groups) for n in range(size)}
        while left:
            keys = [event.key for event in await anext(watch)]
            parts = Counter(key.split("/")[2] for key in keys)
            assert set(parts.values()) == {size}
            left -= set(keys)

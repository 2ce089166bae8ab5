"""What watchers are told, from when, and that all are told the same."""

import asyncio
from typing import Any

import pytest

from tests.integration.conformance.api import Api, Event

LABEL = "watch-this-configmap"
WRITES = 60
WATCHERS = 12


def config_map(name: str, label: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {LABEL: label}}, "data": data}


def told(events: list[Event]) -> list[tuple[str, str, str]]:
    """Return what the events are about: type, name and the datum that counts changes."""
    return [
        (e.type, e.object["metadata"]["name"], e.object.get("data", {}).get("mutation", ""))
        for e in events
    ]


@pytest.mark.conformance("Watchers should observe add, update, and delete watch notifications...")
async def test_watchers_see_what_their_selectors_match(api: Api, space: str) -> None:
    path = f"{space}/configmaps"
    async with (
        api.watch(path, labelSelector=f"{LABEL}=a") as only_a,
        api.watch(path, labelSelector=f"{LABEL}=b") as only_b,
        api.watch(path, labelSelector=f"{LABEL} in (a,b)") as both,
    ):
        for label in ("a", "b"):
            await api.create(path, config_map(label, label))
            await api.patch(f"{path}/{label}", {"data": {"mutation": "1"}})
            await api.patch(f"{path}/{label}", {"data": {"mutation": "2"}})
            await api.delete(f"{path}/{label}")

        def life(name: str) -> list[tuple[str, str, str]]:
            kinds = ("ADDED", "MODIFIED", "MODIFIED", "DELETED")
            return list(zip(kinds, [name] * 4, ("", "1", "2", "2"), strict=True))

        assert told(await only_a.take(4)) == life("a")
        assert told(await only_b.take(4)) == life("b")
        assert told(await both.take(8)) == life("a") + life("b")


@pytest.mark.conformance("Watchers should be able to start watching from a specific resource...")
async def test_a_watch_starts_at_a_version(api: Api, space: str) -> None:
    path = f"{space}/configmaps"
    await api.create(path, config_map("c", "x"))
    first = await api.patch(f"{path}/c", {"data": {"mutation": "1"}})
    await api.patch(f"{path}/c", {"data": {"mutation": "2"}})
    await api.delete(f"{path}/c")
    version = first["metadata"]["resourceVersion"]
    selector = f"{LABEL}=x"
    async with api.watch(path, labelSelector=selector, resourceVersion=version) as watcher:
        assert told(await watcher.take(2)) == [("MODIFIED", "c", "2"), ("DELETED", "c", "2")]


@pytest.mark.conformance("Watchers should be able to restart watching from the last resource...")
async def test_a_watch_goes_on_where_another_was_closed(api: Api, space: str) -> None:
    path, selector = f"{space}/configmaps", f"{LABEL}=x"
    async with api.watch(path, labelSelector=selector) as watcher:
        await api.create(path, config_map("c", "x"))
        await api.patch(f"{path}/c", {"data": {"mutation": "1"}})
        events = await watcher.take(2)
    version = events[-1].object["metadata"]["resourceVersion"]
    await api.patch(f"{path}/c", {"data": {"mutation": "2"}})
    await api.delete(f"{path}/c")
    async with api.watch(path, labelSelector=selector, resourceVersion=version) as watcher:
        assert told(await watcher.take(2)) == [("MODIFIED", "c", "2"), ("DELETED", "c", "2")]


@pytest.mark.conformance("Watchers should observe an object deletion if it stops meeting...")
async def test_what_leaves_a_selection_is_deleted_for_its_watcher(api: Api, space: str) -> None:
    path = f"{space}/configmaps"
    async with api.watch(path, labelSelector=f"{LABEL}=x") as watcher:
        await api.create(path, config_map("c", "x"))
        await api.patch(f"{path}/c", {"data": {"mutation": "1"}})
        await api.patch(f"{path}/c", {"metadata": {"labels": {LABEL: "y"}}})
        await api.patch(f"{path}/c", {"data": {"mutation": "2"}})
        await api.patch(f"{path}/c", {"metadata": {"labels": {LABEL: "x"}}})
        await api.patch(f"{path}/c", {"data": {"mutation": "3"}})
        await api.delete(f"{path}/c")
        assert told(await watcher.take(6)) == [
            ("ADDED", "c", ""),
            ("MODIFIED", "c", "1"),
            ("DELETED", "c", "1"),
            ("ADDED", "c", "2"),
            ("MODIFIED", "c", "3"),
            ("DELETED", "c", "3"),
        ]


@pytest.mark.conformance("Watchers should receive events on concurrent watches in same order")
async def test_watchers_from_different_versions_see_the_same_order(api: Api, space: str) -> None:
    path = f"{space}/configmaps"
    start = (await api.get(path))["metadata"]["resourceVersion"]

    async def write() -> None:
        for n in range(WRITES):
            name = f"c{n % 5}"
            if n < 5:
                await api.create(path, config_map(name, "x"))
            else:
                await api.patch(f"{path}/{name}", {"data": {"mutation": str(n)}})

    async def versions(after: str, count: int) -> list[str]:
        async with api.watch(path, resourceVersion=after) as watcher:
            events = await watcher.take(count)
        return [event.object["metadata"]["resourceVersion"] for event in events]

    _, order = await asyncio.gather(write(), versions(start, WRITES))
    later = await asyncio.gather(
        *(versions(order[n], WRITES - n - 1) for n in range(0, WRITES - 1, WRITES // WATCHERS))
    )
    for n, seen in zip(range(0, WRITES - 1, WRITES // WATCHERS), later, strict=True):
        assert seen == order[n + 1 :]
    assert order == sorted(order, key=int)

"""The watch cache: what it holds, what it remembers, whom it tells."""

import asyncio
from collections.abc import Sequence

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api.core import CONFIGMAPS, PODS
from minikube_py.api.errors import ExpiredError
from minikube_py.api.object import Key
from minikube_py.datastore.memory import MemoryBackend
from minikube_py.lib.tasks import Nursery
from minikube_py.server.registry import cache as cache_module
from minikube_py.server.registry.cache import ITEMS_AT_ONCE, Cache, prefix_of
from minikube_py.server.registry.changes import Change
from minikube_py.server.registry.encoding import encode, splice, with_revision


def configmap(name: str, namespace: str = "default", **data: str) -> dict[str, object]:
    return {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": namespace, "uid": f"uid-{name}"},
        "data": data,
    }


def test_the_spliced_bytes_are_the_object_with_its_revision() -> None:
    obj = configmap("a", x="1")
    assert orjson.loads(splice(encode(obj), 7)) == with_revision(obj, 7)


def test_a_revision_in_the_object_is_not_stored() -> None:
    assert encode(with_revision(configmap("a"), 5)) == encode(configmap("a"))


async def test_what_is_written_is_read_and_told_in_order() -> None:
    backend = MemoryBackend()
    key = f"{prefix_of(CONFIGMAPS)}default/a"
    cache = Cache(backend)
    await cache.load([CONFIGMAPS])
    told: list[Change] = []
    async with Nursery("test") as nursery:
        nursery.start("feed", cache.feed())
        cache.kind(CONFIGMAPS).subscribe(told.extend)
        first = await backend.create(key, encode(configmap("a", x="1")))
        second = await backend.update(key, encode(configmap("a", x="2")), revision=first)
        third = await backend.delete(key, revision=second)
        await asyncio.wait_for(cache.reached(third), 5)
    assert [change.revision for change in told] == [first, second, third]
    assert [change.deleted for change in told] == [False, False, True]
    assert told[1].previous is told[0].item
    assert told[2].item.obj["data"] == {"x": "2"}
    assert cache.kind(CONFIGMAPS).get(Key("default", "a")) is None


async def test_a_large_batch_is_taken_in_step_by_step_and_each_step_is_whole() -> None:
    backend, count = MemoryBackend(), 5 * ITEMS_AT_ONCE + 1
    cache = Cache(backend)
    steps: list[int] = []
    await cache.load([CONFIGMAPS])
    kind = cache.kind(CONFIGMAPS)

    def told(changes: Sequence[Change]) -> None:
        assert changes[0].revision == cache.revision + 1
        assert len(kind) == changes[-1].revision
        steps.append(len(changes))

    kind.subscribe(told)
    for n in range(count):
        await backend.create(f"{prefix_of(CONFIGMAPS)}default/{n}", encode(configmap(str(n))))
    async with Nursery("test") as nursery:
        nursery.start("feed", cache.feed())
        await asyncio.wait_for(cache.reached(2), 5)
        assert cache.revision < count  # a reader has its turn before the batch is done
        await asyncio.wait_for(cache.reached(count), 5)
    assert (sum(steps), max(steps) <= ITEMS_AT_ONCE) == (count, True)


async def test_large_objects_are_taken_in_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "EVENTS_SECONDS_MAX", 0.0)
    backend = MemoryBackend()
    cache = Cache(backend)
    await cache.load([CONFIGMAPS])
    steps: list[int] = []
    cache.kind(CONFIGMAPS).subscribe(lambda changes: steps.append(len(changes)))
    for n in range(3):
        await backend.create(f"{prefix_of(CONFIGMAPS)}default/{n}", encode(configmap(str(n))))
    async with Nursery("test") as nursery:
        nursery.start("feed", cache.feed())
        await asyncio.wait_for(cache.reached(3), 5)
    assert steps == [1, 1, 1]


async def test_what_a_kind_was_loaded_with_is_not_told_again() -> None:
    backend = MemoryBackend()
    key = f"{prefix_of(CONFIGMAPS)}default/a"
    first = await backend.create(key, encode(configmap("a", x="1")))
    second = await backend.update(key, encode(configmap("a", x="2")), revision=first)
    cache = Cache(backend)
    kind = await cache.add(CONFIGMAPS)
    told: list[Change] = []
    kind.subscribe(told.extend)
    async with Nursery("test") as nursery:
        nursery.start("feed", cache.feed())
        await asyncio.wait_for(cache.reached(second), 5)
    assert (told, kind.revision) == ([], second)


async def test_the_history_says_when_it_is_too_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "HISTORY_EVENTS_MAX", 2)
    backend = MemoryBackend()
    cache = Cache(backend)
    await cache.load([CONFIGMAPS])
    async with Nursery("test") as nursery:
        nursery.start("feed", cache.feed())
        for n in range(4):
            revision = await backend.create(
                f"{prefix_of(CONFIGMAPS)}default/{n}", encode(configmap(str(n)))
            )
        await asyncio.wait_for(cache.reached(revision), 5)
    kind = cache.kind(CONFIGMAPS)
    assert [change.revision for change in kind.since(revision - 2)] == [revision - 1, revision]
    with pytest.raises(ExpiredError, match="too old resource version"):
        kind.since(revision - 3)


@given(st.sets(st.tuples(st.sampled_from(["a", "a-b", "b"]), st.sampled_from("xyz"))))
def test_items_come_in_key_order_and_by_namespace(keys: set[tuple[str, str]]) -> None:
    async def fill() -> Cache:
        backend = MemoryBackend()
        for namespace, name in keys:
            await backend.create(
                f"{prefix_of(CONFIGMAPS)}{namespace}/{name}", encode(configmap(name, namespace))
            )
        cache = Cache(backend)
        await cache.load([CONFIGMAPS, PODS])
        return cache

    kind = asyncio.run(fill()).kind(CONFIGMAPS)
    everything = [item.key for item in kind.items()]
    assert everything == sorted(everything, key=str)
    for namespace in ("a", "a-b", "b"):
        expected = sorted(Key(*key) for key in keys if key[0] == namespace)
        assert [item.key for item in kind.items(namespace)] == expected
        assert kind.count_after("", namespace) == len(expected)
        for key in expected:
            rest: Sequence[Key] = [item.key for item in kind.after(str(key), namespace)]
            assert rest == [other for other in expected if other > key]

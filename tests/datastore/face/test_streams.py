"""Streams of watches and leases, in process: what a real etcd cannot be made to show at will."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import grpc.aio
import pytest

from minikube_py.datastore.face import watching
from minikube_py.datastore.face.serving import Listening, serving
from minikube_py.datastore.memory import MemoryBackend
from tests.datastore.face.client import Client, Stream
from tests.ports import free_port


@pytest.fixture
async def backend() -> AsyncIterator[MemoryBackend]:
    one = MemoryBackend()
    yield one
    await one.close()


@pytest.fixture
async def clients(backend: MemoryBackend) -> AsyncIterator[tuple[Client, Client]]:
    """Yield clients of two faces of one backend."""
    async with AsyncExitStack() as stack:
        made = []
        for name in ("a", "b"):
            port = free_port()
            listening = Listening([f"http://127.0.0.1:{port}"], name)
            await stack.enter_async_context(serving(backend, listening))
            made.append(Client(port))
            stack.push_async_callback(made[-1].close)
        yield made[0], made[1]


@pytest.fixture
def client(clients: tuple[Client, Client]) -> Client:
    return clients[0]


async def opened(stream: Stream, **request: Any) -> dict[str, Any]:
    await stream.say(create_request=request)
    return await stream.hear()


async def put(client: Client, key: bytes, value: bytes = b"", **more: Any) -> int:
    answer = await client.call("Put", {"key": key, "value": value, **more})
    revision: int = answer["header"]["revision"]
    return revision


async def test_progress_comes_after_everything_that_it_is_about(client: Client) -> None:
    stream = client.stream("Watch")
    assert (await opened(stream, key=b"a", range_end=b"b"))["created"]
    assert (await opened(stream, key=b"x"))["watch_id"] == 1
    for n in range(20):
        await put(client, b"a", str(n).encode())
    newest = await put(client, b"elsewhere")
    await stream.say(progress_request={})
    seen: list[bytes] = []
    while "events" in (message := await stream.hear()):
        seen += [event["kv"]["value"] for event in message["events"]]
    assert seen == [str(n).encode() for n in range(20)]
    assert message["watch_id"] == -1
    assert message["header"]["revision"] >= newest


async def test_watches_of_a_stream_have_numbers_and_are_cancelled_one_by_one(
    client: Client,
) -> None:
    stream = client.stream("Watch")
    assert (await opened(stream, key=b"a", watch_id=7))["watch_id"] == 7
    twice = await opened(stream, key=b"a", watch_id=7)
    assert (twice["canceled"], twice["watch_id"]) == (True, -1)
    assert "duplicate watch ID" in twice["cancel_reason"]
    empty = await opened(stream, key=b"b", range_end=b"a")
    assert "watcher range is empty" in empty["cancel_reason"]
    assert (await opened(stream, key=b"b")).get("watch_id", 0) == 0
    await stream.say(cancel_request={"watch_id": 7})
    cancelled = await stream.hear()
    assert (cancelled["watch_id"], cancelled["canceled"]) == (7, True)
    await put(client, b"a")
    await put(client, b"b")
    (event,) = (await stream.hear())["events"]
    assert event["kv"]["key"] == b"b"


async def test_what_is_too_much_for_one_response_comes_in_fragments(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "RESPONSE_BYTES_MAX", 3_000)
    puts = [{"request_put": {"key": b"k%d" % n, "value": b"x" * 1_000}} for n in range(8)]
    first = await put(client, b"begin")
    await client.call("Txn", {"success": puts})
    stream = client.stream("Watch")
    await opened(stream, key=b"k", range_end=b"l", start_revision=first, fragment=True)
    heard = [await stream.hear()]
    while heard[-1].get("fragment"):
        heard.append(await stream.hear())
    assert [len(message["events"]) for message in heard] == [2, 2, 2, 2]


async def test_a_client_that_does_not_read_misses_nothing(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "WAITING_EVENTS_MAX", 4)
    stream = client.stream("Watch")
    await opened(stream, key=b"a", range_end=b"b", prev_kv=True)
    large = b"x" * 100_000  # more than the connection holds
    for n in range(60):
        await put(client, b"a", b"%d " % n + large)
    seen: list[int] = []
    before: list[int] = []
    while len(seen) < 60:
        for event in (await stream.hear())["events"]:
            seen.append(int(event["kv"]["value"].split()[0]))
            before.append(int(event.get("prev_kv", {"value": b"-1"})["value"].split()[0]))
    assert seen == list(range(60))
    assert before == list(range(-1, 59))


async def test_leases_are_those_of_the_datastore_whoever_granted_them(
    clients: tuple[Client, Client], backend: MemoryBackend
) -> None:
    here, there = clients
    await here.call("LeaseGrant", {"ID": 5, "TTL": 600})
    await put(there, b"attached", lease=5)
    told = await here.call("LeaseTimeToLive", {"ID": 5, "keys": True})
    assert told["keys"] == [b"attached"]
    stream = there.stream("LeaseKeepAlive")
    await stream.say(ID=5)
    assert (await stream.hear())["TTL"] == 600
    await there.call("LeaseRevoke", {"ID": 5})
    assert (await here.call("Range", {"key": b"attached"})).get("kvs", []) == []
    assert (await here.call("LeaseTimeToLive", {"ID": 5}))["TTL"] == -1
    with pytest.raises(grpc.aio.AioRpcError, match="requested lease not found"):
        await put(here, b"attached", lease=5)
    assert [item.key for item in (await backend.list("/kpy/etcd/leases/")).items] == []


async def test_many_who_count_by_compare_and_swap_count_every_step(
    clients: tuple[Client, Client],
) -> None:
    await put(clients[0], b"count", b"0")

    async def count(client: Client) -> None:
        while True:
            (kv,) = (await client.call("Range", {"key": b"count"}))["kvs"]
            compare = {"key": b"count", "target": "MOD", "mod_revision": kv["mod_revision"]}
            value = str(int(kv["value"]) + 1).encode()
            swap = {"request_put": {"key": b"count", "value": value}}
            answer = await client.call("Txn", {"compare": [compare], "success": [swap]})
            if answer.get("succeeded"):
                return

    await asyncio.gather(*(count(clients[n % 2]) for n in range(20)))
    (kv,) = (await clients[1].call("Range", {"key": b"count"}))["kvs"]
    assert (kv["value"], kv["version"]) == (b"20", 21)


async def test_many_who_put_one_key_blindly_all_succeed(clients: tuple[Client, Client]) -> None:
    await asyncio.gather(*(put(clients[n % 2], b"k", b"%d" % n) for n in range(100)))
    (kv,) = (await clients[0].call("Range", {"key": b"k"}))["kvs"]
    assert kv["version"] == 100


async def test_a_request_that_is_too_large_is_refused(client: Client) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match="request is too large"):
        await put(client, b"k", b"x" * 1_600_000)
    operations = [{"request_put": {"key": b"k%d" % n}} for n in range(129)]
    with pytest.raises(grpc.aio.AioRpcError, match="too many operations in txn request"):
        await client.call("Txn", {"success": operations})


async def test_very_many_keys_are_listed_and_deleted(client: Client) -> None:
    for part in range(10):
        puts = [{"request_put": {"key": b"many/%d/%d" % (part, n)}} for n in range(120)]
        await client.call("Txn", {"success": puts})
    there = await client.call("Range", {"key": b"many/", "range_end": b"many0"})
    names = [kv["key"] for kv in there["kvs"]]
    assert (len(names), names) == (there["count"], sorted(names))
    gone = await client.call("DeleteRange", {"key": b"many/", "range_end": b"many0"})
    assert gone["deleted"] == 1_200
    left = await client.call("Range", {"key": b"many/", "range_end": b"many0"})
    assert left.get("count", 0) == 0

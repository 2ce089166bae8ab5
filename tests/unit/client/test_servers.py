"""A client stays with the server that works, and knows the others from the cluster."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from minikube_py.client import servers as module
from minikube_py.client.servers import Server, Servers, servers_of
from minikube_py.lib.errors import StartError
from tests.ports import free_port


@contextlib.asynccontextmanager
async def listening(port: int) -> AsyncIterator[Server]:
    async def end(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(end, "127.0.0.1", port):
        yield Server("127.0.0.1", port)


def known(file: Path, port: int) -> Servers:
    return Servers(f"https://127.0.0.1:{port}", file)


async def reached(servers: Servers) -> int:
    made = await servers.dial("wherever", 1)
    port: int = made.getpeername()[1]
    made.close()
    return port


async def test_the_server_that_was_joined_is_asked_while_it_answers(tmp_path: Path) -> None:
    async with listening(free_port()) as first, listening(free_port()) as second:
        servers = known(tmp_path / "servers", first.port)
        servers.learn([second, first])
        assert {await reached(servers) for _ in range(3)} == {first.port}


async def test_one_that_refuses_is_passed_over_and_tried_last_from_then_on(tmp_path: Path) -> None:
    gone = Server("127.0.0.1", free_port())
    async with listening(free_port()) as second:
        servers = known(tmp_path / "servers", gone.port)
        servers.learn([second, gone])
        assert await reached(servers) == second.port
        assert servers.known() == (second, gone)
    with pytest.raises(ConnectionRefusedError):
        await servers.dial("wherever", 1)
    async with listening(gone.port):
        assert await reached(servers) == gone.port


async def test_one_that_is_silent_is_passed_over_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CONNECT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", free_port()), backlog=0) as silent:
        port = silent.getsockname()[1]
        with contextlib.ExitStack() as full:  # its queue is full, so that it answers nobody
            for _ in range(3):
                one = full.enter_context(socket.socket())
                one.setblocking(False)  # noqa: FBT003 -- its own word
                one.connect_ex(("127.0.0.1", port))
            async with listening(free_port()) as second:
                servers = known(tmp_path / "servers", port)
                servers.learn([second, Server("127.0.0.1", port)])
                assert await reached(servers) == second.port


async def test_what_was_learned_outlives_the_process(tmp_path: Path) -> None:
    file = tmp_path / "servers"
    other = Server("192.0.2.2", 6443)
    servers = known(file, 6443)
    servers.learn([other, Server("127.0.0.1", 6443)])
    assert servers.changed.is_set()
    assert set(known(file, 6443).known()) == {other, Server("127.0.0.1", 6443)}
    servers.learn([])  # nobody says that there are none: that would be the end of the node
    assert len(servers.known()) == 2
    servers.learn([Server("127.0.0.1", 6443)])
    assert known(file, 6443).known() == (Server("127.0.0.1", 6443),)


def test_a_list_that_makes_no_sense_is_named(tmp_path: Path) -> None:
    (tmp_path / "servers").write_text("{")
    with pytest.raises(StartError, match="does not list servers"):
        known(tmp_path / "servers", 6443)


def test_servers_are_all_addresses_of_a_slice() -> None:
    assert servers_of({"ports": [{"port": 6443}], "endpoints": [{"addresses": ["a"]}, {}]}) == [
        Server("a", 6443)
    ]
    assert servers_of({"ports": None, "endpoints": None}) == []

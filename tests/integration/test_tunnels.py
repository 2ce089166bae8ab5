"""A node that nobody reaches is reached through the tunnel that it opened, and nothing else is."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from minikube_py.agent.join import join
from minikube_py.agent.tunnel import guard, run_tunnels
from minikube_py.agent.uplink import Uplink
from minikube_py.api.core import NODES
from minikube_py.lib.clock import SystemClock
from minikube_py.lib.hijack import Refused, dial_upgrade
from minikube_py.lib.tasks import Nursery
from minikube_py.server.tunnels import Tunnel
from tests.integration.conftest import Server, running
from tests.integration.patience import eventually
from tests.ports import free_port

HIDDEN = "127.99.0.7"
"""The address of a node: answers for the agent alone, because the test's server dials no such."""


class World(NamedTuple):
    server: Server
    uplink: Uplink
    asked: list[str]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Have a server, a member of its cluster, and a kubelet at an address of the member's own."""
    async with running(tmp_path / "server") as server:
        token = (tmp_path / "server" / "server" / "token").read_text().strip()
        member = await join(
            server=server.url,
            token=token,
            node_name="far",
            addresses=[HIDDEN],
            folder=tmp_path / "agent" / "tls",
            clock=SystemClock(),
        )
        port = free_port()
        asked: list[str] = []
        async with await asyncio.start_server(
            lambda r, w: answer(r, w, asked), HIDDEN, port, ssl=serving(member)
        ):
            await register(server, port)
            yield World(server, Uplink(member, tmp_path / "agent"), asked)


def serving(member: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*member.serving)
    return context


async def answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: list[str]
) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    asked.append(head.split()[1].decode())
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
    await writer.drain()
    writer.close()


async def register(server: Server, port: int) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "far"}}
    made = await server.client.create(NODES, node)
    status = {
        "addresses": [{"type": "InternalIP", "address": HIDDEN}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    }
    await server.client.update(NODES, {**made, "status": status}, subresource="status")


@contextlib.asynccontextmanager
async def tunnelled(world: World, own: tuple[str, ...] = (HIDDEN,)) -> AsyncIterator[None]:
    """Have the node's tunnel open for the length of the block."""
    async with Nursery("test") as nursery:
        nursery.start("tunnel", run_tunnels(world.uplink, own, "10.42.0.0/16", SystemClock()))
        await eventually(lambda: open_tunnels(world), bool)
        yield


async def open_tunnels(world: World) -> list[Tunnel]:
    tunnels = world.server.app._tunnels
    assert tunnels is not None
    return list(tunnels._tunnels.values())


async def ask(world: World) -> Any:
    return await world.server.call("GET", "/api/v1/nodes/far/proxy/healthz")


async def test_a_kubelet_is_asked_through_the_tunnel_of_its_node(world: World) -> None:
    dialled: list[str] = []
    async with tunnelled(world):
        (tunnel,) = await open_tunnels(world)
        opens = tunnel.open

        async def noted(host: str, port: int) -> Any:
            dialled.append(host)
            return await opens(host, port)

        tunnel.open = noted  # type: ignore[method-assign]
        answers = await asyncio.gather(*(ask(world) for _ in range(8)))
        assert [(one.status, one.raw) for one in answers] == [(200, b"hello")] * 8
        assert set(dialled) == {HIDDEN}
    assert world.asked == ["/healthz"] * 8


async def test_a_node_without_a_tunnel_is_dialled_as_ever(world: World) -> None:
    found = await ask(world)
    assert (found.status, found.raw) == (200, b"hello")


async def test_a_node_refuses_what_is_not_its_own(world: World) -> None:
    async with tunnelled(world, own=("127.99.0.8",)):
        found = await ask(world)
        assert found.status == 503
        assert "connection refused" in found.body["message"]
    assert world.asked == []


async def test_a_tunnel_that_breaks_is_opened_again(world: World) -> None:
    async with tunnelled(world):
        (first,) = await open_tunnels(world)
        first.close()
        await eventually(lambda: open_tunnels(world), lambda found: found and first not in found)
        assert (await ask(world)).status == 200


async def test_only_a_node_opens_a_tunnel_and_only_its_own_streams(world: World) -> None:
    url = f"{world.server.url}/v1-kpy/connect"
    headers = [("Connection", "Upgrade"), ("Upgrade", "kpy-tunnel")]
    nobody = ssl.create_default_context(cafile=str(world.uplink._member.cluster_ca))
    proxy = world.uplink._config(world.uplink._member.proxy).ssl_context()
    for context in (nobody, proxy):
        with pytest.raises(Refused) as refused:
            await dial_upgrade(url, method="GET", headers=headers, ssl=context)
        assert refused.value.status == 403
    node = world.uplink.config.ssl_context()
    async with tunnelled(world):
        with pytest.raises(Refused) as refused:
            await dial_upgrade(f"{url}?stream=guessed", method="GET", headers=headers, ssl=node)
        assert refused.value.status == 404


def test_a_server_may_have_a_node_connect_to_its_own_addresses_and_to_pods() -> None:
    allowed = guard(["192.168.0.2"], "10.42.0.0/16,fd42::/56")
    assert allowed("192.168.0.2")
    assert allowed("10.42.3.4")
    assert allowed("fd42::1")
    assert not allowed("169.254.169.254")
    assert not allowed("127.0.0.1")
    assert not allowed("kubernetes.default")

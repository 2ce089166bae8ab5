"""The node's side of tunnels: it connects to each server, which then reaches it back through that.

So a kubelet is reached behind a translation of addresses or a firewall that lets nobody in. What
servers ask for is described in the server's part; a node connects to nothing but its own addresses
and addresses of pods, whoever asks.
"""

import asyncio
import contextlib
import ipaddress
import json
import logging
from collections.abc import Callable, Iterable
from typing import Any

from minikube_py.agent.uplink import Uplink
from minikube_py.api.endpointslices import ENDPOINTSLICES
from minikube_py.api.item import Item
from minikube_py.client.config import ClientConfig
from minikube_py.client.informer import Informers
from minikube_py.client.servers import SERVER_NAME, Server, Servers, servers_of
from minikube_py.lib.backoff import Backoff
from minikube_py.lib.clock import Clock
from minikube_py.lib.connections import connect
from minikube_py.lib.hijack import ByteStream, Dialled, Refused, dial_upgrade, lines_of, pump
from minikube_py.lib.tasks import Nursery

log = logging.getLogger(__name__)
PATH, PROTOCOL = "/v1-kpy/connect", "kpy-tunnel"
RETRY = Backoff(first_seconds=0.5, max_seconds=30.0)
CONNECT_SECONDS = 8.0
"""Less than the server waits."""
STREAMS_MAX = 1000
LINE_BYTES_MAX = 4096
SERVICE_LABEL = "kubernetes.io/service-name"


async def follow_servers(informers: Informers, servers: Servers) -> None:
    """Learn of servers that come and go, for ever."""
    slices = informers.get(ENDPOINTSLICES)
    await slices.wait_synced()

    def learn() -> None:
        own = (item for item in slices.items("default") if _is_of_servers(item))
        servers.learn(server for item in own for server in servers_of(item.obj))

    def notice(old: Item | None, new: Item | None) -> None:
        if any(item is not None and _is_of_servers(item) for item in (old, new)):
            learn()

    learn()
    unsubscribe = slices.subscribe(notice)
    try:
        await asyncio.Event().wait()
    finally:
        unsubscribe()


def _is_of_servers(item: Item) -> bool:
    return item.key.namespace == "default" and item.labels.get(SERVICE_LABEL) == "kubernetes"


async def run_tunnels(uplink: Uplink, own: Iterable[str], pods: str, clock: Clock) -> None:
    """Keep a tunnel open to every server, for ever.

    `own` are the node's addresses, `pods` the networks of all pods with commas between.
    """
    allowed = guard(own, pods)
    kept: dict[Server, asyncio.Task[None]] = {}
    async with Nursery("tunnels") as nursery:
        while True:
            uplink.servers.changed.clear()
            known = frozenset(uplink.servers.known())
            for server in kept.keys() - known:
                kept.pop(server).cancel()
            for server in known - kept.keys():
                tunnel = _Tunnel(server, uplink.config, allowed)
                kept[server] = nursery.start(f"tunnel {server.host}", tunnel.keep(clock))
            await uplink.servers.changed.wait()


def guard(own: Iterable[str], pods: str) -> Callable[[str], bool]:
    """Return what tells whether a server may have this node connect to a host."""
    addresses = frozenset(own)
    networks = [ipaddress.ip_network(cidr) for cidr in pods.split(",")]

    def allowed(host: str) -> bool:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return host in addresses or any(address in network for network in networks)

    return allowed


class _Tunnel:
    """The tunnel to one server."""

    def __init__(
        self, server: Server, config: ClientConfig, allowed: Callable[[str], bool]
    ) -> None:
        self._server = server
        self._config = config
        self._allowed = allowed

    async def keep(self, clock: Clock) -> None:
        """Open it, and again when it ends."""
        failures = 0
        while True:
            try:
                tunnel = await self._dial("")
            except (OSError, Refused) as error:
                failures += 1
                level = logging.INFO if failures == 1 else logging.DEBUG
                log.log(level, "no tunnel server=%s:%d error=%s", *self._server, error)
                await clock.sleep(RETRY.wait_seconds(failures))
                continue
            failures = 0
            try:
                await self._serve(tunnel)
            except (OSError, ValueError) as error:
                log.debug("tunnel failed server=%s:%d error=%s", *self._server, error)
            finally:
                tunnel.close()
            await clock.sleep(RETRY.wait_seconds(1))

    async def _dial(self, stream: str) -> Dialled:
        host, port = self._server
        query = f"?stream={stream}" if stream else ""
        place = f"[{host}]" if ":" in host else host
        return await dial_upgrade(
            f"https://{place}:{port}{PATH}{query}",
            method="GET",
            headers=[("Connection", "Upgrade"), ("Upgrade", PROTOCOL)],
            ssl=self._config.ssl_context(),
            server_name=SERVER_NAME,
            timeout_seconds=CONNECT_SECONDS,
        )

    async def _serve(self, tunnel: ByteStream) -> None:
        """Do what the server says until the connection ends; the streams end with it."""
        async with Nursery("streams") as streams:
            async for line in lines_of(tunnel, LINE_BYTES_MAX):
                order = json.loads(line)
                if len(streams) < STREAMS_MAX:
                    streams.start("stream", self._connect(tunnel, order))

    async def _connect(self, tunnel: ByteStream, order: dict[str, Any]) -> None:
        host, port, stream = str(order["host"]), int(order["port"]), str(order["stream"])
        try:
            if not self._allowed(host):
                raise ConnectionRefusedError("connection refused: not of this node")
            async with asyncio.timeout(CONNECT_SECONDS):
                target = Dialled({}, *await connect(host, port))
        except OSError as error:
            why = (error.strerror or str(error) or "i/o timeout").lower()
            answer = json.dumps({"stream": stream, "error": why})
            with contextlib.suppress(OSError):
                await tunnel.write(answer.encode() + b"\n")
            return
        try:
            near = await self._dial(stream)
        except (OSError, Refused) as error:
            log.debug("stream not opened server=%s:%d error=%s", *self._server, error)
            target.close()
            return
        await pump(near, target)

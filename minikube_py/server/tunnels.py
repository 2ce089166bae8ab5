"""How the API server reaches nodes that it has no way to: through connections that they opened.

    agent                                         server
      |-- GET /v1-kpy/connect, Upgrade ------------>|  the tunnel: orders, a line of JSON each
      |<-- {"stream": "7f..", "host": .., "port":..}|  somebody wants the kubelet, or a pod
      |-- GET /v1-kpy/connect?stream=7f.., Upgrade->|  a connection of its own for each stream
      |<============== bytes both ways ============>|  until either side ends

A stream has its own connection, so that a slow one holds up nobody, and nothing is multiplexed.
A node speaks for itself alone: its certificate says who it is, and only what its Node object says
is its own (addresses, podCIDRs) goes through its tunnel. Without a tunnel the server connects as
ever, so that it works with any kubelet.
"""

import asyncio
import ipaddress
import json
import logging
import secrets
import socket
from collections.abc import Callable
from typing import NamedTuple

from aiohttp import web

from minikube_py.api.errors import BadRequestError, ForbiddenError, NotFoundError
from minikube_py.api.item import Item
from minikube_py.api.object import Key, get
from minikube_py.client.protocol import Lister
from minikube_py.lib.dialling import notice_dead_peer, open_stream
from minikube_py.lib.hijack import (
    ByteStream,
    Dialled,
    Switched,
    TakenOver,
    lines_of,
    pump,
    take_over,
)
from minikube_py.server.attributes import User

log = logging.getLogger(__name__)
PREFIX = "/v1-kpy/connect"
PROTOCOL = "kpy-tunnel"
NODE_PREFIX, NODES_GROUP = "system:node:", "system:nodes"
OPEN_SECONDS = 10.0
"""So long an agent may take to connect to what it was told to."""
OPENING_MAX = 1000
"""Streams of one node that are being opened at once."""
LINE_BYTES_MAX = 4096


class _Reach(NamedTuple):
    """What is a node's own, as of one revision of its Node object."""

    revision: int
    addresses: frozenset[str]
    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]


class Tunnel:
    """The tunnel of one node."""

    def __init__(self, node: str, stream: ByteStream) -> None:
        self.node = node
        self.stream = stream
        self.reach = _Reach(-1, frozenset(), ())
        self._opening: dict[str, asyncio.Future[socket.socket]] = {}

    async def open(self, host: str, port: int) -> socket.socket:
        """Have the node connect to a place; return our end of that.

        Raises:
            OSError: the place refuses, or the node does not answer in time.

        """
        if len(self._opening) >= OPENING_MAX:
            raise ConnectionRefusedError(f"{OPENING_MAX} connections to {self.node} are opening")
        name = secrets.token_hex(16)
        arrived = self._opening[name] = asyncio.get_running_loop().create_future()
        order = {"stream": name, "host": host, "port": port}
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                await self.stream.write(json.dumps(order).encode() + b"\n")
                made: socket.socket = await arrived
                return made
        finally:
            self._opening.pop(name, None)

    def expected(self, name: str) -> "asyncio.Future[socket.socket] | None":
        """Return who waits for a stream; each comes once."""
        return self._opening.pop(name, None)

    async def listen(self) -> None:
        """Hear what the node could not do, until its connection ends."""
        async for line in lines_of(self.stream, LINE_BYTES_MAX):
            said = json.loads(line)
            waiting = self.expected(str(said.get("stream")))
            if waiting is not None and not waiting.done():
                waiting.set_exception(_error_of(str(said.get("error"))))

    def close(self) -> None:
        """End it; who waits for a stream is told."""
        for waiting in self._opening.values():
            if not waiting.done():
                waiting.set_exception(ConnectionResetError(f"the tunnel to {self.node} has ended"))
        self.stream.close()


def _error_of(text: str) -> OSError:
    return ConnectionRefusedError(text) if "refused" in text else OSError(text)


class Tunnels:
    """All tunnels; the part of the API server that agents connect to."""

    prefix = PREFIX

    def __init__(self, nodes: Lister, user_of: Callable[[web.BaseRequest], User | None]) -> None:
        """Take the Node objects, and what tells whom a connection's certificate names."""
        self._nodes = nodes
        self._user_of = user_of
        self._tunnels: dict[str, Tunnel] = {}

    async def dial(self, host: str, port: int) -> socket.socket | None:
        """Connect through the tunnel of the node that a host is or is on; None where none is.

        Raises:
            OSError: there is one, and it did not lead there.

        """
        tunnel = self._towards(host)
        if tunnel is None:
            return None
        try:
            return await tunnel.open(host, port)
        except TimeoutError:
            log.warning("node does not answer through its tunnel node=%s", tunnel.node)
            self._forget(tunnel)
            raise

    def _towards(self, host: str) -> Tunnel | None:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return None
        for tunnel in self._tunnels.values():
            item = self._nodes.item(Key("", tunnel.node))
            if item is None:
                continue
            if tunnel.reach.revision != item.revision:
                tunnel.reach = _reach(item)
            if host in tunnel.reach.addresses or any(address in n for n in tunnel.reach.networks):
                return tunnel
        return None

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Take a node's tunnel, or a stream that it was told to open."""
        if request.path.rstrip("/") != PREFIX:
            raise NotFoundError("the server could not find the requested resource")
        node = self._node_of(request)
        if request.headers.get("Upgrade", "").lower() != PROTOCOL:
            raise BadRequestError("Upgrade request required")
        name = request.query.get("stream")
        if name is None:
            return await self._take_tunnel(request, node)
        return await self._take_stream(request, node, name)

    def _node_of(self, request: web.BaseRequest) -> str:
        user = self._user_of(request)
        if user is None or NODES_GROUP not in user.groups or not user.name.startswith(NODE_PREFIX):
            raise ForbiddenError("only nodes open tunnels, with the certificate of their kubelet")
        return user.name.removeprefix(NODE_PREFIX)

    async def _take_tunnel(self, request: web.BaseRequest, node: str) -> web.StreamResponse:
        tunnel = Tunnel(node, _taken(request))
        if (earlier := self._tunnels.pop(node, None)) is not None:
            earlier.close()
        self._tunnels[node] = tunnel
        log.info("tunnel opened node=%s", node)
        try:
            await tunnel.listen()
        except (OSError, ValueError) as error:
            log.debug("tunnel failed node=%s error=%s", node, error)
        finally:
            self._forget(tunnel)
            log.info("tunnel ended node=%s", node)
        return Switched()

    async def _take_stream(
        self, request: web.BaseRequest, node: str, name: str
    ) -> web.StreamResponse:
        tunnel = self._tunnels.get(node)
        waiting = tunnel.expected(name) if tunnel is not None else None
        if waiting is None or waiting.done():
            raise NotFoundError("nobody waits for this stream")
        far = _taken(request)
        near, end = socket.socketpair()
        for half in (near, end):
            half.setblocking(False)  # noqa: FBT003 -- the socket's own word
        waiting.set_result(near)
        await pump(far, Dialled({}, *await open_stream(end)))
        return Switched()

    def _forget(self, tunnel: Tunnel) -> None:
        if self._tunnels.get(tunnel.node) is tunnel:
            del self._tunnels[tunnel.node]
        tunnel.close()

    def close(self) -> None:
        """End all tunnels."""
        for tunnel in tuple(self._tunnels.values()):
            self._forget(tunnel)


def _taken(request: web.BaseRequest) -> TakenOver:
    if request.transport is not None:
        notice_dead_peer(request.transport.get_extra_info("socket"))
    return take_over(request, (("Connection", "Upgrade"), ("Upgrade", PROTOCOL)))


def _reach(item: Item) -> _Reach:
    node = item.obj
    addresses = frozenset(
        str(one["address"])
        for one in get(node, "status.addresses") or ()
        if one["type"] in ("InternalIP", "ExternalIP")
    )
    cidrs = get(node, "spec.podCIDRs") or ()
    return _Reach(item.revision, addresses, tuple(ipaddress.ip_network(cidr) for cidr in cidrs))

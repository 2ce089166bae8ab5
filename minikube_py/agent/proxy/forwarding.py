"""Connections and datagrams that this process carries to endpoints itself.

A listener stands for one front and holds what becomes of its clients; that may change while it
listens, and connections that stand go on as they are.
"""

import asyncio
import contextlib
import ipaddress
import logging
import random
import socket
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

from minikube_py.agent.proxy.fronts import Served, Target
from minikube_py.agent.proxy.rules import Front
from minikube_py.lib.tasks import Nursery

log = logging.getLogger(__name__)
CONNECT_SECONDS = 5.0
TRIES_MAX = 3
CONNECTIONS_MAX = 4096
"""Of one front; more are closed at once."""
CHUNK = 64 * 1024
CLIENTS_MAX = 65535
"""Remembered for affinity, of one front."""
SESSIONS_MAX = 4096
"""Clients that send datagrams to one front at a time; the one that was silent longest goes."""
SESSION_SECONDS = 60.0
DATAGRAM_MAX = 65535


class Choice:
    """Who gets a client of one front."""

    def __init__(self, served: Served, cluster_cidr: str, now: Callable[[], float]) -> None:
        self.served = served
        self._pods = ipaddress.ip_network(cluster_cidr)
        self._now = now
        self._seen: OrderedDict[str, tuple[Target, float]] = OrderedDict()

    def targets(self, client: str) -> Iterator[Target]:
        """Yield endpoints to try for a client; none where it is to be turned away."""
        served, chain = self.served, self.served.chain
        if chain is None or not self._is_admitted(client):
            return
        bound = chain.kind == "e" and not self._is_of_cluster(client)
        found = list(served.local if bound else served.cluster)
        random.shuffle(found)
        if chain.affinity_seconds:
            target, until = self._seen.get(client, (None, 0.0))
            if target in found and until > self._now():
                found.remove(target)
                found.insert(0, target)
        yield from found[:TRIES_MAX]

    def remember(self, client: str, target: Target) -> None:
        """Note where a client went."""
        chain = self.served.chain
        if chain is not None and chain.affinity_seconds:
            self._seen[client] = (target, self._now() + chain.affinity_seconds)
            self._seen.move_to_end(client)
            if len(self._seen) > CLIENTS_MAX:
                self._seen.popitem(last=False)

    def _is_admitted(self, client: str) -> bool:
        networks = map(ipaddress.ip_network, self.served.admitted)
        address = ipaddress.ip_address(client)
        return not self.served.guarded or any(address in network for network in networks)

    def _is_of_cluster(self, client: str) -> bool:
        """Tell whether a client is a pod or this node: one can listen only on an own address."""
        if ipaddress.ip_address(client) in self._pods:
            return True
        family = socket.AF_INET6 if ":" in client else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe, contextlib.suppress(OSError):
            probe.bind((client, 0))
            return True
        return False


class TcpListener:
    """Carries the connections to one front."""

    def __init__(self, choice: Choice) -> None:
        self.choice = choice
        self._server: asyncio.Server | None = None
        self._count = 0

    async def open(self, front: Front, anywhere: str) -> None:
        """Listen; raises OSError where the port is taken."""
        address = front.address or anywhere
        self._server = await asyncio.start_server(self._serve, address, front.port, limit=CHUNK)

    def close(self) -> None:
        """Listen no more; connections that stand go on."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._count += 1
        try:
            if self._count <= CONNECTIONS_MAX:
                await self._carry(reader, writer)
        except OSError as error:
            log.debug("connection ended error=%s", error)
        finally:
            self._count -= 1
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = _plain(writer.get_extra_info("peername")[0])
        for target in self.choice.targets(client):
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    far_reader, far_writer = await asyncio.open_connection(*target, limit=CHUNK)
            except OSError:
                continue
            self.choice.remember(client, target)
            try:
                async with Nursery("forwarded connection") as nursery:
                    nursery.start("forth", _copy(reader, far_writer))
                    nursery.start("back", _copy(far_reader, writer))
                    await nursery.join()
            finally:
                far_writer.close()
            return


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Copy until the source ends, and say so to the other side, which may go on sending."""
    with contextlib.suppress(OSError):
        while data := await source.read(CHUNK):
            sink.write(data)
            await sink.drain()
        if sink.can_write_eof():
            sink.write_eof()
        return
    sink.close()


class UdpListener(asyncio.DatagramProtocol):
    """Carries the datagrams to one front; a client's answers come back through its session."""

    def __init__(self, choice: Choice) -> None:
        self.choice = choice
        self._transport: asyncio.DatagramTransport | None = None
        self._sessions: OrderedDict[Any, _Session] = OrderedDict()

    async def open(self, front: Front, anywhere: str) -> None:
        """Listen; raises OSError where the port is taken."""
        loop = asyncio.get_running_loop()
        local = (front.address or anywhere, front.port)
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=local)

    def close(self) -> None:
        """Listen no more, and forget all clients."""
        if self._transport is not None:
            self._transport.close()
        self.forget()

    def forget(self) -> None:
        """End all sessions: endpoints are chosen anew for the next datagrams."""
        for client in list(self._sessions):
            self._sessions.pop(client).close()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Pass a datagram on."""
        session = self._sessions.get(addr)
        if session is None:
            client = _plain(addr[0])
            target = next(self.choice.targets(client), None)
            if target is None or self._transport is None:
                return
            self.choice.remember(client, target)
            if len(self._sessions) >= SESSIONS_MAX:
                self._sessions.popitem(last=False)[1].close()
            session = _Session(target, self._transport, addr, lambda: self._end(addr))
            self._sessions[addr] = session
        self._sessions.move_to_end(addr)
        session.send(data)

    def _end(self, addr: Any) -> None:
        session = self._sessions.pop(addr, None)
        if session is not None:
            session.close()


class _Session:
    """One client's datagrams to one endpoint."""

    def __init__(
        self,
        target: Target,
        front: asyncio.DatagramTransport,
        client: Any,
        end: Callable[[], None],
    ) -> None:
        family = socket.AF_INET6 if ":" in target.ip else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)  # noqa: FBT003 -- the only way to call it
        self._socket.connect(tuple(target))
        self._front, self._client, self._end = front, client, end
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._receive)
        self._timer = self._loop.call_later(SESSION_SECONDS, end)

    def send(self, data: bytes) -> None:
        self._timer.cancel()
        self._timer = self._loop.call_later(SESSION_SECONDS, self._end)
        with contextlib.suppress(OSError):  # datagrams may be lost
            self._socket.send(data)

    def _receive(self) -> None:
        with contextlib.suppress(OSError):
            self._front.sendto(self._socket.recv(DATAGRAM_MAX), self._client)

    def close(self) -> None:
        self._timer.cancel()
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()


def _plain(address: str) -> str:
    return address.removeprefix("::ffff:").partition("%")[0]

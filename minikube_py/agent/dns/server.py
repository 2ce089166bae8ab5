"""Answers DNS questions over UDP and TCP: the cluster's names itself, all others by asking on.

The answers about the cluster are made once and kept until something changes; nothing waits on
that way, so a datagram is answered before the next one is looked at.
"""

import asyncio
import contextlib
import logging
import random
import struct
from collections.abc import AsyncIterator, Sequence
from typing import cast

from minikube_py.agent.dns import codec
from minikube_py.agent.dns.codec import Answer, FormatError, Labels, Query, Record
from minikube_py.agent.dns.forward import Forwarder, ForwardError
from minikube_py.agent.dns.records import Alias, Zone
from minikube_py.lib.tasks import Nursery

log = logging.getLogger(__name__)
PORT = 53
REMEMBERED_MAX = 10_000
WAITING_MAX = 2000
"""Datagrams whose questions were asked on and that wait for an answer; more are dropped."""
CONNECTIONS_MAX = 500
IDLE_SECONDS = 10.0
"""How long a TCP connection may be quiet (RFC 7766 leaves it to the server)."""
STREAM_MAX = 65535
FREE_PORT_TRIES = 20
ALIASES_MAX = 8


class Resolver:
    """Finds the answer to one question."""

    def __init__(self, zone: Zone, forwarder: Forwarder) -> None:
        self._zone = zone
        self._forwarder = forwarder
        self._remembered: dict[tuple[Labels, int], Answer | Alias] = {}

    def changed(self) -> None:
        """Forget what was said of the cluster: something changed."""
        self._remembered.clear()

    def local(self, query: Query) -> Answer | Alias | None:
        """Return what the cluster knows of a name; None where it is not the cluster's."""
        key = (query.labels, query.type)
        found = self._remembered.get(key)
        if found is None:
            found = self._zone.answer(*key)
            if found is not None:
                if len(self._remembered) >= REMEMBERED_MAX:
                    self._remembered.clear()
                self._remembered[key] = found
        return found

    def at_once(self, query: Query, limit: int) -> bytes | None:
        """Return the answer where nobody has to be asked for it."""
        if query.flags & codec.OPCODE_MASK:
            return codec.write_error(query.raw, codec.NOTIMP)
        if query.qclass != codec.IN:
            return codec.write_answer(query, Answer(codec.REFUSED, authoritative=False), limit)
        found = self.local(query)
        if isinstance(found, Answer):
            return codec.write_answer(query, _shuffled(found), limit)
        if isinstance(found, Alias):
            return None
        kept = self._forwarder.kept(query)
        return _fitted(kept, limit) if kept is not None else None

    async def later(self, query: Query, limit: int, *, tcp: bool) -> bytes:
        """Return the answer that others have to be asked for."""
        found = self.local(query)
        try:
            if isinstance(found, Alias):
                return codec.write_answer(query, await self._follow(query, found), limit)
            message = await self._forwarder.ask(query, tcp=tcp)
        except ForwardError as error:
            log.debug("question not answered name=%s error=%s", codec.joined(query.labels), error)
            failed = Answer(codec.SERVFAIL, authoritative=False)
            return codec.write_answer(query, failed, limit)
        return _fitted(message, limit)

    async def _follow(self, query: Query, alias: Alias) -> Answer:
        """Return an alias with what its target means, as far as that can be found."""
        records = [alias.record]
        if query.type == codec.CNAME:
            return Answer(records=tuple(records))
        for _ in range(ALIASES_MAX):
            target = alias.target
            found = self._zone.answer(target, query.type)
            if isinstance(found, Alias):
                records.append(found.record)
                alias = found
                continue
            if found is None:
                records += await self._elsewhere(target, query.type)
            else:
                records += found.records
            return Answer(records=tuple(records))
        raise ForwardError("names go in circles")

    async def _elsewhere(self, target: Labels, kind: int) -> list[Record]:
        question = codec.read_query(codec.write_query(0, target, kind))
        message = self._forwarder.kept(question) or await self._forwarder.ask(question)
        try:
            return [
                Record(found.labels, found.type, found.ttl, _data(message, found))
                for found in codec.read_records(message)
                if found.section == 0 and found.type in (kind, codec.CNAME)
            ]
        except FormatError as error:
            raise ForwardError(str(error)) from error


def _data(message: bytes, found: codec.Found) -> bytes:
    """Return a record's data without references to the rest of its message."""
    if found.type == codec.CNAME:
        return codec.name_bytes(codec.read_name(message, found.data_at)[0])
    return message[found.data_at : found.data_end]


def _shuffled(answer: Answer) -> Answer:
    """Put several records in another order each time: clients take the first."""
    if len(answer.records) < 2:
        return answer
    records = list(answer.records)
    random.shuffle(records)
    return answer._replace(records=tuple(records))


def _fitted(message: bytes, limit: int) -> bytes:
    return message if len(message) <= limit else codec.truncated(message)


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, resolver: Resolver, nursery: Nursery) -> None:
        self._resolver = resolver
        self._nursery = nursery
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, client: tuple[str, int]) -> None:
        try:
            query = codec.read_query(data)
        except FormatError:
            if len(data) >= codec.HEADER_BYTES and not data[2] & codec.QR >> 8:
                self._send(codec.write_error(data, codec.FORMERR), client)
            return
        answer = self._resolver.at_once(query, query.limit)
        if answer is not None:
            self._send(answer, client)
        elif len(self._nursery) < WAITING_MAX:
            self._nursery.start("datagram", self._answer(query, client))

    async def _answer(self, query: Query, client: tuple[str, int]) -> None:
        self._send(await self._resolver.later(query, query.limit, tcp=False), client)

    def _send(self, message: bytes, client: tuple[str, int]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(message, client)

    def error_received(self, _: Exception) -> None:
        """Nothing: a client that is gone is no news."""


class _Tcp:
    """Connections, each with one question after the other."""

    def __init__(self, resolver: Resolver, nursery: Nursery) -> None:
        self.resolver = resolver
        self.nursery = nursery
        self._open = 0

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._open < CONNECTIONS_MAX:
            self._open += 1
            self.nursery.start("connection", self._serve(reader, writer))
        else:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
                while True:
                    async with asyncio.timeout(IDLE_SECONDS):
                        (length,) = struct.unpack(">H", await reader.readexactly(2))
                        message = await reader.readexactly(length)
                    answer = await self._answer(message)
                    writer.write(struct.pack(">H", len(answer)) + answer)
                    await writer.drain()
        finally:
            self._open -= 1
            writer.close()

    async def _answer(self, message: bytes) -> bytes:
        try:
            query = codec.read_query(message)
        except FormatError as error:
            if len(message) < codec.HEADER_BYTES:
                raise ConnectionAbortedError("no DNS message") from error
            return codec.write_error(message, codec.FORMERR)
        answer = self.resolver.at_once(query, STREAM_MAX)
        return answer or await self.resolver.later(query, STREAM_MAX, tcp=True)


@contextlib.asynccontextmanager
async def serving(
    resolver: Resolver, addresses: Sequence[str], port: int, nursery: Nursery
) -> AsyncIterator[int]:
    """Listen on all addresses while the block runs; gives the port (0 asks for a free one).

    Raises:
        OSError: an address is not this machine's, or somebody else listens there.

    """
    tcp = _Tcp(resolver, nursery)
    async with contextlib.AsyncExitStack() as stack:
        for address in addresses:
            listener, transport = await _listen(tcp, address, port)
            stack.callback(listener.close)
            stack.callback(transport.close)
            port = listener.sockets[0].getsockname()[1]
        yield port


async def _listen(
    tcp: _Tcp, address: str, port: int
) -> tuple[asyncio.Server, asyncio.DatagramTransport]:
    """Listen on one port by TCP and UDP; a port that is free for one may be taken for the other."""
    tries = 1 if port else FREE_PORT_TRIES
    while True:
        listener = await asyncio.start_server(tcp.connected, address, port, limit=STREAM_MAX + 2)
        try:
            return listener, await _listen_udp(tcp, listener.sockets[0].getsockname()[:2])
        except OSError:
            listener.close()
            tries -= 1
            if not tries:
                raise


async def _listen_udp(tcp: _Tcp, place: tuple[str, int]) -> asyncio.DatagramTransport:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Udp(tcp.resolver, tcp.nursery), local_addr=place
    )
    return transport

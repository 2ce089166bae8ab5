"""A lean HTTP/1.1 client over TLS: requests are bytes made beforehand, answers hardly read.

It does just enough to keep the connection in step (length or chunks) and to count watch events,
so that the client's CPU stays far below the server's.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

import orjson

from tests.bench.server import Server

ANSWER_SECONDS_MAX = 60.0


def request(method: str, path: str, body: object = None, media: str = "application/json") -> bytes:
    """Return the bytes of one request."""
    data = b"" if body is None else orjson.dumps(body)
    head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAccept: application/json\r\n"
    if body is not None:
        head += f"Content-Type: {media}\r\nContent-Length: {len(data)}\r\n"
    return head.encode() + b"\r\n" + data


class RefusedError(Exception):
    """The server answered something else than success."""


class Connection(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._buffer = bytearray()
        self._answer: asyncio.Future[bytes] | None = None

    @classmethod
    async def open(cls, server: Server) -> "Connection":
        """Connect as the administrator."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            cls, "127.0.0.1", server.port, ssl=server.tls, server_hostname="localhost"
        )
        return connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport."""
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, error: Exception | None) -> None:
        """Fail who waits."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionResetError())

    async def send(self, data: bytes) -> bytes:
        """Send a request and return the body of its answer."""
        self._buffer.clear()
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(data)
        return await self._answer

    def data_received(self, data: bytes) -> None:
        """Take in bytes until the answer is whole."""
        self._buffer += data
        if self._answer is None or self._answer.done():
            return
        body = _whole(self._buffer)
        if body is None:
            return
        if self._buffer[9:10] == b"2":
            self._answer.set_result(body)
        else:
            self._answer.set_exception(RefusedError(bytes(self._buffer[:2000]).decode()))

    def close(self) -> None:
        """Hang up."""
        self._transport.close()


def _whole(buffer: bytearray) -> bytes | None:
    """Return the body of an answer, None while it is not complete; chunks stay as they are."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = bytes(buffer[:end]).lower()
    if b"transfer-encoding: chunked" in head:
        return bytes(buffer[end + 4 :]) if buffer.endswith(b"0\r\n\r\n") else None
    place = head.find(b"content-length: ")
    length = int(head[place + 16 :].split(b"\r\n", 1)[0])
    return bytes(buffer[end + 4 :]) if len(buffer) >= end + 4 + length else None


class Watcher(Connection):
    """A watch that counts events."""

    def __init__(self) -> None:
        super().__init__()
        self.events = 0
        self._tail = b""
        self._wanted = 0
        self._reached: asyncio.Future[None] | None = None

    def start(self, path: str) -> None:
        """Begin to watch."""
        self._transport.write(request("GET", path))

    def data_received(self, data: bytes) -> None:
        """Count what begins in these bytes."""
        marked = self._tail + data
        self.events += marked.count(b'{"type":"')
        self._tail = marked[-8:]
        if self._reached is not None and self.events >= self._wanted and not self._reached.done():
            self._reached.set_result(None)

    async def reach(self, events: int) -> None:
        """Wait until that many have come."""
        self._wanted = events
        self._reached = asyncio.get_running_loop().create_future()
        if self.events < events:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                await self._reached


@asynccontextmanager
async def connected(server: Server, clients: int) -> AsyncIterator[Sequence[Connection]]:
    """Open so many connections for the length of the block."""
    connections = [await Connection.open(server) for _ in range(clients)]
    try:
        yield connections
    finally:
        for connection in connections:
            connection.close()


async def together(connections: Sequence[Connection], requests: Iterable[bytes]) -> list[float]:
    """Send the requests over the connections; return the seconds that each took."""
    waiting = iter(requests)
    took: list[float] = []
    now = time.perf_counter

    async def client(connection: Connection) -> None:
        for data in waiting:
            started = now()
            await connection.send(data)
            took.append(now() - started)

    async with asyncio.TaskGroup() as group:
        for connection in connections:
            group.create_task(client(connection))
    return took

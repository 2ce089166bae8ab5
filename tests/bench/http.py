"""A lean HTTP/1.1 client over TLS: requests are bytes made beforehand, answers hardly read.

It does just enough to keep the connection in step (length or chunks) and to count watch events,
so that the client's CPU stays far below the server's.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
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
    """One keep-alive connection; it sends the next request from where the last answer came in."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._buffer = b""
        self._waiting: Iterator[bytes] = iter(())
        self._began = 0.0
        self._took: list[float] = []
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
        return await self.drain(iter((data,)), [])

    def drain(self, waiting: Iterator[bytes], took: list[float]) -> asyncio.Future[bytes]:
        """Send requests until there are no more; the result is the body of the last answer."""
        self._waiting, self._took = waiting, took
        answer = self._answer = asyncio.get_running_loop().create_future()
        self._next(b"")
        return answer

    def _next(self, body: bytes) -> None:
        data = next(self._waiting, None)
        if data is None:
            if self._answer is not None:
                self._answer.set_result(body)
            return
        self._buffer = b""
        self._began = time.perf_counter()
        self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        """Take in bytes until the answer is whole, then go on."""
        self._buffer = self._buffer + data if self._buffer else data
        body = _whole(self._buffer)
        if body is None or self._answer is None or self._answer.done():
            return
        self._took.append(time.perf_counter() - self._began)
        if self._buffer[9:10] == b"2":
            self._next(body)
        else:
            self._answer.set_exception(RefusedError(self._buffer[:2000].decode()))

    def close(self) -> None:
        """Hang up."""
        self._transport.close()


_LENGTH = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: (\d+)\r\n")


def _whole(buffer: bytes) -> bytes | None:
    """Return the body of an answer, None while it is not complete; chunks stay as they are."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    length = _LENGTH.search(buffer, 0, end + 2)
    if length is None:
        return buffer[end + 4 :] if buffer.endswith(b"\r\n0\r\n\r\n") else None
    return buffer[end + 4 :] if len(buffer) >= end + 4 + int(length[1]) else None


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
    async with asyncio.timeout(ANSWER_SECONDS_MAX):
        await asyncio.gather(*(connection.drain(waiting, took) for connection in connections))
    return took

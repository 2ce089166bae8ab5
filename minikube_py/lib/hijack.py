"""Raw connections that began as HTTP/1.1 requests, on both ends, and the copying between them.

After `101 Switching Protocols` a connection is bytes both ways. `take_over` gets them out of
aiohttp's server, `dial_upgrade` makes such a connection as a client, `pump` joins two. All sides
read only as fast as the other writes, so a slow reader holds no memory.
"""

import asyncio
import contextlib
import ssl as tls
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

from aiohttp import web

from minikube_py.lib.connections import connect
from minikube_py.lib.dialling import Dial, nobody, notice_dead_peer, open_stream
from minikube_py.lib.tasks import Nursery

READ_AHEAD_MAX = 256 * 1024
"""Bytes taken from a client before its reader has asked for them."""
CHUNK_MAX = 64 * 1024
HEAD_MAX = 64 * 1024
REFUSAL_MAX = 64 * 1024
"""Of a refusal's body, no more is read than this."""

Headers = Iterable[tuple[str, str]]


class ByteStream(Protocol):
    """Bytes both ways."""

    async def read(self) -> bytes:
        """Return the next bytes, b"" once the other side is gone."""

    async def write(self, data: bytes) -> None:
        """Send bytes; returns when there is room for more.

        Raises:
            ConnectionError: the other side is gone.

        """

    def close(self) -> None:
        """Send what is buffered and end; may be called again."""


class Refused(Exception):  # noqa: N818 -- the answer of a server, not a fault
    """The server answered an upgrade with something other than 101."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(f"unexpected answer {status} to an upgrade")
        self.status = status
        self.headers = headers
        self.body = body


class _Buffer:
    """What aiohttp feeds after the upgrade; holds the sender back when it is full."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._data = bytearray()
        self._eof = False
        self._waiter: asyncio.Future[None] | None = None
        self._paused = False

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self._data += data
        if len(self._data) > READ_AHEAD_MAX and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._wake()
        return False, b""

    def feed_eof(self) -> None:
        self._eof = True
        self._wake()

    def set_exception(self, *_: object) -> None:
        self.feed_eof()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def read(self) -> bytes:
        while not self._data and not self._eof:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        data = bytes(self._data[:CHUNK_MAX])
        del self._data[:CHUNK_MAX]
        if self._paused and len(self._data) <= READ_AHEAD_MAX // 2:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()
        return data


class TakenOver:
    """A server's side of an upgraded connection."""

    def __init__(self, request: web.BaseRequest, head: bytes) -> None:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client is gone")
        self._request = request
        self._transport = transport
        self._buffer = _Buffer(transport)
        transport.write(head)
        # aiohttp wants its WebSocket reader here; it calls no more than these three methods.
        request.protocol.set_parser(cast("Any", self._buffer))

    async def read(self) -> bytes:
        """Return the next bytes of the client, b"" once it is gone."""
        return await self._buffer.read()

    async def write(self, data: bytes) -> None:
        """Send bytes to the client; returns when there is room for more."""
        if self._transport.is_closing():
            raise ConnectionResetError("the client is gone")
        self._transport.write(data)
        await self._request.writer.drain()

    def close(self) -> None:
        """Send what is buffered and end the connection."""
        self._transport.close()


class Switched(web.StreamResponse):
    """What a handler returns after `take_over`: all has been sent already."""

    def __init__(self) -> None:
        super().__init__(status=101)

    async def prepare(self, request: web.BaseRequest) -> Any:  # noqa: ARG002
        """Send nothing: the 101 is long gone."""
        return None

    async def write_eof(self, data: Any = b"") -> None:
        """Send nothing."""


def take_over(request: web.BaseRequest, headers: Headers) -> TakenOver:
    """Answer 101 with these headers and take the connection out of aiohttp's hands.

    The handler closes it in the end and returns `Switched()`. The server must be made with
    `handler_cancellation=True`, so that a handler ends with its client.
    """
    lines = [f"{name}: {value}\r\n" for name, value in headers]
    head = f"HTTP/1.1 101 Switching Protocols\r\n{''.join(lines)}\r\n"
    return TakenOver(request, head.encode("latin-1"))


@dataclass(frozen=True)
class Dialled:
    """A client's side of an upgraded connection."""

    headers: Mapping[str, str]
    """The headers of the 101 answer, names in lower case."""
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def read(self) -> bytes:
        """Return the next bytes of the server, b"" once it is gone."""
        try:
            return await self.reader.read(CHUNK_MAX)
        except OSError:  # reset, timed out, or what TLS makes of either
            return b""

    async def write(self, data: bytes) -> None:
        """Send bytes to the server; returns when there is room for more."""
        if self.writer.is_closing():
            raise ConnectionResetError("the server is gone")
        self.writer.write(data)
        await self.writer.drain()

    def close(self) -> None:
        """Send what is buffered and end the connection."""
        self.writer.close()


async def dial_upgrade(  # noqa: PLR0913 -- a request has that many parts
    url: str,
    *,
    method: str = "POST",
    headers: Headers = (),
    ssl: tls.SSLContext | None = None,
    server_name: str = "",
    timeout_seconds: float = 30.0,
    dial: Dial = nobody,
) -> Dialled:
    """Ask a server to switch protocols; the headers name the protocol, and may name the host.

    `server_name` is the name that its certificate must hold, where it is not the URL's; `dial`
    makes the connection, where it has a way of its own.

    Raises:
        Refused: the server answered with another status.
        OSError: it cannot be reached or does not answer in time.

    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    async with asyncio.timeout(timeout_seconds):
        secure = parts.scheme == "https" and ssl is not None
        reader, writer = await _connection(
            host,
            port,
            dial,
            ssl=ssl if secure else None,
            server_hostname=(server_name or host) if secure else None,
        )
        try:
            target = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
            given = [*headers]
            lines = [f"{method} {target} HTTP/1.1"]
            if not any(name.lower() == "host" for name, _ in given):
                lines.append(f"Host: {parts.netloc}")
            lines += [f"{name}: {value}" for name, value in given]
            if method == "POST":
                lines.append("Content-Length: 0")
            writer.write("\r\n".join([*lines, "", ""]).encode(errors="surrogateescape"))
            answered = await _read_answer(reader)
        except BaseException:
            writer.close()
            raise
    return Dialled(answered, reader, writer)


async def _connection(
    host: str, port: int, dial: Dial, **options: Any
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    made = await dial(host, port)
    if made is not None:
        return await open_stream(made, **options)
    reader, writer = await connect(host, port, **options)
    notice_dead_peer(writer.get_extra_info("socket"))
    return reader, writer


async def _read_answer(reader: asyncio.StreamReader) -> Mapping[str, str]:
    status, headers = await _read_head(reader)
    if status != 101:
        raise Refused(status, headers, await _read_refusal(reader, headers))
    return headers


async def _read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise ConnectionError("the server ended the connection without an answer") from error
    status_line, *lines = head.split("\r\n")
    words = status_line.split(" ", 2)
    if len(words) < 2 or not words[1].isdigit():
        raise ConnectionError("the server does not answer in HTTP")
    pairs = (line.partition(":") for line in lines if line)
    return int(words[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}


async def _read_refusal(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    """Read the body of an answer that is not an upgrade, as far as it matters."""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return await _read_chunked(reader)
    length = headers.get("content-length", "")
    wanted = min(int(length), REFUSAL_MAX) if length.isdigit() else REFUSAL_MAX
    with contextlib.suppress(asyncio.IncompleteReadError):
        return await reader.readexactly(wanted) if length.isdigit() else await reader.read(wanted)
    return b""


async def _read_chunked(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    with contextlib.suppress(asyncio.IncompleteReadError, ValueError):
        while len(body) < REFUSAL_MAX:
            line = await reader.readuntil(b"\r\n")
            size = int(line.split(b";")[0], 16)
            if size == 0:
                break
            body += await reader.readexactly(min(size, REFUSAL_MAX))
            await reader.readexactly(2)
    return bytes(body)


async def lines_of(stream: ByteStream, bytes_max: int) -> AsyncIterator[bytes]:
    """Yield the lines that come, until the other side is gone.

    Raises:
        ValueError: a line is longer than `bytes_max`.

    """
    rest = b""
    while data := await stream.read():
        *lines, rest = (rest + data).split(b"\n")
        if any(len(line) > bytes_max for line in (*lines, rest)):
            raise ValueError(f"a line is over {bytes_max} bytes")
        for line in lines:
            yield line


async def pump(one: ByteStream, other: ByteStream) -> None:
    """Copy both ways until either side ends, then end both.

    What the side that ended had sent has been passed on by then.
    """
    try:
        async with Nursery("tunnel") as nursery:
            copies = {
                nursery.start("forth", _copy(one, other)),
                nursery.start("back", _copy(other, one)),
            }
            await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
    finally:
        one.close()
        other.close()


async def _copy(source: ByteStream, sink: ByteStream) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read():
            await sink.write(data)

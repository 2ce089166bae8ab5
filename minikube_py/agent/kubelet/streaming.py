"""Exec, attach and port-forward: between the caller's protocol and SPDY to the runtime.

What runtimes speak (SPDY/3.1, older WebSocket protocols) is passed through as it is. The newest
WebSocket protocol, v5, is translated, because only SPDY can tell a runtime that stdin has ended;
and SPDY inside a WebSocket (`SPDY/3.1+portforward.k8s.io`) is unwrapped.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import orjson
from aiohttp import WSMsgType, hdrs, web

from minikube_py.lib import spdy
from minikube_py.lib.hijack import (
    ByteStream,
    Dialled,
    Refused,
    Switched,
    dial_upgrade,
    pump,
    take_over,
)
from minikube_py.lib.tasks import Nursery

V5 = "v5.channel.k8s.io"
TUNNEL = "SPDY/3.1+portforward.k8s.io"
STREAM_VERSION = "X-Stream-Protocol-Version"
STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
"""Channels of the WebSocket protocols; CLOSE came with v5 and names the channel that ends."""
SPDY_TYPES = {STDIN: "stdin", STDOUT: "stdout", STDERR: "stderr", ERROR: "error", RESIZE: "resize"}
STATUS_MAX = 64 * 1024
MESSAGE_MAX = 4 * 1024 * 1024
FLUSH_SECONDS = 10.0
"""How long the last words to a client may take."""


@dataclass(frozen=True, kw_only=True)
class StreamOptions:
    """What a command is connected to."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False

    def channels(self) -> list[int]:
        """Return the channels in use; the error channel comes first, as upstream opens it."""
        wanted = {STDIN: self.stdin, STDOUT: self.stdout, STDERR: self.stderr, RESIZE: self.tty}
        return [ERROR, *(channel for channel, is_used in wanted.items() if is_used)]


async def serve_command(
    request: web.BaseRequest, url: str, options: StreamOptions
) -> web.StreamResponse:
    """Connect the caller with a command at the runtime's URL until the command ends."""
    if V5 in offered(request):
        return await _answering_refusal(_translate(request, url, options))
    return await _answering_refusal(_pass_through(request, url))


async def serve_port_forward(request: web.BaseRequest, url: str) -> web.StreamResponse:
    """Connect the caller with the runtime's port-forward until either goes."""
    if TUNNEL in offered(request):
        return await _answering_refusal(_unwrap(request, url))
    return await _answering_refusal(_pass_through(request, url))


def is_upgrade(request: web.BaseRequest) -> bool:
    """Tell whether the caller asks to leave HTTP."""
    connection = request.headers.get(hdrs.CONNECTION, "").lower()
    return "upgrade" in connection and hdrs.UPGRADE in request.headers


def is_websocket(request: web.BaseRequest) -> bool:
    """Tell whether the caller asks for a WebSocket; it need not offer a protocol."""
    return request.headers.get(hdrs.UPGRADE, "").lower() == "websocket"


def offered(request: web.BaseRequest) -> list[str]:
    """Return the WebSocket protocols that the caller offers."""
    if not is_websocket(request):
        return []
    offers = request.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, [])
    return [offer.strip() for line in offers for offer in line.split(",")]


async def _answering_refusal(work: Awaitable[web.StreamResponse]) -> web.StreamResponse:
    """Answer with the runtime's refusal where it refuses before anything is switched."""
    try:
        return await work
    except Refused as refusal:
        return web.Response(status=refusal.status, body=refusal.body)
    except OSError as error:
        return web.Response(status=502, text=f"error dialing the container runtime: {error}")


async def _pass_through(request: web.BaseRequest, url: str) -> web.StreamResponse:
    """Let caller and runtime speak with each other."""
    kept = ("upgrade", "connection", STREAM_VERSION.lower())
    headers = [
        (name, value)
        for name, value in request.headers.items()
        if name.lower() in kept or name.lower().startswith("sec-websocket-")
    ]
    far = await dial_upgrade(url, method=request.method, headers=headers)
    try:
        near = take_over(request, far.headers.items())
    except ConnectionError:
        far.close()
        return Switched()
    await pump(near, far)
    return Switched()


async def _dial_spdy(url: str, *versions: str) -> Dialled:
    headers: list[tuple[str, str]] = [(hdrs.CONNECTION, "Upgrade"), (hdrs.UPGRADE, "SPDY/3.1")]
    headers += [(STREAM_VERSION, version) for version in versions]
    return await dial_upgrade(url, headers=headers)


async def _unwrap(request: web.BaseRequest, url: str) -> web.StreamResponse:
    """Copy bytes between messages of a WebSocket and a SPDY connection."""
    far = await _dial_spdy(url, "portforward.k8s.io")
    socket = web.WebSocketResponse(
        protocols=(TUNNEL,), max_msg_size=MESSAGE_MAX, compress=False, timeout=FLUSH_SECONDS
    )
    try:
        await socket.prepare(request)
        await pump(_SocketBytes(socket), far)
        await socket.close()
    finally:
        far.close()
    return socket


@dataclass
class _SocketBytes:
    """The binary messages of a WebSocket as one stream of bytes."""

    socket: web.WebSocketResponse

    async def read(self) -> bytes:
        while True:
            message = await self.socket.receive()
            if message.type is not WSMsgType.BINARY:
                return b""
            if message.data:
                return bytes(message.data)

    async def write(self, data: bytes) -> None:
        await self.socket.send_bytes(data)

    def close(self) -> None:
        """Nothing: the handshake that ends a WebSocket has to be waited for."""


async def _translate(
    request: web.BaseRequest, url: str, options: StreamOptions
) -> web.StreamResponse:
    """Speak v5 with the caller and SPDY with the runtime."""
    far = await _dial_spdy(url, "v4.channel.k8s.io")
    socket = web.WebSocketResponse(
        protocols=(V5,), max_msg_size=MESSAGE_MAX, compress=False, timeout=FLUSH_SECONDS
    )
    try:
        await socket.prepare(request)
        command = RemoteCommand(far, options)
        # An empty message on the lowest channel towards it tells the client that all is connected.
        first = next((c for c in (STDOUT, STDERR) if c in options.channels()), ERROR)
        await socket.send_bytes(bytes([first]))
        async with Nursery("remote command") as nursery:
            caller = nursery.start("stdin", _hear_caller(socket, command))
            output = nursery.start("output", command.run(socket.send_bytes))
            await asyncio.wait({caller, output}, return_when=asyncio.FIRST_COMPLETED)
        if command.status and not socket.closed:
            with contextlib.suppress(ConnectionError):
                await socket.send_bytes(bytes([ERROR]) + command.status)
        await socket.close()
    finally:
        far.close()
    return socket


async def _hear_caller(socket: web.WebSocketResponse, command: "RemoteCommand") -> None:
    """Pass on what the caller sends until it goes; some clients send text as text."""
    async for message in socket:
        raw = message.data.encode() if message.type is WSMsgType.TEXT else message.data
        if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT) or not raw:
            continue
        channel, data = raw[0], bytes(raw[1:])
        if channel == CLOSE:
            await command.end(data[0] if data else CLOSE)
        else:
            await command.send(channel, data)


@dataclass
class RemoteCommand:
    """A command at a runtime, as its client: SPDY streams by channel."""

    connection: ByteStream
    options: StreamOptions
    status: bytes = b""
    """The Status document in which the runtime says how the command ended."""
    _session: spdy.Session = field(default_factory=lambda: spdy.Session(client=True))
    _streams: dict[int, int] = field(default_factory=dict)
    _open: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._opened = asyncio.Event()
        self._writing = asyncio.Lock()

    async def run(self, show: Callable[[bytes], Awaitable[None]]) -> None:
        """Open the streams and show their output (channel byte first) until all have ended."""
        for channel in self.options.channels():
            stream_id, opening = self._session.open({"streamtype": SPDY_TYPES[channel]})
            self._streams[channel] = stream_id
            await self._write(opening)
        self._opened.set()
        self._open = {c for c in self._streams if c not in (STDIN, RESIZE)}
        channels = {stream_id: channel for channel, stream_id in self._streams.items()}
        while self._open and (data := await self.connection.read()):
            for event in self._session.receive(data):
                await self._take(event, channels, show)
        if not self.status:
            self.status = _broken()

    async def _take(
        self,
        event: spdy.Event,
        channels: dict[int, int],
        show: Callable[[bytes], Awaitable[None]],
    ) -> None:
        if isinstance(event, spdy.Pinged):
            await self._write(self._session.pong(event.number))
        elif isinstance(event, spdy.StreamReset):
            self._open.discard(channels.get(event.stream_id, CLOSE))
        elif isinstance(event, spdy.DataReceived):
            channel = channels.get(event.stream_id, CLOSE)
            if channel == ERROR:
                self.status = (self.status + event.data)[:STATUS_MAX]
            elif event.data and channel in self._open:
                await show(bytes([channel]) + event.data)
            if event.fin:
                self._open.discard(channel)

    async def send(self, channel: int, data: bytes) -> None:
        """Send bytes to the command's stdin, or a terminal's new size; others go nowhere."""
        await self._opened.wait()
        if channel in (STDIN, RESIZE) and channel in self._streams and data:
            await self._write(self._session.data(self._streams[channel], data))

    async def end(self, channel: int) -> None:
        """Tell the command that its stdin has ended."""
        await self._opened.wait()
        if channel == STDIN and channel in self._streams:
            await self._write(self._session.data(self._streams[channel], b"", fin=True))

    async def _write(self, data: bytes) -> None:
        async with self._writing:
            await self.connection.write(data)


def _broken() -> bytes:
    """Return the Status of a command whose runtime went away without a word."""
    return orjson.dumps({
        "metadata": {},
        "status": "Failure",
        "message": "the container runtime ended the connection",
        "reason": "InternalError",
        "code": 500,
    })  # fmt: skip

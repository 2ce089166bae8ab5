"""A stream of bytes over WebSocket, such as a container's log: one message for each piece.

The protocols are those of apiserver's wsstream readers: `binary.k8s.io`, `base64.binary.k8s.io`
for clients that can only take text, and none, which means binary.
"""

import asyncio
import base64

import aiohttp
from aiohttp import web

from minikube_py.lib.tasks import Nursery
from minikube_py.server.apiserver.socket_watch import MESSAGE_BYTES_MAX

BASE64 = "base64.binary.k8s.io"
PROTOCOLS = ("binary.k8s.io", BASE64)
PIECE_BYTES = 32 * 1024


async def send_over_socket(
    request: web.BaseRequest, source: aiohttp.StreamReader
) -> web.StreamResponse:
    """Send all that comes until its end, or until the client leaves."""
    socket = web.WebSocketResponse(protocols=PROTOCOLS, max_msg_size=MESSAGE_BYTES_MAX)
    await socket.prepare(request)
    left = asyncio.Event()
    async with Nursery("socket stream") as nursery:
        nursery.start("reader", _until_left(socket, left))
        nursery.start("sender", _send_all(socket, source, left))
        await left.wait()
    await socket.close()
    return socket


async def _send_all(
    socket: web.WebSocketResponse, source: aiohttp.StreamReader, done: asyncio.Event
) -> None:
    try:
        while data := await source.read(PIECE_BYTES):
            if socket.ws_protocol == BASE64:
                await socket.send_str(base64.b64encode(data).decode())
            else:
                await socket.send_bytes(data)
    except (aiohttp.ClientError, ConnectionError):
        return  # either side has gone
    finally:
        done.set()


async def _until_left(socket: web.WebSocketResponse, left: asyncio.Event) -> None:
    """Read what the client sends, which nobody looks at, until it leaves."""
    async for _ in socket:
        pass
    left.set()

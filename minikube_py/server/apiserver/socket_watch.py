"""Watches over WebSocket: one message for each event, as browsers follow them.

A request that asks for an upgrade gets the same events as any other watch; what the client sends is
read only to see that it has left.
"""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import hdrs, web

from minikube_py.api.errors import ExpiredError
from minikube_py.lib.tasks import Nursery
from minikube_py.server.apiserver.streams import Watch, bookmark_line, error_line, lines
from minikube_py.server.apiserver.watch import Start, Subscription, Watches, start

MESSAGE_BYTES_MAX = 64 * 1024
"""Of what a client sends, which nobody looks at."""


def asks_for_socket(request: web.BaseRequest) -> bool:
    """Tell whether a request is to become a WebSocket."""
    headers = request.headers
    return (
        headers.get(hdrs.UPGRADE, "").lower() == "websocket"
        and "upgrade" in headers.get(hdrs.CONNECTION, "").lower()
    )


async def send_watch_over_socket(
    request: web.BaseRequest, watch: Watch, watches: Watches
) -> web.StreamResponse:
    """Send events until the time is over, the client leaves or the server closes."""
    await watch.store.fresh(watch.resource)
    kind = watch.store.kind(watch.resource)
    asked = request.headers.get(hdrs.SEC_WEBSOCKET_PROTOCOL, "").split(",")
    protocols = tuple(name.strip() for name in asked[:1] if name.strip())
    socket = web.WebSocketResponse(protocols=protocols, max_msg_size=MESSAGE_BYTES_MAX)
    subscription = Subscription(kind, watch.namespace, watch.options.selection)
    watches.add(subscription)
    timer = asyncio.get_running_loop().call_later(watch.lasts_seconds, subscription.close)
    try:
        begin = start(watch.store, kind, watch.namespace, watch.options)
        await socket.prepare(request)
        async with Nursery("watch") as nursery:
            nursery.start("reader", _until_closed(socket, subscription))
            async for data in _events(watch, begin, subscription):
                if socket.closed:
                    break
                await _send(socket, watch, data)
    except ExpiredError as error:
        await socket.prepare(request)
        await _send(socket, watch, error_line(watch, error))
    finally:
        timer.cancel()
        watches.remove(subscription)
    await socket.close()
    return socket


async def _send(socket: web.WebSocketResponse, watch: Watch, data: bytes) -> None:
    if watch.form.accepted.format == "protobuf":
        await socket.send_bytes(data)
    else:
        await socket.send_str(data.decode())


async def _until_closed(socket: web.WebSocketResponse, subscription: Subscription) -> None:
    """Read what the client sends until it leaves, then end its watch."""
    async for _ in socket:
        pass
    subscription.close()


async def _events(watch: Watch, begin: Start, subscription: Subscription) -> AsyncIterator[bytes]:
    """Yield the encoded events one by one."""
    for line in lines(watch, begin.initial):
        yield line
    if begin.initial_end:
        yield bookmark_line(watch, begin.revision, initial_end=True)
    while (batch := await subscription.next()) or not subscription.closed:
        for line in lines(watch, batch):
            yield line
        if not batch and watch.options.bookmarks:
            yield bookmark_line(watch, watch.store.shown_revision(watch.resource))

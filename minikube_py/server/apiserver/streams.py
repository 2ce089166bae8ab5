"""Long answers over HTTP: lists in chunks and watches, one socket write for each loop tick."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import orjson
from aiohttp import web

from minikube_py.api.errors import ExpiredError, StatusError
from minikube_py.api.object import Obj
from minikube_py.api.resource import Resource
from minikube_py.server.apiserver.compression import (
    GZIP_HEADERS,
    compress_chunks,
    compressed,
    takes_gzip,
)
from minikube_py.server.apiserver.listing import Listing
from minikube_py.server.apiserver.parameters import ListOptions
from minikube_py.server.apiserver.represent import CHUNK_ITEMS, Form, event_line
from minikube_py.server.apiserver.watch import Subscription, Watches, start
from minikube_py.server.flowcontrol.headers import release_seat
from minikube_py.server.registry.changes import Events, Shown
from minikube_py.server.registry.store import Store

WATCH_SECONDS_MIN = 1800
"""A watch without timeoutSeconds lasts this long up to twice as long (upstream's default)."""
UNSENT_BYTES_MAX = 16 << 20
"""Bytes that a slow watcher may leave in its socket's buffer before its watch ends."""
PIECE_BYTES = 256 << 10
"""Of an answer that is made as one, so much is encrypted and sent at a time."""
NO_CACHE = {"Cache-Control": "no-cache, private"}
INITIAL_END = "k8s.io/initial-events-end"


WARNING_RUNES_MAX, WARNINGS_RUNES_MAX = 256, 4 * 1024
"""How long one warning may be where all together are longer than they may be."""


def add_warnings(response: web.StreamResponse, warnings: Sequence[str]) -> None:
    """Add a Warning header for each text."""
    for name, value in warning_headers(warnings):
        response.headers.add(name, value)


def warning_headers(warnings: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield a Warning header for each text, in the form that RFC 7234 gives it.

    Where they are too long together each is cut, and there are no more than fit.
    """
    texts = list(dict.fromkeys(warnings))
    if sum(map(len, texts)) > WARNINGS_RUNES_MAX:
        texts, left = [text[:WARNING_RUNES_MAX] for text in texts], WARNINGS_RUNES_MAX
        for number, text in enumerate(texts):
            if left <= 0:
                texts = texts[:number]
                break
            left -= len(text)
    for text in texts:
        if text.isprintable():  # a header cannot hold the others
            quoted = text.replace("\\", "\\\\").replace('"', '\\"')
            yield "Warning", f'299 - "{quoted}"'


async def send_list(
    request: web.BaseRequest,
    form: Form,
    resource: Resource,
    listing: Listing,
    warnings: Sequence[str] = (),
) -> web.StreamResponse:
    """Send a list; a long one in chunks, so that nobody waits for it."""
    chunks = form.listing(resource, listing)
    headers = {**NO_CACHE, "Content-Type": form.accepted.content_type}
    if len(listing.items) <= CHUNK_ITEMS:
        body, more = await compressed(request, b"".join(chunks))
        whole = web.Response(body=body, headers={**headers, **more})
        add_warnings(whole, warnings)
        return whole
    if form.pretty or form.accepted.format != "json":  # made as one: off the event loop
        chunks = iter(await asyncio.to_thread(_pieces, chunks))
    if takes_gzip(request):
        chunks, headers = compress_chunks(chunks), {**headers, **GZIP_HEADERS}
    response = web.StreamResponse(headers=headers)
    add_warnings(response, warnings)
    response.enable_chunked_encoding()
    await response.prepare(request)
    for chunk in chunks:
        await response.write(chunk)
        await asyncio.sleep(0)
    await response.write_eof()
    return response


def _pieces(chunks: Iterator[bytes]) -> list[bytes]:
    """Make a list, in a thread, and cut it into what one write takes little time for."""
    data = b"".join(chunks)
    return [data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES)]


@dataclass
class Watch:
    """One watch over HTTP."""

    store: Store
    resource: Resource
    namespace: str
    options: ListOptions
    form: Form
    lasts_seconds: float
    warnings: Sequence[str] = ()
    begun: bool = False
    """Whether the first event has been sent; a table names its columns only then."""

    @property
    def is_plain(self) -> bool:
        """Whether events go out as they stand in the cache."""
        return self.form.accepted.is_plain_json and self.resource.storage is None

    def content_type(self) -> str:
        """Return the Content-Type of the stream."""
        if self.form.accepted.format == "yaml":
            return "application/yaml"
        if self.form.accepted.format == "protobuf":
            return "application/vnd.kubernetes.protobuf;stream=watch"
        return "application/json"


async def send_watch(
    request: web.BaseRequest, watch: Watch, watches: Watches
) -> web.StreamResponse:
    """Send events until the time is over, the client leaves or the server closes."""
    await watch.store.fresh(watch.resource)
    kind = watch.store.kind(watch.resource)
    response = web.StreamResponse(headers={**NO_CACHE, "Content-Type": watch.content_type()})
    add_warnings(response, watch.warnings)
    response.enable_chunked_encoding()
    try:
        begin = start(watch.store, kind, watch.namespace, watch.options)
    except ExpiredError as error:
        await response.prepare(request)
        await response.write(error_line(watch, error))
        await response.write_eof()
        return response
    subscription = Subscription(kind, watch.namespace, watch.options.selection)
    subscription.cut = partial(_cut, request)
    watches.add(subscription)
    timer = asyncio.get_running_loop().call_later(watch.lasts_seconds, subscription.close)
    try:
        await response.prepare(request)
        await _send_initial(response, watch, begin.initial)
        if begin.initial_end:
            await response.write(bookmark_line(watch, begin.revision, initial_end=True))
        release_seat(request)
        await _send_events(request, response, watch, subscription)
    finally:
        timer.cancel()
        watches.remove(subscription)
    await response.write_eof()
    return response


async def _send_initial(
    response: web.StreamResponse, watch: Watch, initial: Sequence[Shown]
) -> None:
    for begin in range(0, len(initial), CHUNK_ITEMS):
        batch = initial[begin : begin + CHUNK_ITEMS]
        await response.write(b"".join(lines(watch, batch)))


async def _send_events(
    request: web.BaseRequest,
    response: web.StreamResponse,
    watch: Watch,
    subscription: Subscription,
) -> None:
    """Send batches as they come; a slow or absent client ends it."""
    if watch.is_plain:
        subscription.direct = partial(_send_directly, request.transport)
    while True:
        try:
            batch = await subscription.next()
        except ExpiredError as error:
            await response.write(error_line(watch, error))
            return
        if _is_gone(request):
            return
        if batch:
            await response.write(b"".join(lines(watch, batch)))
        elif watch.options.bookmarks:
            await response.write(bookmark_line(watch, watch.store.shown_revision(watch.resource)))
        if subscription.closed and not batch:
            return


def _send_directly(transport: asyncio.Transport | None, events: Events) -> bool:
    """Send events past the response's own writer, where the client has read all before."""
    if transport is None or transport.is_closing() or transport.get_write_buffer_size():
        return False
    transport.write(events.data)
    return True


def _cut(request: web.BaseRequest) -> None:
    """End the connection of a client that reads nothing and thus can be told nothing."""
    if request.transport is not None and request.transport.get_write_buffer_size():
        request.transport.abort()


def _is_gone(request: web.BaseRequest) -> bool:
    transport = request.transport
    return (
        transport is None
        or transport.is_closing()
        or transport.get_write_buffer_size() > UNSENT_BYTES_MAX
    )


def lines(watch: Watch, events: Sequence[Shown]) -> Iterator[bytes]:
    """Return the encoded events; plain ones are encoded once for all watchers."""
    if watch.is_plain:
        return (event.line for event in events)
    return _own_lines(watch, events)


def _own_lines(watch: Watch, events: Sequence[Shown]) -> Iterator[bytes]:
    for event in events:
        obj = watch.store.served(watch.resource, event.item).obj
        first = not watch.begun
        watch.begun = True
        yield event_line(watch.form, watch.resource, event.type, obj, first=first)


def bookmark_line(watch: Watch, revision: int, *, initial_end: bool = False) -> bytes:
    """Encode a bookmark: an empty object of the kind with a resourceVersion."""
    metadata: dict[str, object] = {"resourceVersion": str(revision)}
    if initial_end:
        metadata["annotations"] = {INITIAL_END: "true"}
    resource = watch.resource
    obj: Obj = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
    if watch.form.accepted.is_plain_json:
        return orjson.dumps({"type": "BOOKMARK", "object": obj}, option=orjson.OPT_APPEND_NEWLINE)
    return event_line(watch.form, resource, "BOOKMARK", obj)


def error_line(watch: Watch, error: StatusError) -> bytes:
    """Encode the event that ends a watch with an error."""
    return event_line(watch.form, watch.resource, "ERROR", error.status())

"""The gRPC server of etcd's API: TLS, limits, and from errors to statuses."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from minikube_py.datastore.etcd.messages import PACKAGE, SERVICES, Method, codec
from minikube_py.datastore.face.credentials import Access, credentials
from minikube_py.datastore.face.feed import Feed
from minikube_py.datastore.face.identity import Identity
from minikube_py.datastore.face.leases import Leases
from minikube_py.datastore.face.refusals import (
    TOO_LARGE,
    TOO_MANY_REQUESTS,
    Refusal,
    RefusedError,
    not_supported,
    refusal_of,
)
from minikube_py.datastore.face.service import Service, SizeOf
from minikube_py.datastore.face.watching import Stream
from minikube_py.datastore.kv import Backend, DatastoreError, UnavailableError
from minikube_py.datastore.tls_files import NO_FILES, TlsFiles
from minikube_py.lib.clock import Clock, SystemClock
from minikube_py.lib.errors import StartError
from minikube_py.lib.grpc import grpc_library
from minikube_py.lib.protowire import WireError
from minikube_py.lib.tasks import Nursery, in_turns

Message = Mapping[str, Any]
REQUEST_BYTES_MAX = 1536 << 10
"""etcd's --max-request-bytes."""
OVERHEAD_BYTES = 512 << 10
STREAMS_MAX = 1_000
"""Open streams (of watches and of leases kept alive) of one face; more are refused."""
CALLS_MAX = 4_096
"""Calls that are answered at the same time."""
ENCODED_AT_ONCE = 200
"""Keys of a listing that are encoded in one go: some 2 ms."""
STOP_SECONDS = 1.0
PING_SECONDS_MIN = 5
"""Clients may ask as often whether the connection lives (etcd's --grpc-keepalive-min-time)."""


@dataclass(frozen=True)
class Listening:
    """Where and how to listen."""

    urls: Sequence[str]
    name: str = "kpy"
    tls: TlsFiles = NO_FILES
    """Certificate and key of the server; with `ca` clients must show a certificate of it."""
    group: str = ""
    """The organization that a client's certificate must name; empty: any will do."""


@asynccontextmanager
async def serving(
    backend: Backend,
    listening: Listening,
    size: SizeOf = lambda: None,
    clock: Clock | None = None,
) -> AsyncIterator[Service]:
    """Serve etcd's API for the length of the block.

    Raises:
        StartError: an address cannot be listened on, or the TLS files cannot be read.
        DatastoreError: the backend cannot be used.

    """
    clock = clock or SystemClock()
    identity = await Identity.of(backend, listening.name, listening.urls)
    feed = Feed(backend, await backend.revision())
    leases = Leases(backend, feed, clock)
    service = Service(backend, identity, feed, leases, size)
    await leases.start()
    async with AsyncExitStack() as stack:
        tasks = await stack.enter_async_context(Nursery("etcd"))
        tasks.start("service", service.run())
        server = _server(Calls(service, clock, Access(listening.group)))
        for url in listening.urls:
            _listen(server, url, listening.tls)
        await server.start()
        stack.push_async_callback(server.stop, STOP_SECONDS)
        yield service


def _server(calls: "Calls") -> Any:
    grpc = grpc_library()
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", REQUEST_BYTES_MAX + OVERHEAD_BYTES),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
            ("grpc.http2.min_ping_interval_without_data_ms", PING_SECONDS_MIN * 1000),
            ("grpc.keepalive_permit_without_calls", 1),
        ],
        maximum_concurrent_rpcs=CALLS_MAX,
    )
    server.add_generic_rpc_handlers((_Handler(calls),))
    return server


def _listen(server: Any, url: str, tls: TlsFiles) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or not parts.port:
        raise StartError(f"{url!r} is not http(s)://ADDRESS:PORT to listen on")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    where = f"{host}:{parts.port}"
    try:
        if parts.scheme == "https":
            server.add_secure_port(where, credentials(tls))
        else:
            server.add_insecure_port(where)
    except RuntimeError as error:
        raise StartError(f"cannot listen on {url}: is the port in use? ({error})") from error


class _Handler:
    """Finds who answers a call; what nobody answers is refused by name."""

    def __init__(self, calls: "Calls") -> None:
        self._calls = calls

    def service(self, details: Any) -> Any:
        """Return the handler of a method."""
        grpc = grpc_library()
        _, service, name = details.method.split("/", 2)
        package, _, service = service.rpartition(".")
        if package != PACKAGE:
            return None
        method = SERVICES.get(service, {}).get(name)
        calls = self._calls
        if name == "Watch":
            return grpc.stream_stream_rpc_method_handler(calls.watch)
        if name == "LeaseKeepAlive":
            return grpc.stream_stream_rpc_method_handler(calls.keep_alive)
        if name == "Snapshot":
            return grpc.unary_stream_rpc_method_handler(calls.snapshot)
        return grpc.unary_unary_rpc_method_handler(calls.unary(f"{service}.{name}", method))


class Calls:
    """The calls as gRPC makes them: bytes, a context, statuses."""

    def __init__(self, service: Service, clock: Clock, access: Access) -> None:
        self._service = service
        self._clock = clock
        self._access = access
        self._streams = 0

    def unary(self, name: str, method: Method | None) -> Callable[[bytes, Any], Awaitable[bytes]]:
        """Return what answers a call with one request and one response."""
        act = self._service.calls.get(name.partition(".")[2]) if method is not None else None

        async def answer(data: bytes, context: Any) -> bytes:
            async with self._refusing(context):
                if act is None or method is None:
                    raise RefusedError(not_supported(name))
                if len(data) > REQUEST_BYTES_MAX:
                    raise RefusedError(TOO_LARGE)
                request = codec().decode(method.request, data)
                return await self._encoded(method.response, await act(request))
            raise AssertionError  # not reached: a refusal ends the call

        return answer

    async def _encoded(self, name: str, message: Message) -> bytes:
        """Return the bytes of a response; others have their turn while it is a long listing."""
        kvs = message.get("kvs", ())
        if len(kvs) <= ENCODED_AT_ONCE:
            return codec().encode(name, message)
        starts = range(0, len(kvs), ENCODED_AT_ONCE)
        parts = [
            codec().encode(name, {"kvs": kvs[start : start + ENCODED_AT_ONCE]})
            async for start in in_turns(starts, self._clock)
        ]
        return codec().encode(name, {**message, "kvs": None}) + b"".join(parts)

    async def watch(self, requests: Any, context: Any) -> None:
        """Serve a stream of watches."""

        async def send(message: Message) -> None:
            await context.write(codec().encode("WatchResponse", message))

        async with self._refusing(context), self._counted():
            service = self._service
            stream = Stream(service.backend, service.feed, service.identity, send, self._clock)
            try:
                async with asyncio.TaskGroup() as group:
                    sending = group.create_task(stream.run(), name="watch stream")
                    async for data in requests:
                        await stream.hear(codec().decode("WatchRequest", data))
                    sending.cancel()
            except* DatastoreError as errors:
                raise UnavailableError(str(errors.exceptions[0])) from errors
            finally:
                stream.close()

    async def keep_alive(self, requests: Any, context: Any) -> None:
        """Serve a stream of leases whose owners live."""
        async with self._refusing(context), self._counted():
            async for data in requests:
                request = codec().decode("LeaseKeepAliveRequest", data)
                answer = await self._service.lease_keep_alive(request)
                await context.write(codec().encode("LeaseKeepAliveResponse", answer))

    async def snapshot(self, data: bytes, context: Any) -> None:
        """Send a snapshot."""
        del data
        async with (
            self._refusing(context),
            self._counted(),
            contextlib.aclosing(self._service.snapshot()) as pieces,
        ):
            async for message in pieces:
                await context.write(codec().encode("SnapshotResponse", message))

    @asynccontextmanager
    async def _counted(self) -> AsyncIterator[None]:
        if self._streams >= STREAMS_MAX:
            raise RefusedError(TOO_MANY_REQUESTS)
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1

    @asynccontextmanager
    async def _refusing(self, context: Any) -> AsyncIterator[None]:
        """Answer errors as etcd does, and those who may not be here."""
        try:
            self._access.check(context)
            yield
        except RefusedError as error:
            refusal = error.refusal
        except DatastoreError as error:
            refusal = refusal_of(error)
        except WireError as error:
            refusal = Refusal("INTERNAL", f"grpc: error unmarshalling request: {error}")
        else:
            return
        await context.abort(grpc_library().StatusCode[refusal.code], refusal.text)

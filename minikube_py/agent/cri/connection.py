"""One gRPC channel to a runtime's socket, spoken by message names instead of stubs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from minikube_py.agent.cri.errors import from_code
from minikube_py.agent.cri.messages import codec
from minikube_py.lib.grpc import grpc_library
from minikube_py.lib.protowire import Codec

CALL_TIMEOUT_SECONDS = 120.0
"""As long as a kubelet waits by default (runtimeRequestTimeout); pulls and execs have their own."""
RECONNECT_SECONDS = 2.0
"""How long a call waits for a runtime that is away; containerd is back in a fraction of that."""
MESSAGE_BYTES_MAX = 16 << 20
"""The limit that containerd itself has for one message."""


Counted = Callable[[str], contextlib.AbstractContextManager[None]]


class Connection:
    """Calls of a runtime; opened at the first call, closed with `aclose`."""

    def __init__(self, endpoint: str, table: Callable[[], Codec] = codec) -> None:
        """Take `unix:///path/to.sock` or a bare path, and the messages that are spoken there."""
        self._table = table
        self.counted: Counted = lambda _method: contextlib.nullcontext()
        """Around each call, by the name of its method."""
        self.endpoint = endpoint if "://" in endpoint else f"unix://{endpoint}"
        self._channel: Any = None
        self._calls: dict[str, Any] = {}
        """Names of methods are unique across the services of CRI."""

    def _open(self) -> Any:
        if self._channel is None:
            options = [
                ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
                ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
                ("grpc.enable_http_proxy", 0),
                # A restarted containerd is back within a second; do not wait longer than that.
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.max_reconnect_backoff_ms", int(RECONNECT_SECONDS * 500)),
            ]
            self._channel = grpc_library().aio.insecure_channel(self.endpoint, options=options)
        return self._channel

    async def call(
        self,
        service: str,
        method: str,
        request: Mapping[str, Any],
        *,
        timeout_seconds: float = CALL_TIMEOUT_SECONDS,
    ) -> dict[str, Any]:
        """Return the answer of one call; raises a child of CriError."""
        invoke = self._calls.get(method) or self._method(service, method)
        await self._connected()
        with self.counted(method):
            try:
                answer: dict[str, Any] = await invoke(request, timeout=timeout_seconds)
            except grpc_library().aio.AioRpcError as error:
                raise from_code(error.code().name, error.details() or "") from None
        return answer

    async def _connected(self) -> None:
        """Give a runtime that has just been started again the time to answer.

        Only before a call: one that was sent is never sent twice.
        """
        channel = self._open()
        if channel.get_state() is not grpc_library().ChannelConnectivity.READY:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RECONNECT_SECONDS):
                    await channel.channel_ready()

    def _method(self, service: str, method: str) -> Any:
        table = self._table()
        self._calls[method] = self._open().unary_unary(
            f"/{service}/{method}",
            request_serializer=lambda message: table.encode(f"{method}Request", message),
            response_deserializer=lambda data: table.decode(f"{method}Response", data),
        )
        return self._calls[method]

    async def ask(
        self,
        path: str,
        request: tuple[str, Mapping[str, Any]],
        answer: str,
        metadata: Any = (),
        timeout_seconds: float = CALL_TIMEOUT_SECONDS,
    ) -> dict[str, Any]:
        """Return the answer of a call of another service on the socket; raises CriError's kind."""
        table = self._table()
        name, message = request
        await self._connected()
        invoke = self._open().unary_unary(
            path,
            request_serializer=lambda message: table.encode(name, message),
            response_deserializer=lambda data: table.decode(answer, data),
        )
        try:
            found: dict[str, Any] = await invoke(
                message, timeout=timeout_seconds, metadata=metadata
            )
        except grpc_library().aio.AioRpcError as error:
            raise from_code(error.code().name, error.details() or "") from None
        return found

    async def subscribe(
        self, path: str, request: tuple[str, Mapping[str, Any]], answer: str, metadata: Any = ()
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield the messages of a stream until it ends; raises a child of CriError."""
        table = self._table()
        name, message = request
        invoke = self._open().unary_stream(
            path,
            request_serializer=lambda message: table.encode(name, message),
            response_deserializer=lambda data: table.decode(answer, data),
        )
        try:
            async for event in invoke(message, metadata=metadata):
                yield event
        except grpc_library().aio.AioRpcError as error:
            raise from_code(error.code().name, error.details() or "") from None

    async def states(self) -> AsyncIterator[bool]:
        """Yield whether somebody answers at the socket, now and whenever it changes."""
        ready, told = grpc_library().ChannelConnectivity.READY, None
        while True:
            channel = self._open()
            state = channel.get_state(try_to_connect=True)
            if told != (state is ready):
                told = state is ready
                yield told
            await channel.wait_for_state_change(state)

    async def aclose(self) -> None:
        """Close the channel; calls under way fail."""
        if self._channel is not None:
            channel, self._channel = self._channel, None
            self._calls.clear()
            await channel.close()

"""A client of etcd's API that adds nothing: messages in, messages or statuses out."""

import asyncio
from collections.abc import Mapping
from typing import Any

import grpc.aio

from minikube_py.datastore.etcd.messages import PACKAGE, SERVICES, codec

Message = Mapping[str, Any]
SECONDS_MAX = 120.0
SERVICE_OF = {name: service for service, methods in SERVICES.items() for name in methods}


class Client:
    """A connection to a server."""

    def __init__(self, port: int) -> None:
        self._channel = grpc.aio.insecure_channel(
            f"127.0.0.1:{port}",
            options=[("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", -1)],
        )

    async def ready(self) -> None:
        """Wait until the server answers."""
        async with asyncio.timeout(SECONDS_MAX):
            await self._channel.channel_ready()

    async def call(self, name: str, request: Message) -> dict[str, Any]:
        """Return the response; raises grpc.aio.AioRpcError."""
        service = SERVICE_OF[name]
        method = SERVICES[service][name]
        invoke = self._channel.unary_unary(
            f"/{PACKAGE}.{service}/{name}",
            request_serializer=lambda message: codec().encode(method.request, message),
            response_deserializer=lambda data: codec().decode(method.response, data),
        )
        answer: dict[str, Any] = await invoke(request, timeout=SECONDS_MAX)
        return answer

    async def outcome(self, name: str, request: Message) -> tuple[dict[str, Any], str]:
        """Return the response, or the status as text."""
        try:
            return await self.call(name, request), ""
        except grpc.aio.AioRpcError as error:
            return {}, f"{error.code().name}: {error.details()}"

    def stream(self, name: str) -> "Stream":
        """Open a stream both ways."""
        service = SERVICE_OF[name]
        method = SERVICES[service][name]
        invoke = self._channel.stream_stream(
            f"/{PACKAGE}.{service}/{name}",
            request_serializer=lambda message: codec().encode(method.request, message),
            response_deserializer=lambda data: codec().decode(method.response, data),
        )
        return Stream(invoke())

    async def pieces(self) -> bytes:
        """Return a snapshot."""
        invoke = self._channel.unary_stream(
            f"/{PACKAGE}.Maintenance/Snapshot",
            request_serializer=lambda message: codec().encode("SnapshotRequest", message),
            response_deserializer=lambda data: codec().decode("SnapshotResponse", data),
        )
        return b"".join([message["blob"] async for message in invoke({})])

    async def close(self) -> None:
        """End the connection."""
        await self._channel.close()


class Stream:
    """A stream both ways."""

    def __init__(self, call: Any) -> None:
        self.call = call

    async def say(self, **request: Any) -> None:
        """Send a message."""
        await self.call.write(request)

    async def hear(self) -> dict[str, Any]:
        """Return the next message."""
        async with asyncio.timeout(SECONDS_MAX):
            message = await self.call.read()
        assert isinstance(message, dict), message
        return message

"""A plugin that keeps keys (KMS v2), over gRPC on a UNIX socket, in one process with the test."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc

from minikube_py.lib.protowire import Codec
from minikube_py.server.encryption.kms import MESSAGES, SERVICE

CODEC = Codec(MESSAGES)


class Plugin:
    """Keeps a seed by turning its bytes around."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.slow = False
        self.health = "ok"

    async def answer(self, method: str, request: Mapping[str, Any]) -> dict[str, Any]:
        self.asked.append(method)
        if self.slow:
            await asyncio.sleep(60)
        if method == "Status":
            return {"version": "v2", "healthz": self.health, "key_id": "one"}
        if method == "Encrypt":
            sealed = request["plaintext"][::-1]
            return {"ciphertext": sealed, "key_id": "one", "annotations": {"a.example.com": b"b"}}
        assert request["key_id"] == "one"
        return {"plaintext": request["ciphertext"][::-1]}

    def handlers(self) -> Any:
        def handler(method: str) -> Any:
            async def call(request: Mapping[str, Any], _context: object) -> dict[str, Any]:
                return await self.answer(method, request)

            return grpc.unary_unary_rpc_method_handler(
                call,
                request_deserializer=lambda data: CODEC.decode(f"{method}Request", data),
                response_serializer=lambda message: CODEC.encode(f"{method}Response", message),
            )

        methods = {name: handler(name) for name in ("Status", "Encrypt", "Decrypt")}
        return grpc.method_handlers_generic_handler(SERVICE, methods)


@contextlib.asynccontextmanager
async def serving(endpoint: str) -> AsyncIterator[Plugin]:
    """Run a plugin for the length of the block."""
    made = Plugin()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((made.handlers(),))
    server.add_insecure_port(endpoint)
    await server.start()
    try:
        yield made
    finally:
        await server.stop(grace=None)

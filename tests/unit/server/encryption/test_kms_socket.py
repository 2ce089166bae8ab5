"""A key service over its real protocol: gRPC on a UNIX socket, in one process with the test."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest

from minikube_py.lib.protowire import Codec
from minikube_py.server.encryption.configuration import KeyService
from minikube_py.server.encryption.kms import MESSAGES, SERVICE, KeyServiceProvider, Socket
from minikube_py.server.encryption.providers import SealError

CODEC = Codec(MESSAGES)


class Plugin:
    """Keeps a seed by turning its bytes around."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.slow = False

    async def answer(self, method: str, request: Mapping[str, Any]) -> dict[str, Any]:
        self.asked.append(method)
        if self.slow:
            await asyncio.sleep(60)
        if method == "Status":
            return {"version": "v2", "healthz": "ok", "key_id": "one"}
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


@pytest.fixture
def endpoint(tmp_path: Path) -> str:
    return f"unix://{tmp_path / 'kms.sock'}"


@pytest.fixture
async def plugin(endpoint: str) -> AsyncIterator[Plugin]:
    made = Plugin()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((made.handlers(),))
    server.add_insecure_port(endpoint)
    await server.start()
    yield made
    await server.stop(grace=None)


def provider(endpoint: str, timeout: float = 30.0) -> tuple[KeyServiceProvider, Socket]:
    socket = Socket(KeyService("vault", endpoint, timeout))
    return KeyServiceProvider("vault", socket), socket


async def test_values_are_sealed_with_a_seed_that_the_plugin_keeps(
    plugin: Plugin, endpoint: str
) -> None:
    first, socket = provider(endpoint)
    sealed = await first.seal(b"plain", b"/registry/secrets/a/b")
    assert b"plain" not in sealed
    await socket.close()
    again, socket = provider(endpoint)
    assert await again.open(sealed, b"/registry/secrets/a/b") == b"plain"
    await socket.close()
    assert plugin.asked == ["Status", "Encrypt", "Decrypt"]


async def test_a_plugin_that_is_not_there_is_named(endpoint: str) -> None:
    absent, socket = provider(endpoint)
    with pytest.raises(SealError, match=r"KMS vault at unix:///.*kms\.sock: UNAVAILABLE"):
        await absent.refresh()
    assert absent.problem is not None
    await socket.close()


async def test_a_plugin_that_hangs_is_given_up(plugin: Plugin, endpoint: str) -> None:
    plugin.slow = True
    hanging, socket = provider(endpoint, timeout=0.2)
    with pytest.raises(SealError, match="DEADLINE_EXCEEDED"):
        await hanging.refresh()
    await socket.close()

"""A key service over its real protocol: gRPC on a UNIX socket, in one process with the test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from minikube_py.server.encryption.configuration import KeyService
from minikube_py.server.encryption.kms import KeyServiceProvider, Socket
from minikube_py.server.encryption.providers import SealError
from tests.key_service import Plugin, serving


@pytest.fixture
def endpoint(tmp_path: Path) -> str:
    return f"unix://{tmp_path / 'kms.sock'}"


@pytest.fixture
async def plugin(endpoint: str) -> AsyncIterator[Plugin]:
    async with serving(endpoint) as made:
        yield made


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

"""Each provider opens what it sealed, at the same key, and nothing else."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.server.encryption.keyring import group_resource_of
from minikube_py.server.encryption.kms import KeyServiceProvider
from minikube_py.server.encryption.providers import AesCbc, AesGcm, Identity, Provider, SealError

KEY = b"0123456789abcdef"


class Plugin:
    """A key service that "seals" by turning bytes around."""

    def __init__(self) -> None:
        self.key_id = "1"
        self.health = "ok"
        self.asked: list[str] = []

    async def call(self, method: str, request: Mapping[str, Any]) -> dict[str, Any]:
        self.asked.append(method)
        if method == "Status":
            return {"version": "v2", "healthz": self.health, "key_id": self.key_id}
        if method == "Encrypt":
            return {
                "ciphertext": request["plaintext"][::-1],
                "key_id": self.key_id,
                "annotations": {"zone.example.com": b"eu"},
            }
        assert request["annotations"] == {"zone.example.com": b"eu"}
        return {"plaintext": request["ciphertext"][::-1]}


def providers() -> list[Provider]:
    return [
        Identity(),
        AesGcm("a", KEY),
        AesCbc("a", KEY),
        KeyServiceProvider("vault", Plugin()),
    ]


@given(st.binary(max_size=200), st.sampled_from(range(4)))
async def test_what_is_sealed_opens_the_same(plain: bytes, index: int) -> None:
    provider = providers()[index]
    sealed = await provider.seal(plain, b"/registry/secrets/a/b")
    assert sealed.startswith(provider.mark)
    assert await provider.open(sealed, b"/registry/secrets/a/b") == plain


@pytest.mark.parametrize("index", [1, 3])
async def test_a_value_moved_to_another_key_does_not_open(index: int) -> None:
    provider = providers()[index]
    sealed = await provider.seal(b"plain", b"/registry/secrets/a/b")
    with pytest.raises(SealError, match="not what this key sealed"):
        await provider.open(sealed, b"/registry/secrets/a/c")


@given(st.data())
async def test_a_changed_byte_is_noticed(data: st.DataObject) -> None:
    provider = AesGcm("a", KEY)
    sealed = bytearray(await provider.seal(b"plain value", b"k"))
    at = data.draw(st.integers(len(provider.mark), len(sealed) - 1))
    sealed[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SealError):
        await provider.open(bytes(sealed), b"k")


@pytest.mark.parametrize("index", [1, 2, 3])
@pytest.mark.parametrize("body", [b"", b"short", b"x" * 15, b"x" * 17, b"x" * 48])
async def test_garbage_behind_a_mark_is_refused(index: int, body: bytes) -> None:
    provider = providers()[index]
    with pytest.raises(SealError):
        await provider.open(provider.mark + body, b"k")


async def test_the_same_value_is_never_sealed_the_same() -> None:
    for provider in providers()[1:]:
        assert await provider.seal(b"plain", b"k") != await provider.seal(b"plain", b"k")


async def test_a_key_service_is_asked_once_for_many_writes() -> None:
    plugin = Plugin()
    provider = KeyServiceProvider("vault", plugin)
    sealed = [await provider.seal(b"plain", b"k") for _ in range(10)]
    assert plugin.asked == ["Status", "Encrypt"]
    again = KeyServiceProvider("vault", plugin)
    assert [await again.open(value, b"k") for value in sealed] == [b"plain"] * 10
    assert plugin.asked == ["Status", "Encrypt", "Decrypt"]


async def test_a_new_key_of_the_service_makes_old_values_stale() -> None:
    plugin = Plugin()
    provider = KeyServiceProvider("vault", plugin)
    old = await provider.seal(b"plain", b"k")
    assert provider.is_current(old)
    plugin.key_id = "2"
    await provider.refresh()
    assert not provider.is_current(old)
    assert provider.is_current(await provider.seal(b"plain", b"k"))
    assert await provider.open(old, b"k") == b"plain"


async def test_an_unhealthy_service_is_named_and_the_seed_stays() -> None:
    plugin = Plugin()
    provider = KeyServiceProvider("vault", plugin)
    await provider.refresh()
    plugin.health = "no quorum"
    with pytest.raises(SealError, match="not healthy: no quorum"):
        await provider.refresh()
    assert provider.problem == "KMS is not healthy: no quorum"
    assert await provider.open(await provider.seal(b"plain", b"k"), b"k") == b"plain"


@pytest.mark.parametrize(
    ("key", "resource"),
    [
        ("/registry/secrets/default/token", "secrets"),
        ("/registry/nodes/one", "nodes"),
        ("/registry/apps/deployments/default/web", "deployments.apps"),
        ("/registry/storage.k8s.io/storageclasses/fast", "storageclasses.storage.k8s.io"),
        ("/registry/example.com/widgets/default/one", "widgets.example.com"),
    ],
)  # fmt: skip
def test_a_key_says_its_resource(key: str, resource: str) -> None:
    assert group_resource_of(key) == resource

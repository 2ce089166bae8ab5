"""Ways to seal a value: AES-GCM, AES-CBC, and none.

A sealed value says how to open it: `k8s:enc:aesgcm:v1:NAME:` and then the provider's own bytes.
What carries no such mark is plain. The format is upstream's, so that a datastore and its
EncryptionConfiguration can move between both
(https://kubernetes.io/docs/tasks/administer-cluster/encrypt-data/).
"""

import os
from typing import Any, Protocol

MARK = b"k8s:enc:"
"""What every sealed value starts with; no plain one does, they are JSON."""
AES_KEY_BYTES = (16, 24, 32)
NONCE_BYTES = 12
BLOCK_BYTES = 16
TAG_BYTES = 16


class SealError(Exception):
    """A value that cannot be sealed or opened; says neither the value nor the key."""


class ForeignError(SealError):
    """A value that none of the keys at hand has sealed, however often it is tried."""


class Provider(Protocol):
    """One way to seal with one key."""

    mark: bytes
    """How a value starts that this provider has sealed; empty for plain values."""

    async def seal(self, plain: bytes, context: bytes) -> bytes:
        """Return the value to store; `context` is its key, which an opened value must match."""

    async def open(self, sealed: bytes, context: bytes) -> bytes:
        """Return the plain value; raises SealError where the bytes are not as they were sealed."""

    def is_current(self, stored: bytes) -> bool:
        """Tell whether a stored value is as this provider would store it today."""


class Identity:
    """Stores values as they are."""

    mark = b""

    async def seal(self, plain: bytes, context: bytes) -> bytes:
        """Return the value itself."""
        del context
        return plain

    async def open(self, sealed: bytes, context: bytes) -> bytes:
        """Return the value itself."""
        del context
        return sealed

    def is_current(self, stored: bytes) -> bool:
        """Tell whether the value is plain."""
        return not stored.startswith(MARK)


class _Keyed:
    """What the providers with a key of their own have in common."""

    def __init__(self, scheme: str, name: str) -> None:
        self.mark = MARK + f"{scheme}:v1:{name}:".encode()

    def is_current(self, stored: bytes) -> bool:
        """Tell whether this key sealed the value."""
        return stored.startswith(self.mark)


class AesGcm(_Keyed):
    """AES in Galois counter mode: a random nonce, the sealed bytes, a tag over both and the key.

    Two values may get the same random nonce only after some four thousand million of them
    (NIST SP 800-38D, 8.3); a rotation starts the count again.
    """

    def __init__(self, name: str, key: bytes) -> None:
        """Take a key of 16, 24 or 32 bytes."""
        super().__init__("aesgcm", name)
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

        self._cipher = AESGCM(key)

    async def seal(self, plain: bytes, context: bytes) -> bytes:
        """Return mark, nonce, sealed bytes and tag."""
        nonce = os.urandom(NONCE_BYTES)
        return self.mark + nonce + self._cipher.encrypt(nonce, plain, context)

    async def open(self, sealed: bytes, context: bytes) -> bytes:
        """Return the plain value; raises SealError."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415

        body = sealed[len(self.mark) :]
        if len(body) < NONCE_BYTES + TAG_BYTES:
            raise ForeignError("the stored data is shorter than its nonce and tag")
        try:
            return self._cipher.decrypt(body[:NONCE_BYTES], body[NONCE_BYTES:], context)
        except InvalidTag as error:
            raise ForeignError("the stored data is not what this key sealed") from error


class AesCbc(_Keyed):
    """AES in cipher block chaining: for datastores that were sealed so; nothing tells forgeries."""

    def __init__(self, name: str, key: bytes) -> None:
        """Take a key of 16, 24 or 32 bytes."""
        super().__init__("aescbc", name)
        self._key = key

    def _cipher(self, vector: bytes) -> Any:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes  # noqa: PLC0415

        return Cipher(algorithms.AES(self._key), modes.CBC(vector))

    async def seal(self, plain: bytes, context: bytes) -> bytes:
        """Return mark, start vector and blocks."""
        del context
        vector = os.urandom(BLOCK_BYTES)
        padding = BLOCK_BYTES - len(plain) % BLOCK_BYTES
        encryptor = self._cipher(vector).encryptor()
        blocks: bytes = encryptor.update(plain + bytes([padding]) * padding)
        return self.mark + vector + blocks

    async def open(self, sealed: bytes, context: bytes) -> bytes:
        """Return the plain value; raises SealError."""
        del context
        body = sealed[len(self.mark) :]
        vector, blocks = body[:BLOCK_BYTES], body[BLOCK_BYTES:]
        if not blocks or len(blocks) % BLOCK_BYTES:
            raise ForeignError("the stored data is not a multiple of the block size")
        padded: bytes = self._cipher(vector).decryptor().update(blocks)
        padding = padded[-1]
        if not 1 <= padding <= BLOCK_BYTES or padded[-padding:] != bytes([padding]) * padding:
            raise ForeignError("invalid padding on input")
        return padded[:-padding]

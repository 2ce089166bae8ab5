"""A stream that only a passphrase opens, in chunks, so that neither side holds it whole.

The key is derived from the passphrase by scrypt. Each chunk is sealed with AES-GCM under a nonce of
seven random bytes, the number of the chunk and whether it is the last; so chunks cannot be changed,
swapped, dropped or cut off without the reader noticing (the STREAM construction of Hoang,
Reyhanitabar, Rogaway and Vizar).
"""

import base64
import io
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from minikube_py.datastore.snapshots.errors import DamagedSnapshotError, PassphraseError

CHUNK_BYTES = 64 << 10
TAG_BYTES = 16
SALT_BYTES, PREFIX_BYTES, KEY_BYTES = 16, 7, 32
COST, BLOCK, PARALLEL = 2**15, 8, 1
"""scrypt's n, r and p: some 100 ms and 32 MB for each guess."""
COST_MAX = 2**20
"""What a file may ask of its reader: 1 GB."""


@dataclass(frozen=True)
class Terms:
    """What a reader has to know beside the passphrase; it stands in the clear."""

    salt: bytes
    prefix: bytes
    cost: int = COST

    @classmethod
    def fresh(cls) -> "Terms":
        """Return terms that nobody has used."""
        return cls(secrets.token_bytes(SALT_BYTES), secrets.token_bytes(PREFIX_BYTES))

    def document(self) -> dict[str, Any]:
        """Return what stands in the manifest."""
        return {
            "kdf": "scrypt",
            "n": self.cost,
            "r": BLOCK,
            "p": PARALLEL,
            "salt": base64.b64encode(self.salt).decode(),
            "cipher": "AES-256-GCM",
            "noncePrefix": base64.b64encode(self.prefix).decode(),
            "chunkBytes": CHUNK_BYTES,
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Terms":
        """Read what `document` wrote; raises DamagedSnapshotError."""
        try:
            salt, prefix = (base64.b64decode(document[key]) for key in ("salt", "noncePrefix"))
            cost = int(document["n"])
            known = (document["kdf"], document["r"], document["p"], document["chunkBytes"])
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedSnapshotError("its terms of encryption cannot be read") from error
        if known != ("scrypt", BLOCK, PARALLEL, CHUNK_BYTES) or not 1 < cost <= COST_MAX:
            raise DamagedSnapshotError("its terms of encryption are not known")
        return cls(salt, prefix, cost)

    def cipher(self, passphrase: str) -> Any:
        """Return the cipher of these terms; takes 100 ms."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 -- heavy
        from cryptography.hazmat.primitives.kdf.scrypt import Scrypt  # noqa: PLC0415

        derive = Scrypt(salt=self.salt, length=KEY_BYTES, n=self.cost, r=BLOCK, p=PARALLEL)
        return AESGCM(derive.derive(passphrase.encode()))

    def nonce(self, number: int, *, last: bool) -> bytes:
        """Return the nonce of a chunk."""
        return self.prefix + number.to_bytes(4, "big") + bytes([last])


class Sealer(io.RawIOBase):
    """Seals what is written into it; `close` seals the last chunk and leaves the file open."""

    def __init__(self, file: BinaryIO, terms: Terms, passphrase: str) -> None:
        super().__init__()
        self._file = file
        self._terms = terms
        self._cipher = terms.cipher(passphrase)
        self._waiting = bytearray()
        self._number = 0

    def writable(self) -> bool:
        """Tell that it is written to."""
        return True

    def write(self, data: Any) -> int:
        """Take in plain bytes."""
        self._waiting += data
        while len(self._waiting) > CHUNK_BYTES:  # the last chunk is never empty before `close`
            chunk = bytes(self._waiting[:CHUNK_BYTES])
            del self._waiting[:CHUNK_BYTES]
            self._seal(chunk, last=False)
        return len(data)

    def close(self) -> None:
        """Seal what is left."""
        if not self.closed:
            self._seal(bytes(self._waiting), last=True)
        super().close()

    def _seal(self, chunk: bytes, *, last: bool) -> None:
        nonce = self._terms.nonce(self._number, last=last)
        self._file.write(self._cipher.encrypt(nonce, chunk, None))
        self._number += 1


class Unsealer(io.RawIOBase):
    """Reads what a `Sealer` has written."""

    def __init__(self, file: BinaryIO, terms: Terms, passphrase: str) -> None:
        super().__init__()
        self._file = file
        self._terms = terms
        self._cipher = terms.cipher(passphrase)
        self._next = self._read_chunk()
        self._ready = b""
        self._number = 0

    def readable(self) -> bool:
        """Tell that it is read from."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with plain bytes.

        Raises:
            PassphraseError: the passphrase does not open the first chunk.
            DamagedSnapshotError: a later one was changed, or the end is missing.

        """
        if not self._ready and self._next:
            self._open()
        taken = min(len(buffer), len(self._ready))
        buffer[:taken] = self._ready[:taken]
        self._ready = self._ready[taken:]
        return taken

    def _open(self) -> None:
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 -- heavy

        chunk, self._next = self._next, self._read_chunk()
        nonce = self._terms.nonce(self._number, last=not self._next)
        try:
            self._ready = self._cipher.decrypt(nonce, chunk, None)
        except InvalidTag as error:
            if self._number == 0:
                raise PassphraseError("the passphrase is not that of the snapshot") from error
            raise DamagedSnapshotError("a part of it was changed or is missing") from error
        self._number += 1

    def _read_chunk(self) -> bytes:
        wanted, parts = CHUNK_BYTES + TAG_BYTES, []
        while wanted and (part := self._file.read(wanted)):
            parts.append(part)
            wanted -= len(part)
        return b"".join(parts)

"""Records by name in one file, sealed and appended: a small memory that survives a power cut.

    file    record, record, ...
    record  length of the rest (4 bytes) | nonce (12) | AES-256-GCM of the text
    text    kind (1: put, 0: removed) | length of the name (2) | name | data

The newest record of a name counts. What is equal to what is there is not written; what is written
is appended and flushed in one go, and the file is made anew when most of it is outlived: a disk
that wears out sees little of it. A torn end, and what another key has sealed, reads as nothing.

`put`, `remove`, `names` and `take` belong to the event loop and never wait; `open`, `read` and
`write` do, and may be called in a thread, one `write` at a time.
"""

import contextlib
import os
import struct
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from minikube_py.lib.fsutil import PRIVATE, flush_dir

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

LENGTH = struct.Struct(">I")
HEAD = struct.Struct(">BH")
NONCE_BYTES = 12
RECORD_BYTES_MAX = 8 << 20
"""An object holds at most 3 MB; more is damage."""
NAMES_MAX = 50_000
SLACK_BYTES = 1 << 20
"""So much of what is outlived is left lying before the file is made anew."""


class _Place(NamedTuple):
    offset: int
    size: int


def key_of(secret: bytes, purpose: bytes) -> bytes:
    """Derive a key of 32 bytes from a secret for one purpose (HKDF, RFC 5869)."""
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415 -- 9 MB
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415

    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(secret)


class SealedLog:
    """The records; `open` before anything else."""

    def __init__(self, file: Path, key: bytes) -> None:
        self._file = file
        self._key = key
        self._cipher: AESGCM | None = None
        self._handle = -1
        self._size = 0
        self._lock = threading.Lock()
        self._places: dict[str, _Place] = {}
        self._digests: dict[str, int] = {}
        """Of what is kept, or is about to be, by name."""
        self._pending: dict[str, bytes | None] = {}
        self._writing: Mapping[str, bytes | None] = {}

    # --- on the loop ---

    def put(self, name: str, data: bytes) -> None:
        """Have data kept under a name at the next `write`, unless just that is there."""
        digest = hash(data)
        if self._digests.get(name) == digest:
            return
        if len(data) > RECORD_BYTES_MAX - (1 << 16):
            return
        if name not in self._digests and len(self._digests) >= NAMES_MAX:
            return
        self._digests[name] = digest
        self._pending[name] = data

    def remove(self, name: str) -> None:
        """Have a name forgotten at the next `write`."""
        if self._digests.pop(name, None) is not None:
            self._pending[name] = None

    def names(self, prefix: str = "") -> list[str]:
        """Return the names that begin so."""
        return [name for name in self._digests if name.startswith(prefix)]

    @property
    def is_changed(self) -> bool:
        """Whether there is something to write."""
        return bool(self._pending or self._writing)

    def take(self) -> None:
        """Say that the next `write` is to write all that has changed."""
        # What a failed write left is there still, and what came later counts.
        self._writing, self._pending = {**self._writing, **self._pending}, {}

    # --- anywhere ---

    def open(self) -> None:
        """Read the file; raises OSError."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 -- 9 MB

        self._cipher = AESGCM(self._key)
        self._handle = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
        data = self._file.read_bytes()
        for place, name, found in self._records(data):
            self._size = place.offset + place.size
            if found is None:
                self._places.pop(name, None)
                self._digests.pop(name, None)
            else:
                self._places[name] = place
                self._digests[name] = hash(found)
        if self._size < len(data):
            os.ftruncate(self._handle, self._size)

    def close(self) -> None:
        """Close the file."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def read(self, name: str) -> bytes | None:
        """Return what is kept under a name, None where nothing is; raises OSError."""
        for newer in (self._pending, self._writing):
            if name in newer:
                return newer[name]
        with self._lock:
            place = self._places.get(name)
            if place is None:
                return None
            record = os.pread(self._handle, place.size, place.offset)
        opened = self._opened(record[LENGTH.size :])
        return None if opened is None else opened[1]

    def write(self) -> None:
        """Write what was taken and flush it; after an OSError the next call tries again."""
        with self._lock:
            batch = self._writing
            self._append(batch)
            if self._writing is batch:
                self._writing = {}
            live = sum(place.size for place in self._places.values())
            if self._size - live > max(live, SLACK_BYTES):
                self._renew()

    def _append(self, changes: Mapping[str, bytes | None]) -> None:
        places: dict[str, _Place | None] = {}
        parts, size = [], self._size
        for name, data in changes.items():
            record = self._sealed(name, data)
            places[name] = _Place(size, len(record)) if data is not None else None
            parts.append(record)
            size += len(record)
        _write_all(self._handle, b"".join(parts), self._size)
        os.fdatasync(self._handle)
        self._size = size
        for name, place in places.items():
            if place is None:
                self._places.pop(name, None)
            else:
                self._places[name] = place

    def _renew(self) -> None:
        """Write the records that count to a new file, and put it in place of the old one."""
        beside = self._file.with_name(f".{self._file.name}.new")
        handle = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, PRIVATE)
        places, size = {}, 0
        try:
            for name, place in self._places.items():
                record = os.pread(self._handle, place.size, place.offset)
                _write_all(handle, record, size)
                places[name] = _Place(size, place.size)
                size += place.size
            os.fsync(handle)
            beside.replace(self._file)
        except BaseException:
            os.close(handle)
            with contextlib.suppress(FileNotFoundError):
                beside.unlink()
            raise
        flush_dir(self._file.parent)
        os.close(self._handle)
        self._handle, self._places, self._size = handle, places, size

    def _sealed(self, name: str, data: bytes | None) -> bytes:
        encoded = name.encode()
        text = HEAD.pack(data is not None, len(encoded)) + encoded + (data or b"")
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._aead.encrypt(nonce, text, None)
        return LENGTH.pack(NONCE_BYTES + len(sealed)) + nonce + sealed

    def _opened(self, record: bytes) -> tuple[str, bytes | None] | None:
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 -- 9 MB

        try:
            text = self._aead.decrypt(record[:NONCE_BYTES], record[NONCE_BYTES:], None)
        except (InvalidTag, ValueError):
            return None
        is_put, length = HEAD.unpack_from(text)
        end = HEAD.size + length
        return text[HEAD.size : end].decode(), text[end:] if is_put else None

    def _records(self, data: bytes) -> Iterator[tuple[_Place, str, bytes | None]]:
        """Yield what can be opened, up to the first record that is not whole."""
        offset = 0
        while offset + LENGTH.size <= len(data):
            (length,) = LENGTH.unpack_from(data, offset)
            size = LENGTH.size + length
            if length > RECORD_BYTES_MAX or offset + size > len(data):
                return
            opened = self._opened(data[offset + LENGTH.size : offset + size])
            if opened is None:
                return
            yield _Place(offset, size), *opened
            offset += size

    @property
    def _aead(self) -> "AESGCM":
        if self._cipher is None:
            raise RuntimeError("the log is not open")
        return self._cipher


def _write_all(handle: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(handle, view, offset)
        view = view[written:]
        offset += written

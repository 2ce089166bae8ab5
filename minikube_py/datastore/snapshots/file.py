"""The file of a snapshot: a tar that any tar reads, written and read as a stream.

    NAME.tar
      manifest.json             what it is, in the clear (`Manifest`), padded to 4096 bytes
      content.tar.gz            or content.tar.gz.sealed where a passphrase is needed (`sealing`)
        server/...              files of the server: authorities, keys, token, manifests
        entries/00000001.jsonl  keys in order, one a line: {"key", "value" (base64), "revision",
                                "createRevision", "lease", "version"}
        summary.json            what the manifest says of keys and digest, once more: here the
                                passphrase vouches for it

So without kpy `tar xOf NAME.tar content.tar.gz | tar xz` gives all that is in it.
"""

import base64
import gzip
import hashlib
import io
import json
import os
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import orjson

from minikube_py.datastore.content import Content
from minikube_py.datastore.kv import KeyValue
from minikube_py.datastore.snapshots.errors import (
    DamagedSnapshotError,
    PassphraseError,
    SnapshotError,
)
from minikube_py.datastore.snapshots.manifest import MANIFEST_BYTES, Manifest
from minikube_py.datastore.snapshots.sealing import Sealer, Terms, Unsealer

BLOCK = 512
"""A tar's."""
CONTENT_AT = BLOCK + MANIFEST_BYTES + BLOCK
"""Where the content begins: behind two headers and the manifest."""
LEVEL = 3
"""Of gzip: twice as fast as the usual one for a tenth more bytes."""
MEMBER_BYTES = 1 << 20
"""Entries are written to the inner tar in members of about this."""
MEMBER_BYTES_MAX = 256 << 20
"""More in one member than any snapshot has."""
ENTRIES, FILES, SUMMARY = "entries/", "server/", "summary.json"
MODE = 0o600
UNREADABLE = (
    tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError, KeyError, TypeError
)  # fmt: skip
"""What reading raises where bytes have changed."""
Files = Mapping[str, bytes]
"""Names below the folder of the server, and what they hold."""


class _Counted(io.RawIOBase):
    """Writes into a file, and knows how much and its digest."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self.bytes = 0
        self.abandoned = False
        self.digest = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if not self.abandoned:
            self._file.write(data)
        self.digest.update(data)
        self.bytes += len(data)
        return len(data)


class SnapshotWriter:
    """Writes one file; all methods block."""

    def __init__(self, file: BinaryIO, manifest: Manifest, passphrase: str = "") -> None:
        terms = Terms.fresh() if passphrase else None
        self._file = file
        self._manifest = replace(manifest, sealed=terms.document() if terms else None)
        self._content = Content()
        self._waiting = bytearray()
        self._members = 0
        file.seek(CONTENT_AT)
        self._counted = _Counted(file)
        inner: Any = self._counted
        self._sealer = Sealer(cast("BinaryIO", inner), terms, passphrase) if terms else None
        self._gzip = gzip.GzipFile("", "wb", LEVEL, self._sealer or inner, mtime=0)
        self._tar = tarfile.open(fileobj=self._gzip, mode="w|", format=tarfile.GNU_FORMAT)  # noqa: SIM115

    def add_files(self, files: Files) -> None:
        """Add files of the server."""
        for name, data in sorted(files.items()):
            self._add(FILES + name, data)

    def add(self, items: Sequence[KeyValue]) -> None:
        """Add the next keys, which are in order."""
        self._content.add(items)
        for item in items:
            self._waiting += _line(item)
        if len(self._waiting) >= MEMBER_BYTES:
            self._add_waiting()

    def finish(self) -> Manifest:
        """Write what is left and the manifest, and flush the file to the disk."""
        self._add_waiting()
        found = self._content
        summary = {"keys": found.keys, "digest": found.digest, "revision": self._manifest.revision}
        self._add(SUMMARY, json.dumps(summary).encode())
        self._close()
        manifest = replace(
            self._manifest,
            keys=found.keys,
            value_bytes=found.value_bytes,
            digest=found.digest,
            content_bytes=self._counted.bytes,
            content_digest=self._counted.digest.hexdigest(),
        )
        self._frame(manifest)
        return manifest

    def abandon(self) -> None:
        """Give up; what is in the file then is worth nothing."""
        self._counted.abandoned = True
        self._close()

    def _close(self) -> None:
        self._tar.close()
        self._gzip.close()
        if self._sealer is not None:
            self._sealer.close()

    def _add(self, name: str, data: bytes | bytearray) -> None:
        self._tar.addfile(_header(name, len(data)), io.BytesIO(data))

    def _add_waiting(self) -> None:
        if self._waiting:
            self._members += 1
            self._add(f"{ENTRIES}{self._members:08}.jsonl", self._waiting)
            self._waiting = bytearray()

    def _frame(self, manifest: Manifest) -> None:
        """Write the outer tar around the content."""
        end = -manifest.content_bytes % BLOCK + 2 * BLOCK
        self._file.write(bytes(end))
        self._file.seek(0)
        self._file.write(_packed("manifest.json", MANIFEST_BYTES) + manifest.packed())
        self._file.write(_packed(_content_name(manifest), manifest.content_bytes))
        self._file.flush()
        os.fsync(self._file.fileno())


def _content_name(manifest: Manifest) -> str:
    return "content.tar.gz" if manifest.sealed is None else "content.tar.gz.sealed"


def _header(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, MODE
    return info


def _packed(name: str, size: int) -> bytes:
    return _header(name, size).tobuf(tarfile.GNU_FORMAT)


def _line(item: KeyValue) -> bytes:
    key, value, revision, created, lease, version = item
    document = {
        "key": key,
        "value": base64.b64encode(value).decode(),
        "revision": revision,
        "createRevision": created,
        "lease": lease,
        "version": version,
    }
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


def _item(line: bytes) -> KeyValue:
    document = orjson.loads(line)
    value = base64.b64decode(document["value"], validate=True)
    revision, created = document["revision"], document["createRevision"]
    lease, version = document["lease"], document["version"]
    return KeyValue(document["key"], value, revision, created, lease, version)


def read_manifest(path: Path) -> Manifest:
    """Return the manifest of a file.

    Raises:
        SnapshotError: it cannot be read, or is no snapshot.

    """
    try:
        with path.open("rb") as file:
            return manifest_of(file.read(CONTENT_AT))
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise SnapshotError(f"cannot read snapshot {path}: {why}") from error
    except SnapshotError as error:
        raise type(error)(f"snapshot {path}: {error}") from error


def manifest_of(head: bytes) -> Manifest:
    """Return the manifest of a file that begins so; raises SnapshotError."""
    if len(head) < CONTENT_AT or not head.startswith(b"manifest.json\0"):
        raise DamagedSnapshotError("it is no snapshot of kpy")
    return Manifest.unpacked(head[BLOCK : BLOCK + MANIFEST_BYTES])


class _Section(io.RawIOBase):
    """Reads the content of the file and no further, and knows its digest."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        super().__init__()
        self._file = file
        self._left = size
        self.digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(min(len(buffer), self._left))
        buffer[: len(data)] = data
        self._left -= len(data)
        self.digest.update(data)
        return len(data)

    def drain(self) -> None:
        """Read what nobody has asked for."""
        while self.read(MEMBER_BYTES):
            pass


Part = tuple[str, bytes] | list[KeyValue]
"""A file of the server with its name, or some keys."""


def read(path: Path, passphrase: str = "") -> Iterator[Part]:
    """Yield all that is in a snapshot, in order; what is yielded counts only when it has ended.

    Raises:
        PassphraseError: the passphrase is missing or wrong.
        DamagedSnapshotError: the file is not what was written, which may turn out at its end.
        SnapshotError: it cannot be read.

    """
    try:
        with path.open("rb") as file:
            yield from _parts(file, passphrase)
    except (
        tarfile.TarError,
        EOFError,
        zlib.error,
        gzip.BadGzipFile,
        ValueError,
        KeyError,
    ) as error:
        raise DamagedSnapshotError(f"snapshot {path} is damaged: {error}") from error
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise SnapshotError(f"cannot read snapshot {path}: {why}") from error
    except SnapshotError as error:
        raise type(error)(f"snapshot {path}: {error}") from error


def _parts(file: BinaryIO, passphrase: str) -> Iterator[Part]:
    manifest = manifest_of(file.read(CONTENT_AT))
    section = _Section(file, manifest.content_bytes)
    plain = _unsealed(cast("BinaryIO", section), manifest, passphrase)
    content, summary = Content(), None
    with (
        gzip.GzipFile("", "rb", fileobj=io.BufferedReader(cast("Any", plain))) as unzipped,
        tarfile.open(fileobj=cast("IO[bytes]", unzipped), mode="r|") as tar,
    ):
        for member in tar:
            data = _data(tar, member)
            if member.name.startswith(FILES):
                yield member.name.removeprefix(FILES), data
            elif member.name.startswith(ENTRIES):
                items = [_item(line) for line in data.splitlines()]
                content.add(items)
                yield items
            elif member.name == SUMMARY:
                summary = json.loads(data)
    section.drain()
    _check(manifest, content, summary, section.digest.hexdigest())


def _data(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if member.size > MEMBER_BYTES_MAX:
        raise DamagedSnapshotError(f"{member.name} is too large")
    file = tar.extractfile(member)
    return b"" if file is None else file.read()


def _unsealed(section: BinaryIO, manifest: Manifest, passphrase: str) -> io.RawIOBase:
    if manifest.sealed is None:
        return cast("io.RawIOBase", section)
    if not passphrase:
        raise PassphraseError("it is sealed: pass --passphrase-file")
    return Unsealer(section, Terms.of(manifest.sealed), passphrase)


def _check(manifest: Manifest, content: Content, summary: Any, content_digest: str) -> None:
    """Compare what was read with what manifest and summary say."""
    found = {"keys": content.keys, "digest": content.digest, "revision": manifest.revision}
    told = {"keys": manifest.keys, "digest": manifest.digest, "revision": manifest.revision}
    if content_digest != manifest.content_digest or found != told or found != summary:
        raise DamagedSnapshotError("its digests are not those of what is in it")


def verify(path: Path, passphrase: str = "") -> Manifest:
    """Read a file whole and return its manifest; blocks. Raises what `read` raises."""
    for _ in read(path, passphrase):
        pass
    return read_manifest(path)

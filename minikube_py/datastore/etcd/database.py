"""The file in which an etcd has its keys, written whole: what a new member begins with.

All keys are in it with their own revisions, at one revision that may be later than all of them. The
history up to that one is marked as compacted, so etcd goes on after it, and whoever watches from
an earlier one is told so. etcd has its entries by revision and stores list by key, so the entries
go through a file first.
"""

import asyncio
import hashlib
import os
import struct
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from minikube_py.datastore.content import Pages as KeyPages
from minikube_py.datastore.etcd.bolt import BoltWriter, Pages
from minikube_py.datastore.etcd.messages import codec
from minikube_py.datastore.kv import DatastoreError, KeyValue
from minikube_py.lib.clock import SystemClock
from minikube_py.lib.fsutil import PRIVATE, flush_dir, make_dir
from minikube_py.lib.tasks import in_turns

PIECE_BYTES = 1 << 20
DIGEST_BYTES = hashlib.sha256().digest_size
TOMBSTONE = b"t"
NEWEST = b"/kpy/etcd/snapshot"
"""A key that is not there: its delete stands for the newest revision."""


class DatabaseWriter:
    """Takes keys in any order and writes the file in the end."""

    def __init__(self, spool: BinaryIO) -> None:
        self._spool = spool
        self._encode = codec().encode
        self._places: list[tuple[int, int, int]] = []
        """Revision, and where in the spool the entry is: offset and length."""

    def add(self, kv: KeyValue) -> None:
        """Take in a key."""
        entry = {
            "key": kv.key.encode(),
            "create_revision": kv.create_revision,
            "mod_revision": kv.revision,
            "version": kv.version,
            "value": kv.value,
            "lease": kv.lease,
        }
        offset = self._spool.tell()
        length = self._spool.write(self._encode("KeyValue", entry))
        self._places.append((kv.revision, offset, length))

    async def write(
        self, database: BinaryIO, revision: int, leases: Iterable[tuple[int, int]] = ()
    ) -> None:
        """Write what was taken in as of a revision, and leases: number and seconds, in order."""
        writer = BoltWriter(database)
        writer.bucket(b"key", await self._keys(writer, revision))
        granted = Pages(writer)
        for number, ttl in leases:
            granted.add((0, struct.pack(">Q", number), self._lease(number, ttl)))
        writer.bucket(b"lease", granted)
        meta = Pages(writer)
        meta.add((0, b"finishedCompactRev", _revision(revision)))
        writer.bucket(b"meta", meta)
        writer.finish()

    async def _keys(self, writer: BoltWriter, revision: int) -> Pages:
        keys = Pages(writer)
        last, nth = 0, 0
        async for at, offset, length in in_turns(sorted(self._places), SystemClock()):
            nth = nth + 1 if at == last else 0  # those that a transaction wrote share one
            last = at
            self._spool.seek(offset)
            keys.add((0, _revision(at, nth), self._spool.read(length)))
        if last < revision:
            # The newest revision is no key's any more; etcd goes on after the newest that it sees.
            nothing = self._encode("KeyValue", {"key": NEWEST})
            keys.add((0, _revision(revision) + TOMBSTONE, nothing))
        return keys

    def _lease(self, number: int, ttl: int) -> bytes:
        # leasepb.Lease has the fields of a grant the other way round.
        signed = number - (1 << 64) if number >> 63 else number
        return self._encode("LeaseGrantRequest", {"TTL": signed, "ID": ttl})


def _revision(revision: int, nth: int = 0) -> bytes:
    """Return a revision as the key of an entry: the number, and which write of a transaction."""
    return struct.pack(">QcQ", revision, b"_", nth)


async def save(path: Path, pages: KeyPages, revision: int) -> None:
    """Write keys as a snapshot of etcd (its database, and the SHA-256 of that) and make it durable.

    Raises:
        DatastoreError: there is such a file, or it cannot be written.

    """
    make_dir(path.parent)
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, PRIVATE)
    except OSError as error:
        raise DatastoreError(f"cannot write {path}: {(error.strerror or '').lower()}") from error
    with tempfile.TemporaryFile(dir=path.parent) as spool, os.fdopen(handle, "r+b") as database:
        writer = DatabaseWriter(spool)
        async for items in pages:
            for kv in items:
                writer.add(kv)
        await writer.write(database, revision)
        await asyncio.to_thread(_seal, database)
    flush_dir(path.parent)


def _seal(database: BinaryIO) -> None:
    size = database.seek(0, os.SEEK_END)
    digest = _digest(database, size)
    database.seek(size)
    database.write(digest)
    database.flush()
    os.fsync(database.fileno())


def _digest(file: BinaryIO, size: int) -> bytes:
    """Return the SHA-256 of the first bytes of a file."""
    file.seek(0)
    digest = hashlib.sha256()
    while size and (piece := file.read(min(PIECE_BYTES, size))):
        digest.update(piece)
        size -= len(piece)
    return digest.digest()


def verify(path: Path) -> None:
    """Raise DatastoreError where a snapshot of etcd is not what was written."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END) - DIGEST_BYTES
        if _digest(file, size) != file.read(DIGEST_BYTES):
            raise DatastoreError(f"{path} is not what was written to it; do not use it")

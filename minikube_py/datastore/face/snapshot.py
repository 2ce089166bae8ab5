"""A snapshot that etcd takes: `etcdctl snapshot save` gets it, `etcdctl snapshot restore` reads it.

It is a database of etcd with all keys as they are at one revision and the leases; the history
before that is marked as compacted, so that no watch of a restored etcd is misled. kpy's own keys
stay out. etcd has its entries by revision and backends list by key, so the entries go through a
file first. The SHA-256 of the database follows it.
"""

import hashlib
import json
import struct
import tempfile
from collections.abc import AsyncGenerator
from typing import Any, BinaryIO

from minikube_py.datastore.etcd.messages import codec
from minikube_py.datastore.face.bolt import BoltWriter, Pages
from minikube_py.datastore.face.keys import OWN, is_own
from minikube_py.datastore.face.reading import PAGE_KEYS
from minikube_py.datastore.face.transactions import LEASES, wire
from minikube_py.datastore.kv import Backend, KeyValue
from minikube_py.lib.clock import SystemClock
from minikube_py.lib.tasks import in_turns

PIECE_BYTES = 32 << 10
"""Of one message, as etcd sends them."""
TOMBSTONE = b"t"
Place = tuple[int, int, int]
"""Revision, and where in the file the entry is: offset and length."""


async def snapshot(backend: Backend) -> AsyncGenerator[dict[str, Any], None]:
    """Yield all keys as they are now, as a database of etcd, in pieces."""
    with tempfile.TemporaryFile() as spool, tempfile.TemporaryFile() as database:
        leases, places, revision = await _gather(backend, spool)
        await _write(database, spool, leases, places, revision)
        size = database.seek(0, 2)
        database.seek(0)
        digest, left = hashlib.sha256(), size
        while piece := database.read(PIECE_BYTES):
            digest.update(piece)
            left -= len(piece)
            yield {"blob": piece, "remaining_bytes": left + digest.digest_size}
        yield {"blob": digest.digest(), "remaining_bytes": 0}


async def _gather(backend: Backend, spool: BinaryIO) -> tuple[list[KeyValue], list[Place], int]:
    """Read everything at one revision; the entries go into the file."""
    encode, clock = codec().encode, SystemClock()
    leases: list[KeyValue] = []
    places: list[Place] = []
    after, more, revision = "", True, 0
    while more:
        page = await backend.list("", after=after, limit=PAGE_KEYS, revision=revision)
        async for kv in in_turns(page.items, clock):
            if kv.key.startswith(LEASES):
                leases.append(kv)
            elif not is_own(kv.key):
                places.append((kv.revision, spool.tell(), 0))
                written = spool.write(encode("KeyValue", wire(kv)))
                places[-1] = (*places[-1][:2], written)
        after, more = page.items[-1].key if page.items else after, page.more
        revision = page.revision
    return leases, sorted(places), revision


async def _write(
    database: BinaryIO,
    spool: BinaryIO,
    leases: list[KeyValue],
    places: list[Place],
    revision: int,
) -> None:
    writer = BoltWriter(database)
    keys = Pages(writer)
    async for at, offset, length in in_turns(places, SystemClock()):
        spool.seek(offset)
        keys.add((0, _revision(at), spool.read(length)))
    if not places or places[-1][0] < revision:
        # The newest revision is no key's any more; etcd goes on after the newest that it sees.
        nothing = codec().encode("KeyValue", {"key": f"{OWN}snapshot".encode()})
        keys.add((0, _revision(revision) + TOMBSTONE, nothing))
    writer.bucket(b"key", keys)
    granted = Pages(writer)
    for kv in leases:
        number = int(kv.key.removeprefix(LEASES), 16)
        ttl = json.loads(kv.value)["ttl"]
        granted.add((0, struct.pack(">Q", number), _lease(number, ttl)))
    writer.bucket(b"lease", granted)
    meta = Pages(writer)
    meta.add((0, b"finishedCompactRev", _revision(revision)))
    writer.bucket(b"meta", meta)
    writer.finish()


def _revision(revision: int) -> bytes:
    """Return a revision as the key of an entry: the number, and which write of a transaction."""
    return struct.pack(">QcQ", revision, b"_", 0)


def _lease(number: int, ttl: int) -> bytes:
    # leasepb.Lease has the fields of a grant the other way round.
    signed = number - (1 << 64) if number >> 63 else number
    return codec().encode("LeaseGrantRequest", {"TTL": signed, "ID": ttl})

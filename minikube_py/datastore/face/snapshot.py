"""A snapshot that etcd takes: `etcdctl snapshot save` gets it, `etcdctl snapshot restore` reads it.

It is a database of etcd (`etcd/database.py`) with all keys as they are at one revision and the
leases. kpy's own keys stay out. The SHA-256 of the database follows it.
"""

import hashlib
import json
import tempfile
from collections.abc import AsyncGenerator
from typing import Any

from minikube_py.datastore.etcd.database import DatabaseWriter
from minikube_py.datastore.face.keys import is_own
from minikube_py.datastore.face.reading import PAGE_KEYS
from minikube_py.datastore.face.transactions import LEASES
from minikube_py.datastore.kv import Backend, KeyValue
from minikube_py.lib.clock import SystemClock
from minikube_py.lib.tasks import in_turns

PIECE_BYTES = 32 << 10
"""Of one message, as etcd sends them."""


async def snapshot(backend: Backend) -> AsyncGenerator[dict[str, Any], None]:
    """Yield all keys as they are now, as a database of etcd, in pieces."""
    with tempfile.TemporaryFile() as spool, tempfile.TemporaryFile() as database:
        writer = DatabaseWriter(spool)
        leases, revision = await _gather(backend, writer)
        await writer.write(database, revision, map(_lease, leases))
        size = database.seek(0, 2)
        database.seek(0)
        digest, left = hashlib.sha256(), size
        while piece := database.read(PIECE_BYTES):
            digest.update(piece)
            left -= len(piece)
            yield {"blob": piece, "remaining_bytes": left + digest.digest_size}
        yield {"blob": digest.digest(), "remaining_bytes": 0}


async def _gather(backend: Backend, writer: DatabaseWriter) -> tuple[list[KeyValue], int]:
    """Read everything at one revision; return the leases and that revision."""
    leases: list[KeyValue] = []
    after, more, revision = "", True, 0
    while more:
        page = await backend.list("", after=after, limit=PAGE_KEYS, revision=revision)
        async for kv in in_turns(page.items, SystemClock()):
            if kv.key.startswith(LEASES):
                leases.append(kv)
            elif not is_own(kv.key):
                writer.add(kv)
        after, more = page.items[-1].key if page.items else after, page.more
        revision = page.revision
    return leases, revision


def _lease(kv: KeyValue) -> tuple[int, int]:
    return int(kv.key.removeprefix(LEASES), 16), json.loads(kv.value)["ttl"]

"""Raises the revision of an etcd that only its API reaches: by writes, one revision each.

`etcdutl snapshot restore --bump-revision` does it in the file, which is better where one can.
"""

import asyncio

from minikube_py.datastore.etcd.connection import Connection
from minikube_py.datastore.etcd.endpoint import EtcdEndpoint
from minikube_py.datastore.kv import DatastoreError

AT_ONCE = 128
WRITES_MAX = 4_000_000
"""Some 8 minutes of a small machine; what is farther needs a snapshot of etcd's own."""
COMPACT_EVERY = 100_000
"""So that etcd's file does not grow with what nobody needs."""


async def raise_revision(endpoint: EtcdEndpoint, key: str, revision: int) -> None:
    """Write a key until etcd is at a revision at least, and remove it.

    Raises:
        DatastoreError: that is too far, or etcd cannot be written to.

    """
    connection = Connection(endpoint)
    try:
        await _Raising(connection, key.encode(), revision).run()
    finally:
        await connection.close()


class _Raising:
    def __init__(self, connection: Connection, key: bytes, goal: int) -> None:
        self._connection = connection
        self._key = key
        self._goal = goal
        self._at = 0
        self._compact_at = 0

    async def run(self) -> None:
        await self._ask("DeleteRange")  # changes nothing where the key is not there
        if self._at >= self._goal:
            return
        if self._goal - self._at > WRITES_MAX:
            raise DatastoreError(
                f"etcd is at revision {self._at} and has to go on after {self._goal}, which takes"
                " too many writes; name etcd-snapshot://PATH instead, and make etcd's members of"
                " that file with `etcdutl snapshot restore`"
            )
        self._compact_at = self._at + COMPACT_EVERY
        await asyncio.gather(*(self._write() for _ in range(min(AT_ONCE, self._goal - self._at))))
        await self._ask("DeleteRange")

    async def _write(self) -> None:
        while self._at < self._goal:
            await self._ask("Put")
            if self._at >= self._compact_at:
                self._compact_at = self._at + COMPACT_EVERY
                await self._connection.call("KV", "Compact", {"revision": self._at})

    async def _ask(self, method: str) -> None:
        answer = await self._connection.call("KV", method, {"key": self._key}, again=True)
        self._at = max(self._at, int(answer["header"]["revision"]))

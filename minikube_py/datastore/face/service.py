"""The calls of etcd's API, one method each: messages in, messages out.

What belongs to a cluster of etcd and not to a store of keys (adding members, moving the leader,
users) is refused by name.
"""

import asyncio
import zlib
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from minikube_py import __version__
from minikube_py.datastore.face.checks import check_key, check_put
from minikube_py.datastore.face.feed import Feed
from minikube_py.datastore.face.identity import RAFT_TERM, Identity
from minikube_py.datastore.face.keys import LAST, Span, span
from minikube_py.datastore.face.leases import Leases, described
from minikube_py.datastore.face.reading import limit_of, read, read_key, select
from minikube_py.datastore.face.refusals import (
    COMPACTED,
    LEASE_NOT_FOUND,
    RefusedError,
    not_supported,
)
from minikube_py.datastore.face.snapshot import snapshot
from minikube_py.datastore.face.transactions import Outcome, lease_key, shown, transact
from minikube_py.datastore.kv import Backend, CompactedError
from minikube_py.lib.clock import SystemClock
from minikube_py.lib.tasks import Nursery, in_turns, restarting

Message = Mapping[str, Any]
Call = Callable[[Message], Awaitable[Message]]
ETCD_VERSION = "3.5.21"
"""The version of etcd whose API this is; clients choose by it what they may ask for."""
DELETED_AT_ONCE = 500
"""A delete of more keys than this goes in parts, each of which is done as a whole."""
SizeOf = Callable[[], int | None]


class Service:
    """One face of a backend."""

    def __init__(
        self, backend: Backend, identity: Identity, feed: Feed, leases: Leases, size: SizeOf
    ) -> None:
        self.backend = backend
        self.identity = identity
        self.feed = feed
        self.leases = leases
        self._size = size
        self._compacted = 0
        self._turns: dict[str, asyncio.Lock] = {}
        self._users: Counter[str] = Counter()
        self.calls: Mapping[str, Call] = {
            "Range": self.range,
            "Put": self.put,
            "DeleteRange": self.delete_range,
            "Txn": self.txn,
            "Compact": self.compact,
            "LeaseGrant": self.lease_grant,
            "LeaseRevoke": self.lease_revoke,
            "LeaseTimeToLive": self.lease_time_to_live,
            "LeaseLeases": self.lease_leases,
            "MemberList": self.member_list,
            "Alarm": self.alarm,
            "Status": self.status,
            "Defragment": self.defragment,
            "Hash": self.hash,
            "HashKV": self.hash_kv,
        }
        """The calls with one request and one response; others are refused."""

    async def run(self) -> None:
        """Follow the backend and end leases, until cancelled."""
        async with Nursery("etcd") as tasks:
            tasks.start("feed", restarting("etcd feed", self.feed.run))
            tasks.start("leases", restarting("etcd leases", self.leases.run))
            await tasks.join()

    async def _header(self) -> dict[str, int]:
        return self.identity.header(await self.backend.revision())

    # --- keys -----------------------------------------------------------------------------------

    async def range(self, request: Message) -> Message:
        """Return keys of a span."""
        check_key(request)
        asked = max(request.get("revision", 0), 0)
        where = _span(request)
        found = await read(self.backend, where, limit=limit_of(request), revision=asked)
        newest = await self.backend.revision() if asked else found.revision
        return {"header": self.identity.header(newest), **shown(select(found, request))}

    async def put(self, request: Message) -> Message:
        """Write a key."""
        check_put(request)
        if request.get("lease"):  # looked at before the key here, after it in a transaction
            lease = await read_key(self.backend, lease_key(request["lease"]))
            if not lease.items:
                raise RefusedError(LEASE_NOT_FOUND)
        return await self._alone("request_put", request)

    async def delete_range(self, request: Message) -> Message:
        """Delete the keys of a span."""
        check_key(request)
        where = _span(request)
        if where.is_single:
            return await self._alone("request_delete_range", request)
        deleted, previous = 0, []
        while True:
            found = await read(self.backend, where, limit=DELETED_AT_ONCE)
            part = request
            if found.total > len(found.items):
                last = found.items[-1].key.encode()
                part = {**request, "range_end": last + b"\0"}
            answer = await self._alone("request_delete_range", part)
            deleted += answer["deleted"]
            previous += answer["prev_kvs"]
            if part is request:
                return {**answer, "deleted": deleted, "prev_kvs": previous}

    async def _alone(self, kind: str, request: Message) -> dict[str, Any]:
        """Carry out one operation as a transaction of its own."""
        where = _span(request)
        async with self._turn(where):
            done = await transact(self.backend, {"success": [{kind: request}]})
        ((answer,),) = (response.values() for response in done.message["responses"])
        return {**answer, "header": self.identity.header(done.revision)}

    async def txn(self, request: Message) -> Message:
        """Carry out a transaction."""
        async with self._turn(_first_span(request)):
            done: Outcome = await transact(self.backend, request)
        return {**done.message, "header": self.identity.header(done.revision)}

    @asynccontextmanager
    async def _turn(self, where: Span) -> AsyncIterator[None]:
        """Let those who write a key do so one after the other, instead of in each other's way."""
        key = where.first
        lock = self._turns.setdefault(key, asyncio.Lock())
        self._users[key] += 1
        try:
            async with lock:
                yield
        finally:
            self._users[key] -= 1
            if not self._users[key]:
                del self._users[key], self._turns[key]

    async def compact(self, request: Message) -> Message:
        """Drop the history before a revision."""
        revision = request.get("revision", 0)
        if revision <= await self.compacted():
            raise RefusedError(COMPACTED)
        await self.backend.compact(revision)
        self._compacted = max(self._compacted, revision)
        return {"header": await self._header()}

    async def compacted(self) -> int:
        """Return the revision before which the history is gone."""
        try:
            await read(self.backend, Span("", ""), revision=self._compacted or 1)
        except CompactedError as error:
            self._compacted = error.oldest
        return self._compacted

    # --- leases ---------------------------------------------------------------------------------

    async def lease_grant(self, request: Message) -> Message:
        """Make a lease."""
        number, ttl = await self.leases.grant(request.get("TTL", 0), request.get("ID", 0))
        return {"header": await self._header(), "ID": number, "TTL": ttl}

    async def lease_revoke(self, request: Message) -> Message:
        """End a lease and delete its keys."""
        if not request.get("ID"):
            raise RefusedError(LEASE_NOT_FOUND)
        await self.leases.revoke(request["ID"])
        return {"header": await self._header()}

    async def lease_keep_alive(self, request: Message) -> Message:
        """Give a lease its whole time again."""
        ttl = await self.leases.keep_alive(request.get("ID", 0))
        return {"header": await self._header(), "ID": request.get("ID", 0), "TTL": ttl}

    async def lease_time_to_live(self, request: Message) -> Message:
        """Return how long a lease has, and what is attached to it."""
        number = request.get("ID", 0)
        found = await self.leases.time_to_live(number)
        header = await self._header()
        if found is None:
            return {"header": header, "ID": number, "TTL": -1}
        return {"header": header, **described(*found, keys=bool(request.get("keys")))}

    async def lease_leases(self, request: Message) -> Message:
        """Return all leases."""
        del request
        numbers = await self.leases.all()
        return {"header": await self._header(), "leases": [{"ID": one} for one in numbers]}

    # --- cluster and maintenance ----------------------------------------------------------------

    async def member_list(self, request: Message) -> Message:
        """Return the faces of the datastore."""
        del request
        members = await self.identity.members(self.backend)
        return {"header": await self._header(), "members": members}

    async def alarm(self, request: Message) -> Message:
        """Return the alarms: there are none, a full disk refuses writes one by one."""
        if request.get("action", "GET") == "ACTIVATE":
            raise RefusedError(not_supported("to raise an alarm"))
        return {"header": await self._header(), "alarms": []}

    async def status(self, request: Message) -> Message:
        """Return what `etcdctl endpoint status` shows."""
        del request
        revision, size = await self.backend.revision(), self._size() or 0
        return {
            "header": self.identity.header(revision),
            "version": ETCD_VERSION,
            "dbSize": size,
            "dbSizeInUse": size,
            "leader": self.identity.member,
            "raftIndex": revision,
            "raftAppliedIndex": revision,
            "raftTerm": RAFT_TERM,
            "storageVersion": f"kpy {__version__}",
        }

    async def defragment(self, request: Message) -> Message:
        """Do nothing: free pages are used again, and given back by compaction."""
        del request
        return {"header": await self._header()}

    async def hash(self, request: Message) -> Message:
        """Return a checksum of all keys as they are."""
        answer = await self.hash_kv(request)
        return {"header": answer["header"], "hash": answer["hash"]}

    async def hash_kv(self, request: Message) -> Message:
        """Return a checksum of all keys at a revision; every face of a datastore has the same."""
        asked = max(request.get("revision", 0), 0)
        found = await read(self.backend, Span("", LAST), revision=asked)
        total = 0
        async for kv in in_turns(found.items, SystemClock()):
            total = zlib.crc32(repr(kv).encode(), total)
        return {
            "header": await self._header(),
            "hash": total,
            "compact_revision": await self.compacted(),
            "hash_revision": found.revision,
        }

    def snapshot(self) -> AsyncGenerator[Message, None]:
        """Yield a snapshot of all keys in pieces."""
        return snapshot(self.backend)


def _span(request: Message) -> Span:
    return span(request.get("key", b""), request.get("range_end", b""))


def _first_span(request: Message) -> Span:
    """Return what a transaction is about first: the one key, in those of Kubernetes."""
    for compare in request.get("compare", ()):
        return _span(compare)
    for operation in request.get("success", ()):
        for inner in operation.values():
            return _span(inner)
    return Span("", "")

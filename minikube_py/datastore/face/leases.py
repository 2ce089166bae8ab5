"""Leases: keys that vanish unless their owner goes on saying that it lives.

A lease is a key of kpy's own, so it outlives the process and all faces of a datastore know it. When
that key is deleted, by whomever, every face deletes the keys that are attached to the lease; who
attaches a key does so on the condition that the lease is there.

Deadlines are not stored. Who grants a lease or hears of its owner counts its seconds from then,
and rewrites its key once a third of them has gone by; the other faces count from the last time
that they saw it written, and give it a third more. After a start all leases count from there.
"""

import asyncio
import json
import logging
import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from minikube_py.datastore.face.feed import Feed, Item
from minikube_py.datastore.face.keys import LAST, Span
from minikube_py.datastore.face.reading import PAGE_KEYS
from minikube_py.datastore.face.refusals import (
    LEASE_EXISTS,
    LEASE_NOT_FOUND,
    LEASE_TTL_TOO_LARGE,
    TIMEOUT,
    RefusedError,
)
from minikube_py.datastore.face.transactions import LEASES, lease_key
from minikube_py.datastore.kv import (
    Backend,
    Change,
    DatastoreError,
    KeyExistsError,
    KeyValue,
    RevisionMismatchError,
    UnavailableError,
)
from minikube_py.lib.clock import Clock
from minikube_py.lib.tasks import Nursery

log = logging.getLogger(__name__)
TTL_MIN, TTL_MAX = 2, 9_000_000_000
"""Seconds; etcd gives no less than one and a half election timeouts."""
DELETED_AT_ONCE = 500
ATTEMPTS_MAX = 16
RETRY_SECONDS = 1.0


@dataclass
class Lease:
    """What a face knows of a lease."""

    id: int
    ttl: int
    deadline: float
    stored_at: float
    """When its key was written last, by the own clock."""
    revision: int
    keys: set[str] = field(default_factory=set)


class Leases:
    """The leases of a datastore, as one face sees them."""

    def __init__(self, backend: Backend, feed: Feed, clock: Clock) -> None:
        self.span = Span("", LAST)
        self._backend = backend
        self._feed = feed
        self._clock = clock
        self._leases: dict[int, Lease] = {}
        self._lease_of: dict[str, int] = {}
        """The lease of every key that has one."""
        self._changed = asyncio.Event()
        self._tasks = Nursery("leases")
        self._ending: dict[int, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """Read what there is; the feed tells of the rest."""
        joined = self._feed.join(self)
        after, more = LEASES, True
        while more:
            page = await self._backend.list(LEASES, after=after, limit=PAGE_KEYS, revision=joined)
            for kv in page.items:
                self._learn(kv)
            after, more = page.items[-1].key if page.items else after, page.more
        await self._find_keys(joined)

    async def _find_keys(self, revision: int) -> None:
        """Look for keys with leases, also for those whose lease ended while nobody looked."""
        after, more = "", True
        while more:
            page = await self._backend.list("", after=after, limit=PAGE_KEYS, revision=revision)
            for kv in page.items:
                if kv.lease:
                    self._attach(kv.key, kv.lease)
            after, more = page.items[-1].key if page.items else after, page.more
        for lost in {lease for lease in self._lease_of.values() if lease not in self._leases}:
            self._end(lost)

    # --- what the feed tells --------------------------------------------------------------------

    def take(self, items: Sequence[Item]) -> None:
        """Take in which leases and attached keys there are."""
        for event, _ in items:
            if event.key.startswith(LEASES):
                self._heard(event.key, event.value, event.revision, deleted=event.deleted)
            else:
                self._attach(event.key, 0 if event.deleted else event.lease)

    def lost(self, revision: int) -> None:
        """Look again at everything: events were missed."""
        self._tasks.start("look again", self._look_again(revision))

    async def _look_again(self, revision: int) -> None:
        page = await self._backend.list(LEASES, revision=revision)
        there = {kv.key for kv in page.items}
        for lease in [one for one in self._leases.values() if lease_key(one.id) not in there]:
            self._forget(lease.id)
        for kv in page.items:
            self._learn(kv)
        await self._find_keys(revision)

    def _heard(self, key: str, value: bytes, revision: int, *, deleted: bool) -> None:
        if deleted:
            self._forget(_id_of(key))
        else:
            self._learn(KeyValue(key, value, revision, 0))

    def _learn(self, kv: KeyValue) -> None:
        number, ttl = _id_of(kv.key), int(json.loads(kv.value)["ttl"])
        known, now = self._leases.get(number), self._clock.monotonic()
        if known is not None and known.revision >= kv.revision:
            return  # our own writing
        deadline = now + ttl + ttl / 3
        lease = Lease(number, ttl, max(deadline, known.deadline if known else 0), now, kv.revision)
        lease.keys = known.keys if known else set()
        self._leases[number] = lease
        self._changed.set()

    def _attach(self, key: str, number: int) -> None:
        before = self._lease_of.pop(key, 0)
        if before in self._leases:
            self._leases[before].keys.discard(key)
        if number:
            self._lease_of[key] = number
            if number in self._leases:
                self._leases[number].keys.add(key)

    def _forget(self, number: int) -> None:
        self._leases.pop(number, None)
        self._end(number)

    def _end(self, number: int) -> None:
        """Delete what is attached to a lease that is no more."""
        if number not in self._ending:
            task = self._tasks.start("end of lease", self._delete_keys(number))
            self._ending[number] = task
            task.add_done_callback(lambda _: self._ending.pop(number, None))

    async def _delete_keys(self, number: int) -> None:
        while keys := [key for key, lease in self._lease_of.items() if lease == number]:
            try:
                await self._delete_some(number, keys[:DELETED_AT_ONCE])
            except UnavailableError as error:
                log.warning("keys of a lease are not deleted, trying again: %s", error)
                await self._clock.sleep(RETRY_SECONDS)

    async def _delete_some(self, number: int, keys: Sequence[str]) -> None:
        found = [await self._backend.get(key) for key in keys]
        gone = [kv for kv in found if kv is not None and kv.lease == number]
        try:
            if gone:
                await self._backend.write([Change(kv.key, None, kv.revision) for kv in gone])
        except RevisionMismatchError:
            return  # somebody was faster; the next round sees what is left
        for key, kv in zip(keys, found, strict=True):
            if kv is None or kv in gone:
                self._attach(key, 0)
            elif kv.lease != number:
                self._attach(key, kv.lease)

    # --- what clients ask for -------------------------------------------------------------------

    async def grant(self, ttl: int, number: int) -> tuple[int, int]:
        """Make a lease; return its id, which is chosen where `number` is 0, and its seconds."""
        if ttl > TTL_MAX:
            raise RefusedError(LEASE_TTL_TOO_LARGE)
        ttl = max(ttl, TTL_MIN)
        number = number or secrets.randbits(62) + 1
        try:
            revision = await self._backend.create(lease_key(number), _stored(ttl))
        except KeyExistsError:
            raise RefusedError(LEASE_EXISTS) from None
        await self._feed.reached(revision)
        self._owner_lives(number)
        return number, ttl

    async def revoke(self, number: int) -> None:
        """End a lease and delete what is attached to it."""
        try:
            revision = await self._backend.delete(lease_key(number), revision=0)
        except RevisionMismatchError:
            raise RefusedError(LEASE_NOT_FOUND) from None
        await self._feed.reached(revision)
        while (task := self._ending.get(number)) is not None:
            await asyncio.wait((task,))

    async def keep_alive(self, number: int) -> int:
        """Give a lease its whole time again; return that, 0 where there is no such lease."""
        for _ in range(ATTEMPTS_MAX):
            lease = await self._current(number)
            if lease is None:
                return 0
            if self._clock.monotonic() - lease.stored_at >= lease.ttl / 3:
                key, value = lease_key(number), _stored(lease.ttl)
                try:
                    at = await self._backend.update(key, value, revision=lease.revision)
                except RevisionMismatchError:
                    at = await self._backend.revision()
                    await self._feed.reached(at)
                    continue
                await self._feed.reached(at)
            return self._owner_lives(number)
        raise RefusedError(TIMEOUT)

    def _owner_lives(self, number: int) -> int:
        """Give a lease its time; return that, 0 where it is no more."""
        lease = self._leases.get(number)
        if lease is None:
            return 0
        lease.deadline = self._clock.monotonic() + lease.ttl
        self._changed.set()
        return lease.ttl

    async def _current(self, number: int) -> Lease | None:
        if number not in self._leases:  # another face may just have granted it
            await self._feed.reached(await self._backend.revision())
        return self._leases.get(number)

    async def time_to_live(self, number: int) -> tuple[Lease, int] | None:
        """Return a lease and the seconds that it has left; None where there is no such lease."""
        lease = await self._current(number)
        if lease is None:
            return None
        await self._feed.reached(await self._backend.revision())
        left = lease.deadline - self._clock.monotonic()
        return lease, max(min(math.floor(left), lease.ttl), 0)

    async def all(self) -> list[int]:
        """Return the ids of all leases, those first that end first."""
        await self._feed.reached(await self._backend.revision())
        return [one.id for one in sorted(self._leases.values(), key=lambda one: one.deadline)]

    # --- the end of leases ----------------------------------------------------------------------

    async def run(self) -> None:
        """End leases whose time is over; never returns."""
        async with self._tasks:
            while True:
                self._changed.clear()
                now = self._clock.monotonic()
                over = [lease for lease in self._leases.values() if lease.deadline <= now]
                for lease in over:
                    await self._expire(lease)
                if not over:
                    await self._next(now)

    async def _next(self, now: float) -> None:
        """Wait until the next lease ends, or something about leases has changed."""
        soonest = min((lease.deadline for lease in self._leases.values()), default=None)
        if soonest is None:
            await self._changed.wait()
            return
        async with Nursery("deadline") as waiting:
            waiting.start("deadline", self._alarm(soonest - now))
            await self._changed.wait()

    async def _alarm(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._changed.set()

    async def _expire(self, lease: Lease) -> None:
        try:
            await self._backend.delete(lease_key(lease.id), revision=lease.revision)
        except RevisionMismatchError:
            # Another face was faster, or has heard of the owner: the feed tells which.
            await self._feed.reached(await self._backend.revision())
            known = self._leases.get(lease.id)
            if known is lease:
                self._forget(lease.id)
        except DatastoreError as error:
            log.warning("a lease is not ended, trying again: %s", error)
            await self._clock.sleep(RETRY_SECONDS)
        else:
            self._leases.pop(lease.id, None)


def _stored(ttl: int) -> bytes:
    return json.dumps({"ttl": ttl}).encode()


def _id_of(key: str) -> int:
    number = int(key.removeprefix(LEASES), 16)
    return number - (1 << 64) if number >> 63 else number


def described(lease: Lease, left: int, *, keys: bool) -> dict[str, Any]:
    """Return a lease as clients get it."""
    names = sorted(lease.keys) if keys else ()
    return {
        "ID": lease.id,
        "TTL": left,
        "grantedTTL": lease.ttl,
        "keys": [name.encode() for name in names],
    }

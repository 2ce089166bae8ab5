"""What a datastore holds at one revision, in order, and the digest that tells two contents apart.

Snapshots, copies and their checks all walk a store this way: in pages, so that memory stays
bounded and nobody waits, and at one revision, so that what comes out is consistent.
"""

import hashlib
import struct
from collections.abc import AsyncIterator, Sequence
from typing import Protocol, runtime_checkable

from minikube_py.datastore.kv import Backend, KeyValue

PAGE = 64
"""Keys of one page: with values of the largest size, some 100 MB; usually some 100 KB."""
_LENGTHS = struct.Struct(">IIqqqq")
Pages = AsyncIterator[Sequence[KeyValue]]


@runtime_checkable
class Walked(Protocol):
    """A store that can walk its keys without counting those that are left on each page."""

    def walk(self, revision: int, rows: int) -> Pages:
        """Yield all keys as they were at a revision, in order; raises CompactedError."""


async def walk(backend: Backend, revision: int) -> Pages:
    """Yield all that a store held at a revision, in key order.

    Raises:
        CompactedError: the revision is gone, which may also turn out in the middle.

    """
    if isinstance(backend, Walked):
        async for items in backend.walk(revision, PAGE):
            yield items
        return
    after, more = "", revision > 0
    while more:
        page = await backend.list("", after=after, limit=PAGE, revision=revision)
        if page.items:
            yield page.items
            after = page.items[-1].key
        more = page.more


class Content:
    """Counts what was walked, and knows its digests."""

    def __init__(self) -> None:
        self.keys = 0
        self.value_bytes = 0
        self._all = hashlib.sha256()
        self._values = hashlib.sha256()

    def add(self, items: Sequence[KeyValue]) -> None:
        """Take in the next keys."""
        for key, value, revision, created, lease, version in items:
            name = key.encode()
            lengths = len(name), len(value)
            self._all.update(_LENGTHS.pack(*lengths, revision, created, lease, version))
            self._all.update(name)
            self._all.update(value)
            self._values.update(_LENGTHS.pack(*lengths, 0, 0, 0, 0))
            self._values.update(name)
            self._values.update(value)
            self.value_bytes += len(value)
        self.keys += len(items)

    @property
    def digest(self) -> str:
        """SHA-256 over keys, values, revisions and leases."""
        return self._all.hexdigest()

    @property
    def values_digest(self) -> str:
        """SHA-256 over keys and values alone: what a store that gives new revisions can keep."""
        return self._values.hexdigest()


async def content_of(backend: Backend, revision: int) -> Content:
    """Walk a store and return what was found."""
    found = Content()
    async for items in walk(backend, revision):
        found.add(items)
    return found

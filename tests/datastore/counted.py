"""A store that others have written to, shown as if it began when the test does.

A new cluster of etcd is at revision 1, and one that tests share is further; scripts and the model
begin at 0. Everything goes through unchanged but for that difference, in errors, too.
"""

from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import TypeVar

from minikube_py.datastore.kv import (
    Backend,
    Change,
    CompactedError,
    Event,
    FutureRevisionError,
    KeyValue,
    Page,
    RevisionMismatchError,
    Unchanged,
)

T = TypeVar("T")


class CountedBackend:
    """Hands everything on; revisions are counted from `base`."""

    def __init__(self, inner: Backend, base: int) -> None:
        self.inner = inner
        self.base = base

    def shown(self, found: KeyValue) -> KeyValue:
        return found._replace(
            revision=found.revision - self.base, create_revision=found.create_revision - self.base
        )

    async def _of(self, work: Awaitable[T]) -> T:
        try:
            return await work
        except CompactedError as error:
            oldest = error.oldest - self.base
            raise CompactedError(error.asked - self.base, oldest) from error
        except FutureRevisionError as error:
            current = error.current - self.base
            raise FutureRevisionError(error.asked - self.base, current) from error
        except RevisionMismatchError as error:
            expected = error.expected - self.base if error.expected else 0
            current_kv = self.shown(error.current) if error.current else None
            raise RevisionMismatchError(error.key, expected, current_kv) from error

    async def get(self, key: str) -> KeyValue | None:
        found = await self.inner.get(key)
        return self.shown(found) if found else None

    async def list(
        self, prefix: str, *, after: str = "", limit: int = 0, revision: int = 0
    ) -> Page:
        at = revision + self.base if revision else 0
        page = await self._of(self.inner.list(prefix, after=after, limit=limit, revision=at))
        items = tuple(map(self.shown, page.items))
        return Page(items, page.revision - self.base, page.more, page.remaining)

    async def create(self, key: str, value: bytes, *, lease: int = 0) -> int:
        return await self._of(self.inner.create(key, value, lease=lease)) - self.base

    async def update(self, key: str, value: bytes, *, revision: int, lease: int = 0) -> int:
        at = revision + self.base if revision else 0
        done = await self._of(self.inner.update(key, value, revision=at, lease=lease))
        return done - self.base

    async def delete(self, key: str, *, revision: int) -> int:
        at = revision + self.base if revision else 0
        return await self._of(self.inner.delete(key, revision=at)) - self.base

    async def write(self, changes: Sequence[Change], *, unchanged: Sequence[Unchanged] = ()) -> int:
        moved = [
            one._replace(revision=one.revision + self.base if one.revision else 0)
            for one in changes
        ]
        conditions = [one._replace(revision=one.revision + self.base) for one in unchanged]
        return await self._of(self.inner.write(moved, unchanged=conditions)) - self.base

    async def watch(self, prefix: str, *, after: int) -> AsyncIterator[tuple[Event, ...]]:
        inner = aiter(self.inner.watch(prefix, after=after + self.base))
        try:
            while True:
                events = await self._of(anext(inner))
                yield tuple(
                    event._replace(
                        revision=event.revision - self.base,
                        create_revision=event.create_revision - self.base,
                    )
                    for event in events
                )
        except StopAsyncIteration:
            return

    async def revision(self) -> int:
        return await self.inner.revision() - self.base

    async def compact(self, revision: int) -> None:
        await self._of(self.inner.compact(revision + self.base))

    async def close(self) -> None:
        await self.inner.close()

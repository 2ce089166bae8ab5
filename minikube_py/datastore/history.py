"""What a store tells of its past: who wrote what and when, and how things stood at a moment.

The API forgets after five minutes what etcd would, and what watches rely on is not this history
but the index. The history is asked for rarely and by people, so it costs whoever asks: the rows are
read through from the newest, some at a time, with writes in between.

Beside its value each row of a log has the time at which it was written and its author. Who writes
is known where a request comes in, far from here, and is the same for all that the request writes:
a context variable carries it, so that no signature on the way needs it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import NamedTuple, Protocol, runtime_checkable

from minikube_py.datastore.kv import (
    CompactedError,
    FutureRevisionError,
    KeyValue,
    Page,
    prefix_end,
)

AUTHOR: ContextVar[str] = ContextVar("author", default="")
"""Who makes the writes of this task, and by which verb: `patch/status system:node:a`."""
READ_ROWS = 512
"""Values of one read."""
REWRITE_ROWS = 64
"""Values of one transaction that changes them."""
Otherwise = Callable[[str, bytes], Awaitable[bytes]]
"""(key, stored) -> what is to be stored instead; the same where nothing is to change."""


class Written(NamedTuple):
    """One write as the history has it."""

    key: str
    revision: int
    create_revision: int
    deleted: bool
    at: float
    """When, in seconds of the epoch; 0 where that is not known."""
    author: str
    """`verb user`; "" where the server itself wrote, or it is not known."""
    value: bytes | None = None
    """None for a delete, and for what is not readable any more."""


class PastRow(NamedTuple):
    """A row of a log without its value; `at` in milliseconds."""

    revision: int
    key: str
    create_revision: int
    deleted: int
    at: int
    author: str


class Historian(Protocol):
    """A store that knows its past."""

    async def versions(self, key: str, *, before: int = 0, limit: int = 100) -> Sequence[Written]:
        """Return the writes of a key, newest first: those before a revision (0: all)."""

    async def past(self, prefix: str, *, revision: int, after: str = "", limit: int = 0) -> Page:
        """Return keys below a prefix as they were at a revision, as `Backend.list` does.

        Raises:
            CompactedError: the history does not go back that far.
            FutureRevisionError: the revision is not there yet.

        """

    async def revision_at(self, at: float) -> int:
        """Return the last revision that was written at or before a moment; 0 where none is."""

    async def time_of(self, revision: int) -> float:
        """Return when a revision was there, in seconds of the epoch; 0 where that is not known."""

    async def oldest(self, prefix: str) -> int:
        """Return the oldest revision at which keys below a prefix can be shown."""

    async def size(self) -> int:
        """Return how many bytes all kept versions take, about."""

    async def rewrite(self, prefix: str, otherwise: Otherwise) -> int:
        """Store the values of old versions below a prefix otherwise; return how many changed.

        Only for values that mean the same as before; the newest version of a key is not to change.
        """

    async def erase(self) -> None:
        """Leave nothing in the store's files of what was rewritten or removed before this call.

        What a database server keeps in files of its own is left to its administrator.
        """


class PastLog(Protocol):
    """What the history needs of a log."""

    async def rows_before(
        self, revision: int, first: str, last: str
    ) -> tuple[Sequence[PastRow], int]:
        """Look at some rows before a revision, and return those with first <= key <= last.

        They are newest first; the number is the revision to go on before, 0 at the end.
        """

    async def values(self, revisions: Sequence[int]) -> Sequence[bytes | None]:
        """Return the values of rows."""

    async def replace(self, values: Mapping[int, bytes]) -> None:
        """Store other values in rows that are still there."""

    async def erase(self) -> None:
        """Leave nothing in the files of what was replaced or removed."""


class LogHistory:
    """The history in a log."""

    def __init__(
        self,
        log: PastLog,
        revision: Callable[[], Awaitable[int]],
        oldest: Callable[[str], Awaitable[int]],
        size: Callable[[], Awaitable[int]],
    ) -> None:
        """Read a log of which `revision` and `oldest` say how far it reaches."""
        self._log = log
        self._revision = revision
        self._oldest = oldest
        self._size = size

    async def versions(self, key: str, *, before: int = 0, limit: int = 100) -> Sequence[Written]:
        """Return the writes of a key, newest first: those before a revision (0: all)."""
        found: list[PastRow] = []
        async for rows in self._rows(before, key, key):
            found += rows
            if len(found) >= limit:
                break
        found = found[:limit]
        values = await self._values([row.revision for row in found])
        return [
            _written(row, value)
            for row, value in zip(found, values, strict=True)
            if row.deleted or value is not None  # else it was trimmed meanwhile
        ]

    async def past(self, prefix: str, *, revision: int, after: str = "", limit: int = 0) -> Page:
        """Return keys below a prefix as they were at a revision."""
        newest = await self._revision()
        if revision > newest:
            raise FutureRevisionError(revision, newest)
        there: dict[str, PastRow] = {}
        async for rows in self._rows(revision + 1, prefix, prefix_end(prefix)):
            for row in rows:
                there.setdefault(row.key, row)
        keys = sorted(key for key, row in there.items() if not row.deleted and key > after)
        taken = [there[key] for key in (keys[:limit] if limit else keys)]
        values = await self._values([row.revision for row in taken])
        oldest = await self._oldest(prefix)
        if revision < oldest:
            raise CompactedError(revision, oldest)
        items = [
            KeyValue(row.key, value, row.revision, row.create_revision)
            for row, value in zip(taken, values, strict=True)
            if value is not None
        ]
        remaining = len(keys) - len(taken)
        return Page(items, revision, more=remaining > 0, remaining=remaining)

    async def revision_at(self, at: float) -> int:
        """Return the last revision that was written at or before a moment; 0 where none is."""
        limit = round(at * 1000)
        async for rows in self._rows(0, "", prefix_end("")):
            for row in rows:
                if 0 < row.at <= limit:
                    return row.revision
        return 0

    async def time_of(self, revision: int) -> float:
        """Return when a revision was there, in seconds of the epoch; 0 where that is not known."""
        async for rows in self._rows(revision + 1, "", prefix_end("")):
            for row in rows:
                return row.at / 1000
        return 0.0

    async def oldest(self, prefix: str) -> int:
        """Return the oldest revision at which keys below a prefix can be shown."""
        return await self._oldest(prefix)

    async def size(self) -> int:
        """Return how many bytes all kept versions take, about."""
        return await self._size()

    async def rewrite(self, prefix: str, otherwise: Otherwise) -> int:
        """Store the values of old versions below a prefix otherwise; return how many changed."""
        changed = 0
        async for rows in self._rows(0, prefix, prefix_end(prefix)):
            there = [row for row in rows if not row.deleted]
            for start in range(0, len(there), REWRITE_ROWS):
                changed += await self._rewrite(there[start : start + REWRITE_ROWS], otherwise)
        return changed

    async def _rewrite(self, rows: Sequence[PastRow], otherwise: Otherwise) -> int:
        found = await self._log.values([row.revision for row in rows])
        replaced: dict[int, bytes] = {}
        for row, value in zip(rows, found, strict=True):
            wanted = None if value is None else await otherwise(row.key, value)
            if wanted is not None and wanted is not value:
                replaced[row.revision] = wanted
        if replaced:
            await self._log.replace(replaced)
        return len(replaced)

    async def erase(self) -> None:
        """Leave nothing in the files of what was rewritten or removed before this call."""
        await self._log.erase()

    async def _rows(self, before: int, first: str, last: str) -> AsyncIterator[Sequence[PastRow]]:
        place = before or await self._revision() + 1
        while place:
            rows, place = await self._log.rows_before(place, first, last)
            yield rows

    async def _values(self, revisions: Sequence[int]) -> list[bytes | None]:
        values: list[bytes | None] = []
        for start in range(0, len(revisions), READ_ROWS):
            values += await self._log.values(revisions[start : start + READ_ROWS])
        return values


def _written(row: PastRow, value: bytes | None) -> Written:
    revision, key, created, deleted, at, author = row
    return Written(key, revision, created, bool(deleted), at / 1000, author, value)


class RecentHistory:
    """The history of a store that keeps none beyond its compaction: what it can still list.

    When a revision was written, and by whom, it does not know.
    """

    def __init__(self, backend: "Recent") -> None:
        self._backend = backend

    async def versions(self, key: str, *, before: int = 0, limit: int = 100) -> Sequence[Written]:
        """Return the writes of a key, newest first: those before a revision (0: all)."""
        newest = await self._backend.revision()
        oldest = await self.oldest(key)
        return await self._written(
            key, oldest, min(before - 1, newest) if before else newest, limit
        )

    async def _written(self, key: str, oldest: int, until: int, limit: int) -> Sequence[Written]:
        found: list[Written] = []
        while until >= max(oldest, 1) and len(found) < limit:
            page = await self._backend.list(key, limit=1, revision=until)
            there = next((item for item in page.items if item.key == key), None)
            if there is None:
                break
            found.append(
                _written(PastRow(there.revision, key, there.create_revision, 0, 0, ""), there.value)
            )
            until = there.revision - 1
        return found

    async def past(self, prefix: str, *, revision: int, after: str = "", limit: int = 0) -> Page:
        """Return keys below a prefix as they were at a revision."""
        return await self._backend.list(prefix, after=after, limit=limit, revision=revision)

    async def revision_at(self, at: float) -> int:
        """Return 0: when a revision was written is not known."""
        del at
        return 0

    async def time_of(self, revision: int) -> float:
        """Return 0: when a revision was written is not known."""
        del revision
        return 0.0

    async def oldest(self, prefix: str) -> int:
        """Return the oldest revision that can still be listed."""
        try:
            await self._backend.list(prefix, limit=1, revision=1)
        except CompactedError as error:
            return error.oldest
        return 0

    async def size(self) -> int:
        """Return 0: nothing is kept."""
        return 0

    async def rewrite(self, prefix: str, otherwise: Otherwise) -> int:
        """Return 0: what such a store still has is gone when its next compaction passes."""
        del prefix, otherwise
        return 0

    async def erase(self) -> None:
        """Return: such a store keeps its own files."""


@runtime_checkable
class Remembering(Protocol):
    """A store with a history of its own."""

    history: Historian


def history_of(backend: "Recent") -> Historian:
    """Return the history of a store: its own, or what it can still list."""
    return backend.history if isinstance(backend, Remembering) else RecentHistory(backend)


class Recent(Protocol):
    """What the history of a store without one is made from: two methods of a Backend."""

    async def revision(self) -> int:
        """Return the newest revision."""

    async def list(
        self, prefix: str, *, after: str = "", limit: int = 0, revision: int = 0
    ) -> Page:
        """Return keys below the prefix at a revision."""

"""The SQLite file: its one table of writes, and the few things that are done to it.

`log` is append-only: one row for each write, whose row number is the revision (`schema`). Nothing
is updated in place (but what is sealed with another key), and there is no index beside the row
number, because the index from keys to revisions lives in memory (`index`); so a write dirties the
fewest pages. `state` holds numbers
that outlive their rows: how far the log is compacted, and a ceiling below which revisions may
have been handed out without a row.

All that runs on the database runs on one thread, in the order asked for, and one call is one
transaction. The connection holds the file exclusively: a second server on it is refused.
"""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

import aiosqlite

from minikube_py.datastore import damage
from minikube_py.datastore.effort import Effort, written_by
from minikube_py.datastore.history import PastRow
from minikube_py.datastore.kv import (
    DamagedError,
    DatastoreError,
    NotEmptyError,
    UnavailableError,
    prefix_end,
)
from minikube_py.datastore.log import EventRow, Head, Row
from minikube_py.datastore.retention import (
    STEP_ROWS,
    Retention,
    Rule,
    Superseding,
    marks_of,
    sweep,
    trim,
)
from minikube_py.datastore.schema import (
    ALL_VALUES,
    APPEND,
    APPLICATION_ID,
    COUNT,
    FORMAT,
    HISTORY,
    MIGRATIONS,
    PAST,
    PAST_ROWS,
    PAST_STEP,
    REMOVE,
    REPLACE,
    SCAN,
    SCHEMA,
    SET_STATE,
    SUPERSEDING,
    TRANSACTION_END,
    VALUE,
    checksum,
    is_sound,
)

T = TypeVar("T")

BUSY_SECONDS = 3.0
"""How long to wait for a server that is just ending on the same file."""
WAL_KEPT_BYTES = 8 << 20
"""The write-ahead log is cut to this after a checkpoint; a checkpoint comes every 4 MB."""
COUNT_ROWS = 8192
"""Rows that are counted in one go."""


def _connect(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    doubtful = damage.is_doubtful(path)
    connection = sqlite3.connect(
        path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        found = _check_format(connection)
        if doubtful:
            damage.look(connection, path, ALL_VALUES if found == FORMAT else "", is_sound)
        _prepare(connection, found)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, found: int) -> None:
    """Set the connection up, and the file where it is not of today's format.

    A file that is needs no write to be opened: so a server whose disk is full starts.
    """
    if not found:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    # Debian's SQLite overwrites what is removed, which costs as much again as writing it did.
    connection.execute("PRAGMA secure_delete = FAST")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES}")
    if found == FORMAT:
        return
    connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA}")
    for older in range(found or FORMAT, FORMAT):
        for statement in MIGRATIONS[older]:
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {FORMAT}")
    connection.execute("COMMIT")


def _check_format(connection: sqlite3.Connection) -> int:
    """Return the format of the file, 0 for a new one."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and application != APPLICATION_ID:
        raise DatastoreError("it is the database of another program")
    if version > FORMAT:
        raise DatastoreError(f"it has format {version}, this kpy knows {FORMAT}; use a newer kpy")
    return int(version)


class Database(aiosqlite.Connection):
    """The open file; every method runs as one piece of work on the connection's thread.

    All raise UnavailableError where SQLite fails; then nothing of the call was done.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(partial(_connect, path), iter_chunk_size=64)
        self._path = path
        # A server that dies of an error must not hang on this thread; what is committed is safe.
        self._thread.daemon = True
        self._commits = 0
        self.marks = marks_of({})
        """Where the history stands; known once `state` was read."""

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Open or create the file; raises DatastoreError, whose message names the file."""
        database = cls(path)
        try:
            await database
        except (sqlite3.Error, OSError, DatastoreError) as error:
            database._thread.join()  # it is ending, and must do so while there is a loop
            damaged = damage.is_damage(error) or isinstance(error, DamagedError)
            kind = DamagedError if damaged else DatastoreError
            raise kind(f"datastore {path}: {_explain(error)}") from error
        return database

    def effort(self) -> Effort:
        """Return what this connection cost the disk since it was opened."""
        return Effort(written_by(self._thread), self._commits)

    async def append(
        self, rows: Sequence[Row], state: Iterable[tuple[str, int]], deleted: Sequence[int]
    ) -> list[bytes]:
        """Add rows and set state in one durable transaction; return the values of `deleted`."""
        values: list[bytes] = await self._guarded(self._append, rows, state, deleted)
        return values

    async def load(self, pages: AsyncIterator[Sequence[Row]], revision: int) -> None:
        """Fill an empty log in one durable transaction; its history begins at `revision`.

        Raises:
            NotEmptyError: it is not empty.

        """
        if await self.scan(0, 1) or await self.state():
            raise NotEmptyError("it is not empty")
        await self._guarded(self._rows, "BEGIN IMMEDIATE", ())
        try:
            async for rows in pages:
                await self._guarded(self._add, APPEND, _summed(rows))
            marks = [("compacted", revision), ("ceiling", revision)]
            await self._guarded(self._add, SET_STATE, marks)
            await self._guarded(self._rows, "COMMIT", ())
        except BaseException:
            await asyncio.shield(self._guarded(self._rollback))
            raise

    async def values(self, revisions: Sequence[int]) -> list[bytes | None]:
        """Return the values of rows; None where there is no row or it is a delete."""
        values: list[bytes | None] = await self._guarded(self._values, revisions)
        return values

    async def state(self) -> dict[str, int]:
        """Return the numbers kept beside the log."""
        state = dict(await self._guarded(self._rows, "SELECT name, value FROM state", ()))
        self.marks = marks_of(state)
        return state

    async def count(self) -> int:
        """Return how many rows there are, those of the history included."""
        total = after = 0
        while True:
            ((rows, last),) = await self._guarded(self._rows, COUNT, (after, COUNT_ROWS))
            if not rows:
                return total
            total, after = total + rows, last

    async def scan(self, after: int, limit: int) -> list[Head]:
        """Return the rows after a revision without their values."""
        rows: list[Head] = await self._guarded(self._rows, SCAN, (after, limit))
        return rows

    async def history(self, after: int, until: int, prefix: str, limit: int) -> list[EventRow]:
        """Return the first writes below a prefix with after < revision <= until.

        They are whole transactions, so that it may be some more than asked for.
        """
        bounds = (after, until, prefix, limit)
        rows: list[EventRow] = await self._guarded(self._history, *bounds)
        return rows

    async def compact(self, compacted: int) -> None:
        """Note that revisions before `compacted` cannot be read any more."""
        await self._guarded(self._set, (("compacted", compacted),))

    async def sweep(self, compacted: int, retention: Retention) -> None:
        """Look at the next writes that are compacted: what they replaced is history, or goes."""
        await self._guarded(self._step, sweep, (self.marks.swept, compacted), retention)

    async def trim(self, retention: Retention) -> None:
        """Remove the oldest of the history, some of it."""
        await self._guarded(self._step, trim, (self.marks.trimmed, self.marks.swept), retention)

    async def replace(self, values: Mapping[int, bytes]) -> None:
        """Store other values in rows that nobody needs to know the present, if still there."""
        await self._guarded(self._replace, values)

    async def erase(self) -> None:
        """Leave nothing in the files of what was removed or replaced.

        The file is written anew, which holds up writes: 10 ms for each megabyte.
        """
        await self._guarded(self._rows, "VACUUM", ())
        await self._guarded(self._rows, "PRAGMA wal_checkpoint(TRUNCATE)", ())

    async def rows_before(
        self, revision: int, first: str, last: str
    ) -> tuple[Sequence[PastRow], int]:
        """Look at some rows before a revision, and return those with first <= key <= last."""
        return await self._guarded_one(self._rows_before, revision, first, last)

    async def pages(self) -> tuple[int, int]:
        """Return how many pages the file has, and how many of them are free."""
        (count,), (free,) = await self._guarded(self._pages)
        return count, free

    async def shrink(self, pages: int) -> None:
        """Give up to that many free pages back to the file system."""
        await self._guarded(self._shrink, pages)

    async def _guarded_one(self, work: Callable[..., T], *arguments: object) -> T:
        (found,) = await self._guarded(lambda: [work(*arguments)])
        return found  # type: ignore[no-any-return]

    async def _guarded(self, work: object, *arguments: object) -> list:  # type: ignore[type-arg]
        try:
            return await self._execute(work, *arguments)  # type: ignore[no-untyped-call, no-any-return]
        except DamagedError:
            damage.mark(self._path, damage.SUSPECT)
            raise
        except (sqlite3.Error, ValueError) as error:  # ValueError: aiosqlite's word for closed
            if damage.is_damage(error):
                damage.mark(self._path, damage.SUSPECT)
                raise DamagedError(f"the datastore {self._path} is damaged: {error}") from error
            raise UnavailableError(f"the datastore failed: {error}") from error

    def _transaction(self) -> "_transaction":
        self._commits += 1
        return _transaction(self._conn)

    def _append(
        self, rows: Sequence[Row], state: Iterable[tuple[str, int]], deleted: Sequence[int]
    ) -> list[bytes | None]:
        with self._transaction() as connection:
            # What is not what was written can still be deleted.
            values = [row[0] if row else None for row in self._found(deleted)]
            connection.executemany(APPEND, _summed(rows))
            connection.executemany(SET_STATE, state)
        return values

    def _add(self, statement: str, rows: Sequence[tuple[object, ...]]) -> list[object]:
        self._conn.executemany(statement, rows)
        return []

    def _rollback(self) -> list[object]:
        if self._conn.in_transaction:
            self._conn.execute("ROLLBACK")
        return []

    def _values(self, revisions: Sequence[int]) -> list[bytes | None]:
        values: list[bytes | None] = []
        for revision, row in zip(revisions, self._found(revisions), strict=True):
            value, key, found = row or (None, "", 0)
            if not is_sound(key, value, found):
                raise DamagedError(
                    f"the datastore {self._path} is damaged: revision {revision} of {key}"
                    " is not what was written"
                )
            values.append(value)
        return values

    def _found(self, revisions: Sequence[int]) -> list[tuple[bytes | None, str, int] | None]:
        connection = self._conn
        return [connection.execute(VALUE, (revision,)).fetchone() for revision in revisions]

    def _history(self, after: int, until: int, prefix: str, limit: int) -> list[EventRow]:
        keys = (prefix, prefix_end(prefix))
        rows: list[EventRow] = self._rows(HISTORY, (after, until, *keys, limit))
        if len(rows) == limit:
            last = rows[-1][2]
            ((end,),) = self._rows(TRANSACTION_END, (last,))
            rows += self._rows(HISTORY, (last, min(end or until, until), *keys, -1))
        return rows

    def _rows(self, statement: str, arguments: tuple[object, ...]) -> list[Any]:
        return self._conn.execute(statement, arguments).fetchall()

    def _set(self, state: Iterable[tuple[str, int]]) -> None:
        with self._transaction() as connection:
            connection.executemany(SET_STATE, state)

    def _step(self, rule: Rule, bounds: tuple[int, int], retention: Retention) -> list[object]:
        with self._transaction() as connection:
            found = connection.execute(SUPERSEDING, (*bounds, STEP_ROWS)).fetchall()
            rows = [Superseding(*row) for row in found]
            until = rows[-1].revision if len(rows) == STEP_ROWS else bounds[1]
            step = rule(rows, self.marks, until, retention)
            connection.executemany(REMOVE, _ranges(step.remove))
            connection.executemany(SET_STATE, step.marks.state())
        self.marks = step.marks
        return []

    def _replace(self, values: Mapping[int, bytes]) -> list[object]:
        marks = self.marks
        with self._transaction() as connection:
            for revision, row in zip(values, self._found([*values]), strict=True):
                if row is None or row[0] is None:
                    continue
                value = values[revision]
                connection.execute(REPLACE, (value, checksum(row[1], value), revision))
                if revision <= marks.swept:
                    grown = marks.history + len(value) - len(row[0])
                    marks = replace(marks, history=max(grown, 0))
            connection.executemany(SET_STATE, marks.state())
        self.marks = marks
        return []

    def _rows_before(self, revision: int, first: str, last: str) -> tuple[list[PastRow], int]:
        step = self._conn.execute(PAST_STEP, (revision, PAST_ROWS - 1)).fetchone()
        place = step[0] if step is not None else 0
        found = self._conn.execute(PAST, (revision, place, first, last)).fetchall()
        return [PastRow(*row) for row in found], place

    def _shrink(self, pages: int) -> list[object]:
        # `execute` steps a statement without columns once, which is one page and one transaction.
        self._conn.executescript(f"PRAGMA incremental_vacuum({pages})")
        self._commits += 1
        return []

    def _pages(self) -> list[object]:
        return [
            self._conn.execute(f"PRAGMA {name}").fetchone()
            for name in ("page_count", "freelist_count")
        ]


def _summed(rows: Iterable[Row]) -> list[tuple[object, ...]]:
    return [(*row, checksum(row.key, row.value)) for row in rows]


def _ranges(revisions: Iterable[int]) -> list[tuple[int, int]]:
    """Return runs of neighbours as (first, last): old rows mostly go in one piece."""
    ranges: list[tuple[int, int]] = []
    for revision in sorted(revisions):
        if ranges and revision <= ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], revision)
        else:
            ranges.append((revision, revision))
    return ranges


def _explain(error: Exception) -> str:
    if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
        return "another kpy server uses it; stop that one or choose another --data-dir"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error)


class _transaction:  # noqa: N801 -- reads as a statement
    """BEGIN and COMMIT, or ROLLBACK where anything failed."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> sqlite3.Connection:
        self._connection.execute("BEGIN IMMEDIATE")
        return self._connection

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if kind is None:
                self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

"""The log of writes in a database server, and the few things that are done to it.

`kpy_log` has a row for each write, as SQLite's log has; `kpy_state` has the newest revision, how
far the history is compacted and how far its rows are swept. Who writes locks the row of the newest
revision first. So revisions follow each other without a gap in the order in which they are
committed, over all servers: whoever has read up to one revision misses nothing by asking for what
comes after it.

SQLAlchemy speaks both dialects; what differs is in `dialects`.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NamedTuple, Self

from sqlalchemy import (
    Executable,
    and_,
    bindparam,
    func,
    insert,
    select,
)
from sqlalchemy import Row as SqlRow
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from minikube_py.datastore.history import PastRow
from minikube_py.datastore.kv import DatastoreError, NotEmptyError, UnavailableError, prefix_end
from minikube_py.datastore.log import EventRow, Head, Row
from minikube_py.datastore.retention import Retention, marks_of
from minikube_py.datastore.shared import past
from minikube_py.datastore.shared.dialects import Dialect, dialect_of
from minikube_py.datastore.shared.endpoint import DatabaseEndpoint
from minikube_py.datastore.shared.tables import (
    FORMAT,
    LOCK,
    LOG,
    MARK,
    METADATA,
    MIGRATIONS,
    RAISE_MARK,
    SET_MARK,
    STATE,
)

CALL_SECONDS = 15.0
"""The longest that one transaction may take; then the database counts as away."""
CONNECTIONS_MAX = 3
"""Connections of each kind: those that write, those that read, and those that read a snapshot."""
RECYCLE_SECONDS = 1800
"""Older connections are replaced, so that a firewall that forgets them is not noticed."""

_before = LOG.alias("replaced")
_deleted = LOG.c.value.is_(None)
EVENTS = (
    select(
        LOG.c.key,
        func.coalesce(LOG.c.value, _before.c.value),
        LOG.c.revision,
        LOG.c.create_revision,
        _deleted,
        LOG.c.lease,
        LOG.c.version,
    )
    .select_from(
        LOG.outerjoin(_before, and_(_deleted, _before.c.revision == LOG.c.previous)),
    )
    .where(LOG.c.revision > bindparam("after"))
    .order_by(LOG.c.revision)
    .limit(bindparam("most"))
)
EVENTS_UNTIL = EVENTS.where(LOG.c.revision <= bindparam("until"))
HISTORY = EVENTS_UNTIL.where(
    LOG.c.key >= bindparam("first"),
    LOG.c.key < bindparam("end"),
)
TRANSACTION_END = select(func.min(LOG.c.revision)).where(
    LOG.c.revision >= bindparam("last"), LOG.c.more == 0
)
REST_ROWS_MAX = 1 << 20
"""More than the rest of a transaction has."""
HEADS = (
    select(LOG.c.revision, LOG.c.key, LOG.c.create_revision, LOG.c.lease, LOG.c.version, _deleted)
    .where(LOG.c.revision > bindparam("after"))
    .order_by(LOG.c.revision)
    .limit(bindparam("most"))
)
VALUES = select(LOG.c.revision, LOG.c.value).where(
    LOG.c.revision.in_(bindparam("revisions", expanding=True))
)

AnyRow = SqlRow[*tuple[Any, ...]]


class News(NamedTuple):
    """What was committed after a revision, and how far the history was gone when that was read."""

    rows: Sequence[EventRow]
    compacted: int


class Transaction:
    """One transaction that holds the newest revision, so that nobody else writes meanwhile."""

    def __init__(self, connection: AsyncConnection, dialect: Dialect, revision: int) -> None:
        self._connection = connection
        self._dialect = dialect
        self.revision = revision
        """The newest revision in the database."""

    async def news(self, after: int, most: int) -> News:
        """Return what others wrote after a revision, the oldest of it first."""
        return await _news(self._connection, after, most)

    async def values(self, revisions: Sequence[int]) -> dict[int, bytes]:
        """Return the values of rows, by revision."""
        if not revisions:
            return {}
        found = await self._connection.execute(VALUES, {"revisions": revisions})
        return {row[0]: row[1] for row in found}

    async def append(self, rows: Sequence[Row]) -> None:
        """Add rows whose revisions follow each other, and tell who listens."""
        await self._connection.execute(insert(LOG), [row._asdict() for row in rows])
        newest = rows[-1].revision
        await self._connection.execute(SET_MARK, {"mark": "revision", "number": newest})
        if self._dialect.notify is not None:
            await self._connection.execute(self._dialect.notify, {"revision": str(newest)})


def _engine(endpoint: DatabaseEndpoint, isolation_level: str) -> AsyncEngine:
    """Return a pool of connections that have had their isolation level since they were made.

    To give it to a connection that is taken from a pool costs two questions each time, and where
    that one is dead it fails as nothing else does: the connection is never put back.
    """
    return create_async_engine(
        endpoint.url,
        connect_args=dict(endpoint.connect_args),
        pool_size=CONNECTIONS_MAX,
        max_overflow=0,
        pool_timeout=CALL_SECONDS,
        pool_recycle=RECYCLE_SECONDS,
        isolation_level=isolation_level,
        hide_parameters=True,  # an error must not show what was to be written
    )


class Database:
    """A database server; all methods raise UnavailableError where it fails or does not answer."""

    def __init__(self, endpoint: DatabaseEndpoint) -> None:
        self.endpoint = endpoint
        self.dialect = dialect_of(endpoint)
        self._engine = _engine(endpoint, "READ COMMITTED")
        # A read is one statement: nothing to begin and nothing to commit.
        self._reads = _engine(endpoint, "AUTOCOMMIT")
        self._snapshots = _engine(endpoint, "REPEATABLE READ")

    @classmethod
    async def open(cls, endpoint: DatabaseEndpoint) -> Self:
        """Connect and make the tables where they are missing; raises DatastoreError."""
        database = cls(endpoint)
        try:
            await database._prepare()
        except DatastoreError as error:
            await database.close()
            where = endpoint.url.set(query={}).render_as_string(hide_password=True)
            raise DatastoreError(f"datastore {where}: {error}") from error
        return database

    async def close(self) -> None:
        """Close all connections."""
        for engine in (self._engine, self._reads, self._snapshots):
            await engine.dispose()

    async def _prepare(self) -> None:
        async with self._begun(self._reads) as locked:
            await locked.execute(self.dialect.lock)
            try:
                await self._make_tables()
            finally:
                await locked.execute(self.dialect.unlock)

    async def _make_tables(self) -> None:
        async with self._begun(self._engine) as connection:
            await connection.run_sync(METADATA.create_all)
            state = await past.read_state(connection)
            found = state.get("format", FORMAT)
            if found > FORMAT:
                raise DatastoreError(
                    f"the tables have format {state['format']}, this kpy knows {FORMAT};"
                    " use a newer kpy"
                )
            marks = {"format": FORMAT, "revision": 0, "compacted": 0, "swept": 0}
            marks |= dict(marks_of(state).state())
            for older in range(found, FORMAT):
                for statement in MIGRATIONS[older]:
                    await connection.execute(statement)
            await connection.execute(SET_MARK, {"mark": "format", "number": FORMAT})
            missing = [{"name": n, "value": v} for n, v in marks.items() if n not in state]
            if missing:
                await connection.execute(insert(STATE), missing)

    async def weakness(self) -> str:
        """Return why what this database acknowledges may be lost; empty where it is safe."""
        rows = await self._read(self.dialect.durability, {})
        return "" if rows and str(rows[0][0]) in self.dialect.durable else self.dialect.remedy

    async def heads(self, most: int) -> AsyncIterator[Sequence[Head]]:
        """Yield what the index needs of all rows, as of one moment."""
        after = 0
        async with self._begun(self._snapshots) as connection:
            while rows := (
                await connection.execute(HEADS, {"after": after, "most": most})
            ).fetchall():
                yield [(*row[:5], int(row[5])) for row in rows]
                after = rows[-1][0]

    async def load(self, pages: AsyncIterator[Sequence[Row]], revision: int) -> None:
        """Fill an empty log in one transaction; its history begins at `revision`.

        Raises:
            NotEmptyError: it is not empty.

        """
        with _failures():
            await self._load(pages, revision)

    async def _load(self, pages: AsyncIterator[Sequence[Row]], revision: int) -> None:
        async with self._engine.begin() as connection:
            found = await connection.execute(LOCK, {"mark": "revision"})
            if found.scalar_one():
                raise NotEmptyError("it is not empty")
            async for rows in pages:
                async with asyncio.timeout(CALL_SECONDS):
                    await connection.execute(insert(LOG), [row._asdict() for row in rows])
            for mark in ("revision", "compacted", "swept", "trimmed"):
                await connection.execute(SET_MARK, {"mark": mark, "number": revision})

    async def mark(self, name: str) -> int:
        """Return one of the numbers beside the log."""
        rows = await self._read(MARK, {"mark": name})
        return int(rows[0][0])

    async def news(self, after: int, most: int) -> News:
        """Return what was committed after a revision, the oldest of it first."""
        async with self._begun(self._reads) as connection:
            return await _news(connection, after, most)

    async def values(self, revisions: Sequence[int]) -> list[bytes | None]:
        """Return the values of rows; None where there is no row or it is a delete."""
        found = {row[0]: row[1] for row in await self._read(VALUES, {"revisions": revisions})}
        return [found.get(revision) for revision in revisions]

    async def history(self, after: int, until: int, prefix: str, limit: int) -> list[EventRow]:
        """Return the first writes below a prefix with after < revision <= until.

        They are whole transactions, so that it may be some more than asked for.
        """
        keys = {"first": prefix, "end": prefix_end(prefix)}
        bounds = {"after": after, "until": until, "most": limit}
        rows = [*await self._read(HISTORY, {**bounds, **keys})]
        if len(rows) == limit:
            last = rows[-1][2]
            ends = await self._read(TRANSACTION_END, {"last": last})
            rest = {"after": last, "until": min(ends[0][0] or until, until)}
            rows += await self._read(HISTORY, {**rest, "most": REST_ROWS_MAX, **keys})
        return [_event_row(row) for row in rows]

    async def replace(self, values: Mapping[int, bytes]) -> None:
        """Store other values in rows that nobody needs to know the present, if still there."""
        async with self._begun(self._engine) as connection:
            await connection.execute(LOCK, {"mark": "swept"})
            await past.replace(connection, values)

    async def erase(self) -> None:
        """Return: what was replaced is in the hands of the database server, as its files are."""

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Transaction]:
        """Begin a transaction that nobody else can write beside; commit it at the end."""
        async with self._begun(self._engine) as connection:
            found = await connection.execute(LOCK, {"mark": "revision"})
            yield Transaction(connection, self.dialect, found.scalar_one())

    async def compact(self, revision: int) -> None:
        """Note that the history before a revision is gone; its rows go with `sweep`."""
        async with self._begun(self._engine) as connection:
            await connection.execute(RAISE_MARK, {"mark": "compacted", "number": revision})

    async def sweep(self, retention: Retention) -> bool:
        """Take a step of removing useless rows, or of keeping them; False where all is done."""
        async with self._begun(self._engine) as connection:
            await connection.execute(LOCK, {"mark": "swept"})
            return await past.step(connection, retention)

    async def rows_before(
        self, revision: int, first: str, last: str
    ) -> tuple[Sequence[PastRow], int]:
        """Look at some rows before a revision, and return those with first <= key <= last."""
        async with self._begun(self._reads) as connection:
            return await past.rows_before(connection, revision, first, last)

    async def state(self) -> Mapping[str, int]:
        """Return all numbers beside the log."""
        async with self._begun(self._reads) as connection:
            return await past.read_state(connection)

    async def _read(
        self, statement: Executable, values: dict[str, object]
    ) -> Sequence[SqlRow[*tuple[Any, ...]]]:
        """Run one statement that changes nothing, again where its connection was found dead."""
        try:
            return await self._read_once(statement, values)
        except UnavailableError as error:
            cause = error.__cause__
            if isinstance(cause, DBAPIError) and cause.connection_invalidated:
                return await self._read_once(statement, values)
            raise

    async def _read_once(
        self, statement: Executable, values: Mapping[str, object]
    ) -> Sequence[AnyRow]:
        async with self._begun(self._reads) as connection:
            return (await connection.execute(statement, values)).fetchall()

    @asynccontextmanager
    async def _begun(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        with _failures():
            async with asyncio.timeout(CALL_SECONDS), engine.begin() as connection:
                yield connection


@contextmanager
def _failures() -> Iterator[None]:
    """Make whatever goes wrong with a database an `UnavailableError`."""
    try:
        yield
    except TimeoutError as error:
        raise UnavailableError("the datastore does not answer") from error
    except DBAPIError as error:
        raise UnavailableError(f"the datastore failed: {_reason(error)}") from error
    except (SQLAlchemyError, OSError) as error:
        raise UnavailableError(f"the datastore cannot be reached: {error}") from error


async def _news(connection: AsyncConnection, after: int, most: int) -> News:
    rows = [*await connection.execute(EVENTS, {"after": after, "most": most})]
    if len(rows) == most:  # the last transaction is taken in as a whole
        last = rows[-1][2]
        end = (await connection.execute(TRANSACTION_END, {"last": last})).scalar()
        rest = {"after": last, "until": end or last, "most": REST_ROWS_MAX}
        rows += await connection.execute(EVENTS_UNTIL, rest)
    # Read after the rows: where compaction took some of them, this says so.
    compacted = (await connection.execute(MARK, {"mark": "compacted"})).scalar_one()
    return News([_event_row(row) for row in rows], compacted)


def _reason(error: DBAPIError) -> object:
    """Return the server's words; MySQL's come with a number before them."""
    words = error.orig.args if error.orig is not None else ()
    return words[-1] if words else error.orig


def _event_row(row: AnyRow) -> EventRow:
    key, value, revision, created, deleted, lease, version = row
    return key, value, revision, created, int(deleted), lease, version

"""What PostgreSQL and MySQL (MariaDB) do differently, as data."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sqlalchemy import Executable, LargeBinary, Text, text
from sqlalchemy.dialects import mysql, postgresql

from minikube_py.datastore.kv import UnavailableError
from minikube_py.datastore.shared.endpoint import DatabaseEndpoint

CHANNEL = "kpy"
LOCK_SECONDS = 10
"""How long a server waits for another one that makes the tables."""

# Keys are compared by their bytes, in which the order of UTF-8 is that of the characters.
KEY = (
    Text()
    .with_variant(postgresql.TEXT(collation="C"), "postgresql")
    .with_variant(mysql.TEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")
)
BYTES = LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")

Listen = Callable[[DatabaseEndpoint, Callable[[int], None]], Awaitable[None]]
"""(endpoint, heard) -> calls `heard` with each newest revision; returns when the line breaks,
raises UnavailableError where there is none."""


@dataclass(frozen=True)
class Dialect:
    """The statements of one kind of database server."""

    lock: Executable
    """Lets one server at a time make the tables, until `unlock` on the same connection."""
    unlock: Executable
    durability: Executable
    """Selects one setting, which is one of `durable` where a commit survives a power cut."""
    durable: frozenset[str]
    remedy: str
    notify: Executable | None = None
    listen: Listen | None = None
    """None: the server tells nobody of changes, they have to be asked for."""


async def _listen(endpoint: DatabaseEndpoint, heard: Callable[[int], None]) -> None:
    import asyncpg  # noqa: PLC0415 -- where PostgreSQL is used only

    url, ended = endpoint.url, asyncio.Event()
    try:
        connection = await asyncpg.connect(
            host=url.host,
            port=url.port or 5432,
            user=url.username,
            password=url.password,
            database=url.database,
            **endpoint.connect_args,
        )
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        raise UnavailableError(f"the datastore cannot be listened to: {error}") from error
    try:
        connection.add_termination_listener(lambda _: ended.set())
        await connection.add_listener(CHANNEL, lambda *said: heard(int(said[3])))
        await ended.wait()
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise UnavailableError(f"the datastore cannot be listened to: {error}") from error
    finally:
        connection.terminate()


POSTGRES = Dialect(
    lock=text("SELECT pg_advisory_lock(1802533169)"),
    unlock=text("SELECT pg_advisory_unlock(1802533169)"),
    durability=text("SHOW synchronous_commit"),
    durable=frozenset({"on", "local", "remote_write", "remote_apply"}),
    remedy="synchronous_commit is off: set it to on, or the last writes are lost in a power cut",
    notify=text(f"SELECT pg_notify('{CHANNEL}', :revision)"),
    listen=_listen,
)
MYSQL = Dialect(
    lock=text(f"SELECT GET_LOCK('kpy', {LOCK_SECONDS})"),
    unlock=text("SELECT RELEASE_LOCK('kpy')"),
    durability=text("SELECT @@GLOBAL.innodb_flush_log_at_trx_commit"),
    durable=frozenset({"1"}),
    remedy="innodb_flush_log_at_trx_commit is not 1: set it, or a power cut loses the last writes",
)


def dialect_of(endpoint: DatabaseEndpoint) -> Dialect:
    """Return the dialect of the server that an endpoint names."""
    return MYSQL if endpoint.url.get_backend_name() == "mysql" else POSTGRES

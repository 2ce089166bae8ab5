"""The two tables of a shared log, and the numbers beside it."""

from sqlalchemy import (
    BigInteger,
    Column,
    MetaData,
    SmallInteger,
    String,
    Table,
    bindparam,
    select,
    text,
    update,
)

from minikube_py.datastore.shared.dialects import BYTES, KEY

FORMAT = 4
MIGRATIONS = {
    1: (text("ALTER TABLE kpy_log ADD COLUMN version BIGINT NOT NULL DEFAULT 1"),),
    2: (
        text("ALTER TABLE kpy_log ADD COLUMN at BIGINT NOT NULL DEFAULT 0"),
        text("ALTER TABLE kpy_log ADD COLUMN author VARCHAR(255) NOT NULL DEFAULT ''"),
    ),
    3: (text("ALTER TABLE kpy_log ADD COLUMN more SMALLINT NOT NULL DEFAULT 0"),),
}
"""What brings tables of an older format to the next one."""
METADATA = MetaData()
LOG = Table(
    "kpy_log",
    METADATA,
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("key", KEY, nullable=False),
    Column("create_revision", BigInteger, nullable=False),
    Column("previous", BigInteger, nullable=False),
    Column("lease", BigInteger, nullable=False),
    Column("value", BYTES),
    Column("version", BigInteger, nullable=False, server_default="1"),
    Column("at", BigInteger, nullable=False, server_default="0"),
    Column("author", String(255), nullable=False, server_default=""),
    Column("more", SmallInteger, nullable=False, server_default="0"),
)
"""`version`, how often the key was written, came with format 2; `at`, in milliseconds of the
epoch, and `author` with format 3; `more`, 1 where the next row is of the same transaction, with
format 4."""
STATE = Table(
    "kpy_state",
    METADATA,
    Column("name", String(32), primary_key=True),
    Column("value", BigInteger, nullable=False),
)
MARK = select(STATE.c.value).where(STATE.c.name == bindparam("mark"))
LOCK = MARK.with_for_update()
SET_MARK = update(STATE).where(STATE.c.name == bindparam("mark")).values(value=bindparam("number"))
RAISE_MARK = SET_MARK.where(STATE.c.value < bindparam("number"))

"""The statements about what is superseded: finding, keeping and removing it, and looking back."""

from collections.abc import Mapping, Sequence

from sqlalchemy import BindParameter, bindparam, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from minikube_py.datastore.history import PastRow
from minikube_py.datastore.retention import (
    STEP_ROWS,
    Marks,
    Retention,
    Superseding,
    marks_of,
    sweep,
    trim,
)
from minikube_py.datastore.shared.tables import LOG, SET_MARK, STATE

PAST_ROWS = 2048
"""Rows that one step of a search through the past looks at."""
_before = LOG.alias("replaced")
_deleted = LOG.c.value.is_(None)
SUPERSEDING = (
    select(
        LOG.c.revision,
        LOG.c.key,
        LOG.c.previous,
        _deleted,
        func.octet_length(_before.c.value),
    )
    .select_from(LOG.outerjoin(_before, _before.c.revision == LOG.c.previous))
    .where(LOG.c.revision > bindparam("after"), LOG.c.revision <= bindparam("until"))
    .order_by(LOG.c.revision)
    .limit(STEP_ROWS)
)
REMOVE = delete(LOG).where(LOG.c.revision.in_(bindparam("revisions", expanding=True)))
REPLACE = (
    update(LOG).where(LOG.c.revision == bindparam("at_revision")).values(value=bindparam("new"))
)
ALL_MARKS = select(STATE.c.name, STATE.c.value)
_older: BindParameter[int] = bindparam("before")
PAST_STEP = (
    select(LOG.c.revision)
    .where(LOG.c.revision < _older)
    .order_by(LOG.c.revision.desc())
    .limit(1)
    .offset(PAST_ROWS - 1)
)
PAST = (
    select(LOG.c.revision, LOG.c.key, LOG.c.create_revision, _deleted, LOG.c.at, LOG.c.author)
    .where(
        LOG.c.revision < _older,
        LOG.c.revision >= bindparam("place"),
        LOG.c.key >= bindparam("first"),
        LOG.c.key <= bindparam("last"),
    )
    .order_by(LOG.c.revision.desc())
)


async def read_state(connection: AsyncConnection) -> Mapping[str, int]:
    """Return all numbers beside the log."""
    return {row[0]: row[1] for row in await connection.execute(ALL_MARKS)}


async def step(connection: AsyncConnection, retention: Retention) -> bool:
    """Take the next step of what is to be done about superseded rows; False where that is nothing.

    The caller holds the lock under which one server at a time does this.
    """
    state = await read_state(connection)
    marks = marks_of(state)
    if retention.is_exceeded(marks):
        rule, after, until = trim, marks.trimmed, marks.swept
    elif marks.swept < state["compacted"]:
        rule, after, until = sweep, marks.swept, state["compacted"]
    else:
        return False
    found = await connection.execute(SUPERSEDING, {"after": after, "until": until})
    rows = [Superseding(row[0], row[1], row[2], bool(row[3]), row[4]) for row in found]
    until = rows[-1].revision if len(rows) == STEP_ROWS else until
    taken = rule(rows, marks, until, retention)
    if taken.remove:
        await connection.execute(REMOVE, {"revisions": taken.remove})
    await _set(connection, taken.marks)
    return True


async def replace(connection: AsyncConnection, values: Mapping[int, bytes]) -> None:
    """Store other values in rows that are still there; the caller holds the lock of `step`."""
    marks = marks_of(await read_state(connection))
    sizes = select(LOG.c.revision, func.octet_length(LOG.c.value)).where(
        LOG.c.revision.in_([*values]), LOG.c.value.is_not(None)
    )
    grown = 0
    for revision, size in (await connection.execute(sizes)).all():
        value = values[revision]
        await connection.execute(REPLACE, {"at_revision": revision, "new": value})
        grown += len(value) - size if revision <= marks.swept else 0
    history = max(marks.history + grown, 0)
    await connection.execute(SET_MARK, {"mark": "history", "number": history})


async def _set(connection: AsyncConnection, marks: Marks) -> None:
    for name, number in marks.state():
        await connection.execute(SET_MARK, {"mark": name, "number": number})


async def rows_before(
    connection: AsyncConnection, revision: int, first: str, last: str
) -> tuple[Sequence[PastRow], int]:
    """Look at some rows before a revision, and return those with first <= key <= last."""
    place = (await connection.execute(PAST_STEP, {"before": revision})).scalar() or 0
    bounds = {"before": revision, "place": place, "first": first, "last": last}
    found = await connection.execute(PAST, bounds)
    return [PastRow(row[0], row[1], row[2], int(row[3]), row[4], row[5]) for row in found], place

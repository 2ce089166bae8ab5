"""Damage to the SQLite file: when it is looked for, and what is taken for it.

SQLite finds damage to its structure when it meets it, and `quick_check` reads all of it: 2 ms for
each megabyte. A file that was closed well was whole then, so a large one is read at the start only
where it was not closed well, or where the last server met damage (`SUSPECT`). What flips inside of
a value SQLite cannot know: each row has a sum, which is looked at whenever its value is read, and
all of them where damage was met.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path

from minikube_py.datastore.kv import DamagedError

ALWAYS_BYTES = 64 << 20
"""Files up to this are always read: 130 ms."""
SUSPECT, RECOVERING = "met damage", "recovering"
"""What stands in the mark beside the file. A recovery that was cut off is begun again."""
PARTS = ("", "-wal", "-shm")
"""The files of a database, by what their names end with."""


Sound = Callable[[str, bytes | None, int], bool]
"""Tells of a key, its value and a sum whether they belong together."""


def is_damage(error: BaseException) -> bool:
    """Tell whether SQLite says that the file is not what it wrote."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_doubtful(path: Path) -> bool:
    """Tell whether a file has to be read whole before it is used; ask before it is opened."""
    log = path.with_name(f"{path.name}-wal")
    unclean = log.exists() and log.stat().st_size > 0
    return unclean or mark_of(path).exists() or path.stat().st_size <= ALWAYS_BYTES


def look(connection: sqlite3.Connection, path: Path, values: str, is_sound: Sound) -> None:
    """Read a file whole; raises DamagedError, or what SQLite raises.

    Of what the statement `values` yields (value, key and sum, in order; "" where there are no sums)
    the last of each key must be sound; what came before is history, on which nothing depends.
    """
    if mark_of(path).exists() and mark_of(path).read_text() == RECOVERING:
        raise DamagedError("it is damaged, and its recovery was cut off")
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise DamagedError(f"it is damaged: {found.splitlines()[-1]}")
    if mark_of(path).exists():
        if values:
            _look_at_values(connection.execute(values), is_sound)
        mark_of(path).unlink(missing_ok=True)


def _look_at_values(rows: Iterable[tuple[bytes | None, str, int]], is_sound: Sound) -> None:
    newest = {key: value is None or is_sound(key, value, found) for value, key, found in rows}
    damaged = next((key for key, sound in newest.items() if not sound), None)
    if damaged is not None:
        raise DamagedError(f"it is damaged: the value of {damaged} is not what was written")


def mark(path: Path, text: str) -> None:
    """Leave a mark beside the file for the next start, if there is room for one."""
    with contextlib.suppress(OSError):
        mark_of(path).write_text(text)


def mark_of(path: Path) -> Path:
    """Return the name of the mark."""
    return path.with_name(f"{path.name}.damaged")

"""A log of writes in a database: one row for each write, whose number is the revision.

Rows are added and removed, never changed. Which row holds what a key was at a revision is known
from the index in memory, so that the table needs no index beside the number.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Row(NamedTuple):
    """One write as it stands in the log."""

    revision: int
    key: str
    create_revision: int
    previous: int
    lease: int
    version: int
    value: bytes | None
    at: int = 0
    """When it was written, in milliseconds of the epoch; 0 where that is not known."""
    author: str = ""
    """Who wrote it, see `history`."""
    more: int = 0
    """1 where the next row belongs to the same transaction."""


Head = tuple[int, str, int, int, int, int]
"""What the index needs of a row: revision, key, create_revision, lease, version, deleted."""
EventRow = tuple[str, bytes, int, int, int, int, int]
"""What a watch needs of a row, in the order of the fields of `Event`."""


class Log(Protocol):
    """What is read of a log, whatever database it is in; all raise UnavailableError."""

    async def values(self, revisions: Sequence[int]) -> Sequence[bytes | None]:
        """Return the values of rows; None where there is no row or it is a delete."""

    async def history(self, after: int, until: int, prefix: str, limit: int) -> Sequence[EventRow]:
        """Return the first writes below a prefix with after < revision <= until.

        They are whole transactions, so that it may be some more than asked for.
        """

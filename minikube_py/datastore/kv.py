"""The interface of every datastore, and its promises.

Revisions rise by one and never repeat, also after a crash and a restore. Replaying
`watch(prefix, after=0)` gives `list(prefix)`. A watch is ordered, unique, atomic and resumable,
and has no gap or raises `CompactedError`. `list(revision=r)` is a consistent snapshot. Of two
writers with the same revision exactly one wins. What was acknowledged is on disk.

Every write of a key gets one revision, the value of a global counter; revision 0 is "nothing".
(etcd counts transactions, begins at 1, and other programs may write to it, too.)
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


def prefix_end(prefix: str) -> str:
    """Return a text after all keys that start with the prefix."""
    return prefix + chr(0x10FFFF)


class KeyValue(NamedTuple):
    """One key as of its last write."""

    key: str
    value: bytes
    revision: int
    """Revision of the last write of this key."""
    create_revision: int
    """Revision of the write that created it."""
    lease: int = 0
    version: int = 1
    """How often it was written since it was created."""


class Event(NamedTuple):
    """One write: a put, or a delete whose `value` is the last value before it."""

    key: str
    value: bytes
    revision: int
    create_revision: int
    deleted: bool = False
    lease: int = 0
    version: int = 1
    """How often the key was written since it was created; 0 for a delete."""


class Change(NamedTuple):
    """One of several writes that are carried out together."""

    key: str
    value: bytes | None
    """None deletes the key."""
    revision: int
    """What the key must be at; 0: it must not exist, so that there is nothing to delete."""
    lease: int = 0

    def fits(self, found: int) -> bool:
        """Tell whether a key that is at a revision (0: absent) can be changed so."""
        return found == self.revision and (found > 0 or self.value is not None)


class Unchanged(NamedTuple):
    """A condition: since a revision nobody wrote or deleted a key with first <= key < end."""

    first: str
    end: str
    revision: int


@dataclass(frozen=True)
class Page:
    """Part of a listing in key order."""

    items: Sequence[KeyValue]
    revision: int
    """The revision that the listing shows."""
    more: bool = False
    remaining: int = 0
    """Keys after this page; 0 where `more` is False."""


class DatastoreError(Exception):
    """Anything that a datastore refuses."""


class KeyExistsError(DatastoreError):
    """The key to create is there already."""


class RevisionMismatchError(DatastoreError):
    """The key is not at the `expected` revision (0: any); `current` is None when absent."""

    def __init__(self, key: str, expected: int, current: KeyValue | None) -> None:
        found = f"at revision {current.revision}" if current else "absent"
        wanted = f", not at revision {expected}" if expected else ""
        super().__init__(f"key {key!r} is {found}{wanted}")
        self.key = key
        self.expected = expected
        self.current = current


class CompactedError(DatastoreError):
    """The history from that revision on is gone."""

    def __init__(self, asked: int, oldest: int) -> None:
        super().__init__(f"revision {asked} has been compacted, the oldest is {oldest}")
        self.asked = asked
        self.oldest = oldest


class FutureRevisionError(DatastoreError):
    """The revision has not been written yet."""

    def __init__(self, asked: int, current: int) -> None:
        super().__init__(f"revision {asked} is in the future, the newest is {current}")
        self.asked = asked
        self.current = current


class NotEmptyError(DatastoreError):
    """What is to be filled holds something already."""


class UnavailableError(DatastoreError):
    """The database cannot be reached or is closed; nothing was written or it is not known."""


class DamagedError(UnavailableError):
    """What the database holds is not what was written."""


class Backend(Protocol):
    """An etcd-like store."""

    async def get(self, key: str) -> KeyValue | None:
        """Return the key, or None."""

    async def list(
        self, prefix: str, *, after: str = "", limit: int = 0, revision: int = 0
    ) -> Page:
        """Return keys below the prefix in order, those after `after`, at most `limit` (0: all).

        Raises:
            CompactedError: the snapshot asked for is gone.
            FutureRevisionError: it is not there yet.

        """

    async def create(self, key: str, value: bytes, *, lease: int = 0) -> int:
        """Write a new key and return its revision; raises KeyExistsError."""

    async def update(self, key: str, value: bytes, *, revision: int, lease: int = 0) -> int:
        """Write a key that is at `revision`, return the new one; raises RevisionMismatchError."""

    async def delete(self, key: str, *, revision: int) -> int:
        """Delete a key that is at `revision` (0: at any), return the revision of the delete."""

    async def write(self, changes: Sequence[Change], *, unchanged: Sequence[Unchanged] = ()) -> int:
        """Change several keys, each once, together or not at all; return the first revision.

        The changes get revisions that follow each other, in their order; in etcd they share one.

        Raises:
            RevisionMismatchError: a key is not at its revision, or a range is not unchanged.

        """

    def watch(self, prefix: str, *, after: int) -> AsyncIterator[tuple[Event, ...]]:
        """Yield what was and will be written after a revision, in order, in non-empty batches.

        One batch holds whole transactions. Raises CompactedError, also later, if the reader is
        so slow that its place in the history is lost.
        """

    async def revision(self) -> int:
        """Return the newest revision; 0 in an empty store."""

    async def compact(self, revision: int) -> None:
        """Drop the history before a revision; keys keep their last value."""

    async def close(self) -> None:
        """Finish what was accepted and release everything."""

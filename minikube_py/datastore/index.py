"""From keys to revisions, in memory: which row holds what a key was at a revision.

This is etcd's idea: the disk keeps values by revision, and a tree in memory knows the revisions
of every key. Each key has a chain of versions, newest first; a snapshot at revision r follows
every chain down to the first version not after r. Compaction cuts chains from the old end.
"""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from minikube_py.datastore.kv import Unchanged, prefix_end
from minikube_py.datastore.log import Head


class Version:
    """One write of one key."""

    __slots__ = (
        "create_revision", "deleted", "key", "lease", "previous", "revision", "value", "version",
    )  # fmt: skip

    def __init__(
        self, key: str, revision: int, *, create_revision: int, lease: int = 0, version: int = 1
    ) -> None:
        self.key = key
        self.revision = revision
        self.create_revision = create_revision
        self.lease = lease
        self.version = version
        """How often the key was written since it was created."""
        self.deleted = False
        self.previous: Version | None = None
        self.value: bytes | None = None
        """The value while it is not on disk yet; None once it is."""


def version_of(head: Head) -> Version:
    """Return what a row of the log is in the index."""
    revision, key, created, lease, count, deleted = head
    version = Version(key, revision, create_revision=created, lease=lease, version=count)
    version.deleted = bool(deleted)
    return version


class Index:
    """The versions of all keys since the last compaction."""

    def __init__(self, standing: Mapping[str, Version] | None = None) -> None:
        """Begin with what stands since before the last compaction: one version of each key."""
        self._heads: dict[str, Version] = dict(standing or {})
        self._sorted: list[str] = sorted(self._heads)
        self._fresh: list[str] = []
        self.revision = 0
        """The newest revision in it."""
        self.forgotten = 0
        """Keys that were deleted up to this revision may be gone without a trace."""
        self._replaced: deque[Version] = deque()
        """Versions that made a row useless, older ones or (deletes) their own, in order."""

    def become(self, other: "Index") -> None:
        """Hold what another index holds from now on, which must not be used any more."""
        self.__dict__.update(other.__dict__)

    def head(self, key: str) -> Version | None:
        """Return the newest version of a key; None where it does not exist."""
        version = self._heads.get(key)
        return None if version is None or version.deleted else version

    def add(self, version: Version) -> None:
        """Make a version, newer than all others, the head of its key."""
        before = self._heads.get(version.key)
        if before is None:
            self._fresh.append(version.key)
        elif before.value is not None and not version.deleted:
            # Never reached the disk and never will: it leaves no trace in the history.
            version.previous, before.previous = before.previous, None
        else:
            version.previous = before
        self._heads[version.key] = version
        self.revision = version.revision
        if version.previous is not None or version.deleted:
            self._replaced.append(version)

    def is_unchanged(self, condition: Unchanged) -> bool:
        """Tell whether a condition holds; where deletes are forgotten it is taken not to."""
        first, end, revision = condition
        if revision < self.forgotten:
            return False
        if end == first + "\0":
            version = self._heads.get(first)
            return version is None or version.revision <= revision
        keys = self._in_order()
        inside = keys[bisect_left(keys, first) : bisect_left(keys, end)]
        return all(self._heads[key].revision <= revision for key in inside)

    def snapshot(self, prefix: str, *, after: str, revision: int) -> Iterator[Version]:
        """Yield the versions that existed at a revision, in key order."""
        return self._existing(self._keys(prefix, after), revision)

    def walk(self, revision: int, limit: int) -> Iterator[list[Version]]:
        """Yield the same for all keys, some at a time; between two steps the index may change.

        What compaction takes meanwhile is missing: the caller looks whether it has passed.
        """
        keys = self._keys("", "")
        for start in range(0, len(keys), limit):
            yield list(self._existing(keys[start : start + limit], revision))

    def _existing(self, keys: Sequence[str], revision: int) -> Iterator[Version]:
        for key in keys:
            version = self._heads.get(key)
            while version is not None and version.revision > revision:
                version = version.previous
            if version is not None and not version.deleted:
                yield version

    def _in_order(self) -> list[str]:
        if self._fresh:
            self._sorted += sorted(self._fresh)
            self._sorted.sort()  # two sorted runs: a merge
            self._fresh = []
        return self._sorted

    def _keys(self, prefix: str, after: str) -> Sequence[str]:
        keys = self._in_order()
        low = bisect_right(keys, after) if after >= prefix else bisect_left(keys, prefix)
        return keys[low : bisect_left(keys, prefix_end(prefix), low)]

    def garbage(self, revision: int, limit: int) -> list[Version]:
        """Return versions not after a revision whose predecessors nobody can ask for any more."""
        return [v for v in islice(self._replaced, limit) if v.revision <= revision]

    def drop(self, versions: Sequence[Version]) -> None:
        """Forget what `garbage` returned: the predecessors, and deleted keys altogether."""
        gone: set[str] = set()
        for version in versions:
            self._replaced.popleft()
            version.previous = None
            if version.deleted and self._heads[version.key] is version:
                del self._heads[version.key]
                gone.add(version.key)
        if gone:
            self._sorted = [key for key in self._sorted if key not in gone]
            self._fresh = [key for key in self._fresh if key not in gone]


class Loading:
    """Makes an index of the rows of a log, in their order.

    Those up to a revision that is compacted may hold history: of them the newest of each key
    counts, and nothing of a key that was deleted.
    """

    def __init__(self, compacted: int) -> None:
        self._compacted = compacted
        self._standing: dict[str, Version] = {}
        self._index: Index | None = None
        self.revision = 0
        """The newest revision so far."""

    def add(self, heads: Iterable[Head]) -> None:
        """Take in the next rows."""
        for head in heads:
            version = version_of(head)
            self.revision = version.revision
            if version.revision > self._compacted:
                self.index().add(version)
            elif version.deleted:
                self._standing.pop(version.key, None)
            else:
                self._standing[version.key] = version

    def index(self) -> Index:
        """Return the index, when all rows are in or only such are left as are not compacted."""
        if self._index is None:
            self._index = Index(self._standing)
            self._standing = {}
        self._index.revision = self.revision
        self._index.forgotten = self._compacted
        return self._index

"""Filling an empty store with what another one held: restores and copies.

A store whose log is ours takes the keys over as they are, with their revisions, in one
transaction: the whole, or nothing. What begins there has no history before its first revision, so
whoever asks for older ones is told that they are compacted and lists anew. A new etcd begins in the
same way with a file (`etcd-snapshot://PATH`). One that runs is given the keys one by one, and gives
them revisions of its own, after it was written to until those come after the ones that they had.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from minikube_py.datastore import content
from minikube_py.datastore.content import Content, Pages
from minikube_py.datastore.kv import Backend, DatastoreError, KeyValue, NotEmptyError
from minikube_py.datastore.log import Row
from minikube_py.datastore.open import DATABASES, ETCD, open_backend, sqlite_path
from minikube_py.datastore.tls_files import NO_FILES, TlsFiles

BUMP = 1_000_000_000
"""Added to the revision where a snapshot is restored: more than a cluster hands out after it. So no
revision means two things, and a watcher that knows a later one is told to list anew."""
BUMP_BY_WRITES = 1_000_000
"""The same where each revision is a write: as much as a cluster hands out in half a day at 23/s."""
RAISED = "/kpy/revision"
"""The key that is written to raise the revision of an etcd, and removed in the end."""
WRITES_AT_ONCE = 64
ETCD_SNAPSHOT = "etcd-snapshot"
"""The scheme of a file of which `etcdutl snapshot restore` makes members of etcd."""


@dataclass(frozen=True)
class Place:
    """Where a datastore is: what `open_backend` takes."""

    endpoint: str
    data_dir: Path
    tls: TlsFiles = NO_FILES

    async def open(self) -> Backend:
        """Open it; raises DatastoreError."""
        return await open_backend(self.endpoint, data_dir=self.data_dir, tls=self.tls)

    @property
    def keeps_revisions(self) -> bool:
        """Whether keys can be written to it with the revisions that they had."""
        return bool(self.file or self.etcd_snapshot) or self._scheme in DATABASES

    @property
    def is_etcd(self) -> bool:
        """Whether it is an etcd that runs."""
        return self._scheme in ETCD

    @property
    def bump(self) -> int:
        """How much later a restored cluster goes on."""
        return BUMP if self.keeps_revisions else BUMP_BY_WRITES

    @property
    def etcd_snapshot(self) -> Path | None:
        """The file that is to be written for a new etcd."""
        scheme, _, path = self.endpoint.partition("://")
        return Path(path) if scheme == ETCD_SNAPSHOT else None

    @property
    def file(self) -> Path | None:
        """The file of an embedded store."""
        return sqlite_path(self.endpoint, self.data_dir)

    @property
    def _scheme(self) -> str:
        return self.endpoint.partition("://")[0]


async def load(place: Place, pages: Pages, revision: int) -> Content:
    """Fill an empty store, whose newest revision is `revision` then; return what was written.

    One that cannot keep revisions (`Place.keeps_revisions`) is at a later one then.

    Raises:
        NotEmptyError: it is not empty.
        DatastoreError: it cannot be used; then nothing was written, or some keys
            where it cannot keep revisions.

    """
    written = Content()
    if place.file is not None:
        from minikube_py.datastore import sql  # noqa: PLC0415 -- of several, one is used

        embedded = await sql.Database.open(place.file)
        try:
            await embedded.load(_rows(pages, written), revision)
        finally:
            await embedded.close()
    elif place.etcd_snapshot is not None:
        from minikube_py.datastore.etcd import database as etcd_database  # noqa: PLC0415 -- the same

        await etcd_database.save(place.etcd_snapshot, _counted(pages, written), revision)
    elif place.keeps_revisions:
        from minikube_py.datastore.shared import database, endpoint  # noqa: PLC0415 -- the same

        url = endpoint.database_endpoint(place.endpoint, place.tls)
        shared = await database.Database.open(url)
        try:
            await shared.load(_rows(pages, written), revision)
        finally:
            await shared.close()
    else:
        await _write_one_by_one(place, _counted(pages, written), revision)
    return written


async def _counted(pages: Pages, written: Content) -> Pages:
    async for items in pages:
        await asyncio.to_thread(written.add, items)
        yield items


async def _rows(pages: Pages, written: Content) -> AsyncIterator[Sequence[Row]]:
    async for items in _counted(pages, written):
        yield [
            Row(kv.revision, kv.key, kv.create_revision, 0, kv.lease, kv.version, kv.value)
            for kv in items
        ]


async def _write_one_by_one(place: Place, pages: Pages, revision: int) -> None:
    backend = await place.open()
    try:
        found = (await backend.list("", limit=2)).items
        if any(item.key != RAISED for item in found):  # left of a restore that was cut off
            raise NotEmptyError("it is not empty")
        if place.is_etcd:
            from minikube_py.datastore.etcd import endpoint, raising  # noqa: PLC0415 -- heavy

            etcd = endpoint.etcd_endpoint(place.endpoint, place.tls)
            await raising.raise_revision(etcd, RAISED, revision)
        async for items in pages:
            for start in range(0, len(items), WRITES_AT_ONCE):
                await _create(backend, items[start : start + WRITES_AT_ONCE])
        await backend.compact(await backend.revision())
    finally:
        await backend.close()


async def _create(backend: Backend, items: Sequence[KeyValue]) -> None:
    writes = (backend.create(item.key, item.value) for item in items)  # leases are a store's own
    await asyncio.gather(*writes)


async def check(place: Place, expected: Content, revision: int) -> int:
    """Read a store that was filled, to go on at a revision, and compare; return where it does.

    Raises:
        DatastoreError: it is not what was written.

    """
    if place.etcd_snapshot is not None:
        from minikube_py.datastore.etcd import database  # noqa: PLC0415 -- heavy

        await asyncio.to_thread(database.verify, place.etcd_snapshot)
        return revision
    backend = await place.open()
    try:
        revision = await backend.revision()
        found = await content.content_of(backend, revision)
    finally:
        await backend.close()
    same = found.values_digest == expected.values_digest
    if same and place.keeps_revisions:
        same = found.digest == expected.digest
    if not same:
        raise DatastoreError("what was written to it is not what comes out of it; do not use it")
    return revision

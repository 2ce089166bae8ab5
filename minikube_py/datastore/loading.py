"""Filling an empty store with what another one held: restores and copies.

A store whose log is ours takes the keys over as they are, with their revisions, in one
transaction: the whole, or nothing. What begins there has no history before its first revision, so
whoever asks for older ones is told that they are compacted and lists anew. Any other store is
given the keys one by one, and gives them revisions of its own.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from minikube_py.datastore import content
from minikube_py.datastore.content import Content, Pages
from minikube_py.datastore.kv import Backend, DatastoreError, KeyValue, NotEmptyError
from minikube_py.datastore.log import Row
from minikube_py.datastore.open import DATABASES, open_backend, sqlite_path
from minikube_py.datastore.tls_files import NO_FILES, TlsFiles

BUMP = 1_000_000_000
"""Added to the revision where a snapshot is restored: more than a cluster hands out after it. So no
revision means two things, and a watcher that knows a later one is told to list anew."""
WRITES_AT_ONCE = 64


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
        return self.file is not None or self._scheme in DATABASES

    @property
    def file(self) -> Path | None:
        """The file of an embedded store."""
        return sqlite_path(self.endpoint, self.data_dir)

    @property
    def _scheme(self) -> str:
        return self.endpoint.partition("://")[0]


async def load(place: Place, pages: Pages, revision: int) -> Content:
    """Fill an empty store, whose newest revision is `revision` then; return what was written.

    A store that cannot keep revisions (`Place.keeps_revisions`) goes on from its own.

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
    elif place.keeps_revisions:
        from minikube_py.datastore.shared import database, endpoint  # noqa: PLC0415 -- the same

        url = endpoint.database_endpoint(place.endpoint, place.tls)
        shared = await database.Database.open(url)
        try:
            await shared.load(_rows(pages, written), revision)
        finally:
            await shared.close()
    else:
        await _write_one_by_one(place, pages, written)
    return written


async def _rows(pages: Pages, written: Content) -> AsyncIterator[Sequence[Row]]:
    async for items in pages:
        await asyncio.to_thread(written.add, items)
        yield [
            Row(kv.revision, kv.key, kv.create_revision, 0, kv.lease, kv.version, kv.value)
            for kv in items
        ]


async def _write_one_by_one(place: Place, pages: Pages, written: Content) -> None:
    backend = await place.open()
    try:
        if (await backend.list("", limit=1)).items:
            raise NotEmptyError("it is not empty")
        async for items in pages:
            written.add(items)
            for start in range(0, len(items), WRITES_AT_ONCE):
                await _create(backend, items[start : start + WRITES_AT_ONCE])
    finally:
        await backend.close()


async def _create(backend: Backend, items: Sequence[KeyValue]) -> None:
    writes = (backend.create(item.key, item.value) for item in items)  # leases are a store's own
    await asyncio.gather(*writes)


async def check(place: Place, expected: Content) -> int:
    """Read a store that was filled and compare; return its revision.

    Raises:
        DatastoreError: it is not what was written.

    """
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

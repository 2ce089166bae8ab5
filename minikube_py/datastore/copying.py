"""From one datastore to another while no server runs, checked by reading back what was written."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from minikube_py.datastore import content
from minikube_py.datastore.kv import Backend, DatastoreError, KeyValue, NotEmptyError
from minikube_py.datastore.loading import Place, check, load

Progress = Callable[[int], None]
"""Called with the number of keys so far."""


@dataclass(frozen=True)
class Copied:
    """What came of it."""

    keys: int
    value_bytes: int
    revision: int
    """Where the copy goes on."""
    digest: str
    """SHA-256 over keys and values, which both sides have."""


async def copy(
    source: Place, target: Place, progress: Progress = lambda _: None, *, bump: int = 0
) -> Copied:
    """Copy all keys as they are now into an empty datastore.

    It goes on at the revision of the source, and `bump` higher if asked to; an etcd that runs,
    which gives keys revisions of its own, at a later one.

    Raises:
        NotEmptyError: the target holds something; nothing was written.
        DatastoreError: one of both cannot be used, a server writes to the source, or what comes
            out of the target is not what went in.

    """
    if source.file is not None and not source.file.exists():
        raise DatastoreError(f"there is nothing to copy: {source.file} is not there")
    try:
        backend = await source.open()
    except DatastoreError as error:
        raise DatastoreError(f"cannot read from: {error}") from error
    try:
        revision = await backend.revision()
        if not revision:
            raise DatastoreError("there is nothing to copy")
        goal = revision + bump
        written = await load(target, _told(backend, revision, progress), goal)
        if await backend.revision() != revision:
            raise DatastoreError(
                "a server has written meanwhile: stop all servers, and copy into another empty"
                " datastore"
            )
    except NotEmptyError as error:
        raise NotEmptyError("the datastore to copy to is not empty; name another one") from error
    finally:
        await backend.close()
    found = await check(target, written, goal)
    return Copied(written.keys, written.value_bytes, found, written.values_digest)


async def _told(
    backend: Backend, revision: int, progress: Progress
) -> AsyncIterator[Sequence[KeyValue]]:
    done = 0
    async for items in content.walk(backend, revision):
        yield items
        done += len(items)
        progress(done)

"""From a snapshot back to a cluster: on a blank machine, or in the place of what is there.

Everything is made beside (`server.restoring`) and checked, then named; what was there is moved
aside and never removed. A restore that was cut off is begun again from the beginning.
"""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from minikube_py.datastore import content
from minikube_py.datastore.kv import KeyValue, NotEmptyError
from minikube_py.datastore.loading import ETCD_SNAPSHOT, Place, check, load
from minikube_py.datastore.snapshots.file import Part, read, verify
from minikube_py.datastore.snapshots.manifest import Manifest
from minikube_py.lib.clock import Clock
from minikube_py.lib.errors import StartError
from minikube_py.lib.fsutil import FolderLock, flush_dir, make_dir
from minikube_py.server.etcd_member.layout import FOLDER, RESTORED
from minikube_py.server.etcd_member.left_behind import end_left_behind
from minikube_py.server.snapshots import material

RESTORING, BEFORE = "server.restoring", "server.before-restore"


@dataclass(frozen=True)
class Restored:
    """What a restore has done."""

    manifest: Manifest
    revision: int
    """Where the store goes on."""
    moved: Path | None
    """Where that is now what was there before."""


@dataclass(frozen=True)
class Restore:
    """A snapshot, and where it is to go."""

    path: Path
    place: Place
    passphrase: str = ""
    force: bool = False
    bump: int | None = None
    """How much later than the snapshot the cluster goes on; None: `Place.bump`."""

    async def run(self, clock: Clock) -> Restored:
        """Do it.

        Raises:
            StartError: there is a cluster already, or a server runs on it.
            DatastoreError: the snapshot is damaged, or the datastore cannot be used.

        """
        manifest = await asyncio.to_thread(verify, self.path, self.passphrase)
        data_dir = make_dir(self.place.data_dir, 0o711)
        with _locked(data_dir / "server", force=self.force):
            building = await asyncio.to_thread(_blank, data_dir / RESTORING)
            bump = self.place.bump if self.bump is None else self.bump
            with contextlib.closing(_Lock(building)):
                revision = await self._fill(building, manifest, manifest.revision + bump)
                await end_left_behind(data_dir / FOLDER)
                moved = _name(building, data_dir / "server", int(clock.now().timestamp()))
        return Restored(manifest, revision, moved)

    async def _fill(self, building: Path, manifest: Manifest, revision: int) -> int:
        """Write files and keys; return where the store goes on."""
        place = _beside(self.place, building)
        parts = read(self.path, self.passphrase)
        try:
            written = await load(place, keys_of(parts, building), revision)
        except NotEmptyError as error:
            if not await _holds(place, manifest, revision):
                raise StartError(_refusal(place)) from error
            for _ in _files_of(self.path, self.passphrase, building):
                pass
            return revision
        return await check(place, written, revision)


def for_member(data_dir: Path) -> Place:
    """Return where the keys go for an etcd that the server runs: it begins with that file."""
    return Place(f"{ETCD_SNAPSHOT}://{data_dir / RESTORED}", data_dir)


def _beside(place: Place, building: Path) -> Place:
    """Return the place below the folder that is made where the place is below the server's."""
    path = place.file or place.etcd_snapshot
    server = place.data_dir / "server"
    if path is None or not path.is_relative_to(server):
        return place
    scheme = "sqlite" if place.file else ETCD_SNAPSHOT
    return replace(place, endpoint=f"{scheme}://{building / path.relative_to(server)}")


def _refusal(place: Place) -> str:
    if place.file is not None:
        return f"{place.file} is not empty; move it away"
    if not place.keeps_revisions:
        return "etcd is not empty; remove its keys if nobody needs them: etcdctl del '' --from-key"
    return (
        "the database is not empty; name another one, or drop its tables kpy_log and kpy_state if"
        " nobody needs what is in them"
    )


async def _holds(place: Place, manifest: Manifest, revision: int) -> bool:
    """Tell whether a database has what a restore that was cut off has put into it."""
    backend = await place.open()
    try:
        if await backend.revision() != revision:
            return False
        return (await content.content_of(backend, revision)).digest == manifest.digest
    finally:
        await backend.close()


async def keys_of(parts: Iterator[Part], folder: Path | None) -> AsyncIterator[Sequence[KeyValue]]:
    """Yield the keys of a snapshot; its files go below the folder, or nowhere."""
    while (part := await asyncio.to_thread(next, parts, None)) is not None:
        if isinstance(part, list):
            yield part
        elif folder is not None:
            await asyncio.to_thread(material.write, folder, *part)


def _files_of(path: Path, passphrase: str, folder: Path) -> Iterator[str]:
    for part in read(path, passphrase):
        if isinstance(part, tuple):
            material.write(folder, *part)
            yield part[0]


class _Lock(FolderLock):
    """A lock that ends with the block."""

    def close(self) -> None:
        """Give the folder back."""
        self.release()


@contextlib.contextmanager
def _locked(server: Path, *, force: bool) -> Iterator[None]:
    """Keep servers off what is there for the length of the block."""
    if not server.exists():
        yield
        return
    with contextlib.closing(_Lock(server)):
        if not force and any(not path.name.startswith(".") for path in server.iterdir()):
            raise StartError(
                f"{server} holds a cluster; pass --force to move it aside, or another --data-dir"
            )
        yield


def _blank(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    return make_dir(folder)


def unused(path: Path, seconds: int) -> Path:
    """Return a name with the time at its end that nothing has."""
    while (found := path.with_name(f"{path.name}-{seconds}")).exists():
        seconds += 1
    return found


def _name(building: Path, server: Path, seconds: int) -> Path | None:
    """Put what was made in the place of what is there; return where that is now."""
    moved = None
    if server.exists():
        moved = unused(server.with_name(BEFORE), seconds)
        server.rename(moved)
    building.rename(server)
    flush_dir(server.parent)
    return moved


def refuse_unfinished(data_dir: Path) -> None:
    """Refuse to make a new cluster where a restore was cut off between moving and naming.

    Raises:
        StartError: that is so.

    """
    if (data_dir / RESTORING).exists() and not (data_dir / "server").exists():
        raise StartError(
            f"a restore into {data_dir} was cut off; run `kpy snapshot restore` again, or remove"
            f" {data_dir / RESTORING} to begin a new cluster"
        )

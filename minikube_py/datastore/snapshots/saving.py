"""Making snapshots in a folder: written beside, flushed, read back, and only then given a name.

A process may be killed anywhere: what it left is a file `.NAME.partial` that nobody takes for a
snapshot, and that the next one removes. The writer holds a lock on it, which the kernel drops.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from minikube_py.datastore import content
from minikube_py.datastore.kv import Backend, CompactedError, DatastoreError
from minikube_py.datastore.snapshots.errors import SnapshotError
from minikube_py.datastore.snapshots.file import Files, SnapshotWriter, read_manifest, verify
from minikube_py.datastore.snapshots.manifest import Manifest
from minikube_py.lib.fsutil import flush_dir

log = logging.getLogger(__name__)
END, PARTIAL = ".tar", ".partial"
TRIES_MAX = 3
"""A snapshot takes longer than the history is kept only where something is very wrong."""
Progress = Callable[[int], None]
"""Called with the number of keys so far."""


@dataclass(frozen=True)
class Source:
    """What a snapshot is made of, and who may read it."""

    backend: Backend
    files: Callable[[], Files]
    """Reads the files of the server; called in a thread."""
    passphrase: str = ""


async def save(
    source: Source, folder: Path, about: Manifest, progress: Progress = lambda _: None
) -> Manifest:
    """Write a snapshot of all that is in a store now into a folder.

    Raises:
        SnapshotError: it cannot be written, or is not what was written when it is read back.
        UnavailableError: the store cannot be read.

    """
    try:
        with partial(folder, about.name) as (file, unnamed):
            manifest = await _write(source, file, about, progress)
            path = folder / f"{about.name}{END}"
            await asyncio.to_thread(_publish, unnamed, path, source.passphrase)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise SnapshotError(f"cannot write snapshot to {folder}: {why}") from error
    log.info(
        "snapshot saved name=%s revision=%d keys=%d",
        manifest.name,
        manifest.revision,
        manifest.keys,
    )
    return manifest


async def _write(source: Source, file: BinaryIO, about: Manifest, progress: Progress) -> Manifest:
    """Write the newest revision; begin again where compaction overtakes it."""
    for attempt in range(1, TRIES_MAX + 1):
        revision = await source.backend.revision()
        try:
            return await _write_at(source, file, replace(about, revision=revision), progress)
        except CompactedError:
            if attempt == TRIES_MAX:
                raise
            await asyncio.to_thread(file.truncate, 0)
    raise AssertionError


async def _write_at(
    source: Source, file: BinaryIO, about: Manifest, progress: Progress
) -> Manifest:
    writer = await asyncio.to_thread(SnapshotWriter, file, about, source.passphrase)
    try:
        files = await asyncio.to_thread(source.files)
        await asyncio.to_thread(writer.add_files, files)
        written = 0
        async for items in content.walk(source.backend, about.revision):
            await asyncio.to_thread(writer.add, items)
            written += len(items)
            progress(written)
    except BaseException:
        writer.abandon()
        raise
    return await asyncio.to_thread(writer.finish)


def _publish(unnamed: Path, path: Path, passphrase: str) -> None:
    """Read the file back, then give it its name."""
    verify(unnamed, passphrase)
    unnamed.replace(path)
    flush_dir(path.parent)


@contextlib.contextmanager
def partial(folder: Path, name: str) -> Iterator[tuple[BinaryIO, Path]]:
    """Open a file that has no name yet, and is gone where the block fails."""
    remove_partials(folder)
    handle, path = tempfile.mkstemp(dir=folder, prefix=f".{name}.", suffix=PARTIAL)
    try:
        with os.fdopen(handle, "w+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file, Path(path)
    finally:
        Path(path).unlink(missing_ok=True)


def remove_partials(folder: Path) -> None:
    """Remove what processes that were killed have left half written."""
    for path in folder.glob(f".*{PARTIAL}"):
        with contextlib.suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
            log.info("removed a snapshot that was not finished file=%s", path)


@dataclass(frozen=True)
class Found:
    """A file that should be a snapshot."""

    path: Path
    size_bytes: int
    manifest: Manifest | None
    """None: it cannot be read as one."""
    problem: str = ""


def snapshots_in(folder: Path) -> Sequence[Found]:
    """Return the snapshots of a folder, the newest last; those that cannot be read come first."""
    found = [_look(path) for path in sorted(folder.glob(f"*{END}"))]
    return sorted(found, key=lambda one: one.manifest.created if one.manifest else "")


def _look(path: Path) -> Found:
    size = path.stat().st_size if path.exists() else 0
    try:
        return Found(path, size, read_manifest(path))
    except DatastoreError as error:
        return Found(path, size, None, str(error))

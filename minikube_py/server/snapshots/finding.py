"""The newest snapshot of this cluster that is whole, in the folder or in the bucket.

A snapshot says by itself whether it is whole, and by the keys in it whose it is. So nothing is
believed of the names of files, and what lies in a bucket that others use, too, does no harm.
"""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from minikube_py.datastore.kv import DatastoreError
from minikube_py.datastore.snapshots.file import read, verify
from minikube_py.datastore.snapshots.manifest import Manifest
from minikube_py.datastore.snapshots.saving import END, Found, snapshots_in
from minikube_py.lib.errors import StartError
from minikube_py.lib.fsutil import make_dir
from minikube_py.server.bootstrap import AUTHORITIES
from minikube_py.server.config import ServerConfig
from minikube_py.server.snapshots import material
from minikube_py.server.snapshots.bucket import Bucket
from minikube_py.server.snapshots.service import passphrase_of

log = logging.getLogger(__name__)
IDENTITY = (*(f"tls/{name}.key" for name in AUTHORITIES), "tls/service-account.key")
"""A snapshot is of this cluster where it has one of these as we have it."""
FETCHED = "from-bucket"
"""Folder beside the snapshots: what is fetched replaces nothing, whatever its name."""
DOWNLOADS_MAX = 8
"""Snapshots of a bucket that are fetched to be looked at."""
Chosen = tuple[Path, Manifest]


@dataclass(frozen=True)
class _Candidate:
    """A snapshot that says of itself when it was made."""

    made: tuple[str, int]
    """When, and at which revision."""
    name: str
    here: Path | None
    """Its file; None where it is in the bucket."""


async def newest_good(config: ServerConfig, server: Path) -> Chosen | None:
    """Return the newest good snapshot; one of the bucket is copied beside the others."""
    bucket = await _bucket(config)
    downloads = 0
    for one in await _candidates(config, bucket):
        path = one.here
        if path is None and bucket is not None and downloads < DOWNLOADS_MAX:
            downloads += 1
            path = await _downloaded(config, bucket, one)
        if path is None:
            continue
        if manifest := await asyncio.to_thread(_looked_at, config, server, path):
            return path, manifest
        if one.here is None:
            path.unlink()
    return None


def files_in(path: Path, passphrase: str) -> Mapping[str, bytes]:
    """Return the files of a snapshot, which stand before its keys."""
    return dict(_leading(path, passphrase))


async def _bucket(config: ServerConfig) -> Bucket | None:
    if not config.snapshot_s3_bucket:
        return None
    try:
        return await asyncio.to_thread(Bucket, config)
    except StartError as error:
        log.warning("snapshots of the bucket not looked at: %s", error)
    return None


async def _candidates(config: ServerConfig, bucket: Bucket | None) -> Sequence[_Candidate]:
    """Return all snapshots, the newest first; of two copies the one that is here."""
    folder = config.snapshot_folder
    here = await asyncio.to_thread(snapshots_in, folder) if folder.exists() else ()
    there: Sequence[Found] = ()
    try:
        there = await bucket.list() if bucket is not None else ()
    except DatastoreError as error:
        log.warning("snapshots of the bucket not looked at: %s", error)
    found = [
        _Candidate(
            (one.manifest.created, one.manifest.revision), one.path.name.removesuffix(END), path
        )
        for one, path in [*((one, one.path) for one in here), *((one, None) for one in there)]
        if one.manifest is not None
    ]
    return sorted(found, key=lambda one: (one.made, one.here is not None), reverse=True)


async def _downloaded(config: ServerConfig, bucket: Bucket, one: _Candidate) -> Path | None:
    try:
        return await bucket.download(one.name, make_dir(config.snapshot_folder / FETCHED))
    except (DatastoreError, OSError) as error:
        log.warning("snapshot not used: %s", error)
    return None


def _looked_at(config: ServerConfig, server: Path, path: Path) -> Manifest | None:
    """Read a snapshot whole; None where it is not good or not of this cluster."""
    passphrase = passphrase_of(config)
    try:
        if _is_ours(files_in(path, passphrase), server):
            return verify(path, passphrase)
        log.warning("snapshot of another cluster not used file=%s", path)
    except DatastoreError as error:
        log.warning("snapshot not used: %s", error)
    return None


def _leading(path: Path, passphrase: str) -> Iterator[tuple[str, bytes]]:
    for part in read(path, passphrase):
        if isinstance(part, list):
            return
        yield part


def _is_ours(files: Mapping[str, bytes], server: Path) -> bool:
    own = material.read(server)
    return any(name in own and own[name] == files.get(name) for name in IDENTITY)

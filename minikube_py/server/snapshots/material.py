"""The files of a server that a snapshot takes along, so that it is enough on a blank machine.

All that lies in the server's folder is its own (authorities, service-account key, token, keys of
encryption, the manifests folder), except the database, whose content the snapshot has anyway.
"""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from minikube_py.datastore.snapshots.errors import DamagedSnapshotError, SnapshotError
from minikube_py.lib.fsutil import make_dir, read_if_there, write_atomic

LEFT_OUT = frozenset({"db", "logs"})
"""Folders that are not taken along."""
FILE_BYTES_MAX = 8 << 20
ALL_BYTES_MAX = 64 << 20
"""The folder holds some 50 KB; who puts an image into the manifests folder is told so."""
GIVEN_ENCRYPTION = "encryption-provider-config.yaml"
"""What `--encryption-provider-config` names is taken along under this name."""


def read(folder: Path, encryption_config: str = "") -> dict[str, bytes]:
    """Return the files, by their names below the folder.

    Raises:
        SnapshotError: a file is too large, or cannot be read.

    """
    found = {}
    try:
        for path in _files(folder):
            found[path.relative_to(folder).as_posix()] = _contents(path)
        if encryption_config:
            found[GIVEN_ENCRYPTION] = Path(encryption_config).read_bytes()
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise SnapshotError(f"cannot read {error.filename}: {why}") from error
    if sum(map(len, found.values())) > ALL_BYTES_MAX:
        raise SnapshotError(
            f"{folder} holds more than {ALL_BYTES_MAX >> 20} MB beside the database"
        )
    return found


def _files(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        here = Path(root)
        if here == folder:
            folders[:] = [name for name in folders if name not in LEFT_OUT]
        for name in names:
            path = here / name
            # Locks, files that are being written, sockets.
            if not name.startswith(".") and path.is_file() and not path.is_symlink():
                yield path


def _contents(path: Path) -> bytes:
    data = read_if_there(path) or b""
    if len(data) > FILE_BYTES_MAX:
        raise SnapshotError(f"{path} has more than {FILE_BYTES_MAX >> 20} MB; move it away")
    return data


def write(folder: Path, name: str, data: bytes) -> None:
    """Write one file below a folder; raises DamagedSnapshotError where its name leads out of it."""
    parts = PurePosixPath(name).parts
    if not parts or PurePosixPath(name).is_absolute() or ".." in parts or parts[0] in LEFT_OUT:
        raise DamagedSnapshotError(f"it has a file {name!r}")
    path = folder.joinpath(*parts)
    make_dir(path.parent)
    write_atomic(path, data)

"""Files that are whole or absent: written beside, flushed, then renamed into place.

A process may be killed between any two lines here; the next start finds the old file or the new.
"""

import contextlib
import fcntl
import os
import stat
import tempfile
from pathlib import Path

from minikube_py.lib.errors import StartError

PRIVATE = 0o600
PRIVATE_DIR = 0o700


def make_dir(path: Path, mode: int = PRIVATE_DIR) -> Path:
    """Make a folder and its parents; one that is there keeps its mode.

    Raises:
        StartError: a part of the path is a file, or may not be written to.

    """
    try:
        path.mkdir(mode=mode, parents=True, exist_ok=True)
        if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(f"no permission to write to {path}")
    except OSError as error:
        why = error.strerror or str(error)
        raise StartError(
            f"cannot use folder {path}: {why.lower()}; run as root or choose another folder"
        ) from error
    return path


def write_atomic(path: Path, data: bytes, mode: int = PRIVATE) -> None:
    """Replace a file in one step and make it durable; nobody sees a part of it.

    A file that holds this already is left alone: a start that changes nothing needs no room.

    Raises:
        OSError: names the file; it is as it was.

    """
    if _holds(path, data, mode):
        return
    try:
        _replace(path, data, mode)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    flush_dir(path.parent)


def _holds(path: Path, data: bytes, mode: int) -> bool:
    try:
        found = path.stat()
        is_alike = stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) == mode
        return is_alike and found.st_size == len(data) and path.read_bytes() == data
    except OSError:
        return False


def _replace(path: Path, data: bytes, mode: int) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise


def flush_dir(path: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_if_there(path: Path) -> bytes | None:
    """Return what a file holds, or None where there is none.

    Raises:
        StartError: the file is there and cannot be read.

    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise StartError(f"cannot read {path}: {why}; run as root or mend its mode") from error


class FolderLock:
    """A folder that one process uses; the kernel frees it when the process ends."""

    def __init__(self, folder: Path) -> None:
        """Take the folder.

        Raises:
            StartError: another process has it.

        """
        self._handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = os.pread(self._handle, 20, 0).decode().strip() or "unknown"
            os.close(self._handle)
            raise StartError(
                f"folder {folder} is in use by process {pid}; stop it or choose another folder"
            ) from error
        with contextlib.suppress(OSError):  # a disk may be full, and the lock holds all the same
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Give the folder back."""
        os.close(self._handle)

"""Mounting from Python: three system calls, through the C library that is loaded anyway."""

import ctypes
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC = 4096, 16384
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, path: Path) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path))


def mount_tmpfs(path: Path, size_bytes: int = 0, mode: int = 0o777) -> None:
    """Mount a file system that lives in memory; without a size the kernel takes half of it all.

    Without nosuid and nodev, as a kubelet's: what a container may do is decided by its own options.
    """
    options = [f"mode={mode:o}", *([f"size={size_bytes}"] if size_bytes else [])]
    data = ",".join(options).encode()
    _check(_libc().mount(b"tmpfs", os.fsencode(path), b"tmpfs", 0, data), path)


def mount_bind(source: Path, target: Path) -> None:
    """Show what is at `source` at `target` too."""
    flags = MS_BIND
    _check(_libc().mount(os.fsencode(source), os.fsencode(target), b"", flags, None), target)


def mount_read_only(kind: str, source: str, options: Sequence[str], target: Path) -> None:
    """Mount layers of an image so that nothing can be written, run or used as a device here.

    Of this a container keeps what its runtime asks for when it binds the mount: read-only.
    """
    flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC
    where = os.fsencode(target)
    if kind == "bind":
        # A bind mount takes its own flags only when it is mounted once more.
        _check(_libc().mount(os.fsencode(source), where, b"", MS_BIND | MS_REC, None), target)
        again = MS_REMOUNT | MS_BIND | flags
        _check(_libc().mount(b"", where, b"", again, None), target)
        return
    data = ",".join(one for one in options if one not in ("ro", "rw", "rbind")).encode()
    names = (os.fsencode(source), where, kind.encode())
    _check(_libc().mount(*names, flags, data), target)


def unmount(path: Path) -> None:
    """Take a mount away, at once from sight and for good when its last user is gone."""
    _check(_libc().umount2(os.fsencode(path), MNT_DETACH | UMOUNT_NOFOLLOW), path)


def points_below(folder: Path) -> list[Path]:
    """Return the mount points in a folder and the folder itself where it is one, deepest first."""
    prefix = f"{folder}/"
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split(" ", 5)[4]
        if "\\" in point:
            point = _unescape(point)
        if point == str(folder) or point.startswith(prefix):
            found.append(Path(point))
    # Later mounts lie over earlier ones.
    return sorted(found, key=lambda path: len(path.parts), reverse=True)


def _unescape(text: str) -> str:
    for octal, letter in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(octal, letter)
    return text


def is_mount_point(path: Path) -> bool:
    """Tell whether something is mounted there, without touching it: its server may be away.

    This reads all mounts of the machine; of a file system of our own os.path.ismount() tells.
    """
    return path in points_below(path)

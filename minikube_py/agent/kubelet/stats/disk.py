"""How much of a disk there is, and how much of it some folder takes.

A folder is measured by walking it, as `du -x` does: blocks, each file once however many names it
has, and nothing that is mounted below. A walk is bounded: what has more files than that is
reported as far as it was seen.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from minikube_py.agent.kubelet.stats.usage import text

BLOCK_BYTES = 512
"""st_blocks counts in these on every file system."""
FILES_MAX = 200_000


class Space(NamedTuple):
    """A file system as a whole."""

    capacity: int
    available: int
    inodes: int
    inodes_free: int

    @property
    def used(self) -> int:
        """Bytes that nobody can have any more."""
        return max(self.capacity - self.available, 0)


class Used(NamedTuple):
    """What a folder takes."""

    bytes: int
    inodes: int


def space(path: Path) -> Space | None:
    """Return the file system that a path lies on, None where it cannot be asked."""
    try:
        found = os.statvfs(path)
    except OSError:
        return None
    return Space(
        capacity=found.f_blocks * found.f_frsize,
        available=found.f_bavail * found.f_frsize,
        inodes=found.f_files,
        inodes_free=found.f_ffree,
    )


def used(folder: Path, files_max: int = FILES_MAX) -> Used:
    """Return what a folder takes on its own file system; what vanishes meanwhile counts nothing."""
    try:
        top = folder.lstat()
    except OSError:
        return Used(0, 0)
    total, count = top.st_blocks * BLOCK_BYTES, 1
    seen: set[int] = set()
    for status in _below(folder, top.st_dev):
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            if status.st_ino in seen:
                continue
            seen.add(status.st_ino)
        total += status.st_blocks * BLOCK_BYTES
        count += 1
        if count >= files_max:
            break
    return Used(total, count)


def _below(folder: Path, device: int) -> Iterator[os.stat_result]:
    stack = [os.fspath(folder)]
    while stack:
        with contextlib.suppress(OSError), os.scandir(stack.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    if status.st_dev != device:
                        continue
                    yield status
                    if entry.is_dir(follow_symlinks=False):
                        stack.append(entry.path)


def writable_layer(pid: int | str) -> Path | None:
    """Return where a process's root keeps what was written to it, where that is an overlay."""
    for line in text(Path("/proc") / str(pid) / "mountinfo").splitlines():
        fields = line.split()
        if fields[4] != "/":
            continue
        options = fields[-1].split(",")
        upper = next((one for one in options if one.startswith("upperdir=")), "")
        return Path(upper.removeprefix("upperdir=")) if upper else None
    return None

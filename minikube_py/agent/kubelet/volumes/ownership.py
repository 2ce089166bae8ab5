"""Giving all that is in a volume to a group: fsGroup and fsGroupChangePolicy.

As upstream's `SetVolumeOwnership`: the group gets the files and may do with them what their owner
may; what is made in a folder later belongs to the group too.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

FILE, FOLDER = 0o660, 0o2770


def give(folder: Path, group: int, policy: str = "Always") -> None:
    """Give a folder and all in it to a group; `OnRootMismatch` looks at the folder alone.

    Links are given, never followed: what they lead to is not the volume's.
    """
    if policy == "OnRootMismatch" and _is_given(folder, group):
        return
    # The folder itself comes last: while it does not match, a crash leads to another try.
    for path in _below(folder):
        _give(path, group)
    _give(folder, group)


def _is_given(folder: Path, group: int) -> bool:
    found = folder.stat()
    return found.st_gid == group and found.st_mode & FOLDER == FOLDER


def _below(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        yield from (Path(parent, name) for name in (*folders, *files))


def _give(path: Path, group: int) -> None:
    try:
        found = path.lstat()
        os.lchown(path, -1, group)
        if not stat.S_ISLNK(found.st_mode):
            more = FOLDER if stat.S_ISDIR(found.st_mode) else FILE
            path.chmod(stat.S_IMODE(found.st_mode) | more)
    except FileNotFoundError:
        return  # a running container deleted it

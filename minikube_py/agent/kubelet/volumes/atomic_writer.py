"""Files that change all at once: a folder of links into a folder that is swapped by one rename.

    volume/..2026_01_31_08_00_00.123   what is valid now
    volume/..data                      -> ..2026_01_31_08_00_00.123
    volume/key                         -> ..data/key

A reader that opens `..data` sees one version or the next, never a mixture. Programs in containers
watch for exactly this layout, so it is the kubelet's, names included.
"""

import contextlib
import os
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

DATA = "..data"


class File(NamedTuple):
    """One file of a payload."""

    data: bytes
    mode: int
    owner: int | None = None
    """The uid that it belongs to, where it is not the kubelet's."""


Payload = Mapping[str, File]
"""Relative path -> file."""


def write(folder: Path, payload: Payload, group: int | None = None) -> bool:
    """Make the folder hold exactly the payload; return whether anything changed.

    With a group its members may read the files.
    """
    current = folder / DATA
    if current.is_symlink() and _same(current, payload):
        return False
    folder_now = _fill(folder, payload, group)
    old = current.readlink() if current.is_symlink() else None
    temporary = folder / "..data_tmp"
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    temporary.symlink_to(folder_now.name)
    temporary.replace(current)
    _link(folder, {path.split("/", 1)[0] for path in payload})
    if old is not None:
        shutil.rmtree(folder / old, ignore_errors=True)
    return True


def _same(current: Path, payload: Payload) -> bool:
    found = {str(path.relative_to(current)) for path in current.rglob("*") if not path.is_dir()}
    if found != set(payload):
        return False
    return all((current / name).read_bytes() == file.data for name, file in payload.items())


def _fill(folder: Path, payload: Payload, group: int | None) -> Path:
    stamp = datetime.now(UTC).strftime("..%Y_%m_%d_%H_%M_%S.%f")
    # A write that was killed may have left a folder of this very microsecond behind.
    made = folder / stamp
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(mode=0o755)
    made.chmod(0o755)
    for name, file in payload.items():
        path = made / name
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        path.write_bytes(file.data)
        mode = file.mode if group is None else file.mode | 0o440
        path.chmod(mode)
        if group is not None or file.owner is not None:
            os.chown(path, -1 if file.owner is None else file.owner, -1 if group is None else group)
    if group is not None:
        for parent in [made, *(path for path in made.rglob("*") if path.is_dir())]:
            os.chown(parent, -1, group)
            parent.chmod(0o2755)
    return made


def _link(folder: Path, names: set[str]) -> None:
    for name in names:
        link = folder / name
        if not link.is_symlink():
            link.symlink_to(f"{DATA}/{name}")
    for entry in os.scandir(folder):
        if not entry.name.startswith("..") and entry.name not in names:
            Path(entry.path).unlink()

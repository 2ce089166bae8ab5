"""Part of a volume for one container, so that nothing inside the volume can lead out of it.

What a path means can be changed by whoever may write to the volume, between the check and the use.
So the path is resolved once, then walked name by name without following any link, and what was
reached is bind-mounted from its open handle to a place outside the volume; that place is what the
container is given.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from minikube_py.agent.kubelet.volumes.mounts import is_mount_point, mount_bind, unmount
from minikube_py.agent.kubelet.volumes.payload import VolumeError


def prepare(volume: Path, sub_path: str, target: Path) -> Path:
    """Mount `sub_path` of a volume at `target`; what does not exist becomes a folder.

    Raises:
        VolumeError: the path leads out of the volume, or cannot be reached.

    """
    try:
        root = volume.resolve(strict=True)
        wanted = (root / sub_path).resolve()
        if wanted != root and root not in wanted.parents:
            raise VolumeError("subpath is not within the volume")
        with _opened(root, wanted.relative_to(root).parts) as handle:
            _mount(handle, target)
    except OSError as error:
        # The message of the system could tell about files of the host.
        raise VolumeError(f"failed to prepare subPath: {error.strerror}") from None
    return target


@contextlib.contextmanager
def _opened(root: Path, names: tuple[str, ...]) -> Iterator[int]:
    flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(root, flags | os.O_DIRECTORY)
    mode = os.fstat(handle).st_mode & 0o7777
    try:
        for name in names:
            try:
                inner = os.open(name, flags, dir_fd=handle)
            except FileNotFoundError:
                os.mkdir(name, dir_fd=handle)
                os.chmod(name, mode, dir_fd=handle)
                inner = os.open(name, flags, dir_fd=handle)
            os.close(handle)
            handle = inner
            if stat.S_ISLNK(os.fstat(handle).st_mode):
                raise VolumeError("subpath was replaced by a link")
        yield handle
    finally:
        os.close(handle)


def _mount(handle: int, target: Path) -> None:
    if is_mount_point(target):
        unmount(target)
    target.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    if stat.S_ISDIR(os.fstat(handle).st_mode):
        target.mkdir(mode=0o750, exist_ok=True)
    else:
        target.touch(mode=0o640)
    mount_bind(Path(f"/proc/self/fd/{handle}"), target)

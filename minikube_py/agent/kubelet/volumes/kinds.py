"""The kinds of volumes that a pod may have, one function each, and the table of them all.

A function makes the volume or brings it up to date and returns where it lies; it may be called as
often as one likes. They block for milliseconds at most, but `set_up` runs in a thread all the same,
because a disk may be slow.
"""

import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from minikube_py.agent.kubelet.volumes import atomic_writer
from minikube_py.agent.kubelet.volumes.mounts import mount_tmpfs
from minikube_py.agent.kubelet.volumes.ownership import give
from minikube_py.agent.kubelet.volumes.payload import (
    DEFAULT_MODE,
    Sources,
    VolumeError,
    config_map_files,
    downward_files,
    projected_files,
    secret_files,
    token_ownership,
)
from minikube_py.api import quantity
from minikube_py.api.core.volume_matching import PROVISIONED_BY
from minikube_py.api.local_storage import PROVISIONER
from minikube_py.api.object import Obj, annotations_of, get
from minikube_py.lib.fsutil import make_dir


@dataclass(frozen=True)
class Place:
    """Where and for whom a volume is set up."""

    pod: Obj
    folder: Path
    """Its own, under the folder of the pod; not there yet at the first call."""
    sources: Sources
    group: int | None
    """fsGroup: the group that owns what is in the volume."""
    persistent: Obj | None = None
    """The persistent volume, where it is one."""
    storage: Path | None = None
    """Where this node keeps the volumes that were made for it."""


SetUp = Callable[[Obj, Place], Path]
"""(the part of the volume that is named by its kind, place) -> where the volume lies"""


def _own(folder: Path, group: int | None) -> None:
    """Give a folder to a group, and all that will be made in it."""
    if group is None:
        return
    wanted = folder.stat().st_mode | 0o2070
    if folder.stat().st_gid != group or folder.stat().st_mode != wanted:
        os.chown(folder, -1, group)
        folder.chmod(stat.S_IMODE(wanted))


def empty_dir(source: Obj, place: Place) -> Path:
    """Return a folder that lives as long as the pod, on disk or in memory."""
    folder = place.folder
    folder.mkdir(parents=True, exist_ok=True)
    if source.get("medium") == "Memory":
        if not os.path.ismount(folder):
            limit = source.get("sizeLimit")
            mount_tmpfs(folder, quantity.value(limit) if limit else 0)
    elif source.get("medium"):
        raise VolumeError(f'unknown storage medium "{source["medium"]}"')
    mode = 0o777 if place.group is None else 0o2777
    if stat.S_IMODE(folder.stat().st_mode) != mode:
        folder.chmod(mode)
    _own(folder, place.group)
    return folder


CHECKS: Mapping[str, tuple[Callable[[Path], bool], str]] = {
    "Directory": (Path.is_dir, "a directory"),
    "File": (Path.is_file, "a file"),
    "Socket": (Path.is_socket, "a socket file"),
    "CharDevice": (Path.is_char_device, "a character device"),
    "BlockDevice": (Path.is_block_device, "a block device"),
}


def host_path(source: Obj, _place: Place) -> Path:
    """Return a path of the node itself, made or checked as its type says."""
    path = Path(source["path"])
    kind = source.get("type") or ""
    if kind == "DirectoryOrCreate" and not path.exists():
        path.mkdir(mode=0o755, parents=True)
    elif kind == "FileOrCreate" and not path.exists():
        try:
            path.touch(mode=0o644)
        except FileNotFoundError:
            raise VolumeError(f"hostPath type check failed: {path.parent} is missing") from None
    wanted = kind.removesuffix("OrCreate")
    if wanted in CHECKS:
        check, what = CHECKS[wanted]
        if not check(path):
            raise VolumeError(f"hostPath type check failed: {path} is not {what}")
    return path


def local(source: Obj, place: Place) -> Path:
    """Return a folder or file of the node that is a persistent volume.

    Those that were made for this node come to be when they are first used.
    """
    path = Path(source["path"])
    ours = annotations_of(place.persistent or {"metadata": {}}).get(PROVISIONED_BY) == PROVISIONER
    if ours and path.parent == place.storage and not path.exists():
        make_dir(path.parent, 0o711)
        path.mkdir()
        path.chmod(0o777)  # whoever the containers run as
    if not path.exists():
        raise VolumeError(f'path "{path}" does not exist')
    _check_mode(path, get(place.persistent, "spec.volumeMode", "Filesystem"))
    if place.group is not None and path.is_dir() and not place.folder.exists():
        policy = get(place.pod, "spec.securityContext.fsGroupChangePolicy", "Always")
        give(path, place.group, policy)
        place.folder.mkdir(parents=True)  # once for each pod is enough
    return path


def _check_mode(path: Path, mode: str) -> None:
    if (mode == "Block") != path.is_block_device():
        what = "no block device" if mode == "Block" else "a block device: it is not formatted here"
        raise VolumeError(f'path "{path}" is {what}')


def _payload_folder(place: Place, *, memory: bool) -> Path:
    place.folder.mkdir(parents=True, exist_ok=True)
    if memory and not os.path.ismount(place.folder):
        # What is secret never reaches a disk.
        mount_tmpfs(place.folder)
    return place.folder


def config_map(source: Obj, place: Place) -> Path:
    """Return a folder with the keys of a configMap as files."""
    files = config_map_files(source, place.sources, source.get("defaultMode", DEFAULT_MODE))
    folder = _payload_folder(place, memory=False)
    atomic_writer.write(folder, files, place.group)
    return folder


def secret(source: Obj, place: Place) -> Path:
    """Return a folder in memory with the keys of a secret as files."""
    files = secret_files(source, place.sources, source.get("defaultMode", DEFAULT_MODE))
    folder = _payload_folder(place, memory=True)
    atomic_writer.write(folder, files, place.group)
    return folder


def downward_api(source: Obj, place: Place) -> Path:
    """Return a folder with what the pod may know of itself."""
    mode = source.get("defaultMode", DEFAULT_MODE)
    files = downward_files(place.pod, source, place.sources, mode)
    folder = _payload_folder(place, memory=True)
    atomic_writer.write(folder, files, place.group)
    return folder


def projected(source: Obj, place: Place) -> Path:
    """Return a folder in memory that several sources share."""
    ownership = token_ownership(place.pod, place.group)
    files = projected_files(place.pod, source, place.sources, ownership)
    folder = _payload_folder(place, memory=True)
    atomic_writer.write(folder, files, place.group)
    return folder


def image(_source: Obj, place: Place) -> Path:
    """Return the folder where an image is shown once it has been pulled (see images.py)."""
    place.folder.mkdir(parents=True, exist_ok=True)
    return place.folder


VOLUMES: Mapping[str, SetUp] = {
    "emptyDir": empty_dir,
    "hostPath": host_path,
    "local": local,
    "configMap": config_map,
    "secret": secret,
    "downwardAPI": downward_api,
    "projected": projected,
    "image": image,
}
"""Key of a volume in the spec -> what sets it up."""


def kind_of(volume: Obj) -> str:
    """Return which kind a volume is; raises VolumeError for one that this node cannot have."""
    for kind in VOLUMES:
        if kind in volume:
            return kind
    kinds = ", ".join(key for key in volume if key != "name") or "nothing"
    raise VolumeError(
        f"no volume plugin matched: volumes of kind {kinds} are not supported by this node;"
        " use a persistent volume of a CSI driver"
    )


def set_up(volume: Obj, place: Place) -> Path:
    """Set up one volume; raises VolumeError."""
    kind = kind_of(volume)
    try:
        return VOLUMES[kind](volume[kind] or {}, place)
    except OSError as error:
        raise VolumeError(f"{error.strerror}: {error.filename}") from error

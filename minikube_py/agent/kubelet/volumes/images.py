"""Volumes that show the files of an image, read-only.

They are made when a container that mounts them is started, because the image may have to be pulled
first, by the policy of the volume and with the waiting reasons of containers' images.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from minikube_py.agent.cri.errors import CriError
from minikube_py.agent.cri.snapshots import Layers, Snapshots
from minikube_py.agent.kubelet.pod import volumes_of
from minikube_py.agent.kubelet.volumes.mounts import is_mount_point, mount_read_only
from minikube_py.agent.kubelet.volumes.payload import VolumeError
from minikube_py.api.object import Obj, uid_of

log = logging.getLogger(__name__)


def images_of(pod: Obj, container: Obj) -> Iterator[tuple[str, Obj]]:
    """Yield name and source of each image that a container mounts."""
    mounted = {mount["name"] for mount in container.get("volumeMounts") or ()}
    for volume in volumes_of(pod):
        if volume["name"] in mounted and volume.get("image"):
            yield volume["name"], volume["image"]


class ImageVolumes:
    """The image volumes of all pods of this node."""

    def __init__(self, snapshots: Snapshots) -> None:
        self._snapshots = snapshots

    async def show(self, pod: Obj, name: str, image: str, folder: Path) -> None:
        """Show an image that is on this node at a folder.

        Raises:
            VolumeError: it cannot be shown now.

        """
        if await asyncio.to_thread(is_mount_point, folder):
            return
        try:
            layers = await self._snapshots.view(_key(uid_of(pod), name), image)
            await asyncio.to_thread(_mount, layers, folder)
        except (CriError, OSError) as error:
            raise VolumeError(f'image volume "{name}" cannot be mounted: {error}') from None

    async def release(self, pod: Obj) -> None:
        """Forget the images of a pod whose volumes are unmounted; raises CriError."""
        for volume in volumes_of(pod):
            if volume.get("image"):
                await self._snapshots.remove(_key(uid_of(pod), volume["name"]))

    async def prune(self, is_known: Callable[[str], bool]) -> None:
        """Forget the images of pods that went while kpy was away."""
        try:
            for key in await self._snapshots.keys():
                uid, _, _ = key.partition("_")
                if not is_known(uid):
                    await self._snapshots.remove(key)
        except CriError as error:
            log.info("image volumes of lost pods are not looked for error=%s", error)


def _key(uid: str, name: str) -> str:
    return f"{uid}_{name}"


def _mount(layers: Sequence[Layers], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for one in layers:
        mount_read_only(one.kind, one.source, one.options, folder)

"""The volumes of each pod under the kubelet's folder, and how all of a pod's files go away.

    pods/<uid>/resources.json                             what it has been given (resizing.py)
    pods/<uid>/etc-hosts                                  what containers see as /etc/hosts
    pods/<uid>/volumes/kubernetes.io~<kind>/<name>        the volumes
    pods/<uid>/volume-subpaths/<name>/<container>/<n>     parts of volumes, bind-mounted
    pods/<uid>/containers/<name>/<n>                      last words (terminationMessagePath)

Removal never crosses a mount point: what is mounted is unmounted first, and where that fails the
folder stays for another try, lest the files of somebody else's disk be deleted.
"""

import asyncio
import logging
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from minikube_py.agent.kubelet.csi.volumes import CsiVolumes
from minikube_py.agent.kubelet.pod import volumes_of
from minikube_py.agent.kubelet.volumes.claims import as_volume
from minikube_py.agent.kubelet.volumes.kinds import Place, kind_of, set_up
from minikube_py.agent.kubelet.volumes.mounts import points_below, unmount
from minikube_py.agent.kubelet.volumes.network_disks import NetworkDisks
from minikube_py.agent.kubelet.volumes.payload import Sources, VolumeError
from minikube_py.api.object import Obj, get, uid_of
from minikube_py.lib.fsutil import write_atomic

log = logging.getLogger(__name__)
_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")
ALWAYS_READ_ONLY = frozenset({"configMap", "secret", "downwardAPI", "projected", "image"})
"""Kinds whose contents are the cluster's or an image's: a container may not change them."""


def _plugin(kind: str) -> str:
    """Return the folder of a kind: `emptyDir` -> `kubernetes.io~empty-dir`."""
    name = "configmap" if kind == "configMap" else _CAPITAL.sub("-", kind).lower()
    return f"kubernetes.io~{name}"


class PodVolumes:
    """The files of all pods of this node."""

    def __init__(
        self,
        root: Path,
        storage: Path | None = None,
        csi: CsiVolumes | None = None,
        disks: NetworkDisks | None = None,
    ) -> None:
        """Take the kubelet's folder, that of volumes on this node's disk, and who mounts others."""
        self._pods = root / "pods"
        self._storage = storage
        self._csi = csi
        self._disks = disks

    def pod_folder(self, uid: str) -> Path:
        """Return the folder of a pod."""
        return self._pods / uid

    def prepare(self, uid: str) -> Path:
        """Make the folder of a pod."""
        folder = self.pod_folder(uid)
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        return folder

    async def keep(self, uid: str, name: str, data: bytes) -> None:
        """Write a file into the folder of a pod, whole and durably."""
        await asyncio.to_thread(write_atomic, self.prepare(uid) / name, data)

    async def set_up(self, pod: Obj, sources: Sources) -> Mapping[str, Path]:
        """Make or refresh all volumes of a pod; return where each lies, by name.

        Raises:
            VolumeError: one cannot be set up now.

        """
        csi = self._csi
        mounted = await csi.set_up(pod, sources.persistent) if csi is not None else {}
        if self._disks is not None:
            mounted |= await self._disks.set_up(pod, sources.persistent)
        return await asyncio.to_thread(self._set_up, pod, sources, mounted)

    def due(self, uid: str) -> float | None:
        """Return when (monotonic) the volumes of a pod are to be set up again, if ever."""
        return self._csi.due(uid) if self._csi is not None else None

    def _set_up(self, pod: Obj, sources: Sources, mounted: Mapping[str, Path]) -> dict[str, Path]:
        folder = self.prepare(uid_of(pod)) / "volumes"
        group = get(pod, "spec.securityContext.fsGroup")
        found = dict(mounted)
        for volume in volumes_of(pod):
            name = volume["name"]
            if name in mounted:
                continue
            persistent = sources.persistent.get(name)
            shown = volume if persistent is None else as_volume(name, persistent)
            try:
                own = folder / _plugin(kind_of(shown)) / name
                place = Place(pod, own, sources, group, persistent, self._storage)
                found[name] = set_up(shown, place)
            except VolumeError as error:
                raise VolumeError(
                    f'MountVolume.SetUp failed for volume "{name}" : {error}'
                ) from None
        return found

    def uids(self) -> Iterator[str]:
        """Yield the pods that have a folder."""
        if self._pods.exists():
            yield from (entry.name for entry in self._pods.iterdir() if entry.is_dir())

    async def tear_down(self, uid: str) -> bool:
        """Unmount and remove all files of a pod; tell whether they are gone."""
        if self._csi is not None and not await self._csi.tear_down(uid):
            return False
        if self._disks is not None and not await self._disks.tear_down(uid):
            return False
        return await asyncio.to_thread(self._tear_down, uid)

    @staticmethod
    async def remove_folder(folder: Path) -> None:
        """Remove a folder in which nothing is mounted (logs)."""
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    def _tear_down(self, uid: str) -> bool:
        folder = self.pod_folder(uid)
        if not uid or not folder.exists():
            return True
        for point in points_below(folder):
            try:
                unmount(point)
            except OSError as error:
                log.warning("volume not unmounted path=%s error=%s", point, error.strerror)
        if points_below(folder):
            return False
        shutil.rmtree(folder, onerror=_report)
        return not folder.exists()


def _report(_function: object, path: str, info: object) -> None:
    error = info[1] if isinstance(info, tuple) else info
    log.warning("file of a pod not removed path=%s error=%s", path, error)

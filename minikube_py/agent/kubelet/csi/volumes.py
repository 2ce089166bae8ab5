"""CSI volumes of pods: waited for, staged once for the node, published for each pod, and back.

    plugins/kubernetes.io/csi/<driver>/<sha256 of the handle>/globalmount    where it is staged
    pods/<uid>/volumes/kubernetes.io~csi/<volume>/vol_data.json              what was done
    pods/<uid>/volumes/kubernetes.io~csi/<volume>/mount                      what the pod gets

The file is written before the driver is called, so that after a crash it is known what has to be
taken back; all calls of CSI may be repeated. The layout is the kubelet's, which drivers rely on.
"""

import asyncio
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from minikube_py.agent.cri.errors import CriError
from minikube_py.agent.kubelet.csi.driver import MOUNT_GROUP, STAGES, Driver, Use
from minikube_py.agent.kubelet.pod import volumes_of
from minikube_py.agent.kubelet.volumes.mounts import is_mount_point, unmount
from minikube_py.agent.kubelet.volumes.ownership import give
from minikube_py.agent.kubelet.volumes.payload import VolumeError, decoded
from minikube_py.api.core import SECRETS
from minikube_py.api.errors import NotFoundError, StatusError
from minikube_py.api.object import Obj, get, uid_of
from minikube_py.api.storage import CSIDRIVERS, VOLUMEATTACHMENTS
from minikube_py.client.protocol import Client
from minikube_py.lib.fsutil import write_atomic

KIND = "kubernetes.io~csi"
RECORD = "vol_data.json"


class Drivers(Protocol):
    """Who knows the drivers of this node."""

    def get(self, name: str) -> Driver | None:
        """Return a driver by its name."""


@dataclass(frozen=True, kw_only=True)
class Volume:
    """One CSI volume of one pod."""

    name: str
    """In the pod."""
    folder_name: str
    """That of the persistent volume, or its own."""
    driver: str
    handle: str
    source: Obj
    use: Use
    namespace: str
    is_ephemeral: bool

    @property
    def unique_name(self) -> str:
        """What the node's status calls it."""
        return f"kubernetes.io/csi/{self.driver}^{self.handle}"


class CsiVolumes:
    """The CSI volumes of all pods of this node."""

    def __init__(
        self, root: Path, node: str, client: Client, drivers: Drivers, changed: Callable[[], None]
    ) -> None:
        """Take `changed`, which is called when other volumes are in use than before."""
        self._root = root
        self._node = node
        self._client = client
        self._drivers = drivers
        self._changed = changed
        self._published: dict[tuple[str, str], Path] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    def in_use(self) -> list[str]:
        """Return the volumes that the node's status names: all that may still be mounted."""
        records = (read(path) for path in self._records("*"))
        return sorted({f"kubernetes.io/csi/{r['driverName']}^{r['volumeHandle']}" for r in records})

    async def set_up(self, pod: Obj, persistent: Mapping[str, Obj]) -> dict[str, Path]:
        """Have all CSI volumes of a pod mounted; return where each lies, by name.

        Raises:
            VolumeError: one cannot be mounted now.

        """
        found = {}
        for volume in csi_volumes(pod, persistent):
            key = (uid_of(pod), volume.name)
            if key not in self._published:
                self._published[key] = await self._mount(pod, volume)
            found[volume.name] = self._published[key]
        return found

    async def tear_down(self, uid: str) -> bool:
        """Have all CSI volumes of a pod unmounted; tell whether all are."""
        done = True
        for record in list(self._records(uid)):
            done = await self._unmount(record) and done
        for key in [key for key in self._published if key[0] == uid]:
            del self._published[key]
        return done

    # --- there ---

    async def _mount(self, pod: Obj, volume: Volume) -> Path:
        driver = self._driver(volume.driver)
        if driver is None:
            raise VolumeError(
                f'MountVolume.MountDevice failed for volume "{volume.folder_name}" : '
                f"kubernetes.io/csi: driver name {volume.driver} not found in the list of "
                "registered CSI drivers"
            )
        info = await self._asked(volume)
        context = await self._publish_context(volume, info)
        folder = self._root / "pods" / uid_of(pod) / "volumes" / KIND / volume.folder_name
        await asyncio.to_thread(self._note, folder, volume)
        self._changed()
        async with self._locks.setdefault(volume.unique_name, asyncio.Lock()):
            try:
                staged = await self._stage(driver, volume, context)
            except CriError as error:
                raise _failed("MountVolume.MountDevice", volume, error) from None
            try:
                await self._publish(driver, (pod, volume, info), staged, context)
            except CriError as error:
                raise _failed("MountVolume.SetUp", volume, error) from None
        await self._own(driver, pod, volume, info)
        return folder / "mount"

    def _driver(self, name: str) -> Driver | None:
        return self._drivers.get(name)

    async def _asked(self, volume: Volume) -> Obj:
        """Return what the CSIDriver object says; empty where there is none."""
        try:
            found = await self._client.get(CSIDRIVERS, volume.driver)
        except NotFoundError:
            return {}
        except StatusError as error:
            raise VolumeError(f"failed to get CSIDriver {volume.driver}: {error}") from None
        spec: Obj = found.get("spec") or {}
        return spec

    async def _publish_context(self, volume: Volume, info: Obj) -> Mapping[str, str]:
        """Wait for the volume to be attached where its driver wants that."""
        if volume.is_ephemeral or not info.get("attachRequired", True):
            return {}
        text = f"{volume.handle}{volume.driver}{self._node}"
        name = f"csi-{hashlib.sha256(text.encode()).hexdigest()}"
        where = f'MountVolume.WaitForAttach failed for volume "{volume.folder_name}" : '
        try:
            attachment = await self._client.get(VOLUMEATTACHMENTS, name)
        except StatusError as error:
            raise VolumeError(f"{where}{error}") from None
        if not get(attachment, "status.attached"):
            raise VolumeError(f"{where}volume {volume.handle} has not been attached yet")
        context: Mapping[str, str] = get(attachment, "status.attachmentMetadata") or {}
        return context

    def _note(self, folder: Path, volume: Volume) -> None:
        """Write down what is about to be done."""
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        record = {
            "specVolID": volume.folder_name,
            "volumeHandle": volume.handle,
            "driverName": volume.driver,
            "nodeName": self._node,
            "volumeLifecycleMode": "Ephemeral" if volume.is_ephemeral else "Persistent",
        }
        write_atomic(folder / RECORD, json.dumps(record).encode())

    async def _stage(
        self, driver: Driver, volume: Volume, context: Mapping[str, str]
    ) -> Path | None:
        if volume.is_ephemeral or not await driver.can(STAGES):
            return None
        staged = self._staged(volume.driver, volume.handle)
        await asyncio.to_thread(staged.mkdir, 0o750, parents=True, exist_ok=True)
        attributes = volume.source.get("volumeAttributes") or {}
        message = {
            "volume_id": volume.handle,
            "publish_context": context,
            "volume_context": attributes,
        }
        secrets = await self._secrets(volume, "nodeStageSecretRef")
        await driver.stage(message, staged, volume.use, secrets)
        return staged

    async def _publish(
        self,
        driver: Driver,
        what: tuple[Obj, Volume, Obj],
        staged: Path | None,
        context: Mapping[str, str],
    ) -> None:
        pod, volume, info = what
        attributes = dict(volume.source.get("volumeAttributes") or {})
        if info.get("podInfoOnMount"):
            attributes |= pod_info(pod, is_ephemeral=volume.is_ephemeral)
        message = {
            "volume_id": volume.handle,
            "publish_context": context,
            "volume_context": attributes,
        }
        folder = self._root / "pods" / uid_of(pod) / "volumes" / KIND / volume.folder_name
        secrets = await self._secrets(volume, "nodePublishSecretRef")
        await driver.publish(message, (staged, folder / "mount"), volume.use, secrets)

    async def _secrets(self, volume: Volume, which: str) -> dict[str, str]:
        ref = volume.source.get(which)
        if not ref:
            return {}
        try:
            namespace = ref.get("namespace") or volume.namespace
            found = await self._client.get(SECRETS, ref["name"], namespace)
        except StatusError as error:
            raise VolumeError(f"failed to get secret of {which}: {error}") from None
        return {key: value.decode() for key, value in decoded(found).items()}

    async def _own(self, driver: Driver, pod: Obj, volume: Volume, info: Obj) -> None:
        """Give the files to fsGroup, where that is not the driver's business."""
        group = volume.use.group
        policy = info.get("fsGroupPolicy", "ReadWriteOnceWithFSType")
        if group is None or volume.use.read_only or policy == "None":
            return
        once = volume.use.mode in ("ReadWriteOnce", "ReadWriteOncePod") and volume.use.fs_type
        if (policy != "File" and not once) or await driver.can(MOUNT_GROUP):
            return
        folder = self._root / "pods" / uid_of(pod) / "volumes" / KIND / volume.folder_name
        change = get(pod, "spec.securityContext.fsGroupChangePolicy", "Always")
        await asyncio.to_thread(give, folder / "mount", group, change)

    # --- and back ---

    async def _unmount(self, path: Path) -> bool:
        record = await asyncio.to_thread(read, path)
        driver = self._driver(record["driverName"])
        if driver is None:
            return False  # it comes back, or somebody takes the pod away by hand
        handle, target = record["volumeHandle"], path.parent / "mount"
        unique = f"kubernetes.io/csi/{driver.name}^{handle}"
        async with self._locks.setdefault(unique, asyncio.Lock()):
            try:
                await driver.unpublish(handle, target)
                others = [one for one in self._records("*") if one != path]
                if all(read(one)["volumeHandle"] != handle for one in others):
                    await self._unstage(driver, handle)
            except CriError:
                return False
            await asyncio.to_thread(_forget, path)
            del self._locks[unique]
        self._changed()
        return True

    async def _unstage(self, driver: Driver, handle: str) -> None:
        staged = self._staged(driver.name, handle)
        if staged.exists():
            await driver.unstage(handle, staged)
            await asyncio.to_thread(shutil.rmtree, staged.parent, ignore_errors=True)

    def _staged(self, driver: str, handle: str) -> Path:
        digest = hashlib.sha256(handle.encode()).hexdigest()
        return self._root / "plugins" / "kubernetes.io" / "csi" / driver / digest / "globalmount"

    def _records(self, uid: str) -> Iterator[Path]:
        yield from (self._root / "pods").glob(f"{uid}/volumes/{KIND}/*/{RECORD}")


def csi_volumes(pod: Obj, persistent: Mapping[str, Obj]) -> Iterator[Volume]:
    """Yield the CSI volumes of a pod, persistent and inline."""
    group = get(pod, "spec.securityContext.fsGroup")
    namespace = pod["metadata"].get("namespace", "")
    for volume in volumes_of(pod):
        name, its = volume["name"], persistent.get(volume["name"])
        source = get(its, "spec.csi") if its is not None else volume.get("csi")
        if source is None:
            continue
        text = f"{uid_of(pod)}{name}"
        read_only = source.get("readOnly") or get(volume, "persistentVolumeClaim.readOnly")
        yield Volume(
            name=name,
            folder_name=name if its is None else its["metadata"]["name"],
            driver=source["driver"],
            handle=source.get("volumeHandle") or f"csi-{hashlib.sha256(text.encode()).hexdigest()}",
            source=source,
            use=Use(
                mode=next(iter(get(its, "spec.accessModes") or ()), "ReadWriteOnce"),
                fs_type=source.get("fsType") or "",
                mount_options=get(its, "spec.mountOptions") or (),
                group=group,
                read_only=bool(read_only),
            ),
            namespace=namespace,
            is_ephemeral=its is None,
        )


def pod_info(pod: Obj, *, is_ephemeral: bool) -> dict[str, str]:
    """Return what drivers are told of a pod that want to know."""
    prefix, metadata = "csi.storage.k8s.io", pod["metadata"]
    return {
        f"{prefix}/pod.name": metadata["name"],
        f"{prefix}/pod.namespace": metadata.get("namespace", ""),
        f"{prefix}/pod.uid": uid_of(pod),
        f"{prefix}/serviceAccount.name": get(pod, "spec.serviceAccountName", ""),
        f"{prefix}/ephemeral": "true" if is_ephemeral else "false",
    }


def read(path: Path) -> dict[str, Any]:
    """Return what was written down of a volume."""
    record: dict[str, Any] = json.loads(path.read_bytes())
    return record


def _forget(path: Path) -> None:
    """Remove the traces of a volume that the driver has unmounted."""
    target = path.parent / "mount"
    if is_mount_point(target):
        unmount(target)
    shutil.rmtree(path.parent, ignore_errors=True)


def _failed(step: str, volume: Volume, error: CriError) -> VolumeError:
    code = "".join(word.title() for word in error.code.split("_"))
    return VolumeError(
        f'{step} failed for volume "{volume.folder_name}" : '
        f"rpc error: code = {code} desc = {error.message}"
    )

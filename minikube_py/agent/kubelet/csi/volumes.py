"""CSI volumes of pods: waited for, staged once for the node, published for each pod, and back.

What is about to be done is written down before the driver is called (see `volume.py`), so that
after a crash it is known what has to be taken back; all calls of CSI may be repeated. A volume is
looked at again each minute where its driver wants to be told anew of each pod
(`requiresRepublish`), or can make it larger while it is in use.
"""

import asyncio
import contextlib
import json
import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from minikube_py.agent.cri.errors import CriError
from minikube_py.agent.kubelet.csi.driver import (
    EXPANDS,
    MEASURES,
    MOUNT_GROUP,
    STAGES,
    Driver,
    Usage,
)
from minikube_py.agent.kubelet.csi.expansion import grow
from minikube_py.agent.kubelet.csi.volume import Places, Volume, csi_volumes, pod_info, read
from minikube_py.agent.kubelet.stats.disk import Space, Used
from minikube_py.agent.kubelet.stats.volume_metrics import VolumeUse
from minikube_py.agent.kubelet.tokens import TokenError, Tokens
from minikube_py.agent.kubelet.volumes.mounts import is_mount_point, unmount
from minikube_py.agent.kubelet.volumes.ownership import give
from minikube_py.agent.kubelet.volumes.payload import VolumeError, decoded
from minikube_py.api import times
from minikube_py.api.core import SECRETS
from minikube_py.api.errors import NotFoundError, StatusError
from minikube_py.api.object import Obj, get, uid_of
from minikube_py.api.storage import CSIDRIVERS, VOLUMEATTACHMENTS
from minikube_py.api.storage.volumeattachment import attachment_name
from minikube_py.client.protocol import Client
from minikube_py.lib.clock import Clock
from minikube_py.lib.fsutil import write_atomic

log = logging.getLogger(__name__)
AGAIN_SECONDS = 60.0
"""As often as upstream's kubelet looks at a pod that it has no other reason to look at."""
TOKENS = "csi.storage.k8s.io/serviceAccount.tokens"


class Drivers(Protocol):
    """Who knows the drivers of this node."""

    def get(self, name: str) -> Driver | None:
        """Return a driver by its name."""


class Services(NamedTuple):
    """What acts for the volumes of a node."""

    client: Client
    drivers: Drivers
    tokens: Tokens
    clock: Clock


@dataclass(frozen=True)
class _Job:
    """A volume of a pod, and all that its driver is told of it."""

    pod: Obj
    volume: Volume
    driver: Driver
    info: Obj
    """The spec of the CSIDriver."""
    context: Mapping[str, str]
    """What was found when it was attached."""
    record: Path
    """Where it is written down."""
    target: Path
    staged: Path | None = None


@dataclass(frozen=True)
class _Held:
    """A volume that a pod has."""

    job: _Job
    again_at: float | None
    """When (monotonic) it is looked at again."""


class CsiVolumes:
    """The CSI volumes of all pods of this node."""

    def __init__(
        self, root: Path, node: str, services: Services, changed: Callable[[], None]
    ) -> None:
        """Take `changed`, which is called when other volumes are in use than before."""
        self._root = root
        self._places = Places(root)
        self._node = node
        self._client = services.client
        self._drivers = services.drivers
        self._tokens = services.tokens
        self._clock = services.clock
        self._changed = changed
        self._held: dict[tuple[str, str], _Held] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    def in_use(self) -> list[str]:
        """Return the volumes that the node's status names: all that may still be mounted."""
        records = (read(path) for path in self._places.records("*"))
        return sorted({f"kubernetes.io/csi/{r['driverName']}^{r['volumeHandle']}" for r in records})

    async def set_up(self, pod: Obj, persistent: Mapping[str, Obj]) -> dict[str, Path]:
        """Have all CSI volumes of a pod mounted; return where each lies, by name.

        Raises:
            VolumeError: one cannot be mounted now.

        """
        found = {}
        for volume in csi_volumes(pod, persistent):
            key = (uid_of(pod), volume.name)
            held = self._held.get(key)
            if held is None:
                held = self._held[key] = await self._mount(pod, volume)
            elif held.again_at is not None and self._clock.monotonic() >= held.again_at:
                held = self._held[key] = await self._look_again(pod, held)
            found[volume.name] = held.job.target
        return found

    def due(self, uid: str) -> float | None:
        """Return when (monotonic) a volume of a pod is to be looked at again, if ever."""
        moments = (held.again_at for key, held in self._held.items() if key[0] == uid)
        return min((moment for moment in moments if moment is not None), default=None)

    async def usage(self, uid: str) -> dict[str, VolumeUse]:
        """Return how full the volumes of a pod are, as their drivers measure it, by name."""
        found = {}
        for (whose, name), held in tuple(self._held.items()):
            job = held.job
            if whose != uid:
                continue
            with contextlib.suppress(CriError):
                if await job.driver.can(MEASURES):
                    paths = (job.staged, job.target)
                    found[name] = _use(await job.driver.usage(job.volume.handle, paths))
        return found

    async def tear_down(self, uid: str) -> bool:
        """Have all CSI volumes of a pod unmounted; tell whether all are."""
        done = True
        for record in list(self._places.records(uid)):
            done = await self._unmount(record) and done
        for key in [key for key in self._held if key[0] == uid]:
            del self._held[key]
        return done

    # --- there ---

    async def _mount(self, pod: Obj, volume: Volume) -> _Held:
        job = await self._job(pod, volume)
        await asyncio.to_thread(self._note, job)
        self._changed()
        async with self._locks.setdefault(volume.unique_name, asyncio.Lock()):
            try:
                job = replace(job, staged=await self._stage(job))
            except CriError as error:
                raise _failed("MountVolume.MountDevice", volume, error) from None
            try:
                await self._publish(job)
                await self._grow(job)
                again = job.info.get("requiresRepublish") or await self._expands(job)
            except CriError as error:
                raise _failed("MountVolume.SetUp", volume, error) from None
        await self._own(job)
        return _Held(job, self._clock.monotonic() + AGAIN_SECONDS if again else None)

    async def _job(self, pod: Obj, volume: Volume) -> _Job:
        """Gather what the driver is told; raises VolumeError."""
        driver = self._drivers.get(volume.driver)
        if driver is None:
            raise VolumeError(
                f'MountVolume.MountDevice failed for volume "{volume.folder_name}" : '
                f"kubernetes.io/csi: driver name {volume.driver} not found in the list of "
                "registered CSI drivers"
            )
        info = await self._asked(volume)
        context = await self._publish_context(volume, info)
        is_block = volume.use.is_block
        record = self._places.record(uid_of(pod), volume.folder_name, is_block=is_block)
        target = self._places.published(volume.record(self._node), record)
        return _Job(pod, volume, driver, info, context, record, target)

    async def _look_again(self, pod: Obj, held: _Held) -> _Held:
        """Tell the driver of the pod anew, or have the volume grown; the pod has it anyway."""
        try:
            now = await self._job(pod, held.job.volume)
            job = replace(now, staged=held.job.staged)
            async with self._locks.setdefault(job.volume.unique_name, asyncio.Lock()):
                if job.info.get("requiresRepublish"):
                    await self._publish(job)
                await self._grow(job)
        except (VolumeError, TokenError, CriError) as error:
            name = held.job.volume.folder_name
            log.warning("CSI volume not looked after volume=%s error=%s", name, error)
            job = held.job
        return _Held(job, self._clock.monotonic() + AGAIN_SECONDS)

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
        source = {"volumeHandle": volume.handle, "driver": volume.driver}
        name = attachment_name(source, self._node)
        where = f'MountVolume.WaitForAttach failed for volume "{volume.folder_name}" : '
        try:
            attachment = await self._client.get(VOLUMEATTACHMENTS, name)
        except StatusError as error:
            raise VolumeError(f"{where}{error}") from None
        if not get(attachment, "status.attached"):
            raise VolumeError(f"{where}volume {volume.handle} has not been attached yet")
        context: Mapping[str, str] = get(attachment, "status.attachmentMetadata") or {}
        return context

    def _note(self, job: _Job) -> None:
        """Write down what is about to be done."""
        for folder in (job.record.parent, job.target.parent):
            folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        record = job.volume.record(self._node)
        write_atomic(job.record, json.dumps(record).encode())

    async def _stage(self, job: _Job) -> Path | None:
        volume = job.volume
        if volume.is_ephemeral or not await job.driver.can(STAGES):
            return None
        staged = self._places.staged(volume.record(self._node))
        await asyncio.to_thread(staged.mkdir, 0o750, parents=True, exist_ok=True)
        attributes = volume.source.get("volumeAttributes") or {}
        message = {
            "volume_id": volume.handle,
            "publish_context": job.context,
            "volume_context": attributes,
        }
        secrets = await self._secrets(volume, "nodeStageSecretRef")
        await job.driver.stage(message, staged, volume.use, secrets)
        return staged

    async def _publish(self, job: _Job) -> None:
        volume = job.volume
        attributes = dict(volume.source.get("volumeAttributes") or {})
        if job.info.get("podInfoOnMount"):
            attributes |= pod_info(job.pod, is_ephemeral=volume.is_ephemeral)
        secrets = await self._secrets(volume, "nodePublishSecretRef")
        tokens = await self._granted(job)
        if job.info.get("serviceAccountTokenInSecrets"):
            secrets |= tokens
        else:
            attributes |= tokens
        message = {
            "volume_id": volume.handle,
            "publish_context": job.context,
            "volume_context": attributes,
        }
        await job.driver.publish(message, (job.staged, job.target), volume.use, secrets)

    async def _granted(self, job: _Job) -> dict[str, str]:
        """Return the pod's tokens that the driver wants to have; raises VolumeError."""
        wanted = job.info.get("tokenRequests")
        if not wanted:
            return {}
        tokens = await self._tokens.granted(job.pod, wanted)
        told = {
            audience: {"token": token, "expirationTimestamp": times.format_seconds(expires)}
            for audience, (token, expires) in tokens.items()
        }
        return {TOKENS: json.dumps(told, separators=(",", ":"))}

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

    async def _expands(self, job: _Job) -> bool:
        return job.volume.claim is not None and await job.driver.can(EXPANDS)

    async def _grow(self, job: _Job) -> None:
        """Have the volume grown where its claim waits for that; raises CriError, VolumeError."""
        if await self._expands(job):
            await grow(self._client, job.driver, job.volume, (job.staged, job.target))

    async def _own(self, job: _Job) -> None:
        """Give the files to fsGroup, where that is not the driver's business."""
        use = job.volume.use
        policy = job.info.get("fsGroupPolicy", "ReadWriteOnceWithFSType")
        if use.group is None or use.read_only or use.is_block or policy == "None":
            return
        once = use.mode in ("ReadWriteOnce", "ReadWriteOncePod") and use.fs_type
        if (policy != "File" and not once) or await job.driver.can(MOUNT_GROUP):
            return
        change = get(job.pod, "spec.securityContext.fsGroupChangePolicy", "Always")
        await asyncio.to_thread(give, job.target, use.group, change)

    # --- and back ---

    async def _unmount(self, path: Path) -> bool:
        record = await asyncio.to_thread(read, path)
        driver = self._drivers.get(record["driverName"])
        if driver is None:
            return False  # it comes back, or somebody takes the pod away by hand
        handle, target = record["volumeHandle"], self._places.published(record, path)
        unique = f"kubernetes.io/csi/{driver.name}^{handle}"
        async with self._locks.setdefault(unique, asyncio.Lock()):
            try:
                await driver.unpublish(handle, target)
                others = [one for one in self._places.records("*") if one != path]
                if all(read(one)["volumeHandle"] != handle for one in others):
                    await self._unstage(driver, record)
            except CriError:
                return False
            await asyncio.to_thread(_forget, path, target)
            self._locks.pop(unique, None)
        self._changed()
        return True

    async def _unstage(self, driver: Driver, record: Mapping[str, Any]) -> None:
        staged = self._places.staged(record)
        if staged.exists():
            await driver.unstage(record["volumeHandle"], staged)
            folder = staged.parent if staged.name == "globalmount" else staged
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def _use(units: Mapping[str, Usage]) -> VolumeUse:
    size, files = units.get("BYTES", Usage()), units.get("INODES", Usage())
    return VolumeUse(
        Space(size.total, size.available, files.total, files.available),
        Used(size.used, files.used),
    )


def _forget(path: Path, target: Path) -> None:
    """Remove the traces of a volume that the driver has unmounted."""
    if is_mount_point(target):
        unmount(target)
    shutil.rmtree(path.parent, ignore_errors=True)
    if not target.is_dir():
        target.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        target.parent.rmdir()  # of a device, when no other pod has it


def _failed(step: str, volume: Volume, error: CriError) -> VolumeError:
    code = "".join(word.title() for word in error.code.split("_"))
    return VolumeError(
        f'{step} failed for volume "{volume.folder_name}" : '
        f"rpc error: code = {code} desc = {error.message}"
    )

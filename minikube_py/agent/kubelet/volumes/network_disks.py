"""NFS and iSCSI volumes, by the programs of the machine: mount, iscsiadm, blkid and mkfs.

    pods/<uid>/volumes/kubernetes.io~nfs/<volume>          mounted for one pod
    pods/<uid>/volumes/kubernetes.io~iscsi/<volume>        the same
    pods/<uid>/iscsi/<volume>.json                         which session the pod uses

A program that is not there is named, with the package that has it. They may take long when a server
does not answer, so they are waited for without a thread, and given up after two minutes. A session
of iSCSI ends with the last pod of the node that uses it. What is called, and with which arguments,
is as in upstream's nfs and iscsi plugins.
"""

import asyncio
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minikube_py.agent.kubelet.pod import volumes_of
from minikube_py.agent.kubelet.volumes.claims import as_volume
from minikube_py.agent.kubelet.volumes.mounts import is_mount_point, unmount
from minikube_py.agent.kubelet.volumes.ownership import give
from minikube_py.agent.kubelet.volumes.payload import VolumeError, decoded
from minikube_py.api.core import SECRETS
from minikube_py.api.errors import StatusError
from minikube_py.api.object import Obj, get, uid_of
from minikube_py.client.protocol import Client
from minikube_py.lib import programs
from minikube_py.lib.clock import Clock
from minikube_py.lib.fsutil import write_atomic
from minikube_py.lib.programs import ProgramError

PROGRAM_SECONDS = 120.0
DEVICE_SECONDS = 10.0
"""How long a device may take to appear after a login, as upstream waits."""
LOOK_SECONDS = 0.2
PACKAGES = {
    "mount.nfs": "nfs-common or nfs-utils",
    "iscsiadm": "open-iscsi or iscsi-initiator-utils",
    "mount": "util-linux",
    "blkid": "util-linux",
}
KINDS = ("nfs", "iscsi")
BY_PATH = Path("/dev/disk/by-path")
OUTPUT_BYTES_SHOWN = 1000
DEFAULT_PORT = 3260
CHAP = ("discovery.sendtargets.auth.", "node.session.auth.")
NO_TYPE = 2
"""blkid ends with it where a device holds nothing that it knows."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """One unit of an iSCSI target, and how it is reached."""

    portal: str
    iqn: str
    lun: int
    interface: str = "default"

    @property
    def device(self) -> str:
        """The name of its device in /dev/disk/by-path."""
        return f"ip-{self.portal}-iscsi-{self.iqn}-lun-{self.lun}"


def target_of(source: Obj) -> Target:
    """Return the target of an iscsi source; a portal without port has the usual one."""
    portal = str(source["targetPortal"])
    if ":" not in portal.rpartition("]")[2]:
        portal += f":{DEFAULT_PORT}"
    return Target(
        portal=portal,
        iqn=str(source["iqn"]),
        lun=int(source.get("lun", 0)),
        interface=str(source.get("iscsiInterface") or "default"),
    )


class Programs:
    """Runs the machine's programs."""

    def __init__(self, search: str | None = None) -> None:
        """Take where to look for them, as in PATH; None for the usual places."""
        self._search = search

    def need(self, name: str) -> str:
        """Return the path of a program; raises VolumeError with the remedy."""
        found = shutil.which(name, path=self._search)
        if found is None:
            package = PACKAGES.get(name, name)
            raise VolumeError(f"{name} is not on this node; install {package} to mount this volume")
        return found

    async def run(self, name: str, *arguments: str, fine: Sequence[int] = (0,)) -> str:
        """Run a program and return what it prints; raises VolumeError where it fails."""
        try:
            ended = await programs.run(self.need(name), *arguments, seconds=PROGRAM_SECONDS)
        except ProgramError as error:
            raise VolumeError(str(error)) from None
        output = f"{ended.printed}{ended.complaint}".strip()[-OUTPUT_BYTES_SHOWN:]
        if ended.status not in fine:
            raise VolumeError(f"{name} failed: exit status {ended.status}\nOutput: {output}")
        return output


class NetworkDisks:
    """The NFS and iSCSI volumes of the pods of this node."""

    def __init__(
        self,
        root: Path,
        client: Client,
        clock: Clock,
        programs: Programs | None = None,
        devices: Path = BY_PATH,
    ) -> None:
        self._pods = root / "pods"
        self._client = client
        self._clock = clock
        self._programs = programs or Programs()
        self._devices = devices
        self._lock = asyncio.Lock()
        """Sessions belong to the whole node."""

    async def set_up(self, pod: Obj, persistent: Mapping[str, Obj]) -> dict[str, Path]:
        """Have all of a pod's volumes of these kinds mounted; return where each lies, by name.

        Raises:
            VolumeError: one cannot be mounted now.

        """
        found = {}
        for one in _volumes(pod, persistent):
            name = one.source["name"]
            try:
                mount = self._nfs if "nfs" in one.source else self._iscsi
                found[name] = await mount(pod, one)
            except VolumeError as error:
                raise VolumeError(
                    f'MountVolume.SetUp failed for volume "{name}" : {error}'
                ) from None
        return found

    def _folder(self, pod: Obj, kind: str, name: str) -> Path:
        return self._pods / uid_of(pod) / "volumes" / f"kubernetes.io~{kind}" / name

    async def _nfs(self, pod: Obj, volume: "_Volume") -> Path:
        source, folder = volume.source["nfs"], self._folder(pod, "nfs", volume.source["name"])
        if await asyncio.to_thread(is_mount_point, folder):
            return folder
        self._programs.need("mount.nfs")
        await asyncio.to_thread(folder.mkdir, 0o750, parents=True, exist_ok=True)
        host = str(source["server"])
        host = f"[{host}]" if ":" in host and not host.startswith("[") else host
        await self._programs.run(
            "mount", "-t", "nfs", *volume.options(source), f"{host}:{source['path']}", str(folder)
        )
        return folder

    async def _iscsi(self, pod: Obj, volume: "_Volume") -> Path:
        source, target = volume.source["iscsi"], target_of(volume.source["iscsi"])
        folder = self._folder(pod, "iscsi", volume.source["name"])
        device = self._devices / target.device
        if await asyncio.to_thread(is_mount_point, folder):
            return folder
        async with self._lock:
            self._note(pod, volume.source["name"], target)
            if not device.exists():
                await self._log_in(target, source, await self._keys(pod, source))
                await self._appeared(device)
            if get(volume.its, "spec.volumeMode") == "Block":
                return device
            await asyncio.to_thread(folder.mkdir, 0o750, parents=True, exist_ok=True)
            kind = str(source.get("fsType") or "ext4")
            options = volume.options(source)
            read_only = volume.read_only or bool(source.get("readOnly"))
            if not read_only:
                await self._format(device, kind)
            await self._programs.run("mount", "-t", kind, *options, str(device), str(folder))
        await _own(pod, folder, read_only=read_only)
        return folder

    async def _log_in(self, target: Target, source: Obj, keys: Mapping[str, str]) -> None:
        """Make a session with a target, with its secrets where it wants them."""
        reach = ("-p", target.portal, "-I", target.interface)
        database = ("-m", "discoverydb", "-t", "sendtargets", *reach)
        node = ("-m", "node", *reach, "-T", target.iqn)
        await self._programs.run("iscsiadm", *database, "-o", "new")
        if source.get("chapAuthDiscovery"):
            await self._authenticate(database, CHAP[0], keys)
        await self._programs.run("iscsiadm", *database, "--discover")
        if source.get("chapAuthSession"):
            await self._authenticate(node, CHAP[1], keys)
        already = 15
        await self._programs.run("iscsiadm", *node, "--login", fine=(0, already))
        # The machine is not to make this session by itself when it starts.
        update = ("-o", "update", "-n", "node.startup", "-v", "manual")
        await self._programs.run("iscsiadm", *node, *update)

    async def _authenticate(
        self, record: Sequence[str], prefix: str, keys: Mapping[str, str]
    ) -> None:
        settings = {f"{prefix}authmethod": "CHAP"}
        settings |= {k: v for k, v in keys.items() if k.startswith(prefix) and v}
        for name, value in settings.items():
            try:
                update = ("-o", "update", "-n", name, "-v", value)
                await self._programs.run("iscsiadm", *record, *update)
            except VolumeError:
                raise VolumeError(f"iscsi: failed to set {name}") from None  # never its value

    async def _keys(self, pod: Obj, source: Obj) -> dict[str, str]:
        """Return what the secret of a source holds; raises VolumeError."""
        ref = source.get("secretRef")
        if not ref:
            return {}
        namespace = ref.get("namespace") or pod["metadata"].get("namespace", "")
        try:
            found = await self._client.get(SECRETS, ref["name"], namespace)
        except StatusError as error:
            raise VolumeError(f"failed to get secret of iscsi volume: {error}") from None
        return {
            key: value.decode(errors="replace").strip() for key, value in decoded(found).items()
        }

    async def _appeared(self, device: Path) -> None:
        deadline = self._clock.monotonic() + DEVICE_SECONDS
        while not await asyncio.to_thread(device.exists):
            if self._clock.monotonic() > deadline:
                raise VolumeError(f"iscsi: device {device.name} did not appear after the login")
            await self._clock.sleep(LOOK_SECONDS)

    async def _format(self, device: Path, kind: str) -> None:
        """Make a file system on a device that holds nothing at all."""
        ask = ("-p", "-s", "TYPE", "-s", "PTTYPE", "-o", "export", str(device))
        known = await self._programs.run("blkid", *ask, fine=(0, NO_TYPE))
        if not known:
            flags = ("-F", "-m0") if kind in ("ext3", "ext4") else ()
            await self._programs.run(f"mkfs.{kind}", *flags, str(device))

    def _note(self, pod: Obj, name: str, target: Target) -> None:
        """Write down which session a pod uses, before it is made."""
        path = self._pods / uid_of(pod) / "iscsi" / f"{name}.json"
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        write_atomic(path, json.dumps(vars(target)).encode())

    # --- and back ---

    async def tear_down(self, uid: str) -> bool:
        """Unmount iSCSI volumes of a pod and end sessions that nobody uses; tell whether all are.

        NFS volumes are plain mounts, which go with the pod's folder.
        """
        for path in list(self._pods.glob(f"{uid}/iscsi/*.json")):
            async with self._lock:
                try:
                    await self._release(uid, path)
                except (OSError, VolumeError):
                    return False
        return True

    async def _release(self, uid: str, path: Path) -> None:
        folder = self._pods / uid / "volumes" / "kubernetes.io~iscsi" / path.stem
        if await asyncio.to_thread(is_mount_point, folder):
            await asyncio.to_thread(unmount, folder)
        target = _read(path)
        others = (_read(one) for one in self._pods.glob("*/iscsi/*.json") if one != path)
        if all((one.portal, one.iqn) != (target.portal, target.iqn) for one in others):
            node = ("-m", "node", "-p", target.portal, "-T", target.iqn, "-I", target.interface)
            none = 21
            await self._programs.run("iscsiadm", *node, "--logout", fine=(0, none))
            await self._programs.run("iscsiadm", *node, "-o", "delete", fine=(0, none))
        await asyncio.to_thread(path.unlink, missing_ok=True)


@dataclass(frozen=True)
class _Volume:
    """A volume of one of these kinds."""

    source: Obj
    """As a pod's volumes are written, also where a persistent one is behind it."""
    its: Obj | None
    """The persistent volume, if any."""
    read_only: bool
    """By the word of the pod."""

    def options(self, source: Obj) -> tuple[str, ...]:
        """Return the arguments of mount about options."""
        read_only = self.read_only or source.get("readOnly")
        options = [*(("ro",) if read_only else ()), *(get(self.its, "spec.mountOptions") or ())]
        return ("-o", ",".join(options)) if options else ()


def _volumes(pod: Obj, persistent: Mapping[str, Obj]) -> Iterator[_Volume]:
    for volume in volumes_of(pod):
        its = persistent.get(volume["name"])
        shown = volume if its is None else as_volume(volume["name"], its)
        if any(kind in shown for kind in KINDS):
            yield _Volume(shown, its, bool(get(volume, "persistentVolumeClaim.readOnly")))


async def _own(pod: Obj, folder: Path, *, read_only: bool) -> None:
    group = get(pod, "spec.securityContext.fsGroup")
    if group is not None and not read_only:
        policy = get(pod, "spec.securityContext.fsGroupChangePolicy", "Always")
        await asyncio.to_thread(give, folder, int(group), policy)


def _read(path: Path) -> Target:
    record: Mapping[str, Any] = json.loads(path.read_bytes())
    return Target(**record)

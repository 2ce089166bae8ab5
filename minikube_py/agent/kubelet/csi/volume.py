"""What a pod's CSI volumes are, and where they lie: pure but for the reading of records.

    plugins/kubernetes.io/csi/<driver>/<sha256 of the handle>/globalmount    where it is staged
    pods/<uid>/volumes/kubernetes.io~csi/<volume>/vol_data.json              what was done
    pods/<uid>/volumes/kubernetes.io~csi/<volume>/mount                      what the pod gets

and of block devices:

    plugins/kubernetes.io/csi/volumeDevices/staging/<volume>
    plugins/kubernetes.io/csi/volumeDevices/publish/<volume>/<uid>           what the pod gets
    pods/<uid>/volumeDevices/kubernetes.io~csi/<volume>/vol_data.json

The layout is the kubelet's, which drivers rely on.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minikube_py.agent.kubelet.csi.driver import Use
from minikube_py.agent.kubelet.pod import volumes_of
from minikube_py.api.object import Key, Obj, get, uid_of

KIND = "kubernetes.io~csi"
RECORD = "vol_data.json"


@dataclass(frozen=True)
class Places:
    """Where the CSI volumes of a node lie."""

    root: Path

    @property
    def _plugins(self) -> Path:
        return self.root / "plugins" / "kubernetes.io" / "csi"

    def record(self, uid: str, volume: str, *, is_block: bool) -> Path:
        """Return where it is written down that a pod has a volume."""
        kind = "volumeDevices" if is_block else "volumes"
        return self.root / "pods" / uid / kind / KIND / volume / RECORD

    def records(self, uid: str) -> Iterator[Path]:
        """Yield what is written down of a pod, or of all for `*`."""
        pods = self.root / "pods"
        yield from pods.glob(f"{uid}/volumes/{KIND}/*/{RECORD}")
        yield from pods.glob(f"{uid}/volumeDevices/{KIND}/*/{RECORD}")

    def staged(self, record: Mapping[str, Any]) -> Path:
        """Return where a driver makes a volume ready for the node."""
        if is_block(record):
            return self._plugins / "volumeDevices" / "staging" / str(record["specVolID"])
        digest = hashlib.sha256(record["volumeHandle"].encode()).hexdigest()
        return self._plugins / str(record["driverName"]) / digest / "globalmount"

    def published(self, record: Mapping[str, Any], path: Path) -> Path:
        """Return where a driver shows a volume to the pod whose record lies at `path`."""
        if not is_block(record):
            return path.parent / "mount"
        uid = path.relative_to(self.root / "pods").parts[0]
        return self._plugins / "volumeDevices" / "publish" / str(record["specVolID"]) / uid


def is_block(record: Mapping[str, Any]) -> bool:
    """Tell whether a record is that of a block device."""
    return record.get("volumeMode") == "Block"


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
    claim: Key | None = None
    """The claim that is bound to it, where it is persistent."""

    @property
    def unique_name(self) -> str:
        """What the node's status calls it."""
        return f"kubernetes.io/csi/{self.driver}^{self.handle}"

    def record(self, node: str) -> dict[str, Any]:
        """Return what is written down of the volume on a node."""
        return {
            "specVolID": self.folder_name,
            "volumeHandle": self.handle,
            "driverName": self.driver,
            "nodeName": node,
            "volumeLifecycleMode": "Ephemeral" if self.is_ephemeral else "Persistent",
            "volumeMode": "Block" if self.use.is_block else "Filesystem",
        }


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
                is_block=get(its, "spec.volumeMode") == "Block",
            ),
            namespace=namespace,
            is_ephemeral=its is None,
            claim=_claim(its),
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


def _claim(persistent: Obj | None) -> Key | None:
    ref = get(persistent, "spec.claimRef")
    return Key(ref.get("namespace", ""), ref["name"]) if ref else None

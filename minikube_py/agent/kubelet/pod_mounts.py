"""What a container finds in its file system beside its image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from minikube_py.agent.kubelet.config import Device, Mount
from minikube_py.agent.kubelet.dns import hosts_file
from minikube_py.agent.kubelet.expansion import expand, unknown_names
from minikube_py.agent.kubelet.pod import Spec, is_host_network, volumes_of
from minikube_py.agent.kubelet.volumes.payload import VolumeError
from minikube_py.agent.kubelet.volumes.pod_volumes import ALWAYS_READ_ONLY
from minikube_py.agent.kubelet.volumes.subpath import prepare
from minikube_py.api.object import Obj, get

ETC_HOSTS = "/etc/hosts"


@dataclass(frozen=True, kw_only=True)
class ContainerFiles:
    """A container at its start, as far as its files are concerned."""

    pod: Obj
    spec: Spec
    folder: Path
    """Of its pod."""
    volumes: Mapping[str, Path]
    env: Mapping[str, str]
    ips: Sequence[str]
    domain: str
    attempt: int
    recursive_read_only: bool = False
    """Whether the runtime can make all below a mount read-only."""

    def mounts(self) -> list[Mount]:
        """Return the mounts of the container, made ready.

        Raises:
            VolumeError: a mount leads nowhere.
            OSError: the node's disk refused.

        """
        wanted = self.spec.container.get("volumeMounts") or ()
        mounts = [self._volume(mount, index) for index, mount in enumerate(wanted)]
        taken = {mount.container_path for mount in mounts}
        if ETC_HOSTS not in taken and (self.ips or is_host_network(self.pod)):
            mounts.append(_hosts(self.pod, self.folder, self.ips, self.domain))
        words = self.spec.container.get("terminationMessagePath")
        if words and words not in taken:
            mounts.append(_last_words(self.spec, self.folder, words, self.attempt))
        return mounts

    def devices(self) -> list[Device]:
        """Return the block devices of the container.

        Raises:
            VolumeError: a volume is not there, or none of that kind.

        """
        return [self._device(wanted) for wanted in self.spec.container.get("volumeDevices") or ()]

    def _device(self, wanted: Obj) -> Device:
        name = wanted["name"]
        path = self.volumes.get(name)
        if path is None or not path.is_block_device():
            raise VolumeError(
                f'cannot find volume "{name}" to pass into container "{self.spec.name}"'
            )
        read_only = _is_read_only(self.pod, name)
        permissions = "r" if read_only else "mrw"
        return Device(container_path=wanted["devicePath"], host_path=path, permissions=permissions)

    def _volume(self, mount: Obj, index: int) -> Mount:
        name, inside = mount["name"], str(mount["mountPath"])
        path = self.volumes.get(name)
        if path is None:
            raise VolumeError(
                f'cannot find volume "{name}" to mount into container "{self.spec.name}"'
            )
        sub_path = self._sub_path(mount)
        if sub_path:
            target = self.folder / "volume-subpaths" / name / self.spec.name / str(index)
            path = prepare(path, sub_path, target)
        return Mount(
            container_path=inside if inside.startswith("/") else f"/{inside}",
            host_path=path,
            read_only=bool(mount.get("readOnly")) or _is_read_only(self.pod, name),
            propagation=str(mount.get("mountPropagation") or ""),
            recursive_read_only=self._recursive(mount),
        )

    def _recursive(self, mount: Obj) -> bool:
        """Tell whether all below a mount is to be read-only; raises VolumeError."""
        mode = mount.get("recursiveReadOnly") or "Disabled"
        if mode == "Enabled" and not self.recursive_read_only:
            raise VolumeError(
                f'failed to resolve recursive read-only mode: volume "{mount["name"]}" requested'
                " recursive read-only mode, but it is not supported by the runtime"
            )
        return mode != "Disabled" and self.recursive_read_only

    def _sub_path(self, mount: Obj) -> str:
        sub_path = str(mount.get("subPath") or "")
        if expression := mount.get("subPathExpr"):
            if missing := unknown_names(expression, self.env):
                raise VolumeError(f"missing value for {', '.join(missing)} in subPathExpr")
            sub_path = expand(expression, self.env)
        if sub_path.startswith("/") or ".." in sub_path.split("/"):
            raise VolumeError(
                f'unable to provision SubPath `{sub_path}`: must be relative and without ".."'
            )
        return sub_path


def _is_read_only(pod: Obj, name: str) -> bool:
    volume = next((v for v in volumes_of(pod) if v["name"] == name), {})
    if get(volume, "persistentVolumeClaim.readOnly"):
        return True
    return any(kind in volume for kind in ALWAYS_READ_ONLY)


def _hosts(pod: Obj, folder: Path, ips: Sequence[str], domain: str) -> Mount:
    node_hosts = Path(ETC_HOSTS).read_text() if is_host_network(pod) else ""
    path = folder / "etc-hosts"
    # Written in place: containers that run have this very file mounted.
    path.write_text(hosts_file(pod, ips, domain, node_hosts))
    path.chmod(0o644)
    return Mount(container_path=ETC_HOSTS, host_path=path)


def _last_words(spec: Spec, folder: Path, words: str, attempt: int) -> Mount:
    path = folder / "containers" / spec.name / str(attempt)
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    path.write_bytes(b"")
    path.chmod(0o666)  # whoever the container runs as
    return Mount(container_path=words, host_path=path)

"""The configuration that the runtime gets for a sandbox and for a container: pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from minikube_py.agent.cri.images import Image
from minikube_py.agent.kubelet import observed
from minikube_py.agent.kubelet.cgroups import pod_group
from minikube_py.agent.kubelet.dns import Resolver
from minikube_py.agent.kubelet.expansion import expand
from minikube_py.agent.kubelet.pod import (
    DEFAULT_GRACE_SECONDS,
    container_hash,
    specs_of,
    stop_signal,
)
from minikube_py.agent.kubelet.resources import container_resources
from minikube_py.agent.kubelet.security import (
    Confinement,
    container_context,
    sandbox_context,
    users_option,
)
from minikube_py.agent.kubelet.swap import Swap
from minikube_py.agent.kubelet.sysctls import normal
from minikube_py.api.object import Obj, annotations_of, get, labels_of, uid_of

PROPAGATION = {
    "HostToContainer": "PROPAGATION_HOST_TO_CONTAINER",
    "Bidirectional": "PROPAGATION_BIDIRECTIONAL",
}


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A path of the node inside a container."""

    container_path: str
    host_path: Path
    read_only: bool = False
    propagation: str = ""
    """HostToContainer, Bidirectional, or "" for none."""
    recursive_read_only: bool = False
    """Whether what is mounted below is read-only too."""

    def message(self) -> dict[str, Any]:
        """Return the Mount of CRI."""
        return {
            "container_path": self.container_path,
            "host_path": str(self.host_path),
            "readonly": self.read_only,
            "propagation": PROPAGATION.get(self.propagation, "PROPAGATION_PRIVATE"),
            "recursive_read_only": self.recursive_read_only,
        }


@dataclass(frozen=True, kw_only=True)
class Device:
    """A device of the node inside a container."""

    container_path: str
    host_path: Path
    permissions: str = "mrw"
    """What may be done: make (m), read, write."""

    def message(self) -> dict[str, Any]:
        """Return the Device of CRI."""
        return {
            "container_path": self.container_path,
            "host_path": str(self.host_path),
            "permissions": self.permissions,
        }


@dataclass(frozen=True, kw_only=True)
class Extras:
    """What a container gets beside what its spec says: of device plugins and of the machine."""

    env: Mapping[str, str] = field(default_factory=dict)
    mounts: Sequence[Mount] = ()
    devices: Sequence[Device] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    cdi_devices: Sequence[str] = ()
    """Names of the Container Device Interface, as `vendor.com/class=name`."""
    resources: Mapping[str, Any] = field(default_factory=dict)
    """Fields of LinuxContainerResources."""

    def plus(self, other: "Extras") -> "Extras":
        """Return all of both; where they differ `other` holds."""
        return Extras(
            env={**self.env, **other.env},
            mounts=[*self.mounts, *other.mounts],
            devices=[*self.devices, *other.devices],
            annotations={**self.annotations, **other.annotations},
            cdi_devices=[*self.cdi_devices, *other.cdi_devices],
            resources={**self.resources, **other.resources},
        )


NO_EXTRAS = Extras()


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What configurations need to know of the node."""

    memory_bytes: int
    unified: bool
    """Whether version 2 of cgroups holds the controllers."""
    seccomp_folder: Path
    apparmor: bool = False
    """Whether the kernel has AppArmor."""
    swap: Swap = Swap()


def log_directory(root: Path, pod: Obj) -> Path:
    """Return where the logs of a pod lie; other tools know this layout."""
    metadata = pod["metadata"]
    return root / f"{metadata.get('namespace', '')}_{metadata['name']}_{uid_of(pod)}"


def _pod_labels(pod: Obj) -> dict[str, str]:
    metadata = pod["metadata"]
    return {
        observed.POD_NAME: metadata["name"],
        observed.POD_NAMESPACE: metadata.get("namespace", ""),
        observed.POD_UID: uid_of(pod),
    }


def sandbox_config(
    pod: Obj,
    attempt: int,
    hostname: str,
    resolver: Resolver,
    logs: Path,
    users: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the PodSandboxConfig of a pod; `users` is its UserNamespace, None for the node's."""
    metadata = pod["metadata"]
    sysctls = get(pod, "spec.securityContext.sysctls") or ()
    return {
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata.get("namespace", ""),
            "uid": uid_of(pod),
            "attempt": attempt,
        },
        "hostname": hostname,
        "log_directory": str(log_directory(logs, pod)),
        "dns_config": resolver.config(),
        "port_mappings": _port_mappings(pod),
        "labels": dict(labels_of(pod)) | _pod_labels(pod),
        "annotations": dict(annotations_of(pod)),
        "linux": {
            "cgroup_parent": pod_group(pod),
            "security_context": sandbox_context(pod, users),
            # Runtimes know a sysctl by dots, whichever way it was written.
            "sysctls": {normal(s["name"]): str(s.get("value", "")) for s in sysctls},
        },
    }


def _port_mappings(pod: Obj) -> list[dict[str, Any]]:
    specs = [*specs_of(pod, "initContainers"), *specs_of(pod, "containers")]
    return [
        {
            "protocol": port.get("protocol") or "TCP",
            "container_port": port["containerPort"],
            "host_port": port["hostPort"],
            "host_ip": port.get("hostIP") or "",
        }
        for spec in specs
        if spec.is_sidecar or not spec.is_init
        for port in spec.container.get("ports") or ()
        if port.get("hostPort")
    ]


@dataclass(frozen=True, kw_only=True)
class Start:
    """What is known of a container at the moment it is made."""

    restart_count: int
    image: Image
    env: Mapping[str, str]
    mounts: Sequence[Mount] = ()
    devices: Sequence[Device] = ()
    target: str = ""
    """Id of the container whose processes an ephemeral container sees."""
    users: Mapping[str, Any] | None = None
    """The UserNamespace of the pod, None for the node's."""
    extra_labels: Mapping[str, str] = field(default_factory=dict)
    extras: Extras = NO_EXTRAS


def container_config(pod: Obj, container: Obj, start: Start, machine: Machine) -> dict[str, Any]:
    """Return the ContainerConfig of one container.

    Raises:
        SecurityError: it may not run as it would.

    """
    name = container["name"]
    node = Confinement(machine.seccomp_folder, apparmor=machine.apparmor)
    security = container_context(pod, container, start.image, node, start.target)
    security["namespace_options"] |= users_option(start.users)
    resources = container_resources(
        pod, container, machine.memory_bytes, unified=machine.unified, swap=machine.swap
    )
    extras = start.extras
    mounts = (*extras.mounts, *start.mounts)
    return {
        "metadata": {"name": name, "attempt": start.restart_count},
        "image": {"image": start.image.id, "user_specified_image": container.get("image", "")},
        "command": [expand(text, start.env) for text in container.get("command") or ()],
        "args": [expand(text, start.env) for text in container.get("args") or ()],
        "working_dir": container.get("workingDir") or "",
        "envs": [{"key": key, "value": value.encode()} for key, value in start.env.items()],
        "mounts": [mount.message() | _mapped(start.users) for mount in mounts],
        "devices": [device.message() for device in (*extras.devices, *start.devices)],
        "CDI_devices": [{"name": name} for name in extras.cdi_devices],
        "labels": _pod_labels(pod) | {observed.CONTAINER_NAME: name} | dict(start.extra_labels),
        "annotations": {**extras.annotations, **_annotations(pod, container, start.restart_count)},
        "log_path": log_path(name, start.restart_count),
        "stdin": bool(container.get("stdin")),
        "stdin_once": bool(container.get("stdinOnce")),
        "tty": bool(container.get("tty")),
        "linux": {"resources": {**resources, **extras.resources}, "security_context": security},
        **_signal(pod, container),
    }


def _signal(pod: Obj, container: Obj) -> dict[str, str]:
    """Return the signal that ends the container, where it is not the image's."""
    signal = stop_signal(pod, container)
    return {"stop_signal": signal} if signal else {}


def _mapped(users: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what shows the files of a mount with the ids of the pod."""
    if users is None:
        return {}
    return {"uidMappings": users["uids"], "gidMappings": users["gids"]}


def log_path(name: str, restart_count: int) -> str:
    """Return the log file of a container, below the log folder of its pod."""
    return f"{name}/{restart_count}.log"


def _annotations(pod: Obj, container: Obj, restart_count: int) -> dict[str, str]:
    """Return what must be known of a container when its pod is known no more."""
    grace = get(pod, "spec.terminationGracePeriodSeconds", DEFAULT_GRACE_SECONDS)
    found = {
        observed.HASH: container_hash(container),
        observed.RESTART_COUNT: str(restart_count),
        observed.MESSAGE_PATH: container.get("terminationMessagePath") or "",
        observed.MESSAGE_POLICY: container.get("terminationMessagePolicy") or "File",
        observed.GRACE_PERIOD: str(grace),
        observed.RESOURCES: orjson.dumps(container.get("resources") or {}).decode(),
    }
    if container.get("ports"):
        found["io.kubernetes.container.ports"] = orjson.dumps(container["ports"]).decode()
    return found

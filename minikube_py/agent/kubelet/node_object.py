"""The Node object of this machine: pure, from facts that `machine.py` reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from minikube_py import KUBERNETES_VERSION
from minikube_py.agent.cri.images import Image
from minikube_py.agent.cri.runtime import RuntimeStatus
from minikube_py.agent.kubelet.reserved import Reserved
from minikube_py.api import quantity
from minikube_py.api.core.resources import is_extended
from minikube_py.api.object import Obj, get

IMAGES_MAX = 50
NAMES_PER_IMAGE_MAX = 5
PODS_MAX = 110
HOSTNAME_LABEL = "kubernetes.io/hostname"
UNINITIALIZED = {
    "key": "node.cloudprovider.kubernetes.io/uninitialized",
    "value": "true",
    "effect": "NoSchedule",
}
"""Keeps pods off the node until a cloud controller has looked at it, which takes it away."""
DECLARED_FEATURES = ("RestartAllContainersOnContainerExits",)
"""What this kubelet can do and others may not; the scheduler asks for it. Sorted."""
PROVIDED_IP = "alpha.kubernetes.io/provided-node-ip"
SUFFICIENT = (
    ("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
)


PRESSED = {
    "MemoryPressure": (
        "KubeletHasInsufficientMemory",
        "kubelet has insufficient memory available",
    ),
    "DiskPressure": ("KubeletHasDiskPressure", "kubelet has disk pressure"),
    "PIDPressure": ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
}
"""The same where the node is short of it."""


@dataclass(frozen=True, kw_only=True)
class MachineFacts:
    """What there is to know of a machine."""

    cpus: int
    memory_bytes: int
    disk_bytes: int
    swap_bytes: int = 0
    huge_pages: Mapping[str, int] = field(default_factory=dict)
    """Size, as in `2Mi` -> bytes."""
    machine_id: str = ""
    system_uuid: str = ""
    boot_id: str = ""
    kernel_version: str = ""
    os_image: str = ""
    architecture: str = "amd64"
    reserved: Reserved = field(default_factory=Reserved)
    """What pods do not get of it."""
    pods: int = PODS_MAX
    """How many it may have."""


@dataclass(frozen=True, kw_only=True)
class NodeFacts:
    """What there is to know of a node."""

    name: str
    hostname: str
    ips: Sequence[str]
    machine: MachineFacts
    runtime_version: str = ""
    """`containerd://1.7.0`"""
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[Mapping[str, str]] = ()
    kubelet_port: int = 10250
    cloud_provider: str = ""
    """Who initialises the node: `local`, `external` (and gives its addresses), "" for nobody."""
    given_ips: str = ""
    """The addresses as a user gave them, "" where they were found."""

    @property
    def is_external(self) -> bool:
        """Whether the node's addresses are a cloud controller's to say."""
        return self.cloud_provider == "external"


def capacity(machine: MachineFacts) -> dict[str, str]:
    """Return all resources of a machine."""
    pages = {f"hugepages-{size}": _bytes(total) for size, total in machine.huge_pages.items()}
    return {
        "cpu": str(machine.cpus),
        "ephemeral-storage": f"{machine.disk_bytes // 1024}Ki",
        "memory": f"{machine.memory_bytes // 1024}Ki",
        "pods": str(machine.pods),
    } | pages


def allocatable(machine: MachineFacts) -> dict[str, str]:
    """Return the resources that pods may have."""
    reserved, pages = machine.reserved, sum(machine.huge_pages.values())
    memory = machine.memory_bytes - reserved.amount("memory", machine.memory_bytes) - pages
    disk = machine.disk_bytes - reserved.amount("ephemeral-storage", machine.disk_bytes)
    cpu = machine.cpus * 1000 - reserved.named("cpu").milli_value()
    left = {
        f"hugepages-{size}": _bytes(max(total - reserved.named(f"hugepages-{size}").value(), 0))
        for size, total in machine.huge_pages.items()
    }
    return capacity(machine) | {
        "cpu": str(quantity.of_milli(max(cpu, 0))),
        "memory": f"{max(memory, 0) // 1024}Ki",
        "ephemeral-storage": str(max(disk, 0)),
        **left,
    }


def held_bytes(machine: MachineFacts) -> int | None:
    """Return the memory that all pods together are held to, None where nothing is reserved."""
    named = machine.reserved.named("memory").value()
    return max(machine.memory_bytes - named, 0) if named and machine.reserved.enforced else None


def given(node: Obj) -> dict[str, str]:
    """Return the resources that others have put into a node's capacity, such as licences."""
    listed: Mapping[str, str] = get(node, "status.capacity") or {}
    return {name: amount for name, amount in listed.items() if is_extended(name)}


def with_given(status: Obj, extended: Mapping[str, str], told: Obj) -> dict[str, Any]:
    """Return a status in which pods may have what others gave, and no more what they took back."""
    before: Mapping[str, str] = get(told, "allocatable") or {}
    gone = {name: None for name in before if is_extended(name) and name not in extended}
    capacity, room = status["capacity"], status["allocatable"]
    return {
        **status,
        "capacity": {**extended, **capacity},
        "allocatable": {**gone, **extended, **room},
    }


def with_runtime(status: Obj, runtime: RuntimeStatus) -> dict[str, Any]:
    """Return a status that tells what the runtime can do, as far as the runtime tells."""
    told: dict[str, Any] = {}
    if runtime.handlers:
        told["runtimeHandlers"] = [
            {
                "name": name,
                "features": {
                    "recursiveReadOnlyMounts": handler.recursive_read_only,
                    "userNamespaces": handler.user_namespaces,
                },
            }
            for name, handler in sorted(runtime.handlers.items())
        ]
    if runtime.supplemental_groups_policy is not None:
        told["features"] = {"supplementalGroupsPolicy": runtime.supplemental_groups_policy}
    return {**status, **told}


def with_devices(status: Obj, devices: tuple[Mapping[str, str], Mapping[str, str]]) -> Obj:
    """Return a status with devices of plugins: how many there are, and can be given."""
    capacity, room = devices
    if not capacity:
        return status
    return {
        **status,
        "capacity": {**status["capacity"], **capacity},
        "allocatable": {**status["allocatable"], **room},
    }


def with_in_use(status: Obj, used: Sequence[str], told: Obj) -> dict[str, Any]:
    """Return a status that names the volumes in use, and takes back the list that is empty now."""
    if not used and not get(told, "volumesInUse"):
        return dict(status)
    return {**status, "volumesInUse": list(used) or None}


def _bytes(amount: int) -> str:
    return str(quantity.of(amount, "BinarySI"))


def own_labels(facts: NodeFacts) -> dict[str, str]:
    """Return the labels that a kubelet gives its node."""
    architecture = facts.machine.architecture
    return {
        "beta.kubernetes.io/arch": architecture,
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": architecture,
        HOSTNAME_LABEL: facts.hostname,
        "kubernetes.io/os": "linux",
    } | dict(facts.labels)


def node_object(facts: NodeFacts, status: Obj) -> dict[str, Any]:
    """Return the object that a node registers with."""
    spec: dict[str, Any] = {}
    taints = [*facts.taints, *((UNINITIALIZED,) if facts.cloud_provider else ())]
    if taints:
        spec["taints"] = [dict(taint) for taint in taints]
    annotations = {"volumes.kubernetes.io/controller-managed-attach-detach": "true"}
    if facts.is_external and facts.given_ips:
        annotations[PROVIDED_IP] = facts.given_ips
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": facts.name,
            "labels": own_labels(facts),
            "annotations": annotations,
        },
        "spec": spec,
        "status": dict(status),
    }


def node_status(
    facts: NodeFacts,
    trouble: str,
    images: Sequence[Image],
    old: Obj,
    now: str,
    pressures: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Return the status of a node; `trouble` is why it is not ready, "" where it is."""
    machine = facts.machine
    return {
        **_addresses(facts, old),
        "allocatable": allocatable(machine),
        "capacity": capacity(machine),
        "conditions": _conditions(trouble, old, now, pressures),
        "declaredFeatures": list(DECLARED_FEATURES),
        "daemonEndpoints": {"kubeletEndpoint": {"Port": facts.kubelet_port}},
        "images": _images(images),
        "nodeInfo": {
            "architecture": machine.architecture,
            "bootID": machine.boot_id,
            "containerRuntimeVersion": facts.runtime_version,
            "kernelVersion": machine.kernel_version,
            "kubeProxyVersion": "",
            "kubeletVersion": KUBERNETES_VERSION,
            "machineID": machine.machine_id,
            "operatingSystem": "linux",
            "osImage": machine.os_image,
            "systemUUID": machine.system_uuid,
            **({"swap": {"capacity": machine.swap_bytes}} if machine.swap_bytes else {}),
        },
    }


def _addresses(facts: NodeFacts, old: Obj) -> dict[str, Any]:
    """Return the addresses, or nothing where they are for a cloud controller to tell.

    Before that has told them, a node tells those that a user has given it.
    """
    if facts.is_external and (get(old, "addresses") or not facts.given_ips):
        return {}
    addresses = [{"type": "InternalIP", "address": ip} for ip in facts.ips]
    return {"addresses": [*addresses, {"type": "Hostname", "address": facts.hostname}]}


def _conditions(
    trouble: str, old: Obj, now: str, pressures: frozenset[str]
) -> list[dict[str, Any]]:
    before = {c["type"]: c for c in get(old, "conditions") or ()}
    found = [
        _pressed(kind)
        if kind in pressures
        else {"type": kind, "status": "False", "reason": reason, "message": message}
        for kind, reason, message in SUFFICIENT
    ]
    found.append(
        {
            "type": "Ready",
            "status": "False" if trouble else "True",
            "reason": "KubeletNotReady" if trouble else "KubeletReady",
            "message": trouble or "kubelet is posting ready status",
        }
    )
    for condition in found:
        last = before.get(condition["type"], {})
        same = last.get("status") == condition["status"]
        condition["lastHeartbeatTime"] = now
        condition["lastTransitionTime"] = last["lastTransitionTime"] if same else now
    owned = {condition["type"] for condition in found}
    return [dict(c) for kind, c in before.items() if kind not in owned] + found


def _pressed(kind: str) -> dict[str, Any]:
    reason, message = PRESSED[kind]
    return {"type": kind, "status": "True", "reason": reason, "message": message}


def _images(images: Sequence[Image]) -> list[dict[str, Any]]:
    largest = sorted(images, key=lambda image: (-image.size_bytes, image.tags))[:IMAGES_MAX]
    return [
        {
            "names": [*image.digests, *image.tags][:NAMES_PER_IMAGE_MAX],
            "sizeBytes": image.size_bytes,
        }
        for image in largest
        if image.tags or image.digests
    ]


def own_part(status: Obj) -> dict[str, Any]:
    """Return what of a status a node tells: others' conditions may have changed meanwhile."""
    own = {kind for kind, _, _ in SUFFICIENT} | {"Ready"}
    conditions = get(status, "conditions") or ()
    return {**status, "conditions": [one for one in conditions if one["type"] in own]}


def without_times(status: Obj) -> dict[str, Any]:
    """Return the status without heartbeats: what is the same is not told again at once."""
    conditions = [
        {key: value for key, value in condition.items() if key != "lastHeartbeatTime"}
        for condition in get(status, "conditions") or ()
    ]
    return {**status, "conditions": conditions}


def parse_label(text: str) -> tuple[str, str]:
    """Parse `key=value`."""
    key, _, value = text.partition("=")
    return key, value


def parse_taint(text: str) -> dict[str, str]:
    """Parse `key=value:effect` or `key:effect`; raises ValueError."""
    rest, colon, effect = text.rpartition(":")
    key, _, value = rest.partition("=")
    if not colon or effect not in ("NoSchedule", "PreferNoSchedule", "NoExecute") or not key:
        raise ValueError(
            f"taint {text!r} is not key=value:effect with NoSchedule, PreferNoSchedule or NoExecute"
        )
    return {"key": key, "effect": effect} | ({"value": value} if value else {})

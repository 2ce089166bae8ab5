"""Which pod goes first when a node is short of something: pure.

Who uses more than asked for goes before who does not, then who matters less, then who uses most
beyond what was asked for. Pods without which the node or the cluster cannot live are not ended.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from minikube_py.agent.kubelet.eviction.thresholds import RESOURCES
from minikube_py.agent.kubelet.pod import specs_of, volumes_of
from minikube_py.agent.kubelet.qos import is_critical, priority
from minikube_py.agent.kubelet.resources import pod_amounts
from minikube_py.api import quantity
from minikube_py.api.object import Obj, get


@dataclass(frozen=True, kw_only=True)
class PodUse:
    """What one pod uses."""

    pod: Obj
    memory: int = 0
    """Working set in bytes."""
    disk: int = 0
    """Of the node's own disk, in bytes."""
    inodes: int = 0
    processes: int = 0
    container_memory: Mapping[str, int] = field(default_factory=dict)
    container_disk: Mapping[str, int] = field(default_factory=dict)
    volumes: Mapping[str, int] = field(default_factory=dict)
    """Bytes of volumes that are on the node's own disk, by name."""


def ranked(signal: str, pods: Iterable[PodUse]) -> list[PodUse]:
    """Return the pods that may be ended, the first first."""
    chosen = [one for one in pods if not is_critical(one.pod)]
    resource = RESOURCES[signal]
    if resource == "pids":
        return sorted(chosen, key=lambda one: (priority(one.pod), -one.processes))
    if resource == "inodes":
        return sorted(chosen, key=lambda one: (priority(one.pod), -one.inodes))

    def key(one: PodUse) -> tuple[bool, int, int]:
        over = (one.memory if resource == "memory" else one.disk) - request(one.pod, resource)
        return over <= 0, priority(one.pod), -over

    return sorted(chosen, key=key)


def request(pod: Obj, resource: str) -> int:
    """Return what a pod asks for, in bytes."""
    found = pod_amounts(pod, "requests").get(resource)
    return found.value() if found is not None else 0


def containers_message(use: PodUse, resource: str) -> str:
    """Return which containers use more than they ask for."""
    used = {"memory": use.container_memory, "ephemeral-storage": use.container_disk}.get(resource)
    if used is None:
        return ""
    parts = []
    for spec in specs_of(use.pod, "containers"):
        wanted = (get(spec.container, "resources.requests") or {}).get(resource, "0")
        amount = used.get(spec.name, 0)
        if amount > quantity.value(wanted):
            shown = f"{amount // 1024}Ki" if resource == "memory" else _bytes(amount)
            parts.append(
                f"Container {spec.name} was using {shown}, request is {wanted}, has larger "
                f"consumption of {resource}. "
            )
    return "".join(parts)


EMPTY_DIR = "emptydirfs.limit"
WHOLE_POD = "ephemeralpodfs.limit"
CONTAINER = "ephemeralcontainerfs.limit"
"""What upstream calls the limits of pods, where it counts evictions."""


def over_limits(pods: Iterable[PodUse]) -> Iterator[tuple[PodUse, str, str]]:
    """Yield the pods that take more of the disk than they may, of what, and what they are told."""
    for use in pods:
        for signal, message in _complaints(use):
            yield use, signal, message
            break


def has_disk_limits(pod: Obj) -> bool:
    """Tell whether a pod's use of the disk is limited at all, so that it is worth measuring."""
    limited = any(
        (get(spec.container, "resources.limits") or {}).get("ephemeral-storage")
        for spec in specs_of(pod, "containers")
    )
    return limited or bool(_sized(pod))


def _sized(pod: Obj) -> Sequence[tuple[str, str]]:
    return [
        (volume["name"], str(volume["emptyDir"]["sizeLimit"]))
        for volume in volumes_of(pod)
        if (volume.get("emptyDir") or {}).get("sizeLimit")
    ]


def _complaints(use: PodUse) -> Iterator[tuple[str, str]]:
    for name, limit in _sized(use.pod):
        if use.volumes.get(name, 0) > quantity.value(limit):
            yield EMPTY_DIR, f'Usage of EmptyDir volume "{name}" exceeds the limit "{limit}". '
    total = pod_amounts(use.pod, "limits").get("ephemeral-storage")
    if total is not None and use.disk > total.value():
        told = f"Pod ephemeral local storage usage exceeds the total limit of containers {total}. "
        yield WHOLE_POD, told
    for spec in specs_of(use.pod, "containers"):
        own = (get(spec.container, "resources.limits") or {}).get("ephemeral-storage")
        if own and use.container_disk.get(spec.name, 0) > quantity.value(own):
            told = f'Container {spec.name} exceeded its local ephemeral storage limit "{own}". '
            yield CONTAINER, told


def _bytes(amount: int) -> str:
    return str(quantity.of(amount, "BinarySI"))

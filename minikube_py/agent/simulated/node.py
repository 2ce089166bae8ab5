"""The Node objects of a simulation: pure. A node is simulated where it carries the label GROUP.

Nodes that somebody else makes with that label are simulated too, and a node that is deleted is
gone for good: what there is, is what the cluster says.
"""

import zlib
from typing import Any

from minikube_py import KUBERNETES_VERSION
from minikube_py.agent.simulated.rules import NEVER, PREFIX, NodeGroup
from minikube_py.api.object import Obj, annotations_of, evolve, get

GROUP = f"{PREFIX}group"
"""Label: the group of nodes, by name, whose rules hold."""
DOWN = f"{PREFIX}down"
"""Annotation: `true` for a node that is cut off, whatever its group says."""
ZONE = "topology.kubernetes.io/zone"
HEALTHY = (
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
)


def names(group: NodeGroup, count: int) -> list[str]:
    """Return the names of the nodes of a group."""
    return [f"{group.name}-{number:05}" for number in range(count)]


def new_node(group: NodeGroup, number: int, now: str) -> dict[str, Any]:
    """Return a node to be made."""
    name = f"{group.name}-{number:05}"
    zones = {ZONE: group.zones[number % len(group.zones)]} if group.zones else {}
    labels = {
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        GROUP: group.name,
        **zones,
        **group.labels,
    }
    node: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": [dict(taint) for taint in group.taints]} if group.taints else {},
    }
    return evolve(node, "status", status(node, group, now))


def status(node: Obj, group: NodeGroup, now: str) -> dict[str, Any]:
    """Return the status of a node that is well; what the object says of its size stays."""
    old: Obj = node.get("status") or {}
    name = node["metadata"]["name"]
    before = {c["type"]: c for c in old.get("conditions") or ()}
    found = []
    for kind, value, reason, message in HEALTHY:
        last: Obj = before.get(kind) or {}
        since = last.get("lastTransitionTime") if last.get("status") == value else None
        times = {"lastHeartbeatTime": now, "lastTransitionTime": since or now}
        what = {"type": kind, "status": value, "reason": reason, "message": message}
        found.append({**what, **times})
    owned = {kind for kind, *_ in HEALTHY}
    capacity = old.get("capacity") or dict(group.capacity)
    addresses = [
        {"type": "InternalIP", "address": address(name)},
        {"type": "Hostname", "address": name},
    ]
    return {
        **old,
        "capacity": capacity,
        "allocatable": old.get("allocatable") or capacity,
        "addresses": old.get("addresses") or addresses,
        "conditions": [*(c for kind, c in before.items() if kind not in owned), *found],
        "nodeInfo": old.get("nodeInfo") or _info(name),
    }


def _info(name: str) -> dict[str, str]:
    return {
        "architecture": "amd64",
        "bootID": name,
        "containerRuntimeVersion": "simulated://1",
        "kernelVersion": "simulated",
        "kubeProxyVersion": "",
        "kubeletVersion": KUBERNETES_VERSION,
        "machineID": name,
        "operatingSystem": "linux",
        "osImage": "simulated",
        "systemUUID": name,
    }


def address(name: str) -> str:
    """Return the address of a node, from the network that is for benchmarks (RFC 2544)."""
    number = name.rpartition("-")[2]
    at = int(number) + 1 if number.isdecimal() else zlib.crc32(name.encode())
    at %= 1 << 17
    return f"198.{18 + (at >> 16)}.{at >> 8 & 255}.{at & 255}"


def is_well(node: Obj) -> bool:
    """Whether the node is known to be ready."""
    conditions = get(node, "status.conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def is_down(node: Obj, group: NodeGroup, at: float) -> bool:
    """Whether the node has failed at that time, in seconds since the epoch."""
    if annotations_of(node).get(DOWN) == "true":
        return True
    if not 0 < group.downEvery < NEVER:
        return False
    phase = zlib.crc32(node["metadata"]["name"].encode()) / 2**32 * group.downEvery
    return (at + phase) % group.downEvery < group.downFor

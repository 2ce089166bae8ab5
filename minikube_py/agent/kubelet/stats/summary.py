"""The document /stats/summary: what node, pods and containers use, in upstream's v1alpha1 form."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from minikube_py.agent.kubelet.cgroups import ROOT
from minikube_py.agent.kubelet.pod import volumes_of
from minikube_py.agent.kubelet.stats import pressure
from minikube_py.agent.kubelet.stats.disk import Space, Used
from minikube_py.agent.kubelet.stats.network import Interface
from minikube_py.agent.kubelet.stats.sample import ContainerSample, PodSample, Sample
from minikube_py.agent.kubelet.stats.usage import Memory, Usage
from minikube_py.agent.kubelet.stats.volume_metrics import VolumeUse
from minikube_py.api import times
from minikube_py.api.object import Obj, get

Document = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Disks:
    """What was measured on disks for one summary."""

    node: Space | None = None
    """The disk of the kubelet's folder."""
    images: Space | None = None
    images_used: int = 0
    layers: Mapping[str, Used] = field(default_factory=dict)
    """By container id: what it has written beside its image."""
    logs: Mapping[str, Used] = field(default_factory=dict)
    """By container id."""
    volumes: Mapping[tuple[str, str], VolumeUse] = field(default_factory=dict)
    """By uid of the pod and name of the volume."""


@dataclass(frozen=True, kw_only=True)
class NodeWords:
    """What is told of the node beside what it uses."""

    name: str
    booted: datetime
    memory_bytes: int
    pids_max: int
    pids: int


@dataclass(frozen=True)
class Measured:
    """All that a summary is made of."""

    words: NodeWords
    sample: Sample
    rates: Mapping[str, int]
    disks: Disks = field(default_factory=Disks)


def summary(measured: Measured) -> Document:
    """Return the whole document: pure."""
    return {
        "node": _node(measured),
        "pods": [_pod(pod, measured) for pod in measured.sample.pods],
    }


def _node(measured: Measured) -> Document:
    words, sample, disks = measured.words, measured.sample, measured.disks
    document: Document = {
        "nodeName": words.name,
        "startTime": times.format_seconds(words.booted),
        "systemContainers": list(_system(measured)),
        **_used(sample.usage, sample.at, measured.rates.get("/"), words.memory_bytes),
        "rlimit": {"time": moment(sample.at), "maxpid": words.pids_max, "curproc": words.pids},
    }
    if sample.interfaces:
        document["network"] = _network(sample.interfaces, sample.at)
    if disks.node is not None:
        document["fs"] = _space(disks.node, sample.at, None)
    if disks.images is not None:
        images = _space(disks.images, sample.at, Used(disks.images_used, 0))
        document["runtime"] = {"imageFs": images, "containerFs": images}
    return document


def _system(measured: Measured) -> Iterator[Document]:
    """Yield what the groups of the system use; `pods` is all pods together."""
    sample = measured.sample
    used = _used(sample.all_pods, sample.at, measured.rates.get(ROOT), measured.words.memory_bytes)
    if used:
        started = times.format_seconds(measured.words.booted)
        yield {"name": "pods", "startTime": started, **used}


def _pod(pod: PodSample, measured: Measured) -> Document:
    metadata = pod.pod["metadata"]
    uid = metadata["uid"]
    volumes = list(_volumes(pod, measured.disks))
    document: Document = {
        "podRef": {"name": metadata["name"], "namespace": metadata["namespace"], "uid": uid},
        "startTime": get(pod.pod, "status.startTime") or metadata.get("creationTimestamp"),
        "containers": [_container(one, measured) for one in pod.containers],
        **_used(pod.usage, pod.at, measured.rates.get(pod.group), None),
        "process_stats": {
            "process_count": sum(one.usage.processes for one in pod.containers),
        },
    }
    if pod.interfaces:
        document["network"] = _network(pod.interfaces, pod.at)
    if volumes:
        document["volume"] = volumes
    if measured.disks.node is not None:
        total = _ephemeral(pod, measured.disks)
        document["ephemeral-storage"] = _space(measured.disks.node, pod.at, total)
    return document


def _container(one: ContainerSample, measured: Measured) -> Document:
    disks, container = measured.disks, one.container
    document: Document = {
        "name": container.name,
        "startTime": moment(container.started_at or container.created_at),
        **_used(one.usage, one.at, measured.rates.get(one.group), None),
    }
    space = disks.images or disks.node
    if space is not None and container.id in disks.layers:
        document["rootfs"] = _space(space, one.at, disks.layers[container.id])
    if disks.node is not None and container.id in disks.logs:
        document["logs"] = _space(disks.node, one.at, disks.logs[container.id])
    return document


def _ephemeral(pod: PodSample, disks: Disks) -> Used:
    """Add up what a pod takes of the node's disk: layers, logs and volumes that are local to it."""
    uid, local = pod.pod["metadata"]["uid"], set(local_volumes(pod.pod))
    parts = [
        *(disks.layers.get(one.container.id, Used(0, 0)) for one in pod.containers),
        *(disks.logs.get(one.container.id, Used(0, 0)) for one in pod.containers),
        *(took for (whose, name), (_, took) in disks.volumes.items()
          if whose == uid and name in local),
    ]  # fmt: skip
    return Used(sum(one.bytes for one in parts), sum(one.inodes for one in parts))


def local_volumes(pod: Obj) -> Iterator[str]:
    """Yield the volumes of a pod that take of the node's own disk."""
    for volume in volumes_of(pod):
        source = volume.get("emptyDir")
        on_disk = source is not None and source.get("medium", "") in ("", "HugePages")
        if on_disk or any(volume.get(kind) for kind in ("configMap", "gitRepo", "downwardAPI")):
            yield volume["name"]


def _volumes(pod: PodSample, disks: Disks) -> Iterator[Document]:
    uid = pod.pod["metadata"]["uid"]
    for volume in volumes_of(pod.pod):
        found = disks.volumes.get((uid, volume["name"]))
        if found is None:
            continue
        document = {**_space(found[0], pod.at, found[1]), "name": volume["name"]}
        claim = get(volume, "persistentVolumeClaim.claimName")
        if claim:
            document["pvcRef"] = {"name": claim, "namespace": pod.pod["metadata"]["namespace"]}
        yield document


def _used(usage: Usage, at: int, rate: int | None, machine: int | None) -> Document:
    document: Document = {}
    when = moment(at)
    if usage.cpu is not None:
        document["cpu"] = {"time": when, "usageCoreNanoSeconds": usage.cpu.nanoseconds}
        if rate is not None:
            document["cpu"]["usageNanoCores"] = rate
    memory = usage.memory
    if memory is not None:
        document["memory"] = {"time": when, **_memory(memory, machine)}
    if memory is not None and memory.swap is not None:
        document["swap"] = {"time": when, "swapUsageBytes": memory.swap}
        if memory.swap_limit is not None:
            free = max(memory.swap_limit - memory.swap, 0)
            document["swap"]["swapAvailableBytes"] = free
    return document | _pressures(usage, document, when)


def _pressures(usage: Usage, document: Document, when: str) -> Document:
    """Return the parts of a document with what is lost for want of them."""
    return {
        kind: {"time": when, **document.get(kind, {}), "psi": psi}
        for kind, psi in pressure.documents(usage.pressure).items()
        if kind in document or kind == "io"
    }


def _memory(memory: Memory, machine: int | None) -> Document:
    available = memory.available
    if machine is not None:
        available = max(machine - memory.working_set, 0)
    document = {} if available is None else {"availableBytes": available}
    return {
        **document,
        "usageBytes": memory.usage,
        "workingSetBytes": memory.working_set,
        "rssBytes": memory.rss,
        "pageFaults": memory.page_faults,
        "majorPageFaults": memory.major_page_faults,
    }


def _network(interfaces: Sequence[Interface], at: int) -> Document:
    shown = [_interface(one) for one in interfaces]
    return {"time": moment(at), **shown[0], "interfaces": shown}


def _interface(one: Interface) -> Document:
    return {
        "name": one.name,
        "rxBytes": one.rx_bytes,
        "rxErrors": one.rx_errors,
        "txBytes": one.tx_bytes,
        "txErrors": one.tx_errors,
    }


def _space(space: Space, at: int, took: Used | None) -> Document:
    """Return a disk; `used` is of the whole where nothing smaller is meant."""
    inodes = space.inodes - space.inodes_free
    return {
        "time": moment(at),
        "availableBytes": space.available,
        "capacityBytes": space.capacity,
        "usedBytes": space.used if took is None else took.bytes,
        "inodesFree": space.inodes_free,
        "inodes": space.inodes,
        "inodesUsed": inodes if took is None else took.inodes,
    }


def moment(nanoseconds: int) -> str:
    """Return a moment as documents show it, to the second."""
    return times.format_seconds(datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC))


def only_cpu_and_memory(document: Document) -> Document:
    """Return the summary that `?only_cpu_and_memory=true` asks for."""
    keep = ("cpu", "memory", "swap", "startTime")
    node, pods = document["node"], document["pods"]
    return {
        "node": {"nodeName": node["nodeName"], **_kept(node, keep)},
        "pods": [
            {
                "podRef": pod["podRef"],
                **_kept(pod, keep),
                "containers": [
                    {"name": one["name"], **_kept(one, keep)} for one in pod["containers"]
                ],
            }
            for pod in pods
        ],
    }


def _kept(document: Document, keys: Iterable[str]) -> Document:
    return {key: document[key] for key in keys if key in document}

"""Measures when somebody asks, and never else.

Reading files of the kernel blocks, so it is done in a thread. Who asks within half a second of
another gets the same sample; the one before it is kept, because a rate needs two. Folders are
walked for a summary only, and what was found counts for a minute.
"""

import asyncio
import functools
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from minikube_py.agent.cri.errors import CriError
from minikube_py.agent.cri.images import Images
from minikube_py.agent.kubelet.pod import volumes_of
from minikube_py.agent.kubelet.stats import disk
from minikube_py.agent.kubelet.stats.sample import PodFacts, Sample, Sampler, rates
from minikube_py.agent.kubelet.stats.summary import Disks, Measured, NodeWords
from minikube_py.agent.kubelet.stats.usage import flat, number, text
from minikube_py.agent.kubelet.stats.volume_metrics import VolumeUse, of_claims
from minikube_py.api.core.volume_matching import claims_of
from minikube_py.api.object import Key, Obj, uid_of
from minikube_py.lib.clock import Clock

FRESH_SECONDS = 0.5
RATE_SECONDS = 1.0
"""The least time between two samples that a rate is made of."""
RATE_SECONDS_MAX = 120.0
"""A sample that is older says nothing of what is used now."""
WALK_SECONDS = 60.0
"""How long the size of a folder counts; upstream walks as often."""


Driven = Callable[[str], Awaitable[Mapping[str, VolumeUse]]]
"""uid of a pod -> its volumes that drivers measure, by name"""


async def _driven_by_nobody(_uid: str) -> Mapping[str, VolumeUse]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Node:
    """What does not change while the kubelet runs."""

    name: str
    memory_bytes: int
    folder: Path
    """The kubelet's own, which stands for the node's disk."""
    driven: Driven = _driven_by_nobody
    """Measures the volumes of a pod whose drivers do that."""


class Provider:
    """Has the newest measurements."""

    def __init__(
        self,
        node: Node,
        sampler: Sampler,
        images: Images,
        clock: Clock,
    ) -> None:
        self._node = node
        self._sampler = sampler
        self._images = images
        self._clock = clock
        self._busy = asyncio.Lock()
        self._kept: list[tuple[float, Sample]] = []
        """Oldest first: one that is old enough for a rate, and all that are younger."""
        self._walks = _Walks()

    async def sample(self) -> Sample:
        """Return what is used now."""
        async with self._busy:
            return await self._fresh()

    def running(self) -> tuple[int, int]:
        """Return how many pods have a sandbox and how many containers run."""
        facts = self.facts()
        sandboxes = sum(bool(one.sandbox_id) for one in facts)
        return sandboxes, sum(len(one.containers) for one in facts)

    async def _fresh(self) -> Sample:
        now = self._clock.monotonic()
        if self._kept and now - self._kept[-1][0] < FRESH_SECONDS:
            return self._kept[-1][1]
        facts = list(self._sampler.facts())
        taken = await asyncio.to_thread(self._sampler.take, facts)
        self._kept.append((now, taken))
        old = sum(now - at >= RATE_SECONDS for at, _ in self._kept)
        del self._kept[: max(old - 1, 0)]
        return taken

    async def measured(self, *, with_disks: bool = True) -> Measured:
        """Return all that a summary tells; who asks first waits for a second sample."""
        async with self._busy:
            sample = await self._fresh()
            before = self._recent()
            if before is None:
                before = sample
                await self._clock.sleep(RATE_SECONDS)
                sample = await self._fresh()
        disks = await self.disks(sample) if with_disks else Disks()
        words = await asyncio.to_thread(_words, self._node)
        return Measured(words, sample, rates(before, sample), disks)

    def _recent(self) -> Sample | None:
        """Return the newest sample that is old enough to make a rate with the last one."""
        age = self._kept[-1][0] - self._kept[0][0]
        return self._kept[0][1] if RATE_SECONDS <= age <= RATE_SECONDS_MAX else None

    def kept(self) -> Sequence[Sample]:
        """Return the samples that a rate may yet be made of, oldest first."""
        return [sample for _, sample in self._kept]

    def facts(self) -> list[PodFacts]:
        """Return the pods that may use something."""
        return list(self._sampler.facts())

    async def sample_of(self, facts: Sequence[PodFacts]) -> Sample:
        """Return what some pods use now."""
        return await asyncio.to_thread(self._sampler.take, facts)

    async def disks(self, sample: Sample, age_seconds: float = WALK_SECONDS) -> Disks:
        """Measure the disks and folders; what was measured that long ago still counts."""
        mount, used = "", 0
        try:
            for point, size in await self._images.filesystems():
                mount, used = point, size
                break
        except CriError:
            mount = ""  # a runtime that does not say leaves the images out
        walk = functools.partial(self._walks.size, self._clock.monotonic(), age_seconds)
        disks = await asyncio.to_thread(_measure, self._node, sample, (mount, used), walk)
        driven = await self._driven([pod.facts.pod for pod in sample.pods])
        return replace(disks, volumes={**disks.volumes, **driven})

    async def claims(self) -> Mapping[Key, VolumeUse]:
        """Return how full the volumes of claims are."""
        facts = [one for one in self.facts() if any(claims_of(one.pod))]
        pods = [one.pod for one in facts]
        walk = functools.partial(self._walks.size, self._clock.monotonic(), WALK_SECONDS)
        found = await asyncio.to_thread(_volumes, facts, walk)
        return of_claims(pods, {**found, **await self._driven(pods)})

    async def _driven(self, pods: Sequence[Obj]) -> dict[tuple[str, str], VolumeUse]:
        found = {}
        for pod in pods:
            for name, use in (await self._node.driven(uid_of(pod))).items():
                found[uid_of(pod), name] = use
        return found


Walk = Callable[[Path], disk.Used]
"""Tells what a folder takes."""


class _Walks:
    """The sizes of folders, each walked at most once in a while."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[float, disk.Used]] = {}

    def size(self, now: float, age_seconds: float, path: Path) -> disk.Used:
        since, used = self._known.get(path, (now - WALK_SECONDS, disk.Used(0, 0)))
        if now - since < age_seconds:
            return used
        self._forget(now - 2 * WALK_SECONDS)
        used = disk.used(path)
        self._known[path] = (now, used)
        return used

    def _forget(self, limit: float) -> None:
        for path in [path for path, (since, _) in self._known.items() if since < limit]:
            del self._known[path]


def _measure(node: Node, sample: Sample, images: tuple[str, int], walk: Walk) -> Disks:
    """Look at all disks and folders; blocks."""
    layers: dict[str, disk.Used] = {}
    logs: dict[str, disk.Used] = {}
    for pod in sample.pods:
        for one in pod.containers:
            key = one.container.id
            path = disk.writable_layer(one.pid) if one.pid is not None else None
            if path is not None:
                layers[key] = walk(path)
            logs[key] = walk(pod.facts.logs / one.container.name)
    mount, used = images
    return Disks(
        node=disk.space(node.folder),
        images=disk.space(Path(mount)) if mount else None,
        images_used=used,
        layers=layers,
        logs=logs,
        volumes=_volumes((pod.facts for pod in sample.pods), walk),
    )


def _volumes(pods: Iterable[PodFacts], walk: Walk) -> Mapping[tuple[str, str], VolumeUse]:
    found = {}
    for pod in pods:
        for volume in volumes_of(pod.pod):
            path = _folder(pod, volume)
            space = disk.space(path) if path is not None else None
            if path is None or space is None:
                continue
            inodes = space.inodes - space.inodes_free
            took = disk.Used(space.used, inodes) if os.path.ismount(path) else walk(path)
            found[uid_of(pod.pod), volume["name"]] = VolumeUse(space, took)
    return found


def _folder(pod: PodFacts, volume: Obj) -> Path | None:
    """Return the folder of a volume that is the pod's alone, or its claim's."""
    if "hostPath" in volume:
        return None  # it may be the whole disk of the node
    known = pod.volumes.get(volume["name"])
    path = known or next(pod.folder.glob(f"volumes/*/{volume['name']}"), None)
    return path if path is not None and path.is_dir() else None


def _words(node: Node) -> NodeWords:
    boot = flat(text(Path("/proc/stat"))).get("btime", 0)
    return NodeWords(
        name=node.name,
        booted=datetime.fromtimestamp(boot).astimezone(),
        memory_bytes=node.memory_bytes,
        pids_max=number(text(Path("/proc/sys/kernel/pid_max"))) or 0,
        pids=threads(text(Path("/proc/loadavg"))),
    )


def threads(loadavg: str) -> int:
    """Return how many threads there are on the machine: the number after the slash."""
    fields = loadavg.split()
    return int(fields[3].partition("/")[2]) if len(fields) > 3 else 0

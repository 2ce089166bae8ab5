"""Watches what the node has left, and ends a pod at a time while it is short of something.

A look every ten seconds, as upstream's: a handful of files of the kernel, and a walk over the disk
only for pods whose use of it is limited or while the disk is short. What is short becomes a
condition of the node, from which the cluster makes a taint. Before a pod is ended for the disk,
what nobody uses any more is removed.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from minikube_py.agent.cri.errors import CriError
from minikube_py.agent.kubelet.cgroups import ROOT, Cgroups
from minikube_py.agent.kubelet.container_status import Failure
from minikube_py.agent.kubelet.eviction.ranking import (
    PodUse,
    containers_message,
    has_disk_limits,
    over_limits,
    ranked,
)
from minikube_py.agent.kubelet.eviction.thresholds import (
    CONDITIONS,
    IMAGE_FS,
    IMAGE_INODES,
    MEMORY,
    NODE_FS,
    NODE_INODES,
    PIDS,
    PODS_MEMORY,
    RESOURCES,
    TRANSITION_SECONDS,
    Level,
    Levels,
    Seen,
    Threshold,
    look,
    low_message,
)
from minikube_py.agent.kubelet.kubelet_metrics import EVICTIONS
from minikube_py.agent.kubelet.pod import full_name
from minikube_py.agent.kubelet.stats import disk, usage
from minikube_py.agent.kubelet.stats.provider import Provider, threads
from minikube_py.agent.kubelet.stats.sample import PodSample
from minikube_py.agent.kubelet.stats.summary import Disks, local_volumes
from minikube_py.api.object import Obj, get, uid_of
from minikube_py.lib.clock import Clock
from minikube_py.lib.tallies import Tallies

log = logging.getLogger(__name__)
LOOK_SECONDS = 10.0
HARD_GRACE_SECONDS = 1
END_SECONDS = 30.0
"""How long the end of a pod is waited for before another one is ended; upstream's number."""
REASON = "Evicted"


@dataclass(frozen=True, kw_only=True)
class EvictionPolicy:
    """When and how pods are ended."""

    thresholds: Sequence[Threshold]
    transition_seconds: float = TRANSITION_SECONDS
    soft_grace_seconds: int = 0
    """The longest grace period of a pod that a soft threshold ends."""


class Pods(Protocol):
    """The pods of this node."""

    def evict(self, uid: str, failure: Failure, grace: int) -> bool:
        """End a pod; tell whether there was anything to end."""

    def is_ending(self, uid: str) -> bool:
        """Tell whether something of a pod that was ended still runs."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What the manager asks and tells."""

    stats: Provider
    pods: Pods
    tell: Callable[[Obj, str], None]
    """(pod, message) of an event about a pod that is ended."""
    tell_node: Callable[[str, str], None]
    """(reason, message) of an event about the node."""
    conditions: Callable[[frozenset[str]], None]
    """Told of the node's conditions whenever they change."""
    free_disk: Callable[[], Awaitable[None]]
    """Removes what nobody uses; raises CriError."""
    levels: Callable[[], Awaitable[Levels]]
    """What the node has left."""
    clock: Clock
    tallies: Tallies
    """What is counted of the kubelet's work."""


@dataclass
class EvictionManager:
    """Looks and acts."""

    policy: EvictionPolicy
    around: Surroundings
    seen: Seen = field(default_factory=Seen)
    pressed: frozenset[str] = frozenset()
    _ending: dict[str, float] = field(default_factory=dict)
    """Until when to wait for the ends of pods."""

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self.step()
            await self.around.clock.sleep(LOOK_SECONDS)

    async def step(self) -> None:
        """Look once, and end at most one pod."""
        if await self._enforce_limits():
            return
        levels = await self.around.levels()
        threshold = self._judge(levels)
        if threshold is None or self._waits():
            return
        resource = RESOURCES[threshold.signal]
        log.warning("node is short of %s levels=%s", resource, levels[threshold.signal])
        self.around.tell_node("EvictionThresholdMet", f"Attempting to reclaim {resource}")
        if CONDITIONS[threshold.signal] == "DiskPressure":
            await self._free_disk()
            levels = await self.around.levels()
            threshold = self._judge(levels)
            if threshold is None:
                return
        await self._end_one(threshold, levels[threshold.signal])

    def _waits(self) -> bool:
        """Tell whether a pod that was ended has yet to give back what it used."""
        now = self.around.clock.monotonic()
        self._ending = {
            uid: until
            for uid, until in self._ending.items()
            if now < until and self.around.pods.is_ending(uid)
        }
        return bool(self._ending)

    def _judge(self, levels: Levels) -> Threshold | None:
        """Hold the levels against the thresholds; return the one to act upon."""
        verdict = look(
            self.policy.thresholds,
            levels,
            self.seen,
            self.around.clock.monotonic(),
            self.policy.transition_seconds,
        )
        self.seen = verdict.seen
        if verdict.conditions != self.pressed:
            self.pressed = verdict.conditions
            self.around.conditions(verdict.conditions)
        return verdict.crossed[0] if verdict.crossed else None

    async def _free_disk(self) -> None:
        try:
            await self.around.free_disk()
        except CriError as error:
            log.warning("nothing removed from the disk error=%s", error)

    async def _end_one(self, threshold: Threshold, level: Level) -> None:
        of_disk = CONDITIONS[threshold.signal] == "DiskPressure"
        sample = await self.around.stats.sample()
        disks = await self.around.stats.disks(sample, LOOK_SECONDS) if of_disk else Disks()
        resource = RESOURCES[threshold.signal]
        for use in ranked(threshold.signal, uses(sample.pods, disks)):
            message = low_message(threshold, level) + containers_message(use, resource)
            grace = HARD_GRACE_SECONDS
            if not threshold.hard:
                own = int(get(use.pod, "spec.terminationGracePeriodSeconds", 30))
                grace = max(min(self.policy.soft_grace_seconds, own), HARD_GRACE_SECONDS)
            if self._end(use.pod, message, grace, threshold.signal):
                return
        log.warning("no pod can be ended to win back %s", resource)

    async def _enforce_limits(self) -> bool:
        """End the pods that take more of the disk than they may; tell whether there were any."""
        stats = self.around.stats
        limited = [one for one in stats.facts() if has_disk_limits(one.pod)]
        if not limited:
            return False
        sample = await stats.sample_of(limited)
        disks = await stats.disks(sample, LOOK_SECONDS)
        found = list(over_limits(uses(sample.pods, disks)))
        ended = [
            self._end(use.pod, message, HARD_GRACE_SECONDS, signal)
            for use, signal, message in found
        ]
        return any(ended)

    def _end(self, pod: Obj, message: str, grace: int, signal: str) -> bool:
        ended = self.around.pods.evict(
            uid_of(pod), Failure(REASON, message, disruption=True), grace
        )
        if ended:
            self._ending[uid_of(pod)] = self.around.clock.monotonic() + END_SECONDS
            log.warning("pod evicted pod=%s reason=%s", full_name(pod), message)
            self.around.tell(pod, message)
            self.around.tallies.count(EVICTIONS, signal)
        return ended


def uses(pods: Iterable[PodSample], disks: Disks) -> list[PodUse]:
    """Return what pods use: pure."""
    return [_use(pod, disks) for pod in pods]


def _use(pod: PodSample, disks: Disks) -> PodUse:
    local = set(local_volumes(pod.pod))
    volumes = {
        name: took
        for (uid, name), (_, took) in disks.volumes.items()
        if uid == uid_of(pod.pod) and name in local
    }
    nothing = disk.Used(0, 0)
    own: dict[str, disk.Used] = {}
    for one in pod.containers:
        layer = disks.layers.get(one.container.id, nothing)
        logs = disks.logs.get(one.container.id, nothing)
        own[one.container.name] = disk.Used(layer.bytes + logs.bytes, layer.inodes + logs.inodes)
    parts = [*own.values(), *volumes.values()]
    memory = {
        one.container.name: one.usage.memory.working_set
        for one in pod.containers
        if one.usage.memory is not None
    }
    whole = pod.usage.memory
    return PodUse(
        pod=pod.pod,
        memory=whole.working_set if whole is not None else sum(memory.values()),
        disk=sum(one.bytes for one in parts),
        inodes=sum(one.inodes for one in parts),
        processes=sum(one.usage.processes for one in pod.containers),
        container_memory=memory,
        container_disk={name: used.bytes for name, used in own.items()},
        volumes={name: used.bytes for name, used in volumes.items()},
    )


def pods_level(trees: Cgroups, held_bytes: int) -> Levels:
    """Return what all pods together have left of what they are held to; blocks for a few files."""
    memory = usage.read(trees, ROOT).memory
    if memory is None:
        return {}
    return {PODS_MEMORY: Level(max(held_bytes - memory.working_set, 0), held_bytes)}


def levels_of(trees: Cgroups, memory_bytes: int, folder: Path, images: Path | None) -> Levels:
    """Return what a node has left; blocks for a few files."""
    found: dict[str, Level] = {}
    memory = usage.read(trees, "/").memory
    if memory is not None:
        found[MEMORY] = Level(max(memory_bytes - memory.working_set, 0), memory_bytes)
    for path, bytes_signal, inodes_signal in (
        (folder, NODE_FS, NODE_INODES),
        (images, IMAGE_FS, IMAGE_INODES),
    ):
        space = disk.space(path) if path is not None else None
        if space is not None:
            found[bytes_signal] = Level(space.available, space.capacity)
            if space.inodes:
                found[inodes_signal] = Level(space.inodes_free, space.inodes)
    pids = process_numbers()
    if pids is not None:
        found[PIDS] = pids
    return found


def process_numbers() -> Level | None:
    """Return how many processes there may still be."""
    most = usage.number(usage.text(Path("/proc/sys/kernel/pid_max")))
    if most is None:
        return None
    return Level(max(most - threads(usage.text(Path("/proc/loadavg"))), 0), most)

"""What keeps a node from running full, put together: evictions, and images that nobody uses."""

import asyncio
import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from minikube_py.agent.cri.errors import CriError
from minikube_py.agent.cri.images import Images
from minikube_py.agent.cri.runtime import Runtime
from minikube_py.agent.kubelet.cgroups import Cgroups
from minikube_py.agent.kubelet.eviction.manager import (
    REASON,
    EvictionManager,
    EvictionPolicy,
    Pods,
    Surroundings,
    levels_of,
    pods_level,
)
from minikube_py.agent.kubelet.eviction.thresholds import DEFAULT_HARD, Levels, parse, with_pods
from minikube_py.agent.kubelet.garbage import Garbage
from minikube_py.agent.kubelet.image_garbage import ImageGarbage, ImagePolicy
from minikube_py.agent.kubelet.node_object import MachineFacts, NodeFacts, held_bytes
from minikube_py.agent.kubelet.node_status import NodeStatus
from minikube_py.agent.kubelet.pod import reference
from minikube_py.agent.kubelet.stats import disk
from minikube_py.agent.kubelet.stats.provider import Provider
from minikube_py.api.object import Obj
from minikube_py.client.events import Recorder
from minikube_py.lib.clock import Clock
from minikube_py.lib.tallies import Tallies

log = logging.getLogger(__name__)
IMAGES_SECONDS = 300.0
"""How often images are looked at; upstream's period."""


def default_eviction() -> EvictionPolicy:
    """Return upstream's thresholds."""
    return EvictionPolicy(thresholds=parse(DEFAULT_HARD))


@dataclass(frozen=True, kw_only=True)
class PressurePolicy:
    """When pods are ended and images removed."""

    eviction: EvictionPolicy = field(default_factory=default_eviction)
    images: ImagePolicy = field(default_factory=ImagePolicy)


@dataclass(frozen=True, kw_only=True)
class Node:
    """The node that is kept from running full."""

    facts: NodeFacts
    folder: Path
    """Of the kubelet, which stands for the node's disk."""
    runtime: Runtime
    images: Images
    trees: Cgroups
    stats: Provider
    status: NodeStatus
    recorder: Recorder
    clock: Clock
    tallies: Tallies


class Pressure:
    """Has two loops: one looks at what is left, one at the images."""

    def __init__(self, node: Node, policy: PressurePolicy, pods: Pods, garbage: Garbage) -> None:
        self._node = node
        self._garbage = garbage
        self._images = ImageGarbage(node.images, node.clock, policy.images)
        self._mount: Path | None = None
        self.evictions = EvictionManager(
            _of_pods_too(policy.eviction, node.facts.machine),
            Surroundings(
                stats=node.stats,
                pods=pods,
                tell=lambda pod, message: self._tell(reference(pod), REASON, message),
                tell_node=self._tell_node,
                conditions=node.status.press,
                free_disk=self._free_disk,
                levels=self._levels,
                clock=node.clock,
                tallies=node.tallies,
            ),
        )

    def _tell(self, obj: Obj, reason: str, message: str) -> None:
        self._node.recorder.record(obj, "Warning", reason, message)

    def _tell_node(self, reason: str, message: str) -> None:
        name = self._node.facts.name
        node: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "uid": name},
        }
        self._tell(node, reason, message)

    async def _levels(self) -> Levels:
        node, machine = self._node, self._node.facts.machine
        found = await asyncio.to_thread(
            levels_of, node.trees, machine.memory_bytes, node.folder, self._mount
        )
        held = held_bytes(machine)
        if held is None:
            return found
        return {**found, **await asyncio.to_thread(pods_level, node.trees, held)}

    async def _free_disk(self) -> None:
        await self._garbage.collect()
        await self._images.remove_unused(await self._node.runtime.list_containers({}))

    async def run_evictions(self) -> None:
        """Look at what is left, for ever."""
        await self._find_images()
        await self.evictions.run()

    async def _find_images(self) -> None:
        """Find the disk that images lie on."""
        try:
            for mount, _ in await self._node.images.filesystems():
                self._mount = Path(mount)
                return
        except CriError as error:
            log.warning("the disk of images is not known error=%s", error)

    async def run_images(self) -> None:
        """Look at the images, for ever."""
        while True:
            try:
                await self._look_at_images()
            except CriError as error:
                self._tell_node("ImageGCFailed", str(error))
            await self._node.clock.sleep(IMAGES_SECONDS)

    async def _look_at_images(self) -> None:
        if self._mount is None:
            await self._find_images()
        containers = await self._node.runtime.list_containers({})
        space = disk.space(self._mount) if self._mount is not None else None
        trouble = await self._images.collect(containers, space)
        if trouble:
            self._tell_node("FreeDiskSpaceFailed", trouble)


def _of_pods_too(policy: EvictionPolicy, machine: MachineFacts) -> EvictionPolicy:
    """Return a policy by which pods also end for what they together may not have."""
    if held_bytes(machine) is None:
        return policy
    return replace(policy, thresholds=with_pods(policy.thresholds))

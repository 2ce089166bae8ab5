"""One look at the node, its pods and their containers: what they use at one moment.

The pods and containers are those that the kubelet's workers know, so the runtime is asked nothing.
A container's group is named by its id below the group of its pod; the sandbox's own process tells
of the network.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from minikube_py.agent.cri.runtime import Container
from minikube_py.agent.kubelet.cgroups import ROOT, Cgroups, pod_group
from minikube_py.agent.kubelet.pod import is_host_network
from minikube_py.agent.kubelet.stats import network, pressure, usage
from minikube_py.agent.kubelet.stats.network import Interface
from minikube_py.agent.kubelet.stats.usage import Usage
from minikube_py.api.object import Obj

PREFIXES = ("", "crio-")
"""What runtimes put before a container's id in the name of its group."""


@dataclass(frozen=True, kw_only=True)
class PodFacts:
    """One pod as the kubelet knows it."""

    pod: Obj
    containers: Sequence[Container] = ()
    """Those that run."""
    sandbox_id: str = ""
    folder: Path = Path()
    """Of its volumes."""
    volumes: Mapping[str, Path] = field(default_factory=dict)
    """Where each of its volumes lies, by name."""
    logs: Path = Path()


@dataclass(frozen=True, kw_only=True)
class ContainerSample:
    """A container at one moment."""

    container: Container
    group: str
    usage: Usage
    at: int
    """Nanoseconds since the epoch."""
    pid: int | None = None


@dataclass(frozen=True, kw_only=True)
class PodSample:
    """A pod at one moment."""

    facts: PodFacts
    group: str
    usage: Usage
    at: int
    containers: Sequence[ContainerSample] = ()
    interfaces: Sequence[Interface] = ()

    @property
    def pod(self) -> Obj:
        """The pod itself."""
        return self.facts.pod


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The node at one moment."""

    usage: Usage
    at: int
    pods: Sequence[PodSample] = ()
    interfaces: Sequence[Interface] = ()
    all_pods: Usage = field(default_factory=Usage)
    """What all pods use together."""

    def cpu(self) -> Mapping[str, tuple[int, int]]:
        """Return the processor time of every group with its moment, by group."""
        found = {"/": (self.usage, self.at), ROOT: (self.all_pods, self.at)}
        for pod in self.pods:
            found[pod.group] = (pod.usage, pod.at)
            found |= {one.group: (one.usage, one.at) for one in pod.containers}
        return {
            group: (used.cpu.nanoseconds, at)
            for group, (used, at) in found.items()
            if used.cpu is not None
        }


@dataclass(frozen=True)
class Sampler:
    """Takes samples; `take` blocks for some milliseconds and belongs into a thread."""

    trees: Cgroups
    facts: Callable[[], Iterable[PodFacts]]
    now: Callable[[], int] = field(default=time.time_ns)

    def take(self, facts: Iterable[PodFacts]) -> Sample:
        """Look at the node and at pods."""
        used = self._read("/")
        at = self.now()
        return Sample(
            usage=used,
            at=at,
            pods=[self._pod(one) for one in facts],
            interfaces=network.of_machine(),
            all_pods=self._read(ROOT),
        )

    def _read(self, group: str) -> Usage:
        used = usage.read(self.trees, group)
        return replace(used, pressure=pressure.read(self.trees, group))

    def _pod(self, facts: PodFacts) -> PodSample:
        group = pod_group(facts.pod)
        used, at = self._read(group), self.now()
        interfaces: Sequence[Interface] = ()
        if not is_host_network(facts.pod) and facts.sandbox_id:
            pid = self._pid(group, facts.sandbox_id)
            interfaces = network.of_process(pid) if pid is not None else ()
        return PodSample(
            facts=facts,
            group=group,
            usage=used,
            at=at,
            containers=[self._container(group, one) for one in facts.containers],
            interfaces=interfaces,
        )

    def _container(self, pod: str, container: Container) -> ContainerSample:
        group = self._group(pod, container.id)
        return ContainerSample(
            container=container,
            group=group,
            usage=self._read(group),
            at=self.now(),
            pid=self._pid(pod, container.id),
        )

    def _group(self, pod: str, container_id: str) -> str:
        for prefix in PREFIXES:
            group = f"{pod}/{prefix}{container_id}"
            if any(folder.is_dir() for folder in self.trees.folders(group)):
                return group
        return f"{pod}/{container_id}"

    def _pid(self, pod: str, container_id: str) -> int | None:
        group = self._group(pod, container_id)
        for folder in self.trees.folders(group):
            pids = usage.text(folder / "cgroup.procs").split()
            if pids:
                return int(pids[0])
        return None


def rates(before: Sample | None, now: Sample) -> Mapping[str, int]:
    """Return how much of a processor every group uses, in billionths, by group: pure.

    A group that began, or began anew, between the two has none.
    """
    if before is None:
        return {}
    earlier = before.cpu()
    found = {}
    for group, (total, at) in now.cpu().items():
        last, then = earlier.get(group, (None, 0))
        if last is not None and last <= total and at > then:
            found[group] = (total - last) * 1_000_000_000 // (at - then)
    return found

"""How a machine is built, as its kernel tells in /sys: threads, cores, sockets, NUMA nodes, memory.

`read` takes the folder that /sys/devices/system is, so that it can be shown other machines. What
the kernel does not tell is taken for one: a machine without NUMA has node 0.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from minikube_py.agent.kubelet.topology import cpuset
from minikube_py.agent.kubelet.topology.cpuset import Cpus

SYSTEM = Path("/sys/devices/system")
_TOTAL = re.compile(r"MemTotal:\s+(\d+) kB")


class Cpu(NamedTuple):
    """Where a processor (a thread) is; cores and caches are named by their lowest processor."""

    core: int
    socket: int
    node: int
    cache: int
    """The processors that share the last level of cache."""


@dataclass(frozen=True, kw_only=True)
class NumaNode:
    """A part of the machine with memory of its own."""

    memory_bytes: int = 0
    huge_pages: Mapping[int, int] = field(default_factory=dict)
    """Size of a page in bytes -> number of pages."""
    distances: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Topology:
    """A machine."""

    cpus: Mapping[int, Cpu]
    nodes: Mapping[int, NumaNode]

    @property
    def all_cpus(self) -> Cpus:
        """All processors that are switched on."""
        return frozenset(self.cpus)

    @property
    def cpus_per_core(self) -> int:
        """The threads of a core."""
        cores = {cpu.core for cpu in self.cpus.values()}
        return max(len(self.cpus) // max(len(cores), 1), 1)

    def in_nodes(self, nodes: Iterable[int]) -> Cpus:
        """Return the processors of NUMA nodes."""
        wanted = set(nodes)
        return frozenset(name for name, cpu in self.cpus.items() if cpu.node in wanted)

    def distance(self, nodes: frozenset[int]) -> float:
        """Return the average distance between nodes, as upstream weighs them."""
        pairs = [
            self.nodes[one].distances.get(other, 10)
            for one in nodes
            for other in nodes
            if one in self.nodes
        ]
        return sum(pairs) / len(pairs) if pairs else 0.0


def read(system: Path = SYSTEM) -> Topology:
    """Return how the machine is built."""
    nodes = {
        int(folder.name.removeprefix("node")): folder
        for folder in (system / "node").glob("node[0-9]*")
    }
    node_of = {
        cpu: node
        for node, folder in nodes.items()
        for cpu in cpuset.parse(_text(folder / "cpulist"))
    }
    online = cpuset.parse(_text(system / "cpu" / "online"))
    folder = system / "cpu"
    return Topology(
        cpus={cpu: _cpu(folder / f"cpu{cpu}", cpu, node_of.get(cpu, 0)) for cpu in sorted(online)},
        nodes={node: _node(nodes[node], sorted(nodes)) for node in sorted(nodes)}
        or {0: NumaNode()},
    )


def _cpu(folder: Path, cpu: int, node: int) -> Cpu:
    siblings = cpuset.parse(_text(folder / "topology" / "thread_siblings_list")) or {cpu}
    levels = sorted((folder / "cache").glob("index[0-9]*"), key=_level)
    shared = cpuset.parse(_text(levels[-1] / "shared_cpu_list")) if levels else frozenset()
    socket = int(_text(folder / "topology" / "physical_package_id") or 0)
    return Cpu(min(siblings), max(socket, 0), node, min(shared, default=0))


def _level(folder: Path) -> int:
    return int(_text(folder / "level") or 0)


def _node(folder: Path, nodes: Iterable[int]) -> NumaNode:
    total = _TOTAL.search(_text(folder / "meminfo"))
    pages = {
        int(one.name.removeprefix("hugepages-").removesuffix("kB")) * 1024: int(
            _text(one / "nr_hugepages") or 0
        )
        for one in (folder / "hugepages").glob("hugepages-*")
    }
    distances = [int(text) for text in _text(folder / "distance").split()]
    return NumaNode(
        memory_bytes=int(total[1]) * 1024 if total else 0,
        huge_pages=dict(sorted(pages.items())),
        distances=dict(zip(nodes, distances, strict=False)),
    )


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""

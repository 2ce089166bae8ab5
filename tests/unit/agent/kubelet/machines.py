"""Machines for tests: made up from a few numbers, or recorded as files below /sys."""

from pathlib import Path

from minikube_py.agent.kubelet.topology.machine import Cpu, NumaNode, Topology

GIB = 1 << 30


def machine(sockets: int = 1, nodes: int = 1, cores: int = 4, threads: int = 2) -> Topology:
    """Return a machine with so many NUMA nodes in a socket, and cores in a node.

    Processors are numbered as Linux does: first one thread of every core, then the others.
    """
    total = sockets * nodes * cores
    cpus = {
        core + thread * total: Cpu(
            core, core // cores // nodes, core // cores, core // cores * cores
        )
        for thread in range(threads)
        for core in range(total)
    }
    names = range(sockets * nodes)
    return Topology(
        cpus=cpus,
        nodes={
            one: NumaNode(
                memory_bytes=8 * GIB,
                distances={other: 10 if one == other else 20 for other in names},
            )
            for one in names
        },
    )


def record(folder: Path, files: dict[str, str]) -> Path:
    """Write files of /sys/devices/system below a folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return folder

"""Machines as their kernels tell of them in /sys."""

from pathlib import Path

from minikube_py.agent.kubelet.topology.machine import Cpu, NumaNode, read
from tests.unit.agent.kubelet.machines import record


def cpu(number: int, siblings: str, socket: int, cache: str) -> dict[str, str]:
    folder = f"cpu/cpu{number}"
    return {
        f"{folder}/topology/thread_siblings_list": siblings,
        f"{folder}/topology/physical_package_id": str(socket),
        f"{folder}/cache/index0/level": "1",
        f"{folder}/cache/index0/shared_cpu_list": siblings,
        f"{folder}/cache/index3/level": "3",
        f"{folder}/cache/index3/shared_cpu_list": cache,
    }


def node(number: int, cpus: str, distances: str) -> dict[str, str]:
    folder = f"node/node{number}"
    return {
        f"{folder}/cpulist": cpus,
        f"{folder}/distance": distances,
        f"{folder}/meminfo": f"Node {number} MemTotal: 1048576 kB\nNode {number} MemFree: 1 kB",
        f"{folder}/hugepages/hugepages-2048kB/nr_hugepages": "4",
    }


def test_a_machine_with_two_sockets_and_threads(tmp_path: Path) -> None:
    files = {"cpu/online": "0-3", "node/online": "0-1"}
    files |= cpu(0, "0,2", 0, "0,2") | cpu(2, "0,2", 0, "0,2")
    files |= cpu(1, "1,3", 1, "1,3") | cpu(3, "1,3", 1, "1,3")
    files |= node(0, "0,2", "10 21") | node(1, "1,3", "21 10")
    found = read(record(tmp_path, files))
    assert found.cpus == {
        0: Cpu(core=0, socket=0, node=0, cache=0),
        1: Cpu(core=1, socket=1, node=1, cache=1),
        2: Cpu(core=0, socket=0, node=0, cache=0),
        3: Cpu(core=1, socket=1, node=1, cache=1),
    }
    assert found.cpus_per_core == 2
    assert found.nodes[1] == NumaNode(
        memory_bytes=1 << 30, huge_pages={2 << 20: 4}, distances={0: 21, 1: 10}
    )
    assert found.distance(frozenset({0, 1})) == 15.5


def test_a_virtual_machine_that_tells_little_has_one_node_and_a_core_for_each_processor(
    tmp_path: Path,
) -> None:
    found = read(record(tmp_path, {"cpu/online": "0-1", "cpu/cpu1/topology/core_id": "1"}))
    assert found.cpus == {0: Cpu(0, 0, 0, 0), 1: Cpu(1, 0, 0, 0)}
    assert found.cpus_per_core == 1
    assert list(found.nodes) == [0]


def test_processors_that_are_off_and_nodes_without_any_are_known_for_what_they_are(
    tmp_path: Path,
) -> None:
    files = {"cpu/online": "0,2"} | cpu(0, "0", 0, "0,2") | cpu(2, "2", -1, "0,2")
    files |= node(0, "0,2", "10 17") | node(2, "", "17 10")
    found = read(record(tmp_path, files))
    assert found.all_cpus == {0, 2}
    assert found.cpus[2] == Cpu(core=2, socket=0, node=0, cache=0)
    assert found.in_nodes((2,)) == frozenset()
    assert found.nodes[2].distances == {0: 17, 2: 10}


def test_this_machine_can_be_read() -> None:
    found = read()
    assert found.cpus
    assert found.nodes.keys() >= {one.node for one in found.cpus.values()}

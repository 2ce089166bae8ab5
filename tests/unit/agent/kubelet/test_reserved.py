"""What pods do not get of a node: reserved for others, and the options that say so."""

from pathlib import Path

import pytest

from minikube_py.agent.config import NodeConfig
from minikube_py.agent.kubelet.cgroups import Cgroups
from minikube_py.agent.kubelet.eviction.manager import pods_level
from minikube_py.agent.kubelet.eviction.thresholds import (
    MEMORY,
    PODS_MEMORY,
    Level,
    Seen,
    look,
    low_message,
    parse,
    with_pods,
)
from minikube_py.agent.kubelet.node_object import MachineFacts, allocatable, held_bytes
from minikube_py.agent.kubelet.topology import cpus, memory
from minikube_py.agent.kubelet.topology.settings import settings
from minikube_py.agent.shares import reserved_of, topology_of, topology_options
from minikube_py.api import quantity
from minikube_py.lib.errors import StartError
from tests.unit.agent.kubelet.machines import GIB, record

ONE_NODE = {
    "cpu/online": "0-3",
    "node/node0/cpulist": "0-3",
    "node/node0/meminfo": "Node 0 MemTotal: 8388608 kB",
    "node/node0/distance": "10",
}


def machine(config: NodeConfig) -> MachineFacts:
    return MachineFacts(
        cpus=4,
        memory_bytes=8 * GIB,
        disk_bytes=100 * GIB,
        huge_pages={"2Mi": 1 << 30},
        reserved=reserved_of(config),
    )


def test_reserved_amounts_and_thresholds_are_not_for_pods() -> None:
    config = NodeConfig(
        kube_reserved="cpu=100m,memory=1Gi,hugepages-2Mi=512Mi",
        system_reserved="cpu=400m,memory=512Mi,ephemeral-storage=5Gi",
        eviction_hard="memory.available<256Mi,nodefs.available<10%",
    )
    found = allocatable(machine(config))
    assert found["cpu"] == "3500m"
    assert quantity.value(found["memory"]) == 8 * GIB - GIB - (768 << 20) - GIB
    assert quantity.value(found["ephemeral-storage"]) == 85 * GIB
    assert found["hugepages-2Mi"] == "512Mi"
    assert held_bytes(machine(config)) == 8 * GIB - GIB - (512 << 20)


def test_nothing_is_held_where_nothing_is_reserved_or_nobody_wants_it() -> None:
    assert held_bytes(machine(NodeConfig())) is None
    config = NodeConfig(kube_reserved="memory=1Gi", enforce_node_allocatable=("none",))
    assert held_bytes(machine(config)) is None


def test_processors_that_are_named_go_before_amounts() -> None:
    config = NodeConfig(reserved_cpus="0,2-3", kube_reserved="cpu=100m", system_reserved="cpu=1")
    assert allocatable(machine(config))["cpu"] == "1"


def read_all(config: NodeConfig) -> None:
    topology_options(config)
    reserved_of(config)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kube_reserved": "gpu=1"}, 'cannot reserve "gpu" resource in --kube-reserved'),
        ({"system_reserved": "cpu=-1"}, "cannot be negative"),
        ({"kube_reserved": "cpu"}, "is not name=value"),
        ({"enforce_node_allocatable": ("kube-reserved",)}, "is not supported"),
        ({"cpu_manager_policy": "dynamic"}, "unknown CPU manager policy"),
        ({"cpu_manager_policy_options": "x=true"}, 'unknown CPU Manager Policy option: "x"'),
        ({"cpu_manager_policy_options": "align-by-socket=true"}, "Alpha-level Options not enabled"),
        ({"memory_manager_policy": "static"}, "unknown memory manager policy"),
        ({"topology_manager_policy": "best"}, "unknown topology manager policy"),
        ({"topology_manager_scope": "node"}, "unknown scope"),
        ({"topology_manager_policy_options": "x=1"}, "unknown Topology Manager Policy option"),
        ({"reserved_memory": ("memory=1Gi",)}, "is not node:type=size"),
    ],
)
def test_an_option_that_makes_no_sense_is_named(options: dict[str, str], message: str) -> None:
    config = NodeConfig(**options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        read_all(config)


def test_by_default_nothing_is_read_nor_kept(tmp_path: Path) -> None:
    config = NodeConfig()
    found = settings(topology_options(config), {}, tmp_path, tmp_path / "none")
    assert (found.machine, found.cpus, found.memory) == (None, None, None)
    assert list(tmp_path.iterdir()) == []


def test_a_policy_takes_over_nothing_that_another_one_gave(tmp_path: Path) -> None:
    for file in (cpus.FILE, memory.FILE):
        (tmp_path / file).write_text("{}")
        with pytest.raises(StartError, match="differs from state checkpoint policy"):
            topology_of(NodeConfig(), reserved_of(NodeConfig()), GIB, tmp_path)
        (tmp_path / file).unlink()


def test_the_static_policies_want_to_know_what_is_reserved(tmp_path: Path) -> None:
    system, root = record(tmp_path / "sys", ONE_NODE), tmp_path
    static = topology_options(NodeConfig(cpu_manager_policy="static"))
    with pytest.raises(ValueError, match="to be greater than zero"):
        settings(static, {}, root, system)
    found = settings(static, {"cpu": quantity.parse("1100m")}, root, system)
    assert found.cpus is not None
    assert found.cpus.allocatable == {2, 3}
    wrong = topology_options(NodeConfig(cpu_manager_policy="static", reserved_cpus="7"))
    with pytest.raises(ValueError, match="are not all of this machine's"):
        settings(wrong, {}, root, system)
    config = NodeConfig(memory_manager_policy="Static", reserved_memory=("0:memory=1Gi",))
    with pytest.raises(ValueError, match='of type "memory" is not equal to the value "0"'):
        settings(topology_options(config), {}, root, system)
    kept = {"memory": quantity.parse("1Gi")}
    found = settings(topology_options(config), kept, root, system)
    assert found.memory is not None
    assert found.memory.allocatable == {0: {"memory": 7 * GIB}}


def test_pods_are_ended_when_they_together_take_of_the_reserve(tmp_path: Path) -> None:
    thresholds = with_pods(parse("memory.available<100Mi", "memory.available<1Gi", f"{MEMORY}=1m"))
    assert [one.signal for one in thresholds] == [MEMORY, MEMORY, PODS_MEMORY]
    group = tmp_path / "kubepods"
    group.mkdir()
    (group / "memory.usage_in_bytes").write_text(str(960 << 20))
    (group / "memory.stat").write_text("total_inactive_file 0\ntotal_rss 1\n")
    levels = pods_level(Cgroups(controllers={"memory": tmp_path}), GIB)
    assert levels == {PODS_MEMORY: Level(64 << 20, GIB)}
    verdict = look(thresholds, levels, Seen(), 0.0)
    assert verdict.conditions == {"MemoryPressure"}
    [crossed] = verdict.crossed
    assert low_message(crossed, levels[PODS_MEMORY]) == (
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 65536Ki. "
    )

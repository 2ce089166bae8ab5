"""Processors of their own for containers: how they are chosen, given, kept and taken back."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.agent.kubelet.pod import Spec, specs_of
from minikube_py.agent.kubelet.topology import cpuset
from minikube_py.agent.kubelet.topology.cpu_assignment import Placing, take
from minikube_py.agent.kubelet.topology.cpus import FILE, CpuOptions, StaticCpus
from minikube_py.agent.kubelet.topology.errors import AdmissionError, SMTAlignmentError
from minikube_py.agent.kubelet.topology.hints import Hint
from minikube_py.agent.kubelet.topology.machine import Topology
from minikube_py.lib.errors import StartError
from tests.unit.agent.kubelet.machines import machine

DUAL = machine(sockets=2, cores=4)
"""0-3,8-11 in one socket, 4-7,12-15 in the other."""
DEFAULTS = CpuOptions()


def shown(cpus: frozenset[int]) -> str:
    return cpuset.show(cpus)


def container(name: str, cpu: str, **more: Any) -> dict[str, Any]:
    amounts = {"cpu": cpu, "memory": "1Gi"}
    return {"name": name, "resources": {"requests": amounts, "limits": amounts}, **more}


def pod(*containers: Any, uid: str = "u", inits: Any = ()) -> Any:
    spec = {"containers": list(containers), "initContainers": list(inits)}
    return {"metadata": {"name": "p", "namespace": "d", "uid": uid}, "spec": spec}


def spec(of: Any, name: str) -> Spec:
    lists = [*specs_of(of, "initContainers"), *specs_of(of, "containers")]
    return next(one for one in lists if one.name == name)


def cpus(
    folder: Path, options: CpuOptions = DEFAULTS, of: Topology = DUAL, reserved: str = "0"
) -> StaticCpus:
    return StaticCpus(of, cpuset.parse(reserved), options, folder)


def test_sets_are_written_as_linux_does() -> None:
    assert shown(frozenset({0, 1, 2, 5, 7, 8})) == "0-2,5,7-8"
    assert cpuset.parse(" 0-2,5 ,7-8\n") == {0, 1, 2, 5, 7, 8}
    assert cpuset.parse("") == frozenset()
    with pytest.raises(ValueError, match="no range"):
        cpuset.parse("3-1")


@pytest.mark.parametrize(
    ("count", "without", "taken"),
    [
        (1, "", "0"),
        (2, "", "0,8"),  # both threads of a core
        (8, "", "0-3,8-11"),  # a whole socket
        (9, "", "0-4,8-11"),
        (2, "0", "1,9"),  # a whole core rather than the thread that is left
        (1, "0", "8"),  # the thread that is left rather than to break a core
        (8, "0", "4-7,12-15"),
    ],
)
def test_what_belongs_together_is_taken_together(count: int, without: str, taken: str) -> None:
    assert shown(take(DUAL, DUAL.all_cpus - cpuset.parse(without), count)) == taken


def test_processors_are_spread_over_the_nodes_where_that_is_asked_for() -> None:
    spread, whole = Placing(distribute=True), Placing(distribute=True, whole_cores=True)
    assert shown(take(DUAL, DUAL.all_cpus, 10, spread)) == "0-2,4-6,8-9,12-13"
    assert shown(take(DUAL, DUAL.all_cpus, 12, whole)) == "0-2,4-6,8-10,12-14"
    # What fits into one node is not spread.
    assert shown(take(DUAL, DUAL.all_cpus, 4, spread)) == "0-1,8-9"


def test_a_cache_is_not_shared_with_others_where_that_can_be_helped() -> None:
    split = machine(cores=8, threads=1)
    halves = Topology(
        cpus={name: one._replace(cache=name // 4 * 4) for name, one in split.cpus.items()},
        nodes=split.nodes,
    )
    free = halves.all_cpus - {0, 1}
    assert shown(take(halves, free, 4, Placing(align_cache=True))) == "4-7"
    assert shown(take(halves, free, 4)) == "2-5"


free_sets = st.sets(st.integers(0, 15)).map(frozenset)
placings = st.builds(Placing, st.booleans(), st.booleans(), st.booleans())


@given(free=free_sets, count=st.integers(0, 16), placing=placings)
def test_exactly_as_many_are_taken_as_were_asked_for_and_only_free_ones(
    free: frozenset[int], count: int, placing: Placing
) -> None:
    if count > len(free):
        with pytest.raises(AdmissionError, match="not enough cpus available"):
            take(DUAL, free, count, placing)
        return
    taken = take(DUAL, free, count, placing)
    assert len(taken) == count
    assert taken <= free


@given(free=free_sets, count=st.integers(0, 8).map(lambda n: 2 * n))
def test_whole_cores_are_never_broken_as_long_as_there_are_enough(
    free: frozenset[int], count: int
) -> None:
    whole = {cpu for cpu in free if (cpu + 8) % 16 in free}
    if count > len(whole):
        return
    taken = take(DUAL, frozenset(whole), count)
    assert all((cpu + 8) % 16 in taken for cpu in taken)


def test_whole_processors_of_guaranteed_pods_are_exclusive_and_others_share(
    tmp_path: Path,
) -> None:
    manager = cpus(tmp_path)
    exclusive, burst = pod(container("c", "2")), pod({"name": "c"}, uid="v")
    part = pod(container("c", "1500m"), uid="w")
    assert manager.allocate(exclusive, spec(exclusive, "c"), None)
    assert not manager.allocate(burst, spec(burst, "c"), None)
    assert not manager.allocate(part, spec(part, "c"), None)
    assert shown(manager.of("u", "c")) == "1,9"
    assert shown(manager.of("v", "c")) == shown(manager.of("w", "c")) == "0,2-8,10-15"
    assert manager.release("u")
    assert manager.shared == DUAL.all_cpus
    assert not manager.release("u")


def test_reserved_processors_are_never_given_and_strictly_reserved_ones_not_even_shared(
    tmp_path: Path,
) -> None:
    strict = cpus(tmp_path, CpuOptions(strict_reservation=True), reserved="0,8")
    assert shown(strict.shared) == "1-7,9-15"
    whole = pod(container("c", "15"))
    with pytest.raises(AdmissionError, match="requested=15, available=14"):
        strict.allocate(whole, spec(whole, "c"), None)


def test_init_containers_leave_their_processors_to_the_others_and_sidecars_do_not(
    tmp_path: Path,
) -> None:
    manager = cpus(tmp_path)
    side = container("side", "2", restartPolicy="Always")
    of = pod(container("c", "2"), inits=[container("init", "6"), side])
    for name in ("init", "side", "c"):
        manager.allocate(of, spec(of, name), None)
    init, sidecar, own = (manager.given["u", name] for name in ("init", "side", "c"))
    assert own <= init
    assert sidecar <= init
    assert not own & sidecar
    assert len(manager.shared) == 10


def test_cores_are_given_whole_or_not_at_all_where_that_is_asked_for(tmp_path: Path) -> None:
    manager = cpus(tmp_path, CpuOptions(placing=Placing(whole_cores=True)), reserved="0")
    odd, big = pod(container("c", "3")), pod(container("c", "16"))
    with pytest.raises(SMTAlignmentError) as found:
        manager.allocate(odd, spec(odd, "c"), None)
    assert found.value.message == (
        "SMT Alignment Error: requested 3 cpus not multiple cpus per core = 2"
    )
    with pytest.raises(SMTAlignmentError) as found:
        manager.allocate(big, spec(big, "c"), None)
    assert found.value.message == (
        "SMT Alignment Error: not enough free physical CPUs: available physical CPUs = 14,"
        " requested CPUs = 16, CPUs per core = 2"
    )


def test_hints_name_the_nodes_that_have_enough_and_prefer_the_fewest(tmp_path: Path) -> None:
    manager = cpus(tmp_path)
    of = pod(container("c", "8"))
    # Node 0 could have had eight, but one is reserved.
    assert manager.hints(of, spec(of, "c"), [0, 1]) == {
        "cpu": [Hint(frozenset({1}), preferred=True), Hint(frozenset({0, 1}), preferred=False)]
    }
    manager.allocate(of, spec(of, "c"), frozenset({1}))
    assert shown(manager.of("u", "c")) == "4-7,12-15"
    assert manager.hints(of, spec(of, "c"), [0, 1])["cpu"] == [
        Hint(frozenset({1}), preferred=True),
        Hint(frozenset({0, 1}), preferred=False),
    ]
    burst = pod({"name": "c"}, uid="v")
    assert manager.hints(burst, spec(burst, "c"), [0, 1]) == {}


async def test_what_was_given_is_the_same_after_a_restart(tmp_path: Path) -> None:
    manager = cpus(tmp_path)
    of = pod(container("c", "2"))
    manager.allocate(of, spec(of, "c"), None)
    await manager.save()
    kept = orjson.loads((tmp_path / FILE).read_bytes())
    assert kept == {
        "policyName": "static",
        "defaultCpuSet": "0,2-8,10-15",
        "entries": {"u": {"c": "1,9"}},
    }
    again = cpus(tmp_path)
    assert again.given == manager.given
    assert not again.allocate(of, spec(of, "c"), None)


async def test_a_machine_that_has_changed_is_refused_until_the_file_is_gone(
    tmp_path: Path,
) -> None:
    await cpus(tmp_path).save()
    with pytest.raises(StartError, match="doesn't match"):
        cpus(tmp_path, of=machine())
    (tmp_path / FILE).write_text("{")
    with pytest.raises(StartError, match="please drain this node"):
        cpus(tmp_path)

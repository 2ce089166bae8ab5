"""Memory of certain NUMA nodes: groups stay apart, nothing is promised twice, all is kept."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.agent.kubelet.pod import Spec
from minikube_py.agent.kubelet.topology.errors import AdmissionError
from minikube_py.agent.kubelet.topology.hints import Hint
from minikube_py.agent.kubelet.topology.machine import NumaNode
from minikube_py.agent.kubelet.topology.memory import FILE, StaticMemory, room
from minikube_py.lib.errors import StartError
from tests.unit.agent.kubelet.machines import GIB, machine

TWO = machine(sockets=2)
"""Two nodes with 8 GiB each."""
ONE, OTHER, BOTH = frozenset({0}), frozenset({1}), frozenset({0, 1})


def memory(folder: Path) -> StaticMemory:
    return StaticMemory(TWO, {0: {"memory": GIB}, 1: {"memory": GIB}}, folder)


def pod(size: str, uid: str = "u", *, init: str = "") -> Any:
    def container(name: str, amount: str) -> Any:
        amounts = {"cpu": "1", "memory": amount}
        return {"name": name, "resources": {"requests": amounts, "limits": amounts}}

    spec: dict[str, Any] = {"containers": [container("c", size)]}
    if init:
        spec["initContainers"] = [container("init", init)]
    return {"metadata": {"name": "p", "namespace": "d", "uid": uid}, "spec": spec}


def spec(of: Any, kind: str = "containers") -> Spec:
    return Spec(of["spec"][kind][0], kind)


def take(manager: StaticMemory, size: str, uid: str, nodes: Any = None) -> Any:
    of = pod(size, uid)
    manager.allocate(of, spec(of), nodes)
    return manager.of(uid, "c")


def test_what_a_node_can_give_is_what_is_not_reserved_nor_huge_pages() -> None:
    node = NumaNode(memory_bytes=8 * GIB, huge_pages={2 << 20: 512, 1 << 30: 1})
    assert room(node, {"memory": GIB, "hugepages-2Mi": 2 << 20}) == {
        "memory": 5 * GIB,
        "hugepages-2Mi": GIB - (2 << 20),
        "hugepages-1Gi": GIB,
    }


def test_memory_comes_of_as_few_nodes_as_have_enough(tmp_path: Path) -> None:
    manager = memory(tmp_path)
    assert take(manager, "4Gi", "a") == ONE
    assert take(manager, "4Gi", "b") == OTHER
    assert take(manager, "3Gi", "c") == ONE
    with pytest.raises(AdmissionError, match="no NUMA nodes with enough memory"):
        take(manager, "4Gi", "d")
    assert manager.release("a")
    assert take(manager, "4Gi", "d") == ONE
    assert not manager.release("a")


def test_a_node_is_never_in_two_groups_at_once(tmp_path: Path) -> None:
    manager = memory(tmp_path)
    assert take(manager, "10Gi", "big") == BOTH
    with pytest.raises(AdmissionError, match="failed to find NUMA nodes to extend"):
        take(manager, "1Gi", "small", frozenset({0, 1, 2}))
    assert take(manager, "1Gi", "small") == BOTH
    manager.release("big")
    manager.release("small")
    assert take(manager, "1Gi", "small") == ONE
    with pytest.raises(AdmissionError):
        take(manager, "10Gi", "big")


def test_a_hint_that_is_too_small_is_extended(tmp_path: Path) -> None:
    manager = memory(tmp_path)
    assert take(manager, "9Gi", "a", ONE) == BOTH


def test_hints_prefer_the_fewest_nodes_that_could_ever_do(tmp_path: Path) -> None:
    manager = memory(tmp_path)
    of = pod("6Gi")
    assert manager.hints(of, spec(of), [0, 1])["memory"] == [
        Hint(ONE, preferred=True),
        Hint(OTHER, preferred=True),
        Hint(BOTH, preferred=False),
    ]
    take(manager, "2Gi", "other")
    assert manager.hints(of, spec(of), [0, 1])["memory"] == [Hint(OTHER, preferred=True)]
    assert manager.hints(pod("1Gi") | {"spec": {}}, Spec({"name": "c"}, ""), [0, 1]) == {}


def test_what_an_init_container_had_is_used_again(tmp_path: Path) -> None:
    manager = memory(tmp_path)
    of = pod("5Gi", init="6Gi")
    for kind in ("initContainers", "containers"):
        manager.allocate(of, spec(of, kind), ONE)
    assert [block.size for block in manager.given["u", "init"]] == [GIB]
    assert [block.size for block in manager.given["u", "c"]] == [5 * GIB]
    assert take(manager, "1Gi", "v", ONE) == ONE


async def test_what_was_given_is_the_same_after_a_restart(tmp_path: Path) -> None:
    manager = memory(tmp_path)
    take(manager, "10Gi", "a")
    await manager.save()
    assert memory(tmp_path).given == manager.given
    (tmp_path / FILE).write_text("[]")
    with pytest.raises(StartError, match="please drain this node"):
        memory(tmp_path)


sizes = st.lists(st.tuples(st.integers(1, 12), st.booleans()), max_size=8)


@given(steps=sizes)
def test_no_node_ever_gives_more_than_it_has(
    steps: list[tuple[int, bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    manager = memory(tmp_path_factory.getbasetemp())
    for number, (size, goes) in enumerate(steps):
        try:
            take(manager, f"{size}Gi", str(number))
        except AdmissionError:
            continue
        if goes:
            manager.release(str(number))
        blocks = [block for found in manager.given.values() for block in found]
        groups = {block.nodes for block in blocks}
        assert all(not one & other for one in groups for other in groups if one != other)
        for group in groups:
            used = sum(block.size for block in blocks if block.nodes == group)
            assert used <= 7 * GIB * len(group)

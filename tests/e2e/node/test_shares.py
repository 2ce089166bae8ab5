"""Shares of a real machine: whole processors for a container, and what pods do not get."""

from typing import Any

import orjson
import pytest

from minikube_py.agent.kubelet.topology.machine import read
from tests.e2e.node.conftest import Node, make
from tests.e2e.node.machine import wait_until

pytestmark = pytest.mark.e2e
LAST = max(read().all_cpus)
"""The processor that is kept for the machine: so 0 is the first to be given."""
FLAGS = (
    "--cpu-manager-policy=static",
    f"--reserved-cpus={LAST}",
    "--topology-manager-policy=restricted",
    "--kube-reserved=memory=256Mi",
)


@pytest.fixture(scope="module")
def shared(node: Node) -> Node:
    """Have a node that gives whole processors."""
    node.stop()
    node.start(*FLAGS)
    return node


def guaranteed(name: str, cpu: str) -> dict[str, Any]:
    amounts = {"cpu": cpu, "memory": "32Mi"}
    return make(name, container={"resources": {"requests": amounts, "limits": amounts}})


def allowed(node: Node, name: str) -> str:
    """Return the processors that the kernel lets a pod's processes use, once it can be asked."""
    question = ("grep", "Cpus_allowed_list", "/proc/1/status")
    shown = wait_until(lambda: node.exec(name, *question), 30, f"{name} can be asked")
    return str(shown).split()[1]


def becomes(node: Node, name: str, cpus: str) -> None:
    wait_until(lambda: allowed(node, name) == cpus, 30, f"{name} runs on {cpus}")


def test_a_container_has_a_processor_for_itself_also_after_kpy_was_killed(shared: Node) -> None:
    others = str(LAST) if LAST == 1 else f"1-{LAST}"
    whole = f"0-{LAST}"
    shared.apply(make("other"))
    shared.wait("other", "Running")
    becomes(shared, "other", whole)
    shared.apply(guaranteed("own", "1"))
    shared.wait("own", "Running")
    assert allowed(shared, "own") == "0"
    becomes(shared, "other", others)
    shared.kill()
    shared.start(*FLAGS)
    assert allowed(shared, "own") == "0"
    assert allowed(shared, "other") == others
    shared.apply(make("late"))
    shared.wait("late", "Running")
    assert allowed(shared, "late") == others
    shared.delete("own")
    becomes(shared, "other", whole)


def test_what_is_reserved_is_not_for_pods(shared: Node) -> None:
    status = shared.get("node", "n1")["status"]
    assert int(status["allocatable"]["cpu"]) == int(status["capacity"]["cpu"]) - 1
    kept = int(status["capacity"]["memory"][:-2]) - int(status["allocatable"]["memory"][:-2])
    assert kept >= 256 * 1024
    held = int(shared.machine.sh("cat", "/sys/fs/cgroup/memory/kubepods/memory.limit_in_bytes"))
    assert held == int(status["capacity"]["memory"][:-2]) * 1024 - (256 << 20)
    state = orjson.loads((shared.folder / "agent" / "kubelet" / "cpu_manager_state").read_bytes())
    assert state["policyName"] == "static"

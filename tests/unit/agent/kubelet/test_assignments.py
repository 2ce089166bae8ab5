"""What pods are given for themselves, in the life of pods: in virtual time."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from minikube_py.agent.cri.runtime import Container
from minikube_py.agent.kubelet.assignments import TopologySettings
from minikube_py.agent.kubelet.topology.cpus import CpuOptions, StaticCpus
from minikube_py.agent.kubelet.topology.hints import Policy
from minikube_py.api.core import PODS
from minikube_py.api.object import evolve, get
from tests.unit.agent.kubelet.builders import container
from tests.unit.agent.kubelet.machines import machine
from tests.unit.agent.kubelet.model_node import Node, model_node
from tests.unit.agent.kubelet.pods_in_time import new, until, wait
from tests.virtual_time import virtual

FOUR = machine(threads=1)
"""Four processors without threads."""
ANYWHERE = Policy()


class Forgetful(StaticCpus):
    """Keeps no file: in virtual time nothing may wait for threads."""

    async def save(self) -> None:
        pass


def static(folder: Path, policy: Policy = ANYWHERE) -> TopologySettings:
    cpus = Forgetful(FOUR, frozenset({0}), CpuOptions(), folder)
    return TopologySettings(machine=FOUR, policy=policy, cpus=cpus)


def needs(cpu: str, name: str = "c") -> Any:
    both = {"cpu": cpu, "memory": "64Mi"}
    return container(name, resources={"limits": both, "requests": both})


def named(name: str, containers: list[Any]) -> Any:
    return evolve(new(containers), "metadata.name", name)


async def until_named(node: Node, phase: str, name: str) -> None:
    await wait(lambda: get(node.pod(name) or {}, "status.phase") == phase, 60)


def sets(node: Node) -> dict[str, str]:
    """Return the processors that each running container may use, by name."""
    return {
        node.runtime.containers[key].name: limits.get("cpuset_cpus", "")
        for key, limits in node.runtime.limits.items()
        if key in node.runtime.containers
    }


def follow(node: Node) -> None:
    def running() -> Iterator[Container]:
        for worker in node.workers:
            yield from worker.observed.running

    runtime: Any = node.runtime
    node.nursery.start("processors", node.assignments.follow(running, runtime, node.clock))


@virtual
async def test_others_are_kept_off_the_processors_of_a_container_while_it_has_them(
    tmp_path: Path,
) -> None:
    async with model_node(tmp_path, topology=static(tmp_path)) as node:
        follow(node)
        await node.create(named("small", [needs("100m", "small")]))
        await until_named(node, "Running", "small")
        assert sets(node) == {"small": "0-3"}
        await node.create(named("big", [needs("1", "big")]))
        await until_named(node, "Running", "big")
        await wait(lambda: sets(node) == {"small": "0,2-3", "big": "1"}, 60)
        [made] = [one for key, one in node.runtime.limits.items() if key.startswith("big")]
        assert made["cpu_quota"] == -1
        await node.client.delete(PODS, "big", "default")
        await wait(lambda: sets(node) == {"small": "0-3"}, 60)


@virtual
async def test_a_pod_for_which_no_processors_are_left_is_refused_in_upstreams_words(
    tmp_path: Path,
) -> None:
    async with model_node(tmp_path, topology=static(tmp_path)) as node:
        await node.create(new([needs("4")]))
        await until(node, "Failed")
        status = node.status()
        assert status["reason"] == "UnexpectedAdmissionError"
        assert status["message"] == (
            "Pod was rejected: Allocate failed due to not enough cpus available to satisfy"
            " request: requested=4, available=3, which is unexpected"
        )
        assert "UnexpectedAdmissionError" in node.events()
        assert not any(line.startswith("create") for line in node.runtime.log)


@virtual
async def test_a_pod_is_placed_as_a_whole_where_that_is_the_scope(tmp_path: Path) -> None:
    policy = Policy(name="restricted", scope="pod")
    async with model_node(tmp_path, topology=static(tmp_path, policy)) as node:
        await node.create(new([needs("1", "one"), needs("1", "two")]))
        await until(node, "Running")
        assert sorted(sets(node).values()) == ["1", "2"]
        await node.create(named("more", [needs("1", "x"), needs("1", "y")]))
        await until_named(node, "Failed", "more")
        more = node.pod("more")
        assert more is not None
        assert more["status"]["reason"] == "TopologyAffinityError"


@virtual
async def test_who_has_processors_for_itself_cannot_be_resized(tmp_path: Path) -> None:
    async with model_node(tmp_path, topology=static(tmp_path)) as node:
        refused = node.assignments.resize_refusal(new([needs("1")]))
        assert refused is not None
        assert (refused.reason, refused.message) == (
            "Infeasible",
            "Resize is infeasible for Guaranteed Pods alongside CPU Manager static policy",
        )
        assert node.assignments.resize_refusal(new([needs("100m")])) is None

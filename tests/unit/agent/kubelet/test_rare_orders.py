"""Pods of which several things happen at the same time, or in an order that is seldom met."""

import asyncio
from dataclasses import replace
from typing import Any

from minikube_py.agent.kubelet import signals
from minikube_py.api.core import PODS
from minikube_py.api.core.stop_signals import LINUX
from minikube_py.api.object import condition_of, evolve
from tests.unit.agent.kubelet.builders import container, pod, running, sidecar
from tests.unit.agent.kubelet.model_node import Node, Script, model_node
from tests.unit.agent.kubelet.pods_in_time import new, until, until_gone, wait
from tests.virtual_time import virtual

NAMES = ("i", "s", "c", "d")


def rule(action: str, *codes: int) -> dict[str, Any]:
    return {"action": action, "exitCodes": {"operator": "In", "values": list(codes)}}


def source(name: str, policy: str = "Never") -> dict[str, Any]:
    """Return a container whose end with 42 has its pod begin anew."""
    rules = [rule("RestartAllContainers", 42)]
    return container(name, restartPolicy=policy, restartPolicyRules=rules)


def starts(node: Node) -> list[str]:
    return [line.split()[1] for line in node.runtime.log if line.startswith("start ")]


def phases_of(node: Node) -> set[str]:
    """Follow the pod; return the set in which its phases are gathered."""
    seen: set[str] = set()

    async def follow() -> None:
        while True:
            if node.pod() is not None:
                seen.add(node.status().get("phase", ""))
            await asyncio.sleep(0.01)

    node.nursery.start("phases", follow())
    return seen


def restarting(node: Node) -> tuple[str, str]:
    found = condition_of(node.pod() or {}, "AllContainersRestarting") or {}
    return found.get("status", ""), found.get("reason", "")


def has_begun_anew(node: Node, *names: str) -> bool:
    states = [node.state(name) for name in names]
    return all(one["restartCount"] == 1 for one in states) and node.status()["phase"] == "Running"


@virtual
async def test_a_container_may_have_its_whole_pod_begin_anew_in_its_sandbox(tmp_path):
    async with model_node(tmp_path) as node:
        hook = {"preStop": {"exec": {"command": ["never"]}}}
        node.runtime.scripts |= {"i": [Script(0, 1)] * 2, "c": [Script(42, 5)]}
        init = [container("i"), sidecar("s", lifecycle=hook)]
        await node.create(new([source("c"), container("d")], init=init, restartPolicy="Never"))
        await until(node, "Running")
        seen = phases_of(node)
        await wait(lambda: restarting(node) == ("True", "RestartAllContainersStarted"), 30)
        await wait(lambda: has_begun_anew(node, *NAMES), 30)
        assert seen == {"Running"}
        assert starts(node) == ["i", "s", "c", "d"] * 2
        assert all("terminated" in node.state(name)["lastState"] for name in NAMES)
        assert restarting(node) == ("False", "")
        assert [line for line in node.runtime.log if "sandbox" in line] == ["run_sandbox 0"]
        assert "exec never" not in node.runtime.log


@virtual
async def test_a_sidecar_or_an_init_container_may_have_it_begin_anew_as_well(tmp_path):
    async with model_node(tmp_path) as node:
        node.runtime.scripts["x"] = [Script(42, 9)]
        init = [container("i"), source("x", "Always")]
        node.runtime.scripts["i"] = [Script(0, 1)] * 2
        await node.create(new(init=init, restartPolicy="Never"))
        await wait(lambda: node.pod() is not None and len(starts(node)) == 6, 60)
        await wait(lambda: has_begun_anew(node, "i", "x", "c"), 30)
        assert starts(node) == ["i", "x", "c"] * 2
    async with model_node(tmp_path / "second") as node:
        node.runtime.scripts["x"] = [Script(42, 1), Script(0, 1)]
        await node.create(new(init=[sidecar("s"), source("x")], restartPolicy="Never"))
        await until(node, "Running", 60)
        assert starts(node) == ["s", "x", "s", "x", "c"]


@virtual
async def test_a_pod_that_begins_anew_again_and_again_waits_longer_each_time(tmp_path):
    async with model_node(tmp_path) as node:
        node.runtime.scripts["c"] = [Script(42, 1)] * 9
        await node.create(new([source("c"), container("d")], restartPolicy="Never"))
        await asyncio.sleep(100)
        assert 4 <= len(starts(node)) / 2 <= 5
        assert node.state()["state"]["waiting"]["reason"] == "CrashLoopBackOff"
        assert node.status()["phase"] == "Running"
        await node.client.delete(PODS, "a", "default")
        await until_gone(node)


@virtual
async def test_a_pod_that_was_to_begin_anew_does_so_after_a_restart_of_kpy(tmp_path):
    async with model_node(tmp_path) as node:
        node.runtime.scripts |= {"c": [Script(42, 5)], "d": [Script(ignores_term=True)]}
        await node.create(new([source("c"), container("d")], restartPolicy="Never"))
        await until(node, "Running")
        await wait(lambda: restarting(node)[0] == "True", 30)
        cluster, runtime = node.cluster, node.runtime
        await node.kill()
        async with model_node(tmp_path, cluster, runtime) as again:
            await wait(lambda: has_begun_anew(again, "c", "d"), 60)


@virtual
async def test_the_first_rule_that_matches_counts(tmp_path):
    async with model_node(tmp_path) as node:
        rules = [rule("Restart", 42), rule("RestartAllContainers", 42, 43)]
        one = container(restartPolicy="Never", restartPolicyRules=rules)
        node.runtime.scripts["c"] = [Script(42, 1), Script(7, 1)]
        await node.create(new([one, container("d")], restartPolicy="Never"))
        await wait(lambda: node.pod() is not None and len(starts(node)) == 3, 30)
        await asyncio.sleep(5)
        assert starts(node) == ["c", "d", "c"]
        assert node.state()["state"]["terminated"]["exitCode"] == 7


@virtual
async def test_a_resize_during_a_pull_is_given_to_the_container_from_its_start(tmp_path):
    async with model_node(tmp_path) as node:
        limits = {"limits": {"cpu": "100m"}, "requests": {"cpu": "100m"}}
        await node.create(new([container(image="late:1", resources=limits)]))
        await asyncio.sleep(1)
        more = {"limits": {"cpu": "300m"}, "requests": {"cpu": "300m"}}
        changed = evolve(
            node.pod() or {}, "spec.containers", [container(image="late:1", resources=more)]
        )
        await node.client.update(PODS, changed)
        node.runtime.images.add("late:1")
        await until(node, "Running", 60)
        (given,) = node.runtime.limits.values()
        assert given["cpu_quota"] == 30_000
        assert node.state()["restartCount"] == 0
        assert not [line for line in node.runtime.log if line.startswith("update")]


@virtual
async def test_init_containers_that_have_run_are_not_run_again_after_a_restart_of_kpy(tmp_path):
    async with model_node(tmp_path) as node:
        node.runtime.scripts |= {"i": [Script(0, 1)], "j": [Script(0, 8)]}
        await node.create(new(init=[container("i"), sidecar("s"), container("j")]))
        await wait(lambda: "start j" in node.runtime.log, 30)
        await asyncio.sleep(1)
        cluster, runtime = node.cluster, node.runtime
        await node.kill()
        async with model_node(tmp_path, cluster, runtime) as again:
            await until(again, "Running", 30)
            assert starts(again) == ["i", "s", "j", "c"]


@virtual
async def test_an_ephemeral_container_that_ended_stays_ended_after_a_restart_of_kpy(tmp_path):
    async with model_node(tmp_path) as node:
        await node.create(new())
        await until(node, "Running")
        node.runtime.scripts["e"] = [Script(0, 3)]
        changed = evolve(node.pod() or {}, "spec.ephemeralContainers", [container("e")])
        await node.client.update(PODS, changed)
        await asyncio.sleep(6)
        cluster, runtime = node.cluster, node.runtime
        await node.kill()
        async with model_node(tmp_path, cluster, runtime) as again:
            await asyncio.sleep(20)
            assert starts(again) == ["c", "e"]
            (told,) = again.status()["ephemeralContainerStatuses"]
            assert told["state"]["terminated"]["exitCode"] == 0
            assert again.status()["phase"] == "Running"


@virtual
async def test_a_sidecar_that_is_not_alive_is_restarted_alone(tmp_path):
    async with model_node(tmp_path) as node:
        probe = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 2}
        one = sidecar("s", livenessProbe={**probe, "terminationGracePeriodSeconds": 3})
        await node.create(new(init=[one], restartPolicy="Never"))
        await until(node, "Running")
        await wait(lambda: node.state("s")["restartCount"] >= 1, 60)
        assert "stop s 3" in node.runtime.log
        assert starts(node).count("c") == 1
        assert node.status()["phase"] == "Running"


@virtual
async def test_a_container_of_which_the_runtime_lost_all_counts_on(tmp_path):
    async with model_node(tmp_path) as node:
        node.runtime.scripts |= {"i": [Script(0, 1)] * 2, "c": [Script(1, 3)]}
        await node.create(new(init=[container("i")]))
        await wait(lambda: node.pod() is not None and starts(node) == ["i", "c", "c"], 60)
        await asyncio.sleep(1)
        node.runtime.containers.clear()
        node.runtime.sandboxes.clear()
        node.workers.wake((node.pod() or {})["metadata"]["uid"])
        await wait(lambda: starts(node) == ["i", "c", "c", "i", "c"], 60)
        await wait(lambda: node.state()["restartCount"] == 2, 10)
        assert node.state("i")["restartCount"] == 1


@virtual
async def test_a_container_is_ended_by_the_signal_that_its_pod_names(tmp_path, monkeypatch):
    async with model_node(tmp_path) as node:
        sent: list[tuple[int, int]] = []

        def kill(pid: int, signal: int) -> None:
            sent.append((pid, signal))
            if signal == 10:
                node.runtime.end(f"c-{pid}", 0)

        monkeypatch.setattr(signals.os, "kill", kill)
        deaf = container("d", lifecycle={"stopSignal": "SIGRTMAXMINUS1"})
        usual = container(lifecycle={"stopSignal": "SIGUSR1"})
        await node.create(new([usual, deaf], os={"name": "linux"}))
        await until(node, "Running")
        assert node.state()["stopSignal"] == "SIGUSR1"
        await node.client.delete(PODS, "a", "default", options={"gracePeriodSeconds": 6})
        assert 6 <= await until_gone(node) < 7
        assert sorted(signal for _, signal in sent) == [10, 63]
        stops = [line for line in node.runtime.log if line.startswith("stop ")]
        assert stops == ["stop c 6", "stop d 0"]


def test_signals_have_the_numbers_of_the_machine():
    assert [signals.number(name) for name in ("SIGTERM", "SIGRTMIN", "SIGRTMINPLUS2")] == [
        15,
        34,
        36,
    ]
    assert all(0 < signals.number(name) <= 64 for name in LINUX)


def test_a_signal_that_the_runtime_sends_by_itself_is_not_sent_from_here():
    spec, one = container(lifecycle={"stopSignal": "SIGUSR1"}), running("c")
    linux = pod([spec], os={"name": "linux"})
    assert signals.untold(linux, spec, one) == "SIGUSR1"
    assert signals.untold(linux, spec, replace(one, stop_signal="SIGUSR1")) == ""
    assert signals.untold(pod([spec]), spec, one) == ""  # it does not say for which system
    odd = container(lifecycle={"stopSignal": "SIGODD"})
    assert signals.untold(linux, odd, one) == ""

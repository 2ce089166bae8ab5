"""The life of pods on a model node, in virtual time: from binding to the last trace."""

import asyncio
import itertools

import pytest

from minikube_py.api.core import CONFIGMAPS, PODS
from minikube_py.api.node import RUNTIMECLASSES
from tests.unit.agent.kubelet.builders import container, sidecar
from tests.unit.agent.kubelet.model_node import Script, model_node
from tests.unit.agent.kubelet.pods_in_time import is_ready, new, until, until_gone
from tests.virtual_time import virtual


@virtual
async def test_a_pod_is_started_and_told_of(tmp_path):
    async with model_node(tmp_path) as node:
        await node.create(new([container("a"), container("b")]))
        await until(node, "Running")
        assert node.runtime.log == [
            "run_sandbox 0",
            "create a",
            "start a",
            "create b",
            "start b",
        ]
        assert is_ready(node)
        assert node.status()["podIP"] == "10.0.0.1"
        assert node.events() == ["Pulled", "Created", "Started"] * 2


@virtual
async def test_once_a_pod_runs_nobody_does_anything(tmp_path):
    async with model_node(tmp_path) as node:
        await node.create(new())
        await until(node, "Running")
        await asyncio.sleep(1)
        before, requests = list(node.runtime.log), len(node.cluster.requests)
        await asyncio.sleep(600)
        assert node.runtime.log == before
        assert len(node.cluster.requests) == requests


@virtual
async def test_a_deleted_pod_is_stopped_given_back_and_removed(tmp_path):
    async with model_node(tmp_path) as node:
        await node.create(new())
        await until(node, "Running")
        await node.client.delete(PODS, "a", "default", options={"gracePeriodSeconds": 5})
        await until_gone(node)
        assert node.runtime.log[-3:] == ["stop c 5", "stop_sandbox", "remove_sandbox"]
        assert node.runtime.sandboxes == {}
        assert node.volumes.torn_down
        assert "Killing" in node.events()


@virtual
async def test_a_container_that_ignores_the_signal_has_its_grace_period(tmp_path):
    async with model_node(tmp_path) as node:
        node.runtime.scripts["c"] = [Script(ignores_term=True)]
        await node.create(new(terminationGracePeriodSeconds=7))
        await until(node, "Running")
        await node.client.delete(PODS, "a", "default")
        assert 7 <= await until_gone(node) < 8


@virtual
async def test_a_shorter_grace_period_takes_hold_at_once(tmp_path):
    async with model_node(tmp_path) as node:
        node.runtime.scripts["c"] = [Script(ignores_term=True)]
        await node.create(new(terminationGracePeriodSeconds=300))
        await until(node, "Running")
        await node.client.delete(PODS, "a", "default")
        await asyncio.sleep(3)
        assert node.pod() is not None
        await node.client.delete(PODS, "a", "default", options={"gracePeriodSeconds": 2})
        assert await until_gone(node) < 4


@virtual
async def test_a_pod_that_is_gone_from_the_cluster_is_gone_from_the_node(tmp_path):
    async with model_node(tmp_path) as node:
        node.runtime.scripts["c"] = [Script(ignores_term=True)]
        await node.create(new())
        await until(node, "Running")
        await node.client.delete(PODS, "a", "default", options={"gracePeriodSeconds": 0})
        assert await until_gone(node) < 4
        assert node.runtime.sandboxes == {}


@virtual
async def test_a_container_that_ends_comes_again_later_and_later(tmp_path):
    async with model_node(tmp_path) as node:
        node.runtime.scripts["c"] = [Script(1, 0.5)] * 6
        await node.create(new())
        starts: list[float] = []
        for _ in range(2000):
            await asyncio.sleep(0.1)
            if len(starts) < node.runtime.log.count("start c"):
                starts.append(node.clock.monotonic())
        waits = [round(b - a) for a, b in itertools.pairwise(starts)]
        assert waits == [1, 11, 21, 41, 81]
        state = node.state()
        assert state["restartCount"] == 5
        assert state["state"]["waiting"]["reason"] == "CrashLoopBackOff"
        assert state["state"]["waiting"]["message"].startswith(
            "back-off 2m40s restarting failed container=c pod=a_default("
        )
        assert state["lastState"]["terminated"]["exitCode"] == 1
        assert node.status()["phase"] == "Running"
        assert "BackOff" in node.events()


@virtual
async def test_a_pod_that_is_done_stays_to_be_looked_at(tmp_path):
    async with model_node(tmp_path) as node:
        node.runtime.scripts["c"] = [Script(0, 1)]
        await node.create(new(restartPolicy="Never"))
        await until(node, "Succeeded")
        await asyncio.sleep(5)
        assert node.state()["state"]["terminated"]["reason"] == "Completed"
        assert not any(s.ready for s in node.runtime.sandboxes.values())
        assert len(node.runtime.containers) == 1  # its logs can be read
        assert node.volumes.torn_down
        await node.client.delete(PODS, "a", "default")
        await until_gone(node)
        assert node.runtime.containers == {}


@virtual
async def test_init_containers_run_one_after_the_other(tmp_path):
    async with model_node(tmp_path) as node:
        node.runtime.scripts |= {"i1": [Script(0, 1)], "i2": [Script(1, 1), Script(0, 1)]}
        await node.create(new(init=[container("i1"), container("i2")]))
        await until(node, "Running", 60)
        starts = [line for line in node.runtime.log if line.startswith("start")]
        assert starts == ["start i1", "start i2", "start i2", "start c"]
        assert [node.state(name)["ready"] for name in ("i1", "i2", "c")] == [True, True, True]


@virtual
async def test_sidecars_start_first_and_end_last(tmp_path):
    async with model_node(tmp_path) as node:
        init = [sidecar("s1"), sidecar("s2")]
        await node.create(new(init=init))
        await until(node, "Running")
        await node.client.delete(PODS, "a", "default", options={"gracePeriodSeconds": 9})
        await until_gone(node)
        stops = [line.split()[1] for line in node.runtime.log if line.startswith("stop ")]
        assert stops == ["c", "s2", "s1"]


@virtual
async def test_a_job_with_a_sidecar_succeeds(tmp_path):
    async with model_node(tmp_path) as node:
        node.runtime.scripts["c"] = [Script(0, 2)]
        await node.create(new(init=[sidecar("s")], restartPolicy="Never"))
        await until(node, "Succeeded")
        assert "stop s 30" in node.runtime.log


@virtual
async def test_an_image_that_is_missing_is_told_and_does_not_hold_up_the_others(tmp_path):
    async with model_node(tmp_path) as node:
        await node.create(new([container("bad", image="none:1"), container("good")]))
        await asyncio.sleep(8)
        assert node.state("bad")["state"]["waiting"]["reason"] == "ErrImagePull"
        assert "running" in node.state("good")["state"]
        assert node.status()["phase"] == "Pending"
        pulls = node.runtime.log.count("pull none:1")
        await asyncio.sleep(1)
        node.workers.wake(node.pod()["metadata"]["uid"])
        await asyncio.sleep(1)
        assert node.state("bad")["state"]["waiting"]["reason"] == "ImagePullBackOff"
        assert node.runtime.log.count("pull none:1") == pulls
        node.runtime.images.add("none:1")
        await until(node, "Running")


@virtual
async def test_a_deletion_does_not_wait_for_a_pull(tmp_path):
    async with model_node(tmp_path) as node:
        await node.create(new([container(image="none:1")]))
        await asyncio.sleep(1)
        assert node.runtime.log[-1] == "pull none:1"
        await node.client.delete(PODS, "a", "default")
        assert await until_gone(node) < 1


@virtual
async def test_a_sandbox_that_fails_is_tried_again(tmp_path):
    async with model_node(tmp_path) as node:
        node.runtime.failures["run_sandbox"] = "no address left"
        await node.create(new())
        await asyncio.sleep(4)
        assert node.status()["phase"] == "Pending"
        assert "FailedCreatePodSandBox" in node.events()
        del node.runtime.failures["run_sandbox"]
        await until(node, "Running")


@pytest.mark.parametrize(
    ("call", "reason"), [("create", "CreateContainerError"), ("start", "RunContainerError")]
)
@virtual
async def test_a_container_that_cannot_be_made_tells_why(tmp_path, call, reason):
    async with model_node(tmp_path) as node:
        node.runtime.failures[call] = "exec format error"
        await node.create(new())
        await asyncio.sleep(3)
        waiting = node.state()["state"]["waiting"]
        assert (waiting["reason"], waiting["message"]) == (reason, "exec format error")
        assert "Failed" in node.events()


@virtual
async def test_a_reference_that_leads_nowhere_is_a_configuration_error(tmp_path):
    async with model_node(tmp_path) as node:
        source = {"configMapKeyRef": {"name": "conf", "key": "mode"}}
        await node.create(new([container(env=[{"name": "A", "valueFrom": source}])]))
        await asyncio.sleep(2)
        waiting = node.state()["state"]["waiting"]
        assert waiting["reason"] == "CreateContainerConfigError"
        assert waiting["message"] == 'configmap "conf" not found'
        conf = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "conf", "namespace": "default"},
            "data": {"mode": "fast"},
        }
        await node.client.create(CONFIGMAPS, conf)
        await until(node, "Running", 5)  # its change wakes the pod


@virtual
async def test_a_pod_waits_for_the_network(tmp_path):
    async with model_node(tmp_path) as node:
        node.trouble = "cni plugin not initialized"
        await node.create(new())
        await asyncio.sleep(3)
        assert node.runtime.log == []
        assert "NetworkNotReady" in node.events()
        node.trouble = ""
        await until(node, "Running")


@virtual
async def test_a_pod_in_the_node_s_network_does_not(tmp_path):
    async with model_node(tmp_path) as node:
        node.trouble = "cni plugin not initialized"
        await node.create(new(hostNetwork=True))
        await until(node, "Running")


@virtual
async def test_a_dead_sandbox_is_replaced(tmp_path):
    async with model_node(tmp_path) as node:
        await node.create(new())
        await until(node, "Running")
        await node.runtime.stop_sandbox("s1")
        node.workers.wake(node.pod()["metadata"]["uid"])
        await asyncio.sleep(2)
        assert node.status()["podIP"] != "10.0.0.1"
        assert node.state()["restartCount"] == 1
        assert "SandboxChanged" in node.events()


@virtual
async def test_a_container_that_was_stopped_is_told_before_its_successor_comes(tmp_path):
    async with model_node(tmp_path) as node:
        await node.create(new())
        await until(node, "Running")
        image = {"containers": [container(image="none:1")]}
        await node.client.patch(PODS, "a", {"spec": image}, "default")
        await asyncio.sleep(2)  # the pull takes five seconds
        assert node.state()["state"]["terminated"]["exitCode"] == 143
        await asyncio.sleep(5)
        assert "waiting" in node.state()["state"]


@virtual
async def test_a_runtime_class_names_the_handler_of_a_sandbox(tmp_path):
    async with model_node(tmp_path) as node:
        await node.create(new(runtimeClassName="fast"))
        await asyncio.sleep(2)
        assert node.runtime.log == []
        assert "FailedCreatePodSandBox" in node.events()
        metadata = {"name": "fast"}
        kind = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": metadata}
        await node.client.create(RUNTIMECLASSES, kind | {"handler": "crun"})
        await until(node, "Running")
        assert node.runtime.handlers == ["crun"]


@virtual
async def test_a_deadline_ends_a_pod(tmp_path):
    async with model_node(tmp_path) as node:
        await node.create(new(activeDeadlineSeconds=20))
        await until(node, "Running")
        await until(node, "Failed", 30)
        assert node.status()["reason"] == "DeadlineExceeded"
        await asyncio.sleep(1)
        assert 19 <= node.clock.monotonic() <= 23
        assert all(c.state == "exited" for c in node.runtime.containers.values())


@virtual
async def test_hooks_run_after_the_start_and_before_the_end(tmp_path):
    async with model_node(tmp_path) as node:
        hooks = {
            "postStart": {"exec": {"command": ["hello"]}},
            "preStop": {"exec": {"command": ["sleep", "3"]}},
        }
        await node.create(new([container(lifecycle=hooks)]))
        await until(node, "Running")
        await node.client.delete(PODS, "a", "default", options={"gracePeriodSeconds": 10})
        assert 3 <= await until_gone(node) < 4
        at_work = [
            line for line in node.runtime.log if line.split()[0] in ("start", "exec", "stop")
        ]
        assert at_work == ["start c", "exec hello", "exec sleep 3", "stop c 7"]


@virtual
async def test_a_hook_has_no_more_time_than_the_grace_period(tmp_path):
    async with model_node(tmp_path) as node:
        hooks = {"preStop": {"exec": {"command": ["sleep", "100"]}}}
        await node.create(new([container(lifecycle=hooks)]))
        await until(node, "Running")
        await node.client.delete(PODS, "a", "default", options={"gracePeriodSeconds": 4})
        assert 4 <= await until_gone(node) < 5
        assert "stop c 1" in node.runtime.log


@virtual
async def test_a_container_whose_first_hook_fails_is_stopped(tmp_path):
    async with model_node(tmp_path) as node:
        hooks = {"postStart": {"exec": {"command": ["false"]}}}
        await node.create(new([container(lifecycle=hooks)]))
        await asyncio.sleep(2)
        assert node.state()["state"]["waiting"]["reason"] in (
            "PostStartHookError",
            "CrashLoopBackOff",
        )
        assert "FailedPostStartHook" in node.events()


@virtual
async def test_a_container_that_is_not_alive_is_restarted(tmp_path):
    async with model_node(tmp_path) as node:
        probe = {"exec": {"command": ["false"]}, "periodSeconds": 5, "failureThreshold": 2}
        await node.create(new([container(livenessProbe=probe)], terminationGracePeriodSeconds=4))
        await until(node, "Running")
        await asyncio.sleep(10)
        assert node.state()["restartCount"] == 1
        assert node.state()["lastState"]["terminated"]["exitCode"] == 143
        assert "stop c 4" in node.runtime.log


@virtual
async def test_a_pod_is_ready_when_its_probe_says_so(tmp_path):
    async with model_node(tmp_path) as node:
        probe = {"exec": {"command": ["true"]}, "initialDelaySeconds": 10}
        await node.create(new([container(readinessProbe=probe)]))
        await until(node, "Running")
        await asyncio.sleep(5)
        assert not is_ready(node)
        await asyncio.sleep(8)
        assert is_ready(node)


@virtual
async def test_sidecars_that_have_had_no_turn_end_together_when_the_time_is_up(tmp_path):
    async with model_node(tmp_path) as node:
        node.runtime.scripts |= {n: [Script(ignores_term=True)] for n in ("c", "s1", "s2")}
        await node.create(new(init=[sidecar("s1"), sidecar("s2")]))
        await until(node, "Running")
        await node.client.delete(PODS, "a", "default", options={"gracePeriodSeconds": 5})
        assert 6 <= await until_gone(node) < 7
        stops = sorted(line for line in node.runtime.log if line.startswith("stop "))
        assert stops == ["stop c 5", "stop s1 1", "stop s2 1"]


@virtual
async def test_the_hook_of_a_sidecar_begins_with_those_of_the_others(tmp_path):
    async with model_node(tmp_path) as node:
        hook = {"preStop": {"exec": {"command": ["sleep", "4"]}}}
        main = container(lifecycle={"preStop": {"exec": {"command": ["sleep", "3"]}}})
        await node.create(new([main], init=[sidecar("s", lifecycle=hook)]))
        await until(node, "Running")
        await node.client.delete(PODS, "a", "default", options={"gracePeriodSeconds": 9})
        assert 4 <= await until_gone(node) < 5
        ends = [line for line in node.runtime.log if line.startswith(("exec", "stop "))]
        assert ends == ["exec sleep 3", "exec sleep 4", "stop c 6", "stop s 5"]

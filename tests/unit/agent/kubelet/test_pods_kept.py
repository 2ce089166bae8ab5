"""What must not be lost: restarts, absences, finalizers, the writes of others, many pods."""

import asyncio
import errno
from datetime import timedelta
from typing import Any

from minikube_py.agent.kubelet.tokens import TokenError
from minikube_py.api.core import PODS
from minikube_py.api.errors import ServiceUnavailableError
from minikube_py.api.node import RUNTIMECLASSES
from minikube_py.api.object import evolve
from tests.unit.agent.kubelet.builders import container
from tests.unit.agent.kubelet.model_node import Script, model_node
from tests.unit.agent.kubelet.pods_in_time import is_ready, new, until, until_gone
from tests.virtual_time import virtual


@virtual
async def test_a_kubelet_that_is_started_again_finds_its_pods_and_starts_nothing(tmp_path):
    probe = {"exec": {"command": ["true"]}}
    async with model_node(tmp_path) as node:
        await node.create(new([container(readinessProbe=probe, startupProbe=probe)]))
        await until(node, "Running")
        await asyncio.sleep(15)
        assert is_ready(node)
        before = node.pod()
        node.runtime.log.clear()
        cluster, runtime = node.cluster, node.runtime
        await node.kill()
        async with model_node(tmp_path, cluster, runtime) as again:
            await asyncio.sleep(30)
            assert not [line for line in runtime.log if not line.startswith("exec")]
            assert again.pod() == before  # not even its status was written again


@virtual
async def test_what_ended_while_nobody_looked_is_found(tmp_path):
    async with model_node(tmp_path) as node:
        node.runtime.scripts["c"] = [Script(3, 10)]
        await node.create(new(restartPolicy="Never"))
        await until(node, "Running")
        cluster, runtime = node.cluster, node.runtime
        await node.kill()
        await asyncio.sleep(20)
        async with model_node(tmp_path, cluster, runtime) as again:
            await until(again, "Failed")
            assert again.state()["state"]["terminated"]["exitCode"] == 3


@virtual
async def test_a_pod_that_was_deleted_while_nobody_looked_is_ended(tmp_path):
    async with model_node(tmp_path) as node:
        await node.create(new())
        await until(node, "Running")
        cluster, runtime = node.cluster, node.runtime
        await node.kill()
        await node.client.delete(PODS, "a", "default")
        async with model_node(tmp_path, cluster, runtime) as again:
            await until_gone(again)
            assert runtime.sandboxes == {}


@virtual
async def test_a_server_that_is_away_holds_up_no_restart_and_hears_of_it_later(tmp_path):
    async with model_node(tmp_path) as node:
        node.runtime.scripts["c"] = [Script(1, 5)]
        await node.create(new())
        await until(node, "Running")

        def away(*_: Any) -> None:
            raise ServiceUnavailableError("away")

        refuse = node.cluster.refuse
        node.cluster.refuse = away
        await asyncio.sleep(10)
        assert node.runtime.log.count("start c") == 2
        node.cluster.refuse = refuse
        await asyncio.sleep(90)
        assert node.state()["restartCount"] == 1


@virtual
async def test_what_crashes_starts_again_after_its_tokens_have_run_out(tmp_path, monkeypatch):
    async with model_node(tmp_path) as node:
        away = False

        async def prepare(_: Any) -> Any:
            if away:
                raise TokenError("failed to fetch token: away")
            return node.clock.now() + timedelta(minutes=48)

        def refuse(*_: Any) -> None:
            if away:
                raise ServiceUnavailableError("away")

        ask = node.client.get

        async def get(*given: Any) -> Any:
            refuse()
            return await ask(*given)

        monkeypatch.setattr(node.context.tokens, "prepare", prepare)
        monkeypatch.setattr(node.client, "get", get)
        node.cluster.refuse = refuse
        node.runtime.scripts["c"] = [Script(1, 4 * 3600)]
        kind = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "handler": "crun"}
        await node.client.create(RUNTIMECLASSES, kind | {"metadata": {"name": "fast"}})
        await node.create(new(runtimeClassName="fast"))
        await until(node, "Running")
        before = node.pod()["metadata"]["uid"]
        away = True
        await asyncio.sleep(5 * 3600)
        assert node.runtime.log.count("start c") == 2
        away = False
        await asyncio.sleep(120)
        assert node.state()["restartCount"] == 1
        assert node.pod()["metadata"]["uid"] == before


@virtual
async def test_a_disk_that_is_full_is_told_of_and_tried_again(tmp_path, monkeypatch):
    async with model_node(tmp_path) as node:
        set_up, full = node.volumes.set_up, True

        async def refuse(*given: Any) -> Any:
            if full:
                raise OSError(errno.ENOSPC, "No space left on device", "/x")
            return await set_up(*given)

        monkeypatch.setattr(node.volumes, "set_up", refuse)
        await node.create(new())
        await asyncio.sleep(20)
        assert node.status()["phase"] == "Pending"
        assert "FailedSync" in node.events()
        full = False
        await until(node, "Running", 60)


@virtual
async def test_a_finished_pod_with_a_finalizer_is_left_to_its_finalizer(tmp_path):
    async with model_node(tmp_path) as node:
        made = evolve(new(), "metadata.finalizers", ["example.com/wait"])
        await node.create(made)
        await until(node, "Running")
        await node.client.delete(PODS, "a", "default")
        await asyncio.sleep(40)
        assert node.pod() is not None
        assert node.status()["phase"] in ("Failed", "Succeeded")
        assert len(node.workers) == 0
        requests = len(node.cluster.requests)
        await asyncio.sleep(60)
        assert len(node.cluster.requests) == requests
        await node.client.patch(PODS, "a", {"metadata": {"finalizers": None}}, "default")
        await until_gone(node)


@virtual
async def test_a_condition_of_somebody_else_is_never_lost(tmp_path):
    async with model_node(tmp_path) as node:
        await node.create(new(readinessGates=[{"conditionType": "example.com/up"}]))
        await until(node, "Running")
        assert not is_ready(node)
        foreign = {"type": "example.com/up", "status": "True"}
        conditions = [*node.status()["conditions"], foreign]
        patch = {"status": {"conditions": conditions}}
        await node.client.patch(PODS, "a", patch, "default", subresource="status")
        await asyncio.sleep(1)
        assert is_ready(node)
        assert foreign in node.status()["conditions"]


@virtual
async def test_many_pods_live_side_by_side(tmp_path):
    async with model_node(tmp_path) as node:
        for number in range(110):
            await node.create(evolve(new(), "metadata.name", f"p{number}"))
        await asyncio.sleep(20)
        pods = node.cluster.objects(PODS)
        assert [p["status"]["phase"] for p in pods] == ["Running"] * 110
        for number in range(110):
            options = {"gracePeriodSeconds": 1}
            await node.client.delete(PODS, f"p{number}", "default", options=options)
        await asyncio.sleep(20)
        assert node.cluster.objects(PODS) == []
        assert node.runtime.sandboxes == {}
        assert len(node.context.references) == 0

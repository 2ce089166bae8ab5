"""What a kubelet counts of its work: names and labels are those that dashboards ask for."""

import asyncio

import pytest

from minikube_py.agent.cri.errors import CriError
from minikube_py.agent.kubelet.kubelet_metrics import PodStarts, counted, operation
from minikube_py.api.core import PODS
from minikube_py.lib.tallies import Tallies
from tests.unit.agent.kubelet.builders import container, pod
from tests.unit.agent.kubelet.model_node import Script, model_node
from tests.unit.agent.kubelet.pods_in_time import new, until, until_gone
from tests.virtual_time import VirtualClock, virtual


def samples(tallies: Tallies) -> dict[str, float]:
    lines = (line for line in tallies.lines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_calls_of_the_runtime_have_upstream_s_names():
    methods = ("RunPodSandbox", "ListPodSandbox", "CreateContainer", "ExecSync", "ImageFsInfo")
    assert [operation(method) for method in methods] == [
        "run_podsandbox",
        "list_podsandbox",
        "create_container",
        "exec_sync",
        "image_fs_info",
    ]


def test_a_call_is_counted_and_so_is_its_failure():
    tallies = Tallies()
    with counted(tallies, "PullImage"):
        pass
    with pytest.raises(CriError), counted(tallies, "PullImage"):
        raise CriError("not found")
    found = samples(tallies)
    label = '{operation_type="pull_image"}'
    assert found[f"kubelet_runtime_operations_total{label}"] == 2
    assert found[f"kubelet_runtime_operations_errors_total{label}"] == 1
    assert found[f"kubelet_runtime_operations_duration_seconds_count{label}"] == 2


@virtual
async def test_starts_of_pods_and_containers_are_counted_by_kind(tmp_path):
    async with model_node(tmp_path) as node:
        node.runtime.scripts["i"] = [Script(0, 1)]
        node.runtime.failures["start"] = "no such file"
        await node.create(new([container()], init=[container("i")]))
        await asyncio.sleep(5)
        node.runtime.failures.clear()
        await until(node, "Running", 400)
        found = samples(node.context.tallies)
    assert found["kubelet_started_pods_total"] == 1
    assert found['kubelet_started_containers_total{container_type="container"}'] == 1
    assert found['kubelet_started_containers_total{container_type="init_container"}'] == 1
    failed = [name for name in found if name.startswith("kubelet_started_containers_errors_total")]
    assert failed
    assert all('container_type="init_container"' in name for name in failed)


@virtual
async def test_the_start_of_a_pod_is_measured_from_the_first_look_and_of_none_that_ran_before():
    tallies = Tallies()
    starts = PodStarts(tallies, VirtualClock())
    starts.hear("adopted", {"phase": "Running"})
    starts.hear("new", {"phase": "Pending"})
    await asyncio.sleep(3)
    starts.hear("new", {"phase": "Pending"})
    starts.hear("gone", {"phase": "Pending"})
    starts.hear("gone", None)
    await asyncio.sleep(4)
    starts.hear("new", {"phase": "Running"})
    starts.hear("new", {"phase": "Running"})
    found = samples(tallies)
    assert found["kubelet_pod_start_duration_seconds_count"] == 1
    assert found["kubelet_pod_start_duration_seconds_sum"] == pytest.approx(7)


@virtual
async def test_the_start_by_the_indicator_is_without_pulls_and_init_containers():
    tallies = Tallies()
    starts = PodStarts(tallies, VirtualClock())
    created = pod(metadata={"creationTimestamp": "2026-01-01T00:00:00Z"})
    starts.hear("u", {"phase": "Pending"}, created)
    await asyncio.sleep(3)
    starts.pulled("u", 20 << 20, 3)
    starts.pulled("other", 200 << 30, 1)
    await asyncio.sleep(7)
    ended = {"startedAt": "2026-01-01T00:00:03Z", "finishedAt": "2026-01-01T00:00:08Z"}
    inits = [{"state": {"terminated": ended}}, {"state": {"running": {}}}]
    starts.hear("u", {"phase": "Running", "initContainerStatuses": inits}, created)
    found = samples(tallies)
    assert found["kubelet_pod_start_total_duration_seconds_sum"] == pytest.approx(10)
    assert found["kubelet_pod_start_sli_duration_seconds_sum"] == pytest.approx(2)
    pulls = "kubelet_image_pull_duration_seconds_count"
    assert found[pulls + '{image_size_in_bytes="10MB-100MB"}'] == 1
    assert found[pulls + '{image_size_in_bytes="GT100GB"}'] == 1


@virtual
async def test_looks_at_pods_are_counted_by_what_asked_for_them(tmp_path):
    async with model_node(tmp_path) as node:
        await node.create(new())
        await until(node, "Running")
        node.workers.wake(node.pod()["metadata"]["uid"])
        await asyncio.sleep(1)
        await node.client.delete(PODS, "a", "default")
        await until_gone(node)
        found = samples(node.context.tallies)
    name = "kubelet_pod_worker_duration_seconds_count"
    counted = {one.split('"')[1] for one in found if one.startswith(name)}
    assert {"create", "kill", "sync"} <= counted
    assert found['kubelet_run_podsandbox_duration_seconds_count{runtime_handler=""}'] == 1

"""Stateful sets: one pod after the other, each keeping its name, through every kind of update."""

from typing import Any

import pytest

from minikube_py.api.object import evolve, get, labels_of
from tests.integration.conformance.workloads.conftest import Space
from tests.integration.conformance.workloads.nodes import Fate
from tests.integration.conformance.workloads.shapes import (
    all_ready,
    images,
    is_ready,
    names,
    status,
    template,
    workload,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")
HASH = "controller-revision-hash"


async def create(space: Space, replicas: int, **spec: Any) -> str:
    """Create a stateful set; return its path."""
    service = {"metadata": {"name": "test"}, "spec": {"clusterIP": "None", "ports": [{"port": 80}]}}
    await space.api.create(space.core("services"), service)
    body = workload("ss", replicas, serviceName="test", **spec)
    await space.api.create(space.apps("statefulsets"), body)
    return space.apps("statefulsets/ss")


async def roll_to(space: Space, path: str, image: str) -> Any:
    """Change the image, and wait until that is a revision; return the set."""
    before = get(await space.api.get(path), "status.updateRevision")
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}}
    await space.api.patch(path, patch, "application/strategic-merge-patch+json")
    return await space.api.until(path, lambda ss: get(ss, "status.updateRevision") != before)


async def partition(space: Space, path: str, number: int) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": number}}
    await space.api.patch(path, {"spec": {"updateStrategy": strategy}})


def revisions(pods: list[Any]) -> list[str]:
    return [labels_of(pod)[HASH] for pod in pods]


def have(image: list[str]) -> Any:
    """Return the test whether all pods are ready and run these images, by ordinal."""
    ready = all_ready(len(image))
    return lambda pods: ready(pods) and images(sorted(pods, key=lambda p: names([p]))) == image


@pytest.mark.conformance("StatefulSet Basic StatefulSet functionality should perform rolling...")
async def test_pods_are_replaced_from_the_last_to_the_first_and_back_again(space: Space) -> None:
    path = await create(space, 3)
    await space.until_pods(all_ready(3))
    shown = await space.api.until(path, status(readyReplicas=3))
    first = shown["status"]["currentRevision"]
    assert shown["status"]["updateRevision"] == first
    assert revisions(await space.pods()) == [first] * 3
    for image in ("web:2", "web:1"):
        other = "web:1" if image == "web:2" else "web:2"
        await space.nodes.ready(space.name, "ss-1", on=False)
        await space.api.until(path, status(readyReplicas=2))
        shown = await roll_to(space, path, image)
        second = shown["status"]["updateRevision"]
        assert shown["status"]["currentRevision"] != second
        assert images(await space.pods()) == [other] * 3
        await space.nodes.ready(space.name, "ss-1", on=True)
        pods = await space.until_pods(have([image] * 3))
        assert revisions(pods) == [second] * 3
        shown = await space.api.until(path, status(currentRevision=second, currentReplicas=3))
    assert shown["status"]["currentRevision"] == first


@pytest.mark.conformance("StatefulSet Basic StatefulSet functionality should perform canary...")
async def test_a_partition_keeps_pods_of_the_old_revision(space: Space) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 3}}
    path = await create(space, 3, updateStrategy=strategy)
    await space.until_pods(all_ready(3))
    shown = await roll_to(space, path, "web:2")
    old, new = (shown["status"][f"{key}Revision"] for key in ("current", "update"))
    assert revisions(await space.until_pods(have(["web:1"] * 3))) == [old] * 3
    await partition(space, path, 2)
    pods = await space.until_pods(have(["web:1", "web:1", "web:2"]))
    assert revisions(pods) == [old, old, new]
    for name in ("ss-0", "ss-2"):
        uid = (await space.api.get(space.core(f"pods/{name}")))["metadata"]["uid"]
        await space.api.delete(space.core(f"pods/{name}"))
        there = space.core(f"pods/{name}")
        await space.api.until(there, lambda pod, uid=uid: pod["metadata"]["uid"] != uid)
    pods = await space.until_pods(have(["web:1", "web:1", "web:2"]))
    assert revisions(pods) == [old, old, new]
    for number in (1, 0):
        await partition(space, path, number)
        await space.until_pods(have(["web:1"] * number + ["web:2"] * (3 - number)))
    await space.api.until(path, status(currentRevision=new, updatedReplicas=3))


@pytest.mark.conformance("StatefulSet Basic StatefulSet functionality Scaling should happen in...")
async def test_pods_come_and_go_in_order_and_wait_for_the_unhealthy(space: Space) -> None:
    space.decide(lambda *_: Fate(ready=False))
    async with space.api.watch(space.core("pods"), labelSelector="app=web") as watcher:
        path = await create(space, 1)
        await space.until_pods(lambda pods: names(pods) == ["ss-0"] and running(pods))
        await space.api.patch(f"{path}/scale", {"spec": {"replicas": 3}})
        await space.api.until(path, status(observedGeneration=2, readyReplicas=0, replicas=1))
        space.decide(lambda *_: Fate())
        await space.nodes.ready(space.name, "ss-0", on=True)
        await space.until_pods(all_ready(3))
        await space.api.until(path, status(readyReplicas=3, replicas=3))
        await space.nodes.ready(space.name, "ss-0", on=False)
        await space.api.until(path, status(readyReplicas=2))
        await space.api.patch(f"{path}/scale", {"spec": {"replicas": 0}})
        await space.api.until(path, status(observedGeneration=3, replicas=3))
        await space.nodes.ready(space.name, "ss-0", on=True)
        await space.until_pods(lambda pods: pods == [])
        came, went = [], []
        while len(went) < 3:
            event = await watcher.next()
            if event.type in ("ADDED", "DELETED"):
                (came if event.type == "ADDED" else went).extend(names([event.object]))
    assert (came, went) == (["ss-0", "ss-1", "ss-2"], ["ss-2", "ss-1", "ss-0"])


def running(pods: list[Any]) -> bool:
    return all(get(pod, "status.phase") == "Running" for pod in pods)


@pytest.mark.conformance("StatefulSet Basic StatefulSet functionality Burst scaling should run...")
async def test_with_the_parallel_policy_nobody_waits(space: Space) -> None:
    space.decide(lambda *_: Fate(ready=False))
    path = await create(space, 1, podManagementPolicy="Parallel")
    await space.until_pods(lambda pods: len(pods) == 1 and running(pods))
    await space.api.patch(f"{path}/scale", {"spec": {"replicas": 3}})
    pods = await space.until_pods(lambda pods: len(pods) == 3 and running(pods))
    assert not any(map(is_ready, pods))
    await space.nodes.ready(space.name, "ss-1", on=True)
    await space.api.patch(f"{path}/scale", {"spec": {"replicas": 0}})
    await space.until_pods(lambda pods: pods == [])
    await space.api.until(path, status(replicas=0))


@pytest.mark.conformance("StatefulSet Basic StatefulSet functionality should have a working...")
async def test_a_stateful_set_is_scaled_by_its_subresource(space: Space) -> None:
    path = await create(space, 1)
    await space.until_pods(all_ready(1))
    scale = await space.api.get(f"{path}/scale")
    assert (scale["spec"]["replicas"], get(scale, "status.replicas")) == (1, 1)
    scale = evolve(evolve(scale, "metadata.resourceVersion", ""), "spec.replicas", 2)
    assert (await space.api.put(f"{path}/scale", scale))["spec"]["replicas"] == 2
    assert get(await space.api.get(path), "spec.replicas") == 2
    await space.api.patch(f"{path}/scale", {"spec": {"replicas": 4}})
    await space.until_pods(all_ready(4))


@pytest.mark.conformance("StatefulSet Basic StatefulSet functionality Should recreate evicted...")
async def test_a_pod_that_its_node_turns_away_is_made_again(space: Space) -> None:
    taken = [True]

    def fate(pod: Any, _: int) -> Fate:
        turned_away = taken[0] and pod["metadata"]["name"] == "ss-0"
        return Fate(rejected="NodePorts" if turned_away else "")

    space.decide(fate)
    ports = [{"name": "conflict", "containerPort": 21017, "hostPort": 21017}]
    container = {"name": "c", "image": "web:1", "ports": ports}
    holder = {"nodeName": "n1", "containers": [container]}
    await space.api.create(space.core("pods"), {"metadata": {"name": "holder"}, "spec": holder})
    await space.api.until(space.core("pods/holder"), is_ready)
    async with space.api.watch(space.core("pods"), labelSelector="app=web") as watcher:
        await create(space, 1, template=template(**holder))
        event = await watcher.next()
        while event.type != "DELETED":
            event = await watcher.next()
        assert get(event.object, "status.phase") == "Failed"
        uid = event.object["metadata"]["uid"]
        taken.clear()
        taken.append(False)
        await space.api.delete(space.core("pods/holder"))
        there = space.core("pods/ss-0")
        await space.api.until(there, lambda pod: is_ready(pod) and pod["metadata"]["uid"] != uid)

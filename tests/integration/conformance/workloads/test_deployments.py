"""Deployments: rollouts of every kind on nodes that say at once that pods run."""

from typing import Any

import pytest

from minikube_py.api.object import annotations_of, evolve, get
from tests.integration.conformance.workloads.conftest import Space
from tests.integration.conformance.workloads.nodes import Fate
from tests.integration.conformance.workloads.shapes import (
    LABELS,
    condition,
    images,
    names,
    owners,
    status,
    template,
    workload,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")
REVISION = "deployment.kubernetes.io/revision"
IMAGES = "spec.template.spec.containers"


def is_complete(shown: Any) -> bool:
    """Tell whether a rollout is over."""
    found, wanted = shown.get("status", {}), shown["spec"]["replicas"]
    counts = ("replicas", "updatedReplicas", "availableReplicas")
    seen = found.get("observedGeneration", 0) >= shown["metadata"]["generation"]
    return seen and all(found.get(key, 0) == wanted for key in counts)


async def create(space: Space, name: str, replicas: int, **spec: Any) -> str:
    """Create a deployment; return its path."""
    await space.api.create(space.apps("deployments"), workload(name, replicas, **spec))
    return space.apps(f"deployments/{name}")


async def change_image(space: Space, path: str, image: str) -> None:
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}}
    await space.api.patch(path, patch, "application/strategic-merge-patch+json")


async def create_set(space: Space, name: str, replicas: int, **metadata: Any) -> str:
    """Create a replica set and wait for its pods; return its path."""
    body = workload(name, replicas)
    body["metadata"] |= metadata
    await space.api.create(space.apps("replicasets"), body)
    path = space.apps(f"replicasets/{name}")
    await space.api.until(path, status(readyReplicas=replicas))
    return path


async def sets(space: Space) -> list[Any]:
    """Return the replica sets, oldest revision first."""
    found = (await space.api.get(space.apps("replicasets")))["items"]
    return sorted(found, key=lambda rs: int(annotations_of(rs).get(REVISION, "0")))


@pytest.mark.conformance("Deployment RollingUpdateDeployment should delete old pods and create...")
async def test_a_deployment_takes_over_a_replica_set_and_replaces_it(space: Space) -> None:
    revision = 3546343826724305832
    old = await create_set(space, "old", 1, annotations={REVISION: str(revision)})
    path = await create(space, "web", 1, template=template("web:2"))
    shown = await space.api.until(path, is_complete)
    assert shown["metadata"]["annotations"][REVISION] == str(revision + 1)
    left = await space.api.until(old, status(replicas=0))
    assert owners(left) == ["web"]
    assert [get(one, "spec.replicas") for one in await sets(space)] == [0, 1]


@pytest.mark.conformance("Deployment RecreateDeployment should delete old pods and create new ones")
async def test_old_pods_are_gone_before_new_ones_come(space: Space) -> None:
    path = await create(space, "web", 2, strategy={"type": "Recreate"})
    shown = await space.api.until(path, is_complete)
    version = shown["metadata"]["resourceVersion"]
    await change_image(space, path, "web:2")
    query = {"fieldSelector": "metadata.name=web", "resourceVersion": version}
    async with space.api.watch(space.apps("deployments"), **query) as watcher:
        while not (is_complete(shown) and images([shown["spec"]["template"]]) == ["web:2"]):
            shown = (await watcher.next()).object
            updated = get(shown, "status.updatedReplicas", 0)
            seen = get(shown, "status.observedGeneration") == shown["metadata"]["generation"]
            assert not (seen and updated) or get(shown, "status.replicas") == updated
    assert shown["metadata"]["annotations"][REVISION] == "2"


@pytest.mark.conformance("Deployment deployment should delete old replica sets")
async def test_no_more_history_is_kept_than_is_wanted(space: Space) -> None:
    old = await create_set(space, "old", 1)
    path = await create(space, "web", 1, revisionHistoryLimit=0, template=template("web:2"))
    await space.api.until_gone(old)
    await space.api.until(path, is_complete)
    assert images(await space.until_pods(lambda pods: len(pods) == 1)) == ["web:2"]


@pytest.mark.conformance("Deployment deployment should support rollover")
async def test_a_rollout_may_be_replaced_before_it_is_over(space: Space) -> None:
    space.decide(lambda pod, _: Fate(ready=images([pod]) != ["web:missing"]))
    old = await create_set(space, "old", 1)
    strategy = {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    path = await create(
        space,
        "web",
        1,
        minReadySeconds=1,
        strategy=strategy,
        template=template("web:missing"),
    )
    await space.api.until(path, status(updatedReplicas=1, observedGeneration=1))
    assert get(await space.api.get(old), "status.readyReplicas") == 1
    await change_image(space, path, "web:2")
    shown = await space.api.until(path, is_complete)
    assert annotations_of(shown)[REVISION] == "2"
    for one in (await sets(space))[:2]:
        name = one["metadata"]["name"]
        await space.api.until(space.apps(f"replicasets/{name}"), status(replicas=0))
    assert images(await space.until_pods(lambda pods: len(pods) == 1)) == ["web:2"]


@pytest.mark.conformance("Deployment deployment should support proportional scaling")
async def test_a_new_size_is_shared_in_proportion(space: Space) -> None:
    space.decide(lambda pod, _: Fate(ready=images([pod]) == ["web:1"]))
    strategy = {"rollingUpdate": {"maxUnavailable": 2, "maxSurge": 3}}
    path = await create(space, "web", 10, strategy=strategy)
    await space.api.until(path, is_complete)
    await change_image(space, path, "web:404")
    seen = status(observedGeneration=2, availableReplicas=8, updatedReplicas=5, replicas=13)
    await space.api.until(path, seen)
    first, second = names(await sets(space))
    scaled = status(availableReplicas=8, replicas=8)
    await space.api.until(space.apps(f"replicasets/{first}"), scaled)
    await space.api.patch(path, {"spec": {"replicas": 30}})
    for name, size in ((first, 20), (second, 13)):
        there = space.apps(f"replicasets/{name}")
        await space.api.until(there, lambda rs, size=size: get(rs, "spec.replicas") == size)


@pytest.mark.conformance("Deployment Deployment should have a working scale subresource")
async def test_a_deployment_is_scaled_by_its_subresource(space: Space) -> None:
    path = await create(space, "web", 1)
    await space.api.until(path, is_complete)
    scale = await space.api.get(f"{path}/scale")
    assert scale["spec"]["replicas"] == 1
    scale = evolve(evolve(scale, "metadata.resourceVersion", ""), "spec.replicas", 2)
    assert (await space.api.put(f"{path}/scale", scale))["spec"]["replicas"] == 2
    assert get(await space.api.get(path), "spec.replicas") == 2
    await space.api.patch(f"{path}/scale", {"spec": {"replicas": 4}})
    assert get(await space.api.get(path), "spec.replicas") == 4
    await space.api.until(path, is_complete)


@pytest.mark.conformance("Deployment should run the lifecycle of a Deployment")
async def test_a_deployment_lives_its_life(space: Space) -> None:
    selector = "app=web"
    async with space.api.watch(space.apps("deployments"), labelSelector=selector) as watcher:
        path = await create(space, "web", 1)
        assert (await watcher.next()).type == "ADDED"
        await space.api.until(path, status(readyReplicas=1))
        assert "web" in await space.api.names(f"/apis/apps/v1/deployments?labelSelector={selector}")
        pod = {"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "web:2"}]}
        patch = {"metadata": {"labels": {"patched": "yes"}}, "spec": {"replicas": 2}}
        patch["spec"] |= {"template": {"spec": pod}}
        await space.api.patch(path, patch, "application/strategic-merge-patch+json")
        shown = await space.api.until(path, is_complete)
        assert shown["metadata"]["labels"] == {**LABELS, "patched": "yes"}
        await live_by_status(space, path)
        await space.api.delete(f"{space.apps('deployments')}?labelSelector={selector}")
        while (await watcher.next()).type != "DELETED":
            pass
    await space.api.until_gone(path)


async def live_by_status(space: Space, path: str) -> None:
    """Read, patch and replace the status of a deployment."""
    shown = await space.api.get(f"{path}/status")
    assert condition(shown, "Available")["status"] == "True"
    await space.api.patch(f"{path}/status", {"metadata": {"labels": {"status": "patched"}}})
    patch = {"status": {"readyReplicas": 0, "availableReplicas": 0}}
    await space.api.patch(f"{path}/status", patch)
    await space.api.until(path, status(readyReplicas=2))
    conditions = [{"type": "Mine", "status": "True"}]
    await space.api.patch(f"{path}/status", {"status": {"conditions": conditions}})

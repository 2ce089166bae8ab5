"""Replica sets and replication controllers: so many pods, no more and no fewer."""

from typing import Any

import pytest

from minikube_py.api.object import evolve, get
from tests.integration.conformance.workloads.conftest import Space
from tests.integration.conformance.workloads.shapes import (
    LABELS,
    all_ready,
    condition,
    controller,
    owners,
    status,
    template,
    workload,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def create(space: Space, kind: str, replicas: int) -> str:
    """Create a replica set or a replication controller; return its path."""
    if kind == "replicasets":
        await space.api.create(space.apps(kind), workload("web", replicas))
        return space.apps(f"{kind}/web")
    await space.api.create(space.core(kind), controller("web", replicas))
    return space.core(f"{kind}/web")


KINDS = ("replicasets", "replicationcontrollers")


@pytest.mark.conformance(
    "ReplicaSet should adopt matching pods on creation and release no longer matching pods",
    "ReplicationController should adopt matching pods on creation",
    "ReplicationController should release no longer matching pods",
)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_matching_pod_is_adopted_and_let_go_when_it_is_relabelled(
    space: Space, kind: str
) -> None:
    pod = {**template(), "metadata": {"name": "orphan", "labels": LABELS}}
    await space.api.create(space.core("pods"), pod)
    path = await create(space, kind, 1)
    there = space.core("pods/orphan")
    adopted = await space.api.until(there, lambda shown: owners(shown) == ["web"])
    assert adopted["metadata"]["ownerReferences"][0]["controller"] is True
    await space.api.until(path, status(replicas=1))
    await space.api.patch(there, {"metadata": {"labels": {"app": "other"}}})
    await space.api.until(there, lambda shown: owners(shown) == [])
    await space.until_pods(all_ready(1), "app=web")


@pytest.mark.conformance(
    "ReplicaSet Replicaset should have a working scale subresource",
    "ReplicationController should get and update a ReplicationController scale",
)
@pytest.mark.parametrize("kind", KINDS)
async def test_scale_is_read_replaced_and_patched(space: Space, kind: str) -> None:
    path = await create(space, kind, 1)
    await space.until_pods(all_ready(1))
    scale = await space.api.get(f"{path}/scale")
    assert scale["spec"]["replicas"] == 1
    scale = evolve(evolve(scale, "metadata.resourceVersion", ""), "spec.replicas", 2)
    assert (await space.api.put(f"{path}/scale", scale))["spec"]["replicas"] == 2
    assert get(await space.api.get(path), "spec.replicas") == 2
    await space.api.patch(f"{path}/scale", {"spec": {"replicas": 4}})
    await space.api.until(path, status(replicas=4, readyReplicas=4))


@pytest.mark.conformance("ReplicaSet Replace and Patch tests")
async def test_a_replica_set_is_replaced_and_patched(space: Space) -> None:
    path = await create(space, "replicasets", 1)
    await space.until_pods(all_ready(1))
    shown = await space.api.get(path)
    await space.api.put(path, evolve(shown, "spec.replicas", 2))
    await space.api.until(path, status(readyReplicas=2))
    pod = {"containers": [{"name": "c", "image": "web:2"}]}
    patch = {"metadata": {"labels": {"test-rs": "patched"}}, "spec": {"replicas": 3}}
    patch["spec"] |= {"template": {"spec": pod}}
    await space.api.patch(path, patch, "application/strategic-merge-patch+json")
    shown = await space.api.until(path, status(readyReplicas=3))
    assert shown["metadata"]["labels"]["test-rs"] == "patched"
    assert shown["spec"]["template"]["spec"]["containers"][0]["image"] == "web:2"


@pytest.mark.conformance("ReplicationController should surface a failure condition on a common...")
async def test_a_quota_that_is_used_up_shows_in_the_status(space: Space) -> None:
    quota = {"metadata": {"name": "two"}, "spec": {"hard": {"pods": "2"}}}
    await space.api.create(space.core("resourcequotas"), quota)
    there = space.core("resourcequotas/two")
    await space.api.until(there, lambda shown: get(shown, "status.hard") == {"pods": "2"})
    path = await create(space, "replicationcontrollers", 3)

    def has_failed(shown: Any) -> bool:
        return bool(condition(shown, "ReplicaFailure").get("reason") == "FailedCreate")

    shown = await space.api.until(path, has_failed)
    assert "exceeded quota: two" in condition(shown, "ReplicaFailure")["message"]
    await space.api.patch(path, {"spec": {"replicas": 2}})
    await space.api.until(path, lambda shown: not condition(shown, "ReplicaFailure"))


@pytest.mark.conformance("ReplicationController should test the lifecycle of a...")
async def test_a_replication_controller_lives_its_life(space: Space) -> None:
    label = f"case={space.name}"
    async with space.api.watch("/api/v1/replicationcontrollers", labelSelector=label) as watcher:
        body = controller("web", 1)
        body["metadata"]["labels"] = {"case": space.name}
        await space.api.create(space.core("replicationcontrollers"), body)
        path = space.core("replicationcontrollers/web")
        assert (await watcher.next()).type == "ADDED"
        await space.api.until(path, status(readyReplicas=1))
        await space.api.patch(path, {"metadata": {"labels": {"patched": "yes"}}})
        assert (await space.api.get(path))["metadata"]["labels"]["patched"] == "yes"
        await space.api.patch(
            f"{path}/status", {"status": {"readyReplicas": 0, "availableReplicas": 0}}
        )
        await space.api.until(path, status(readyReplicas=1))
        await space.api.patch(f"{path}/scale", {"spec": {"replicas": 2}})
        await space.api.until(path, status(readyReplicas=2))
        assert await space.api.names(f"/api/v1/replicationcontrollers?labelSelector={label}")
        await space.api.put(path, evolve(await space.api.get(path), "metadata.annotations.a", "b"))
        everything = f"{space.core('replicationcontrollers')}?labelSelector={label}"
        await space.api.delete(everything, "Background")
        while (await watcher.next()).type != "DELETED":
            pass
    await space.until_pods(lambda pods: pods == [])

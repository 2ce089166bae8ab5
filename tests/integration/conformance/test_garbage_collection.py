"""What goes with its owner, what stays, and in which order."""

from typing import Any

import pytest

from tests.integration.conformance.api import Api

APPS = "/apis/apps/v1/namespaces/n"
COUNT = 12


def workload(name: str, replicas: int, selector: Any) -> dict[str, Any]:
    """Return a replication controller or a deployment."""
    spec = {"containers": [{"name": "c", "image": "i"}]}
    template = {"metadata": {"labels": {"name": name}}, "spec": spec}
    return {
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": selector, "template": template},
    }


async def controller(api: Api, space: str, name: str, replicas: int) -> dict[str, Any]:
    """Create a replication controller, and wait for its pods."""
    path = f"{space}/replicationcontrollers"
    await api.create(path, workload(name, replicas, {"name": name}))
    made = await api.until(
        f"{path}/{name}", lambda rc: rc.get("status", {}).get("replicas") == replicas
    )
    return dict(made)


async def deployment(api: Api) -> None:
    """Create a deployment, and wait for its pods."""
    body = workload("d", 2, {"matchLabels": {"name": "d"}})
    await api.create(f"{APPS}/deployments", body)
    await api.until(
        f"{APPS}/deployments/d", lambda shown: shown.get("status", {}).get("replicas") == 2
    )


async def owners(api: Api, path: str) -> list[list[str]]:
    """Return the names of the owners of everything in a collection."""
    items = (await api.get(path))["items"]
    return [[o["name"] for o in i["metadata"].get("ownerReferences", ())] for i in items]


@pytest.mark.conformance("Garbage collector should delete pods created by rc when not orphaning")
async def test_pods_go_after_their_controller(api: Api, space: str) -> None:
    await controller(api, space, "rc", 2)
    await api.delete(f"{space}/replicationcontrollers/rc", "Background")
    await api.until(f"{space}/pods", lambda pods: pods["items"] == [])
    assert await api.names(f"{space}/replicationcontrollers") == []


@pytest.mark.conformance("Garbage collector should orphan pods created by rc if delete options...")
async def test_pods_stay_without_their_controller(api: Api, space: str) -> None:
    await controller(api, space, "rc", COUNT)
    await api.delete(f"{space}/replicationcontrollers/rc", "Orphan")
    await api.until_gone(f"{space}/replicationcontrollers/rc")
    assert await owners(api, f"{space}/pods") == [[]] * COUNT


@pytest.mark.conformance("Garbage collector should delete RS created by deployment when not...")
async def test_replica_sets_and_pods_go_after_a_deployment(api: Api, space: str) -> None:
    await deployment(api)
    await api.delete(f"{APPS}/deployments/d", "Background")
    await api.until(f"{APPS}/replicasets", lambda found: found["items"] == [])
    await api.until(f"{space}/pods", lambda found: found["items"] == [])


@pytest.mark.conformance("Garbage collector should orphan RS created by deployment when...")
async def test_a_replica_set_stays_without_its_deployment(api: Api, space: str) -> None:
    await deployment(api)
    await api.delete(f"{APPS}/deployments/d", "Orphan")
    await api.until_gone(f"{APPS}/deployments/d")
    assert await owners(api, f"{APPS}/replicasets") == [[]]
    [name] = await api.names(f"{APPS}/replicasets")
    assert await owners(api, f"{space}/pods") == [[name], [name]]


@pytest.mark.conformance("Garbage collector should keep the rc around until all its pods are...")
async def test_a_controller_stays_until_its_pods_are_gone(api: Api, space: str) -> None:
    await controller(api, space, "rc", COUNT)
    first = (await api.names(f"{space}/pods"))[0]
    held = f"{space}/pods/{first}"
    await api.patch(held, {"metadata": {"finalizers": ["e2e.example.com/wait"]}})
    await api.delete(f"{space}/replicationcontrollers/rc", "Foreground")
    await api.until(f"{space}/pods", lambda found: len(found["items"]) == 1)
    waiting = (await api.get(f"{space}/replicationcontrollers/rc"))["metadata"]
    assert waiting["finalizers"] == ["foregroundDeletion"]
    assert waiting["deletionTimestamp"]
    await api.patch(held, {"metadata": {"finalizers": None}})
    await api.until_gone(f"{space}/replicationcontrollers/rc")
    assert await api.names(f"{space}/pods") == []


@pytest.mark.conformance("Garbage collector should not delete dependents that have both...")
async def test_pods_with_another_owner_stay(api: Api, space: str) -> None:
    await controller(api, space, "rc", COUNT)
    other = await controller(api, space, "other", 0)
    reference = {
        "apiVersion": "v1",
        "kind": "ReplicationController",
        "name": "other",
        "uid": other["metadata"]["uid"],
    }
    pods = (await api.get(f"{space}/pods"))["items"]
    shared = {pod["metadata"]["name"] for pod in pods[: COUNT // 2]}
    for pod in pods[: COUNT // 2]:
        references = [*pod["metadata"]["ownerReferences"], reference]
        path = f"{space}/pods/{pod['metadata']['name']}"
        await api.patch(path, {"metadata": {"ownerReferences": references}})
    await api.delete(f"{space}/replicationcontrollers/rc", "Foreground")
    await api.until_gone(f"{space}/replicationcontrollers/rc")
    left = (await api.get(f"{space}/pods"))["items"]
    assert {pod["metadata"]["name"] for pod in left} == shared
    assert not any("deletionTimestamp" in pod["metadata"] for pod in left)
    assert await owners(api, f"{space}/pods") == [["other"]] * (COUNT // 2)


@pytest.mark.conformance("Garbage collector should not be blocked by dependency circle")
async def test_a_circle_of_owners_goes_as_a_whole(api: Api, space: str) -> None:
    spec = {"containers": [{"name": "c", "image": "i"}]}
    names = ("pod1", "pod2", "pod3")
    uids = {}
    for name in names:
        made = await api.create(f"{space}/pods", {"metadata": {"name": name}, "spec": spec})
        uids[name] = made["metadata"]["uid"]
    for name, owner in zip(names, ("pod3", "pod1", "pod2"), strict=True):
        reference = {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": owner,
            "uid": uids[owner],
            "controller": True,
            "blockOwnerDeletion": True,
        }
        await api.patch(f"{space}/pods/{name}", {"metadata": {"ownerReferences": [reference]}})
    await api.delete(f"{space}/pods/pod1", "Foreground")
    await api.until(f"{space}/pods", lambda found: found["items"] == [])

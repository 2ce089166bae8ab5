"""Extended resources that devices stand for: the claim that the scheduler makes for a pod."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from minikube_py.api.core import NODES, PODS
from minikube_py.api.errors import ServiceUnavailableError
from minikube_py.api.object import Key, evolve, get
from minikube_py.api.resource_k8s import DEVICECLASSES, RESOURCECLAIMS, RESOURCESLICES
from minikube_py.api.resource_k8s.pod_claims import EXTENDED_CLAIM
from minikube_py.server.controllers import resource_claim
from minikube_py.server.scheduler.devices.extended import requests_of
from minikube_py.server.scheduler.scheduler import Scheduler
from tests.harness import World, harness
from tests.unit.server.scheduler.builders import node
from tests.unit.server.scheduler.devices import device, device_class, piece
from tests.virtual_time import settle, virtual

GPU = "example.com/gpu"
GPUS = device_class(extendedResourceName=GPU)
FOUR = piece("s", *map(device, "abcd"), nodeName="b")


@contextlib.asynccontextmanager
async def running(*slices: Any, classes: tuple[Any, ...] = (GPUS,)) -> AsyncIterator[World]:
    """Run a scheduler and the controller of claims in a cluster of the nodes a and b."""
    async with harness() as world:
        for name in ("a", "b"):
            await world.client.create(NODES, node(name))
        for one in classes:
            await world.client.create(DEVICECLASSES, one)
        for one in slices:
            await world.client.create(RESOURCESLICES, one)
        world.run(resource_claim.CONTROLLER)
        client = world.cluster.client("scheduler")
        world.nursery.start("s", Scheduler(client, world.informers, world.clock).run())
        await settle()
        yield world


def container(name: str, count: int, resource: str = GPU, **more: Any) -> dict[str, Any]:
    resources = {"requests": {resource: str(count)}, "limits": {resource: str(count)}}
    return {"name": name, "image": "i", "resources": resources if count else {}, **more}


async def add_pod(world: World, name: str, count: int = 2, resource: str = GPU) -> None:
    spec = {"containers": [container("c", count, resource)], "schedulerName": "default-scheduler"}
    await world.client.create(PODS, {"metadata": {"name": name, "namespace": "d"}, "spec": spec})
    await settle()


def pod(world: World, name: str = "p") -> Any:
    return world.cluster.table(PODS)[Key("d", name)].obj


def placed(world: World, name: str = "p") -> str:
    return str(get(pod(world, name), "spec.nodeName", ""))


def claims(world: World) -> list[Any]:
    return list(world.cluster.objects(RESOURCECLAIMS))


@virtual
async def test_devices_stand_for_what_the_node_does_not_have_itself() -> None:
    async with running(FOUR) as world:
        await add_pod(world, "p")
        assert placed(world) == "b"
        (claim,) = claims(world)
        metadata = claim["metadata"]
        assert metadata["name"].startswith("p-extended-resources-")
        assert metadata["annotations"] == {EXTENDED_CLAIM: "true"}
        assert [one["name"] for one in metadata["ownerReferences"]] == ["p"]
        results = claim["status"]["allocation"]["devices"]["results"]
        assert [(one["request"], one["device"]) for one in results] == [
            ("container-0-request-0", "a"),
            ("container-0-request-0", "b"),
        ]
        assert [one["name"] for one in claim["status"]["reservedFor"]] == ["p"]
        entry = {"containerName": "c", "resourceName": GPU, "requestName": "container-0-request-0"}
        assert pod(world)["status"]["extendedResourceClaimStatus"] == {
            "resourceClaimName": metadata["name"],
            "requestMappings": [entry],
        }


@virtual
async def test_devices_are_free_again_when_their_pod_is_over() -> None:
    async with running(FOUR) as world:
        await add_pod(world, "p", 3)
        await add_pod(world, "q", 3)
        assert (placed(world, "p"), placed(world, "q")) == ("b", "")
        assert len(claims(world)) == 1
        done = evolve(pod(world), "status.phase", "Succeeded")
        await world.client.update(PODS, done, subresource="status")
        await world.clock.sleep(30)
        assert placed(world, "q") == "b"
        (claim,) = claims(world)
        assert claim["metadata"]["name"].startswith("q-extended-resources-")


@virtual
async def test_what_the_node_has_itself_needs_no_claim() -> None:
    async with running(FOUR) as world:
        await world.client.create(NODES, node("plugin", **{GPU: "8"}))
        await world.client.delete(NODES, "b")
        await settle()
        await add_pod(world, "p")
        assert placed(world) == "plugin"
        assert claims(world) == []


@virtual
async def test_a_class_is_a_resource_by_its_name_too_and_may_come_later() -> None:
    async with running(FOUR, classes=()) as world:
        await add_pod(world, "p", resource="deviceclass.resource.kubernetes.io/c")
        assert placed(world) == ""
        await world.client.create(DEVICECLASSES, device_class())
        await world.clock.sleep(30)
        assert placed(world) == "b"
        assert len(claims(world)) == 1


@virtual
async def test_of_several_classes_the_youngest_stands_for_a_resource() -> None:
    async with running(FOUR, classes=(GPUS,)) as world:
        await world.clock.sleep(5)
        young = device_class("younger", extendedResourceName=GPU)
        await world.client.create(DEVICECLASSES, young)
        await settle()
        await add_pod(world, "p")
        (claim,) = claims(world)
        (request,) = claim["spec"]["devices"]["requests"]
        assert request["exactly"]["deviceClassName"] == "younger"


@virtual
async def test_a_pod_that_cannot_be_bound_leaves_no_claim_and_tries_again() -> None:
    async with running(FOUR) as world:
        failing = True

        def refuse(_user: str, _verb: str, _resource: Any, obj: Any) -> None:
            if failing and obj is not None and obj.get("kind") == "Binding":
                raise ServiceUnavailableError("not now")

        world.cluster.refuse = refuse
        await add_pod(world, "p")
        await settle(0.5)
        assert (placed(world), claims(world)) == ("", [])
        failing = False
        await world.clock.sleep(60)
        assert placed(world) == "b"
        (claim,) = claims(world)
        status = pod(world)["status"]["extendedResourceClaimStatus"]
        assert status["resourceClaimName"] == claim["metadata"]["name"]


@virtual
async def test_a_claim_that_an_earlier_attempt_left_is_removed_first() -> None:
    async with running(FOUR, classes=()) as world:
        await add_pod(world, "p")
        owner = {"apiVersion": "v1", "kind": "Pod", "name": "p", "controller": True}
        metadata = {
            "name": "left",
            "namespace": "d",
            "annotations": {EXTENDED_CLAIM: "true"},
            "ownerReferences": [{**owner, "uid": pod(world)["metadata"]["uid"]}],
        }
        requests = [{"name": "r", "exactly": {"deviceClassName": "c"}}]
        body = {"metadata": metadata, "spec": {"devices": {"requests": requests}}}
        await world.client.create(RESOURCECLAIMS, body)
        await world.client.create(DEVICECLASSES, GPUS)
        await world.clock.sleep(60)
        assert placed(world) == "b"
        (claim,) = claims(world)
        assert claim["metadata"]["name"].startswith("p-extended-resources-")


ALWAYS = {"restartPolicy": "Always"}


@pytest.mark.parametrize(
    ("early", "lasting", "requests", "mapped"),
    [
        ([], [("x", 1), ("y", 2)], {0: 1, 1: 2}, {"x": [0], "y": [1]}),
        ([("i", 1)], [("x", 2)], {1: 2}, {"x": [1], "i": [1]}),
        ([("i", 3)], [("x", 2)], {0: 1, 1: 2}, {"x": [1], "i": [1, 0]}),
        ([("i", 2), ("j", 5)], [], {1: 5}, {"i": [1], "j": [1]}),
        ([("i", 2)], [("x", 0), ("y", 1)], {0: 1, 2: 1}, {"y": [2], "i": [2, 0]}),
        ([("s", 1, ALWAYS), ("i", 1)], [("x", 1)], {0: 1, 2: 1}, {"s": [0], "x": [2], "i": [2]}),
    ],
)
def test_containers_that_end_early_take_what_others_will_have(
    early: Any, lasting: Any, requests: dict[int, int], mapped: dict[str, list[int]]
) -> None:
    def containers(given: Any) -> list[Any]:
        return [container(name, count, **(more[0] if more else {})) for name, count, *more in given]

    spec = {"initContainers": containers(early), "containers": containers(lasting)}
    found, entries = requests_of({"spec": spec}, {GPU: "c"})
    counts = {one["name"]: one["exactly"]["count"] for one in found}
    assert counts == {f"container-{n}-request-0": count for n, count in requests.items()}
    shown: dict[str, list[int]] = {}
    for one in entries:
        shown.setdefault(one["containerName"], []).append(int(one["requestName"].split("-")[1]))
    assert shown == mapped

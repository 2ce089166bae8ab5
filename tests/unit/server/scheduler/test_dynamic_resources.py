"""Pods with claims on devices: held back, placed where the devices are, and written as users."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from minikube_py.api.core import EVENTS, NODES, PODS
from minikube_py.api.errors import ConflictError
from minikube_py.api.object import Key, evolve, get
from minikube_py.api.resource_k8s import (
    DEVICECLASSES,
    RESOURCECLAIMS,
    RESOURCECLAIMTEMPLATES,
    RESOURCESLICES,
)
from minikube_py.api.resource_k8s.pod_claims import FINALIZER
from minikube_py.server.controllers import resource_claim
from minikube_py.server.scheduler.plugins.device_conditions import Readiness, readiness
from minikube_py.server.scheduler.scheduler import Scheduler
from tests.harness import World, harness
from tests.unit.server.scheduler.builders import node
from tests.unit.server.scheduler.devices import DRIVER, device, device_class, piece, request
from tests.virtual_time import settle, virtual

SPEC = {"devices": {"requests": [request()]}}


@contextlib.asynccontextmanager
async def running(*slices: Any, nodes: tuple[str, ...] = ("a", "b")) -> AsyncIterator[World]:
    """Run a scheduler and the controller of claims."""
    async with harness() as world:
        for name in nodes:
            await world.client.create(NODES, node(name))
        await world.client.create(DEVICECLASSES, device_class())
        for one in slices:
            await world.client.create(RESOURCESLICES, one)
        client = world.cluster.client("scheduler")
        world.run(resource_claim.CONTROLLER)
        world.nursery.start("s", Scheduler(client, world.informers, world.clock).run())
        await settle()
        yield world


async def add_claim(world: World, name: str = "k", **spec: Any) -> Any:
    body = {"metadata": {"name": name, "namespace": "d"}, "spec": {**SPEC, **spec}}
    return await world.client.create(RESOURCECLAIMS, body)


async def add_pod(world: World, name: str, *claims: str, template: str = "") -> None:
    entries = [{"name": one, "resourceClaimName": one} for one in claims]
    if template:
        entries.append({"name": "t", "resourceClaimTemplateName": template})
    spec: dict[str, Any] = {
        "containers": [{"name": "c", "image": "i"}],
        "resourceClaims": entries,
        "schedulerName": "default-scheduler",
    }
    await world.client.create(PODS, {"metadata": {"name": name, "namespace": "d"}, "spec": spec})
    await settle()


def placed(world: World, name: str) -> str:
    return str(get(world.cluster.table(PODS)[Key("d", name)].obj, "spec.nodeName", ""))


def claim_of(world: World, name: str = "k") -> Any:
    return world.cluster.table(RESOURCECLAIMS)[Key("d", name)].obj


async def said(world: World, name: str) -> str:
    """Return what the newest event says of why a pod has no node."""
    await world.clock.sleep(1)
    found = [
        event["message"]
        for event in world.cluster.objects(EVENTS)
        if get(event, "regarding.name", get(event, "involvedObject.name")) == name
        or name in str(event.get("regarding", ""))
    ]
    return found[-1] if found else ""


@virtual
async def test_a_pod_goes_where_its_devices_are_and_its_claim_says_so() -> None:
    async with running(piece("s", device("g"), nodeName="b")) as world:
        await add_claim(world)
        await add_pod(world, "p", "k")
        assert placed(world, "p") == "b"
        claim = claim_of(world)
        (result,) = claim["status"]["allocation"]["devices"]["results"]
        assert result == {"request": "r", "driver": DRIVER, "pool": "p", "device": "g"}
        (user,) = claim["status"]["reservedFor"]
        assert (user["resource"], user["name"]) == ("pods", "p")
        assert claim["metadata"]["finalizers"] == [FINALIZER]


@virtual
async def test_a_device_is_given_once_and_again_when_it_is_free() -> None:
    async with running(piece("s", device("g"), nodeName="a")) as world:
        for name in ("one", "two"):
            await add_claim(world, name)
            await add_pod(world, name, name)
        assert (placed(world, "one"), placed(world, "two")) == ("a", "")
        assert "2 cannot allocate all claims" in await said(world, "two")
        await world.client.delete(PODS, "one", "d", options={"gracePeriodSeconds": 0})
        await world.clock.sleep(30)
        assert placed(world, "two") == "a"
        assert "allocation" not in claim_of(world, "one")["status"]


@virtual
async def test_pods_share_a_claim_where_its_devices_are() -> None:
    async with running(piece("s", device("g"), nodeName="b")) as world:
        await add_claim(world)
        for name in ("one", "two", "three"):
            await add_pod(world, name, "k")
        await world.clock.sleep(30)
        assert {placed(world, name) for name in ("one", "two", "three")} == {"b"}
        users = claim_of(world)["status"]["reservedFor"]
        assert sorted(user["name"] for user in users) == ["one", "three", "two"]


@virtual
async def test_a_pod_waits_for_its_claim_and_its_class_and_its_devices() -> None:
    async with running() as world:
        await world.client.delete(DEVICECLASSES, "c")
        await add_pod(world, "p", "k")
        assert placed(world, "p") == ""
        await add_claim(world)
        await settle()
        assert "request r: device class c does not exist" in await said(world, "p")
        await world.client.create(DEVICECLASSES, device_class())
        await world.clock.sleep(30)
        assert "cannot allocate all claims" in await said(world, "p")
        await world.client.create(RESOURCESLICES, piece("s", device("g"), nodeName="b"))
        await world.clock.sleep(30)
        assert placed(world, "p") == "b"


@virtual
async def test_claims_of_templates_are_made_given_and_gone_with_their_pods() -> None:
    async with running(piece("s", device("g"), device("h"), nodeName="a")) as world:
        template = {"metadata": {"name": "t", "namespace": "d"}, "spec": {"spec": SPEC}}
        await world.client.create(RESOURCECLAIMTEMPLATES, template)
        for name in ("one", "two"):
            await add_pod(world, name, template="t")
        await world.clock.sleep(5)
        assert [placed(world, name) for name in ("one", "two")] == ["a", "a"]
        devices = {
            claim["status"]["allocation"]["devices"]["results"][0]["device"]
            for claim in world.cluster.objects(RESOURCECLAIMS)
        }
        assert devices == {"g", "h"}
        for name in ("one", "two"):
            ended = evolve(world.cluster.table(PODS)[Key("d", name)].obj, "status.phase", "Failed")
            await world.client.update(PODS, ended, subresource="status")
        await world.clock.sleep(5)
        assert world.cluster.objects(RESOURCECLAIMS) == []


@virtual
async def test_a_claim_that_others_write_meanwhile_is_written_all_the_same() -> None:
    async with running(piece("s", device("g"), nodeName="a")) as world:
        await add_claim(world)
        conflicts = 2

        def refuse(user: str, verb: str, resource: Any, _obj: Any) -> None:
            nonlocal conflicts
            if (user, resource) == ("scheduler", RESOURCECLAIMS) and conflicts and verb == "update":
                conflicts -= 1
                raise ConflictError("the object has been modified")

        world.cluster.refuse = refuse
        await add_pod(world, "p", "k")
        await world.clock.sleep(5)
        assert placed(world, "p") == "a"
        assert conflicts == 0


@virtual
async def test_what_cannot_be_bound_is_given_back() -> None:
    async with running(piece("s", device("g"), nodeName="a")) as world:
        await add_claim(world)
        broken = True

        def refuse(_user: str, verb: str, resource: Any, obj: Any) -> None:
            if broken and resource is PODS and verb == "create" and obj and "target" in obj:
                raise ConflictError("not now")

        world.cluster.refuse = refuse
        await add_pod(world, "p", "k")
        await world.clock.sleep(1)
        assert placed(world, "p") == ""
        assert not claim_of(world)["status"].get("reservedFor")
        broken = False
        await world.clock.sleep(60)
        assert placed(world, "p") == "a"
        assert len(claim_of(world)["status"]["reservedFor"]) == 1


@virtual
async def test_devices_that_no_node_can_use_are_given_free() -> None:
    async with running(piece("s", device("g"), nodeName="a")) as world:
        created = await add_claim(world)
        fields = [{"key": "metadata.name", "operator": "In", "values": ["gone"]}]
        result = {"request": "r", "driver": DRIVER, "pool": "q", "device": "x"}
        allocation = {
            "devices": {"results": [result]},
            "nodeSelector": {"nodeSelectorTerms": [{"matchFields": fields}]},
        }
        held = {**evolve(created, "metadata.finalizers", [FINALIZER])}
        held = await world.client.update(RESOURCECLAIMS, held)
        await world.client.update(
            RESOURCECLAIMS, {**held, "status": {"allocation": allocation}}, subresource="status"
        )
        await settle()
        await add_pod(world, "p", "k")
        await world.clock.sleep(60)
        assert placed(world, "p") == "a"


READY = {"bindingConditions": ["Ready"], "bindingFailureConditions": ["Broken"]}


@virtual
async def test_a_pod_waits_until_its_device_is_ready() -> None:
    async with running(piece("s", device("g", **READY), nodeName="a")) as world:
        await add_claim(world)
        await add_pod(world, "p", "k")
        await world.clock.sleep(60)
        assert placed(world, "p") == ""
        claim = claim_of(world)
        condition = {"type": "Ready", "status": "True", "reason": "r", "message": ""}
        shown = {"driver": DRIVER, "pool": "p", "device": "g", "conditions": [condition]}
        status = {**claim["status"], "devices": [shown]}
        await world.client.update(RESOURCECLAIMS, {**claim, "status": status}, subresource="status")
        await world.clock.sleep(1)
        assert placed(world, "p") == "a"


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ([], Readiness(ready=False, failed="")),
        ([("Ready", "True")], Readiness(ready=True, failed="")),
        ([("Ready", "False")], Readiness(ready=False, failed="")),
        (
            [("Ready", "True"), ("Broken", "True")],
            Readiness(ready=False, failed=f"device {DRIVER}/p/g binding failed"),
        ),
    ],
)
def test_conditions_say_how_far_a_device_is(conditions: Any, expected: Readiness) -> None:
    result = {"driver": DRIVER, "pool": "p", "device": "g", **READY}
    listed = [{"type": kind, "status": state} for kind, state in conditions]
    shown = {"driver": DRIVER, "pool": "p", "device": "g", "conditions": listed}
    status = {"allocation": {"devices": {"results": [result]}}, "devices": [shown]}
    assert readiness({"status": status}) == expected

"""Pods on devices that are tainted: gone at once, later, or not at all."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from minikube_py.api.core import EVENTS, PODS
from minikube_py.api.object import Key, evolve
from minikube_py.api.resource_k8s import RESOURCECLAIMS, RESOURCESLICES
from minikube_py.server.controllers import device_taint_eviction
from minikube_py.server.controllers.device_taint_eviction import end_of, taints_of
from tests.harness import World, harness
from tests.unit.server.scheduler.devices import DRIVER, device, piece
from tests.virtual_time import settle, virtual

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
TAINT = {"key": "k", "value": "v", "effect": "NoExecute"}


@pytest.mark.parametrize(
    ("tolerations", "expected"),
    [
        ([], 0),
        ([{"key": "other", "operator": "Exists"}], 0),
        ([{"key": "k", "operator": "Exists"}], None),
        ([{"key": "k", "operator": "Exists", "tolerationSeconds": 30}], 30),
        ([{"operator": "Exists"}, {"operator": "Exists", "tolerationSeconds": 10}], 10),
        ([{"operator": "Exists", "tolerationSeconds": -5}], 0),
    ],
)
def test_how_long_a_taint_is_borne(tolerations: Any, expected: int | None) -> None:
    end = None if expected is None else NOW + timedelta(seconds=expected)
    assert end_of(TAINT, tolerations, NOW) == end


def test_the_time_runs_from_when_the_taint_came() -> None:
    taint = {**TAINT, "timeAdded": "2026-11-22T11:00:00Z"}
    tolerations = [{"operator": "Exists", "tolerationSeconds": 60}]
    assert end_of(taint, tolerations, NOW) == NOW - timedelta(hours=1) + timedelta(seconds=60)


def test_only_the_newest_generation_taints_and_only_to_drive_away() -> None:
    soft = {**TAINT, "effect": "NoSchedule"}
    old = piece("a", device("g", taints=[TAINT]))
    new = piece("b", device("g", taints=[soft]), device("h", taints=[TAINT]), generation=2)
    assert list(taints_of([old, new], "g")) == []
    assert list(taints_of([old, new], "h")) == [TAINT]
    assert list(taints_of([old], "g")) == [TAINT]


async def prepare(world: World, tolerations: Any = ()) -> None:
    """Have a pod with a device."""
    spec = {
        "nodeName": "n",
        "containers": [{"name": "c", "image": "i"}],
        "resourceClaims": [{"name": "g", "resourceClaimName": "k"}],
    }
    body = {"metadata": {"name": "p", "namespace": "d"}, "spec": spec}
    pod = await world.client.create(PODS, body)
    await world.client.create(RESOURCESLICES, piece("s", device("g")))
    claim = await world.client.create(
        RESOURCECLAIMS, {"metadata": {"name": "k", "namespace": "d"}, "spec": {"devices": {}}}
    )
    result = {"request": "r", "driver": DRIVER, "pool": "p", "device": "g"}
    user = {"resource": "pods", "name": "p", "uid": pod["metadata"]["uid"]}
    given = {"results": [{**result, "tolerations": list(tolerations)}]}
    status = {"allocation": {"devices": given}, "reservedFor": [user]}
    await world.client.update(RESOURCECLAIMS, {**claim, "status": status}, subresource="status")
    world.run(device_taint_eviction.CONTROLLER)
    await settle()


async def taint(world: World, *taints: Any) -> None:
    there = world.cluster.table(RESOURCESLICES)[Key("", "s")].obj
    devices = [device("g", taints=list(taints))]
    await world.client.update(RESOURCESLICES, evolve(there, "spec.devices", devices))
    await settle()


def is_there(world: World) -> bool:
    item = world.cluster.table(PODS).get(Key("d", "p"))
    return item is not None and not item.obj["metadata"].get("deletionTimestamp")


@virtual
async def test_a_pod_that_bears_nothing_goes_at_once_and_is_told_why() -> None:
    async with harness() as world:
        await prepare(world)
        assert is_there(world)
        await taint(world, TAINT)
        assert not is_there(world)
        await world.clock.sleep(1)
        (event,) = world.cluster.objects(EVENTS)
        assert event["reason"] == "DeviceTaintManagerEviction"
        assert event["message"] == "Marking for deletion"


@virtual
async def test_a_pod_stays_as_long_as_its_claim_bears_the_taint() -> None:
    async with harness() as world:
        await prepare(world, [{"key": "k", "operator": "Exists", "tolerationSeconds": 60}])
        await taint(world, TAINT)
        await world.clock.sleep(50)
        assert is_there(world)
        await world.clock.sleep(20)
        assert not is_there(world)


@virtual
async def test_a_taint_that_goes_again_drives_nobody_away() -> None:
    async with harness() as world:
        await prepare(world, [{"key": "k", "operator": "Exists", "tolerationSeconds": 60}])
        await taint(world, TAINT)
        await world.clock.sleep(50)
        await taint(world)
        await world.clock.sleep(100)
        assert is_there(world)
        assert {event["message"] for event in world.cluster.objects(EVENTS)} == {
            "Cancelling deletion"
        }

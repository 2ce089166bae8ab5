"""Statuses on their way to the server: patches, order, and what is not sent at all."""

import asyncio
from typing import Any

from minikube_py.agent.kubelet.status_writer import (
    CONTRADICTION_SECONDS,
    StatusWriter,
    status_patch,
)
from minikube_py.api.core import PODS
from minikube_py.api.errors import ServiceUnavailableError
from minikube_py.lib.tasks import Nursery
from tests.model_cluster import ModelCluster
from tests.unit.agent.kubelet.builders import pod
from tests.unit.agent.kubelet.strategic import StrategicClient
from tests.virtual_time import VirtualClock, virtual

READY = {"type": "Ready", "status": "True"}
UNREADY = {"type": "Ready", "status": "False", "reason": "ContainersNotReady"}
FOREIGN = {"type": "example.com/up", "status": "True"}


def test_what_is_the_same_is_not_sent():
    status = {"phase": "Running", "conditions": [READY]}
    assert status_patch(status, dict(status)) == {}


def test_only_what_changed_is_sent():
    old = {"phase": "Pending", "hostIP": "1.1.1.1"}
    assert status_patch(old, {"phase": "Running", "hostIP": "1.1.1.1"}) == {"phase": "Running"}


def test_what_was_the_kubelet_s_is_taken_away_and_other_fields_stay():
    old = {"phase": "Failed", "reason": "Evicted", "nominatedNodeName": "n2"}
    assert status_patch(old, {"phase": "Failed"}) == {"reason": None}


def test_a_condition_is_sent_without_what_it_had_before():
    assert status_patch({"conditions": [UNREADY]}, {"conditions": [READY]}) == {
        "conditions": [READY | {"reason": None}]
    }


def test_what_a_server_shows_as_null_is_not_sent_again():
    shown = {"conditions": [READY | {"lastProbeTime": None}]}
    assert status_patch(shown, {"conditions": [READY]}) == {}
    assert status_patch({"conditions": [READY]}, shown) == {}
    assert status_patch(shown, {"conditions": [UNREADY]}) == {"conditions": [UNREADY]}


def test_conditions_of_others_are_neither_sent_nor_taken_away():
    assert status_patch({"conditions": [FOREIGN, READY]}, {"conditions": [READY]}) == {}
    stale = {"conditions": [FOREIGN | {"status": "False"}, READY]}
    assert status_patch({"conditions": [FOREIGN, READY]}, stale) == {}


def test_an_address_that_is_gone_is_taken_away():
    old, new = {"podIPs": [{"ip": "1.1.1.1"}]}, {"podIPs": [{"ip": "2.2.2.2"}]}
    assert status_patch(old, new) == {
        "podIPs": [{"ip": "2.2.2.2"}, {"$patch": "delete", "ip": "1.1.1.1"}]
    }


class World:
    def __init__(self, nursery: Nursery) -> None:
        self.clock = VirtualClock()
        self.cluster = ModelCluster(self.clock)
        self.client = StrategicClient(self.cluster, "kubelet")
        self.writer = StatusWriter(self.client, self.clock)
        nursery.start("writer", self.writer.run())

    async def begin(self) -> str:
        made = await self.client.create(PODS, pod())
        self.writer.seen(made)
        return str(made["metadata"]["uid"])

    def stored(self) -> Any:
        return self.cluster.objects(PODS)[0]["status"]

    def patches(self) -> int:
        return sum(verb == "patch/status" for _, verb, *_ in self.cluster.requests)


@virtual
async def test_a_status_is_told_once():
    async with Nursery("test") as nursery:
        world = World(nursery)
        uid = await world.begin()
        for _ in range(3):
            world.writer.set(uid, {"phase": "Running"})
            await world.writer.told(uid)
        assert world.stored()["phase"] == "Running"
        assert world.patches() == 1


@virtual
async def test_a_status_that_is_overtaken_is_never_sent():
    async with Nursery("test") as nursery:
        world = World(nursery)
        uid = await world.begin()
        for number in range(10):
            world.writer.set(uid, {"phase": "Running", "message": str(number)})
        await world.writer.told(uid)
        assert world.stored()["message"] == "9"
        assert world.patches() == 1


@virtual
async def test_a_server_that_is_away_is_told_later():
    async with Nursery("test") as nursery:
        world = World(nursery)
        uid = await world.begin()

        def away(*_: object) -> None:
            raise ServiceUnavailableError("away")

        world.cluster.refuse = away
        world.writer.set(uid, {"phase": "Running"})
        await asyncio.sleep(30)
        world.cluster.refuse = lambda *_: None
        await world.writer.told(uid)
        assert world.stored()["phase"] == "Running"


@virtual
async def test_what_somebody_else_changed_is_told_again_once_others_have_seen_it():
    async with Nursery("test") as nursery:
        world = World(nursery)
        uid = await world.begin()
        world.writer.set(uid, {"phase": "Running"})
        await world.writer.told(uid)
        patch = {"status": {"phase": "Failed"}}
        changed = await world.client.patch(PODS, "a", patch, "default", subresource="status")
        world.writer.seen(changed)
        world.writer.set(uid, {"phase": "Running"})  # as after every look at its containers
        await asyncio.sleep(CONTRADICTION_SECONDS / 2)
        assert world.stored()["phase"] == "Failed"
        await asyncio.sleep(CONTRADICTION_SECONDS)
        assert world.stored()["phase"] == "Running"


@virtual
async def test_news_of_a_pod_that_somebody_else_changed_does_not_wait():
    async with Nursery("test") as nursery:
        world = World(nursery)
        uid = await world.begin()
        world.writer.set(uid, {"phase": "Running"})
        await world.writer.told(uid)
        patch = {"status": {"phase": "Failed"}}
        changed = await world.client.patch(PODS, "a", patch, "default", subresource="status")
        world.writer.seen(changed)
        world.writer.set(uid, {"phase": "Succeeded"})
        await asyncio.sleep(CONTRADICTION_SECONDS / 2)
        assert world.stored()["phase"] == "Succeeded"


@virtual
async def test_a_pod_that_is_gone_is_told_of_no_more():
    async with Nursery("test") as nursery:
        world = World(nursery)
        uid = await world.begin()
        options = {"gracePeriodSeconds": 0}
        await world.client.delete(PODS, "a", "default", options=options)
        world.writer.set(uid, {"phase": "Running"})
        await world.writer.told(uid)
        world.writer.forget(uid)
        before = len(world.cluster.requests)
        world.writer.set(uid, {"phase": "Failed"})
        await world.writer.told(uid)
        await asyncio.sleep(60)
        assert len(world.cluster.requests) == before

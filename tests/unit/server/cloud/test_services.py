"""Load balancers: made, followed and taken away; nothing leaks, whenever the cloud or we fail."""

import asyncio
import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minikube_py.api.core import EVENTS, NODES, SERVICES
from minikube_py.api.object import evolve, get
from minikube_py.lib.tasks import Nursery
from minikube_py.server.cloud import service as service_controller
from minikube_py.server.cloud.nodes import EXCLUDED, TO_BE_DELETED, may_be_balanced
from minikube_py.server.cloud.provider import CloudError
from minikube_py.server.cloud.service import FINALIZER, Made, Step, identities, plan
from tests.harness import harness
from tests.unit.server.cloud.fake_cloud import BalancersOf, FakeCloud, node, service
from tests.virtual_time import run, settle, virtual


@contextlib.asynccontextmanager
async def world_with(cloud, nodes=2):
    async with harness() as world:
        for number in range(nodes):
            await world.client.create(NODES, node(f"n{number}"))
        world.run(service_controller.controller(BalancersOf(cloud), "k", ""))
        yield world


def reasons(world):
    events = sorted(world.cluster.objects(EVENTS), key=lambda e: e["metadata"]["name"])
    return [event["reason"] for event in events]


def one(world):
    return world.cluster.objects(SERVICES)[0]


def ips(world):
    return [each["ip"] for each in get(one(world), "status.loadBalancer.ingress") or ()]


@virtual
async def test_a_service_gets_a_load_balancer_and_gives_it_back():
    cloud = FakeCloud()
    async with world_with(cloud) as world:
        made = await world.client.create(SERVICES, service())
        await settle(1)
        assert one(world)["metadata"]["finalizers"] == [FINALIZER]
        assert ips(world) == ["203.0.113.1"]
        (balancer,) = cloud.balancers.values()
        assert balancer == {"ports": [80], "nodes": ["n0", "n1"]}
        assert reasons(world) == ["EnsuringLoadBalancer", "EnsuredLoadBalancer"]
        await settle(3600)
        assert cloud.calls == ["ensure address", "ensure balancer", "ensure targets"]
        await world.client.delete(SERVICES, "web", made["metadata"]["namespace"])
        await settle(1)
        assert world.cluster.objects(SERVICES) == []
        assert (cloud.balancers, cloud.addresses) == ({}, {})
        assert reasons(world)[2:] == ["DeletingLoadBalancer", "DeletedLoadBalancer"]


@virtual
async def test_a_service_that_no_longer_asks_loses_status_and_finalizer():
    cloud = FakeCloud()
    async with world_with(cloud) as world:
        await world.client.create(SERVICES, service())
        await settle(1)
        await world.client.update(SERVICES, evolve(one(world), "spec.type", "ClusterIP"))
        await settle(1)
        assert one(world)["metadata"].get("finalizers", []) == []
        assert ips(world) == []
        assert cloud.addresses == {}


@virtual
async def test_a_service_of_a_class_is_left_to_others():
    cloud = FakeCloud()
    async with world_with(cloud) as world:
        await world.client.create(SERVICES, service(loadBalancerClass="example.com/vip"))
        await settle(60)
        assert cloud.calls == []
        assert "finalizers" not in one(world)["metadata"]


@virtual
async def test_nodes_that_come_and_go_are_told_to_the_cloud_and_unready_ones_are_not():
    cloud = FakeCloud()
    async with world_with(cloud) as world:
        await world.client.create(SERVICES, service())
        await settle(1)
        await world.client.create(NODES, node("n2"))
        await settle(1)
        (balancer,) = cloud.balancers.values()
        assert balancer["nodes"] == ["n0", "n1", "n2"]
        assert reasons(world)[-1] == "UpdatedLoadBalancer"
        calls = len(cloud.calls)
        silent = {**world.cluster.objects(NODES)[2], "status": node(ready=False)["status"]}
        await world.client.update(NODES, silent, subresource="status")
        await settle(60)
        assert len(cloud.calls) == calls
        excluded = evolve(world.cluster.objects(NODES)[2], "metadata.labels", {EXCLUDED: ""})
        await world.client.update(NODES, excluded)
        await settle(1)
        assert balancer["nodes"] == ["n0", "n1"]
        for name in ("n0", "n1"):
            await world.client.delete(NODES, name)
            await settle(1)
        assert balancer["nodes"] == []
        assert reasons(world)[-1] == "UnAvailableLoadBalancer"


def test_who_may_be_balanced_to():
    assert may_be_balanced(node(ready=False))
    assert may_be_balanced(node(labels={EXCLUDED: "false"}))
    assert not may_be_balanced(node(labels={EXCLUDED: ""}))
    assert not may_be_balanced(node(labels={EXCLUDED: "true"}))
    assert not may_be_balanced(node(taints=[{"key": TO_BE_DELETED, "effect": "NoSchedule"}]))


@virtual
async def test_a_cloud_that_fails_is_asked_again_after_growing_waits_and_events_say_why():
    cloud = FakeCloud()

    def fail(step):
        if step == "ensure balancer" and len(cloud.calls) < 12:
            raise CloudError("quota exceeded")

    cloud.before = fail
    async with world_with(cloud) as world:
        await world.client.create(SERVICES, service())
        await settle(4)
        assert cloud.calls == ["ensure address", "ensure balancer"]
        failed = next(
            e for e in world.cluster.objects(EVENTS) if e["reason"] == "SyncLoadBalancerFailed"
        )
        assert failed["type"] == "Warning"
        assert failed["message"] == (
            "Error syncing load balancer: failed to ensure load balancer: quota exceeded"
        )
        await settle(3)
        assert len(cloud.calls) == 4
        await settle(600)
        assert ips(world) == ["203.0.113.1"]


@virtual
async def test_a_cloud_that_is_still_at_work_says_when_to_come_again():
    cloud = FakeCloud()

    def fail(step):
        if step == "ensure balancer" and len(cloud.calls) < 3:
            raise CloudError("provisioning", 60)

    cloud.before = fail
    async with world_with(cloud) as world:
        await world.client.create(SERVICES, service())
        await settle(59)
        assert len(cloud.calls) == 2
        await settle(3)
        assert ips(world) == ["203.0.113.1"]


@virtual
async def test_a_service_whose_finalizer_was_taken_leaves_nothing_behind():
    cloud = FakeCloud()
    async with world_with(cloud) as world:
        await world.client.create(SERVICES, service())
        await settle(1)
        await world.client.update(SERVICES, evolve(one(world), "metadata.finalizers", []))
        await world.client.delete(SERVICES, "web", "d")
        await world.client.create(SERVICES, service())
        await settle(1)
        assert len(cloud.balancers) == len(cloud.addresses) == 1


@virtual
async def test_other_finalizers_are_kept():
    cloud = FakeCloud()
    async with world_with(cloud) as world:
        mine = evolve(service(), "metadata.finalizers", ["example.com/mine"])
        await world.client.create(SERVICES, mine)
        await settle(1)
        await world.client.delete(SERVICES, "web", "d")
        await settle(1)
        assert one(world)["metadata"]["finalizers"] == ["example.com/mine"]
        assert cloud.balancers == {}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("spec.ports", [{"port": 81, "protocol": "TCP"}]),
        ("spec.loadBalancerSourceRanges", ["10.0.0.0/8"]),
        ("spec.externalTrafficPolicy", "Local"),
        ("spec.healthCheckNodePort", 31000),
        ("spec.sessionAffinity", "ClientIP"),
        ("metadata.annotations", {"a": "b"}),
    ],
)
def test_a_load_balancer_is_made_anew_where_what_it_depends_on_changes(field, value):
    before = {**service(), "metadata": {**service()["metadata"], "uid": "u"}}
    nodes = identities([node()])
    made = Made(before, nodes, done=True)
    assert plan(before, made, nodes) is Step.NOTHING
    assert plan(evolve(before, "metadata.labels", {"a": "b"}), made, nodes) is Step.NOTHING
    assert plan(before, made, identities([])) is Step.UPDATE
    assert plan(evolve(before, field, value), made, nodes) is Step.ENSURE


@given(
    crash_at=st.integers(0, 8),
    after=st.sampled_from(["delete", "keep", "change", "retype"]),
    fails=st.lists(st.integers(0, 12), max_size=3),
)
@settings(max_examples=50)
def test_whenever_we_end_or_the_cloud_fails_nothing_is_left_and_nothing_is_double(
    crash_at, after, fails
):
    async def body():
        cloud, is_first_life = FakeCloud(), True

        def before(step):
            if len(cloud.calls) - 1 in fails:
                raise CloudError(step)
            if is_first_life and len(cloud.calls) - 1 == crash_at:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()

        cloud.before = before
        async with harness() as world:
            await world.client.create(NODES, node("n0"))
            loop = service_controller.controller(BalancersOf(cloud), "k", "")
            async with Nursery("first life") as first:
                first.start("loop", loop.run(world.context_for("first")))
                await world.client.create(SERVICES, service())
                await settle(20)
                await change(world, after)
                await settle(20)
            is_first_life = False
            async with Nursery("second life") as second:
                second.start("loop", loop.run(world.context_for("second")))
                await settle(400)
                alive = world.cluster.objects(SERVICES)
                asking = [s for s in alive if s["spec"]["type"] == "LoadBalancer"]
                assert len(cloud.balancers) == len(cloud.addresses) == len(asking)
                for each in asking:
                    ports = [port["port"] for port in each["spec"]["ports"]]
                    assert list(cloud.balancers.values()) == [{"ports": ports, "nodes": ["n0"]}]
                    assert ips(world) == ["203.0.113.1"]
                assert bool(alive) == (after != "delete")
                calls = len(cloud.calls)
                await settle(3600)
                assert len(cloud.calls) == calls

    run(body())


async def change(world, what):
    if what == "delete":
        await world.client.delete(SERVICES, "web", "d")
    elif what == "change":
        ports = [{"port": 81, "protocol": "TCP", "targetPort": 81}]
        await world.client.update(SERVICES, evolve(one(world), "spec.ports", ports))
    elif what == "retype":
        await world.client.update(SERVICES, evolve(one(world), "spec.type", "ClusterIP"))

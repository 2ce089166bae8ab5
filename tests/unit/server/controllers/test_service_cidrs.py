"""Ranges of service addresses, and the claims of addresses in them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api import addresses
from minikube_py.api.core import EVENTS, SERVICES
from minikube_py.api.networking import IPADDRESSES, SERVICECIDRS
from minikube_py.api.object import Key, condition_of, evolve
from minikube_py.server.controllers import ip_repair, service_cidrs
from minikube_py.server.controllers.ip_repair import new_claim
from minikube_py.server.controllers.service_cidrs import FINALIZER, is_blocked, networks_of
from tests.harness import harness
from tests.unit.server.controllers.builders import service
from tests.virtual_time import settle, virtual


def cidr(name, *found):
    return {"metadata": {"name": name}, "spec": {"cidrs": list(found)}}


def blocked(name, known, used):
    nets = {one: networks_of(cidr(one, *found)) for one, found in known.items()}
    return is_blocked(cidr(name, *known[name]), nets, [addresses.parse(one) for one in used])


@pytest.mark.parametrize(
    ("known", "used", "expected"),
    [
        ({"a": ["10.0.0.0/24"]}, [], False),
        ({"a": ["10.0.0.0/24"]}, ["10.0.0.9"], True),
        ({"a": ["10.0.0.0/24"]}, ["10.0.1.9"], False),
        ({"a": ["10.0.0.0/24"], "b": ["10.0.0.0/16"]}, ["10.0.0.9"], False),
        ({"a": ["10.0.0.0/24"], "b": ["10.0.0.0/25"]}, ["10.0.0.9"], False),
        ({"a": ["10.0.0.0/24"], "b": ["10.0.0.0/25"]}, ["10.0.0.200"], True),
        ({"a": ["10.0.0.0/24", "fd00::/112"], "b": ["10.0.0.0/16"]}, ["fd00::1"], True),
    ],
)
def test_a_range_is_held_by_addresses_that_no_other_range_has(known, used, expected):
    assert blocked("a", known, used) is expected


@given(st.lists(st.integers(0, 255), max_size=5), st.integers(24, 30))
def test_a_range_that_another_one_contains_is_never_held(used, bits):
    known = {"a": [f"10.0.0.0/{bits}"], "b": ["10.0.0.0/24"]}
    assert not blocked("a", known, [f"10.0.0.{number}" for number in used])


def ready(world, name):
    return condition_of(world.cluster.table(SERVICECIDRS)[Key("", name)].obj, "Ready")


@virtual
async def test_a_range_is_ready_and_goes_when_its_addresses_have():
    async with harness() as world:
        world.run(service_cidrs.CONTROLLER)
        await world.client.create(SERVICECIDRS, cidr("a", "10.0.0.0/24"))
        await settle(1)
        found = world.cluster.objects(SERVICECIDRS)[0]
        assert found["metadata"]["finalizers"] == [FINALIZER]
        assert ready(world, "a")["message"] == "Kubernetes Service CIDR is ready"
        await world.client.create(IPADDRESSES, new_claim(service(), "10.0.0.9"))
        await world.client.delete(SERVICECIDRS, "a")
        await settle(60)
        assert (ready(world, "a")["status"], ready(world, "a")["reason"]) == (
            "False",
            "Terminating",
        )
        await world.client.delete(IPADDRESSES, "10.0.0.9")
        await settle(60)
        assert world.cluster.objects(SERVICECIDRS) == []


def web(*ips):
    spec = {"clusterIP": ips[0], "clusterIPs": list(ips)}
    return evolve(service(), "spec", {**service()["spec"], **spec})


@virtual
async def test_a_claim_that_is_gone_is_made_again():
    async with harness() as world:
        world.run(ip_repair.CONTROLLER)
        await world.client.create(IPADDRESSES, new_claim(service(), "10.0.0.9"))
        await world.client.create(SERVICES, web("10.0.0.9"))
        await settle(1)
        assert world.cluster.objects(EVENTS) == []
        await world.client.delete(IPADDRESSES, "10.0.0.9")
        await settle(1)
        assert [one["metadata"]["name"] for one in world.cluster.objects(IPADDRESSES)]
        (event,) = world.cluster.objects(EVENTS)
        assert event["reason"] == "ClusterIPNotAllocated"
        assert event["message"] == "Cluster IP [IPv4]: 10.0.0.9 is not allocated; repairing"


@virtual
async def test_a_claim_that_nobody_needs_goes_after_a_while():
    async with harness() as world:
        world.run(ip_repair.CONTROLLER)
        await world.client.create(IPADDRESSES, new_claim(service(), "10.0.0.9"))
        await settle(50)
        assert world.cluster.objects(IPADDRESSES)
        await settle(20)
        assert world.cluster.objects(IPADDRESSES) == []
        (event,) = world.cluster.objects(EVENTS)
        assert event["reason"] == "IPAddressNotAllocated"


@virtual
async def test_a_claim_for_a_service_that_is_none_is_put_right():
    async with harness() as world:
        world.run(ip_repair.CONTROLLER)
        other = evolve(service(), "metadata.name", "other")
        await world.client.create(IPADDRESSES, new_claim(other, "10.0.0.9"))
        await world.client.create(SERVICES, web("10.0.0.9"))
        await settle(1)
        (claim,) = world.cluster.objects(IPADDRESSES)
        assert claim["spec"]["parentRef"]["name"] == "web"

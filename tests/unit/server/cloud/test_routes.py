"""Routes: one for each network of pods, none to nobody, and a condition that says how it went."""

from minikube_py.api.core import EVENTS, NODES
from minikube_py.api.object import condition_of, evolve, get
from minikube_py.server.cloud import route as route_controller
from minikube_py.server.cloud.provider import CloudError, CloudSetting, Route
from minikube_py.server.cloud.route import is_ours, plan
from tests.harness import harness
from tests.unit.server.cloud.fake_cloud import FakeCloud, RoutesOf, node
from tests.virtual_time import settle, virtual

CIDR = "10.42.0.0/16"


def controller(cloud):
    return route_controller.controller(RoutesOf(cloud), CloudSetting(cluster_cidr=CIDR), "")


def condition(world, number=0):
    found = condition_of(world.cluster.objects(NODES)[number], "NetworkUnavailable") or {}
    return found.get("status"), found.get("reason")


def changes(cloud):
    return [call for call in cloud.calls if call != "list routes"]


@virtual
async def test_each_network_of_a_node_gets_a_route_and_loses_it_with_the_node():
    cloud = FakeCloud()
    async with harness() as world:
        world.run(controller(cloud))
        await world.client.create(NODES, node(cidrs=["10.42.1.0/24", "fd00::/64"]))
        await world.client.create(NODES, node("n2"))
        await settle(1)
        assert {(r.node, r.destination) for r in cloud.routes.values()} == {
            ("n1", "10.42.1.0/24"),
            ("n1", "fd00::/64"),
        }
        assert condition(world) == ("False", "RouteCreated")
        assert condition(world, 1) == (None, None)
        requests = len(world.cluster.requests)
        await settle(100)
        assert len(changes(cloud)) == 2
        assert len(world.cluster.requests) == requests
        await world.client.delete(NODES, "n1")
        await settle(1)
        assert set(cloud.routes) == {"fd00::/64"}  # outside of the cluster's network: not ours


@virtual
async def test_a_route_that_was_taken_away_is_made_again_within_ten_seconds():
    cloud = FakeCloud()
    async with harness() as world:
        world.run(controller(cloud))
        await world.client.create(NODES, node(cidrs=["10.42.1.0/24"]))
        await settle(1)
        cloud.routes.clear()
        await settle(11)
        assert list(cloud.routes) == ["10.42.1.0/24"]


@virtual
async def test_a_node_without_its_route_says_so_and_an_event_says_why():
    cloud = FakeCloud()
    trouble = True

    def fail(step):
        if trouble and step == "create route 10.42.1.0/24":
            raise CloudError("limit reached")

    cloud.before = fail
    async with harness() as world:
        world.run(controller(cloud))
        await world.client.create(NODES, node(cidrs=["10.42.1.0/24"]))
        await world.client.create(NODES, node("n2", cidrs=["10.42.2.0/24"]))
        await settle(1)
        assert condition(world) == ("True", "NoRouteCreated")
        assert condition(world, 1) == ("False", "RouteCreated")
        (event,) = world.cluster.objects(EVENTS)
        assert event["reason"] == "FailedToCreateRoute"
        assert event["message"].endswith("10.42.1.0/24 for node n1: limit reached")
        trouble = False
        await settle(11)
        assert condition(world) == ("False", "RouteCreated")
        kinds = [c["type"] for c in get(world.cluster.objects(NODES)[0], "status.conditions")]
        assert sorted(kinds) == ["NetworkUnavailable", "Ready"]


def test_routes_to_nobody_and_into_nothing_go_and_others_are_left():
    known = [
        Route(name="a", destination="10.42.1.0/24", node="n1", blackhole=True),
        Route(name="b", destination="10.42.2.0/24", node="gone"),
        Route(name="c", destination="192.168.0.0/24", node="gone"),
        Route(name="d", destination="10.42.4.0/24", node="n4"),
    ]
    nodes = [
        evolve(node(name, cidrs=[cidr]), "metadata.uid", name)
        for name, cidr in (("n1", "10.42.1.0/24"), ("n4", "10.42.4.0/24"))
    ]
    work = plan(nodes, known, CIDR)
    assert [route.name for route in work.delete] == ["a", "b"]
    assert [(hint, route.destination) for hint, route in work.create] == [("n1", "10.42.1.0/24")]


def test_a_route_is_ours_where_it_touches_the_networks_of_pods():
    for destination, ours in (
        ("10.42.9.0/24", True),
        ("10.0.0.0/8", False),
        ("10.43.0.0/24", False),
        ("fd00::/64", False),
        ("x", False),
    ):
        assert is_ours(Route(destination=destination, node="n"), CIDR) == ours
    assert is_ours(Route(destination="fd00::/64", node="n"), f"{CIDR},fd00::/56")

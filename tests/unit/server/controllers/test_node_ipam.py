"""Parts of the cluster's network for nodes."""

import ipaddress
import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api.core import EVENTS, NODES
from minikube_py.api.errors import ConflictError
from minikube_py.api.object import get
from minikube_py.client.actions import Emit
from minikube_py.server.controllers import node_ipam
from minikube_py.server.controllers.node_ipam import free_part, plan
from tests.frozen import freeze
from tests.harness import World, harness
from tests.virtual_time import settle, virtual

NODE: Any = freeze({"kind": "Node", "apiVersion": "v1", "metadata": {"name": "n"}, "spec": {}})


@virtual
async def test_nodes_keep_their_parts_and_new_ones_get_what_is_free() -> None:
    async with harness(cluster_cidr="10.42.0.0/22") as world:
        await world.client.create(NODES, node("mine", podCIDR="10.42.1.0/24"))
        world.run(node_ipam.CONTROLLER)
        for name in ("a", "b", "c", "d"):
            await world.client.create(NODES, node(name))
            await settle()
        assert parts(world) == {
            "mine": "10.42.1.0/24",
            "a": "10.42.0.0/24",
            "b": "10.42.2.0/24",
            "c": "10.42.3.0/24",
            "d": None,
        }
        (event,) = world.cluster.objects(EVENTS)
        assert event["message"] == "Node d status is now: CIDRNotAvailable"
        await world.client.delete(NODES, "a")
        await settle()
        assert parts(world)["d"] == "10.42.0.0/24"


@virtual
async def test_a_node_has_a_part_of_each_network_or_none() -> None:
    async with harness(cluster_cidr="10.42.0.0/16,fd42::/63") as world:
        world.run(node_ipam.CONTROLLER)
        for name in ("a", "b", "c"):
            await world.client.create(NODES, node(name))
            await settle()
        nodes = world.cluster.objects(NODES)
        assert {one["metadata"]["name"]: get(one, "spec.podCIDRs") for one in nodes} == {
            "a": ["10.42.0.0/24", "fd42::/64"],
            "b": ["10.42.1.0/24", "fd42:0:0:1::/64"],
            "c": None,
        }
        assert parts(world)["a"] == "10.42.0.0/24"


@virtual
async def test_many_nodes_at_once_get_parts_of_their_own_although_writes_fail() -> None:
    async with harness(cluster_cidr="10.42.0.0/18") as world:
        numbers = itertools.count()

        def refuse(user: str, *_: Any) -> None:
            if user == "node-ipam-controller" and next(numbers) % 3 == 0:
                raise ConflictError("the object has been modified")

        world.cluster.refuse = refuse
        for number in range(64):
            await world.client.create(NODES, node(f"n{number}"))
        world.run(node_ipam.CONTROLLER)
        await settle(100)
        given = set(parts(world).values())
        assert len(given) == 64
        assert None not in given


def node(name: str, **spec: Any) -> Any:
    if "podCIDR" in spec:
        spec["podCIDRs"] = [spec["podCIDR"]]
    return {"metadata": {"name": name}, "spec": spec}


def parts(world: World) -> dict[str, str | None]:
    nodes = world.cluster.objects(NODES)
    return {one["metadata"]["name"]: get(one, "spec.podCIDR") for one in nodes}


def test_a_full_network_has_no_free_part() -> None:
    assert free_part("10.42.0.0/23", ["10.42.0.0/24", "10.42.1.0/24"], 1) is None
    (action,) = plan(NODE, None)
    assert isinstance(action, Emit)
    assert action.reason == "CIDRNotAvailable"


def test_a_small_network_is_one_part_and_v6_has_parts_of_its_own() -> None:
    assert free_part("10.42.0.0/26", [], 5) == (0, "10.42.0.0/26")
    assert free_part("fd00::/56", ["fd00::/64"], 0) == (1, "fd00:0:0:1::/64")


@given(count=st.integers(1, 16), start=st.integers(0, 100))
def test_no_part_is_given_twice_and_none_overlap(count: int, start: int) -> None:
    taken: list[str] = []
    for _ in range(count):
        found = free_part("10.42.0.0/20", taken, start)
        assert found is not None
        start = found[0] + 1
        taken.append(found[1])
    networks = [ipaddress.ip_network(part) for part in taken]
    assert len(set(networks)) == len(networks)
    assert all(part.subnet_of(ipaddress.ip_network("10.42.0.0/20")) for part in networks)  # type: ignore[arg-type]

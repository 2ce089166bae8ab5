"""Hints by CPU: each zone has its part of the endpoints, or there are none, and it is said why."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api.core import EVENTS, NODES, PODS, SERVICES
from minikube_py.api.endpointslices import ENDPOINTSLICES
from minikube_py.api.object import evolve
from minikube_py.server.controllers import endpointslices
from minikube_py.server.controllers.endpointslice_hints import (
    MODE,
    NO_INFO,
    NO_ZONE,
    ONE_ZONE,
    Zones,
    hints,
    is_asked_for,
    parts_of,
    zones_of,
)
from tests.harness import harness
from tests.kubelet_model import node
from tests.unit.server.controllers.builders import pod, service
from tests.virtual_time import settle, virtual

ZONE = "topology.kubernetes.io/zone"


def in_zone(name, zone, cpu="4", **labels):
    return node(name, labels={ZONE: zone, **labels} if zone else labels, allocatable={"cpu": cpu})


def endpoints(**zones):
    return {f"{zone}{n}": zone for zone, count in zones.items() for n in range(count)}


def test_zones_have_the_part_of_their_cpus():
    nodes = [in_zone("n1", "a"), in_zone("n2", "b", "6"), in_zone("n3", "b", "6000m")]
    control = {"node-role.kubernetes.io/control-plane": ""}
    assert zones_of([*nodes, in_zone("n4", "c", **control)]).shares == {"a": 0.25, "b": 0.75}
    assert not zones_of([*nodes, in_zone("n4", "")]).known


EVEN = Zones({"a": 0.5, "b": 0.5})


@pytest.mark.parametrize(
    ("zones", "found", "problem"),
    [
        (Zones({}, known=False), endpoints(a=3), NO_INFO),
        (Zones({"a": 1.0}), endpoints(a=3), ONE_ZONE),
        (EVEN, endpoints(a=1), "Insufficient number of endpoints (1 endpoints, 2 zones)"),
        (EVEN, {**endpoints(a=3), "x": ""}, NO_ZONE),
        (
            Zones({"a": 0.34, "b": 0.33, "c": 0.33}),
            endpoints(a=4),
            (
                "Unable to allocate minimum required endpoints to each zone without exceeding "
                "overload threshold (4 endpoints, 3 zones)"
            ),
        ),
    ],
)
def test_why_there_are_no_hints(zones, found, problem):
    assert hints(found, zones) == ({}, problem)


def test_what_a_zone_has_too_many_of_it_gives_to_another():
    chosen = hints(endpoints(a=5, b=1), EVEN).zones
    assert Counter(chosen.values()) == {"a": 3, "b": 3}
    assert chosen["b0"] == "b"


shares = st.lists(st.integers(1, 64), min_size=2, max_size=4)


@given(shares, st.lists(st.sampled_from("abcd"), min_size=1, max_size=40))
def test_no_zone_comes_to_have_worse_than_its_own(cpus, zones):
    made = Zones({zone: cpu / sum(cpus) for zone, cpu in zip("abcd", cpus, strict=False)})
    found = {f"e{n}": zone if zone in made.shares else "a" for n, zone in enumerate(zones)}
    chosen = hints(found, made)
    if chosen.problem:
        assert chosen.zones == {}
        return
    parts, _ = parts_of(made, len(found))
    before, after = Counter(found.values()), Counter(chosen.zones.values())
    assert chosen.zones.keys() == found.keys()
    for zone, part in parts.items():
        assert abs(after[zone] - part.wanted) <= abs(before[zone] - part.wanted)
    assert hints(found, made) == chosen


def test_both_annotations_ask():
    asking = service(annotations={MODE: "Auto"})
    assert is_asked_for(asking)
    old = "service.kubernetes.io/topology-aware-hints"
    assert is_asked_for(service(annotations={old: "auto"}))
    assert not is_asked_for(service(annotations={MODE: "Auto", old: "disabled"}))
    assert not is_asked_for(service())


def zones(world):
    return Counter(
        (entry["zone"], *(one["name"] for one in entry.get("hints", {}).get("forZones", ())))
        for one in world.cluster.objects(ENDPOINTSLICES)
        for entry in one.get("endpoints") or ()
    )


@virtual
async def test_hints_come_with_the_nodes_and_are_told_of_once():
    async with harness() as world:
        world.run(endpointslices.CONTROLLER)
        await world.client.create(SERVICES, service(annotations={MODE: "Auto"}))
        await world.client.create(NODES, in_zone("n1", "a"))
        for number in range(4):
            one = pod(f"p{number}", ready=True, ip=f"10.0.0.{number}", node="n1")
            await world.client.create(PODS, one)
            status = {"status": one["status"]}
            await world.client.patch(PODS, f"p{number}", status, "d", subresource="status")
        await settle(10)
        assert zones(world) == {("a",): 4}
        await world.client.create(NODES, in_zone("n2", "b"))
        await settle(10)
        assert zones(world) == {("a", "a"): 2, ("a", "b"): 2}
        found = world.cluster.objects(NODES)[0]
        await world.client.update(NODES, evolve(found, "metadata.annotations", {"x": "y"}))
        await settle(10)
        told = [(e["reason"], e["message"]) for e in world.cluster.objects(EVENTS)]
        assert told[-2:] == [
            ("TopologyAwareHintsDisabled", f"{ONE_ZONE}, addressType: IPv4"),
            (
                "TopologyAwareHintsEnabled",
                "Topology Aware Hints has been enabled, addressType: IPv4",
            ),
        ]

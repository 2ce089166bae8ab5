"""Rankings choose what asking every node would choose, whatever has changed in between."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api.core import SERVICES
from minikube_py.client.store import ItemStore
from minikube_py.server.scheduler import ranking
from minikube_py.server.scheduler.algorithm import choose
from minikube_py.server.scheduler.framework import Narrowed, rejection
from minikube_py.server.scheduler.plugins import default_profile
from minikube_py.server.scheduler.ranking import Rankings
from tests.model_cluster import FrozenItem
from tests.unit.server.scheduler.asking import HOST, WEB, ZONE, near, spread
from tests.unit.server.scheduler.builders import (
    cache,
    cycle,
    find,
    handle,
    node,
    node_item,
    pod,
    profile,
)

SPECS = (
    {},
    {"requests": {"cpu": "1"}},
    {"labels": WEB},
    {"labels": WEB, **spread()},
    {"labels": WEB, **spread(HOST)},
    {"labels": WEB, **spread(HOST, minDomains=3)},
    {"labels": WEB, **spread(when="ScheduleAnyway")},
    {"labels": WEB, **near("podAntiAffinity")},
    {"labels": WEB, **near("podAntiAffinity", key=ZONE)},
    {"labels": WEB, **near("podAffinity", key=ZONE)},
    {"labels": WEB, **near("podAffinity")},
    {"labels": WEB, **near("podAffinity", "preferred")},
    near("podAntiAffinity", "preferred", key=ZONE),
    {"tolerations": [{"operator": "Exists"}]},
    {"nodeSelector": {ZONE: "A"}},
    {"ports": [{"containerPort": 80, "hostPort": 80}]},
    {
        "affinity": {
            "nodeAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {
                        "weight": 5,
                        "preference": {
                            "matchExpressions": [{"key": ZONE, "operator": "In", "values": ["A"]}]
                        },
                    }
                ]
            }
        }
    },
)
NODES = st.builds(
    lambda number, zone, cpu, taint: node(
        f"n{number}",
        labels={ZONE: zone} if zone else {},
        taints=[{"key": "k", "effect": taint}] if taint else (),
        cpu=cpu,
    ),
    st.integers(0, 5),
    st.sampled_from(["", "A", "B", "C"]),
    st.sampled_from(["1", "2", "4"]),
    st.sampled_from(["", "", "NoSchedule", "PreferNoSchedule"]),
)
STEPS = st.one_of(
    st.tuples(st.just("pod"), st.sampled_from(range(len(SPECS)))),
    st.tuples(st.just("node"), NODES),
    st.tuples(st.just("no node"), st.integers(0, 5)),
    st.tuples(st.just("no pod"), st.integers(0, 40)),
)


def served():
    """Return a default profile in a cluster with a service, which has its pods spread."""
    services = ItemStore()
    metadata = {"name": "web", "namespace": "d", "uid": "s", "resourceVersion": "1"}
    services.put(FrozenItem({"metadata": metadata, "spec": {"selector": WEB}}, SERVICES))
    return default_profile(handle(services=services))


@given(nodes=st.lists(NODES, max_size=4), steps=st.lists(STEPS, max_size=40))
def test_what_is_chosen_is_what_asking_every_node_chooses(nodes, steps):
    there, rankings, within, used = cache(*nodes), Rankings(), served(), 0
    for number, (what, which) in enumerate(steps):
        if what == "node":
            there.set_node(node_item(which))
        elif what == "no node":
            there.remove_node(f"n{which}")
        elif what == "no pod":
            there.remove_pod(f"p{which}")
        else:
            incoming = pod(f"p{number}", uid=f"p{number}", **SPECS[which])
            chosen = rankings.choose(cycle(incoming, there), within)
            attempt = cycle(incoming, there)
            fit = find(attempt, within, complete=True)
            wanted = choose(attempt, fit.nodes, within) if fit.nodes else None
            if chosen is not None:
                used += 1
                assert chosen == wanted
            if wanted is not None:
                there.set_pod(incoming.on(wanted))


def alike(there, count, rankings, **spec):
    """Place so many pods by rankings alone; return where they went, None for those that waited."""
    found = []
    for number in range(count):
        incoming = pod(f"q{number}", **spec)
        at = rankings.choose(cycle(incoming, there), profile())
        found.append(at)
        if at is not None:
            there.set_pod(incoming.on(at))
    return found


def test_the_first_of_its_kind_is_left_to_others_and_the_rest_are_ranked():
    there = cache(*(node(f"n{number}") for number in range(4)))
    assert alike(there, 5, Rankings(), requests={"cpu": "1"}) == [None, "n0", "n1", "n2", "n3"]


def test_where_nothing_fits_nothing_is_chosen():
    there = cache(node("a", cpu="1"), node("b", unschedulable=True))
    assert alike(there, 4, Rankings(), requests={"cpu": "1"}) == [None, "a", None, None]


def test_a_large_cluster_is_looked_at_bit_by_bit(monkeypatch):
    monkeypatch.setattr(ranking, "LOOKS_AT_ONCE", 2)
    there = cache(*(node(f"n{number}") for number in range(5)))
    found = alike(there, 5, Rankings(), requests={"cpu": "1"})
    assert found == [None, None, None, "n0", "n1"]


def test_where_room_is_held_for_others_every_node_is_asked():
    there = cache(node("a"))
    rankings = Rankings()
    assert alike(there, 2, rankings) == [None, "a"]
    there.nominated.put(pod("h", priority=5).on("a"))
    assert alike(there, 1, rankings) == [None]
    there.set_node(node_item(node("b")))
    assert alike(there, 1, rankings) == ["b"]
    assert alike(there, 1, rankings, priority=9) == ["a"]
    own = pod("own")
    there.nominated.put(own.on("b"))
    assert rankings.choose(cycle(own, there), profile()) is None


class Moody:
    """A filter that says nothing of what its answer depends on."""

    name = "Moody"

    def filter(self, _):
        return lambda _: None


def test_a_plugin_that_takes_no_part_has_every_node_asked():
    made = profile()
    other = replace(made, filter=(*made.filter, Moody()))
    there, rankings = cache(node("a")), Rankings()
    found = [rankings.choose(cycle(pod(), there), other) for _ in range(3)]
    assert found == [None, None, None]


def test_what_nodes_were_like_long_ago_is_thrown_away(monkeypatch):
    monkeypatch.setattr(ranking, "VOID_MAX", 5)
    there, rankings = cache(node("a"), node("b")), Rankings()
    assert alike(there, 2, rankings) == [None, "a"]
    for number in range(100):
        at = "ab"[number % 2]
        there.set_pod(pod("big", uid="big", node=at, requests={"cpu": str(number % 3)}))
        assert alike(there, 1, rankings)[0] is not None
        there.remove_pod(next(iter(there.nodes["b"].pods), "none"))
    (held,) = rankings._held.values()
    assert sum(len(heap) for heap in held.groups.values()) <= 2 * 3 + 5 + 2


class Choosy:
    """Knows the only node for a pod, or that there is none."""

    name = "Choosy"

    def __init__(self, said):
        self.said = said

    def pre_filter(self, _):
        return self.said


@pytest.mark.parametrize("said", [rejection("no"), Narrowed(frozenset("a")), None])
def test_a_plugin_that_objects_beforehand_is_heard(said):
    within = replace(profile(), pre_filter=(Choosy(said),))
    there, rankings = cache(node("a")), Rankings()
    found = [rankings.choose(cycle(pod(), there), within) for _ in range(2)]
    assert found == [None, None if said else "a"]


def test_changes_are_remembered_once_each_and_not_for_ever():
    there = cache(node("a"), node("b"))
    count = there.changes.count
    assert list(there.changes.since(count)) == []
    for _ in range(3):
        there.set_pod(pod("x", uid="x", node="a"))
    assert list(there.changes.since(count)) == ["a"]
    assert there.changes.since(-1) is None
    for number in range(5000):
        there.changes.add(f"n{number}")
    assert there.changes.since(count) is None


def test_a_heartbeat_changes_nothing():
    there = cache(node("a"))
    count = there.changes.count
    beat = node("a")
    there.set_node(
        node_item({**beat, "status": {**beat["status"], "conditions": [{"type": "Ready"}]}})
    )
    assert there.changes.count == count
    there.set_node(node_item(node("a", cpu="8")))
    assert there.changes.count == count + 1


@pytest.mark.parametrize("count", [1, 3])
def test_an_empty_cluster_has_no_best_node(count):
    assert alike(cache(), count, Rankings()) == [None] * count

"""How many nodes a second may be given up, by what becomes of their zones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.server.controllers.node_zones import Census, Seen, State, Zone, state_of, zone_of


def census(**zones):
    """Make a census: of each zone how many nodes are ready and how many silent."""
    made = Census()
    for zone, (ready, silent) in zones.items():
        for number in range(ready + silent):
            made.count(f"{zone}{number}", Seen(zone, number < ready))
    return made


@pytest.mark.parametrize(
    ("ready", "silent", "state"),
    [
        (3, 0, State.NORMAL),
        (0, 0, State.NORMAL),
        (1, 2, State.NORMAL),  # two are never many
        (3, 3, State.NORMAL),
        (2, 3, State.PARTIAL),
        (0, 1, State.FULL),
    ],
)
def test_the_state_of_a_zone(ready, silent, state):
    assert state_of(Zone(ready, silent), Census().rates) is state


def test_the_zone_is_that_of_the_labels():
    region, zone = "topology.kubernetes.io/region", "topology.kubernetes.io/zone"
    assert zone_of({}) == ""
    assert zone_of({region: "eu", zone: "a"}) == "eu:\x00:a"
    assert zone_of({"failure-domain.beta.kubernetes.io/zone": "a"}) == ":\x00:a"


def test_a_node_every_ten_seconds():
    made = census(a=(9, 3))
    assert [made.wait(f"a{n}", 100.0) for n in (9, 10, 11)] == [0, 10, 20]
    assert [made.wait(f"a{n}", 105.0) for n in (9, 10, 11)] == [0, 5, 15]


def test_zones_do_not_wait_for_each_other():
    made = census(a=(9, 1), b=(9, 1))
    assert [made.wait(name, 0.0) for name in ("a9", "b9")] == [0, 0]


@pytest.mark.parametrize(
    ("ready", "silent", "rate"), [(4, 6, 0.0), (20, 31, 0.01), (0, 5, 0.1), (5, 5, 0.1)]
)
def test_a_disrupted_zone_is_emptied_slowly_or_not_at_all(ready, silent, rate):
    made = census(a=(ready, silent), other=(3, 0))
    assert made.rate("a") == rate
    assert (made.wait(f"a{ready}", 0.0) is None) == (rate == 0.0)


def test_when_everything_is_disrupted_nothing_is_emptied():
    made = census(a=(0, 2), b=(0, 1))
    assert made.all_disrupted
    assert made.wait("a0", 0.0) is None
    assert set(made.count("b0", Seen("b", ready=True))) == {"a0", "a1", "b0"}
    assert made.wait("a0", 0.0) == 0


def test_those_whose_zone_recovers_are_looked_at_again():
    made = census(a=(2, 3), b=(1, 0))
    assert made.wait("a2", 0.0) is None
    assert set(made.count("a4", Seen("a", ready=True))) == {f"a{n}" for n in range(5)}
    assert made.wait("a2", 0.0) == 0


change = st.tuples(
    st.sampled_from(["n1", "n2", "n3", "n4"]),
    st.one_of(st.none(), st.builds(Seen, st.sampled_from(["", "a"]), st.booleans())),
)


@given(st.lists(change, max_size=30))
def test_the_numbers_are_those_of_the_nodes(changes):
    made = Census()
    for name, seen in changes:
        made.count(name, seen)
        made.wait(name, 0.0)
        if seen is None or seen.ready:
            made.forget(name)
    for zone in {seen.zone for seen in made.nodes.values()} | made.zones.keys():
        ready = [seen.ready for seen in made.nodes.values() if seen.zone == zone]
        assert (made.zones[zone].ready, made.zones[zone].size) == (sum(ready), len(ready))
        assert made.zones[zone].slots.keys() <= made.nodes.keys()

"""Counts by domain that are kept current are those that counting anew gives."""

from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api.selectors import from_labels
from minikube_py.server.scheduler import tally as module
from minikube_py.server.scheduler.tally import Query, Scope
from tests.unit.server.scheduler.asking import HOST, WEB, ZONE, near
from tests.unit.server.scheduler.builders import cache, node, node_item, pod

QUERIES = (
    (Query((Scope(frozenset({"d"}), from_labels(WEB)),), ZONE), None),
    (Query((Scope(None, from_labels({})),), ZONE, living=True), None),
    (Query((Scope(None, from_labels(WEB)),), HOST, living=True), None),
    (
        Query((Scope(frozenset({"d"}), from_labels(WEB)),), ZONE, nodes="large"),
        lambda info: info.allocatable["cpu"] > 2000,
    ),
)
PODS = st.builds(
    lambda number, at, labels, namespace, deleting, spec: pod(
        f"p{number}",
        uid=f"p{number}",
        node=f"n{at}",
        labels=labels,
        namespace=namespace,
        deleting=deleting,
        **spec,
    ),
    st.integers(0, 5),
    st.integers(0, 3),
    st.sampled_from([{}, WEB, {**WEB, "x": "y"}]),
    st.sampled_from(["d", "e"]),
    st.booleans(),
    st.sampled_from(
        [
            {},
            near("podAntiAffinity", key=ZONE),
            near("podAffinity", key=ZONE),
            near("podAffinity", "preferred", key=ZONE),
        ]
    ),
)
NODES = st.builds(
    lambda number, zone, cpu: node(f"n{number}", labels={ZONE: zone} if zone else {}, cpu=cpu),
    st.integers(0, 3),
    st.sampled_from(["", "A", "B"]),
    st.sampled_from(["2", "4"]),
)
STEPS = st.one_of(
    st.tuples(st.just("pod"), PODS),
    st.tuples(st.just("gone"), st.integers(0, 5)),
    st.tuples(st.just("node"), NODES),
    st.tuples(st.just("no node"), st.integers(0, 3)),
    st.tuples(st.just("ask"), st.sampled_from(range(len(QUERIES)))),
)


def counted(tally):
    others = {at: tally.least_without(at) for at in (*tally.topology.nodes, "nowhere")}
    return tally.counts, dict(tally.topology.nodes), tally.total, tally.least(), others


def grouped(terms):
    return {term: (tally.counts, tally.pods) for term, tally in terms.tallies.items()}


@given(steps=st.lists(STEPS, max_size=40))
def test_step_by_step_and_at_once_give_the_same_counts(steps):
    there, nodes, pods = cache(), {}, {}
    for what, which in steps:
        if what == "pod":
            pods[which.uid] = which
            there.set_pod(which)
        elif what == "gone":
            pods.pop(f"p{which}", None)
            there.remove_pod(f"p{which}")
        elif what == "node":
            nodes[which["metadata"]["name"]] = which
            there.set_node(node_item(which))
        elif what == "no node":
            nodes.pop(f"n{which}", None)
            there.remove_node(f"n{which}")
        else:
            there.index.ask(*QUERIES[which])
    fresh = cache(*nodes.values(), pods=pods.values())
    for query in QUERIES:
        assert counted(there.index.ask(*query)) == counted(fresh.index.ask(*query))
    for group in ("anti", "required", "preferred"):
        assert grouped(getattr(there.index, group)) == grouped(getattr(fresh.index, group))


def test_tallies_that_are_not_asked_for_are_forgotten_and_made_anew(monkeypatch):
    monkeypatch.setattr(module, "TALLIES_MAX", 2)
    there = cache(node("a", labels={ZONE: "A"}), pods=[pod("x", node="a", labels=WEB)])
    first = there.index.ask(*QUERIES[0])
    assert there.index.ask(*QUERIES[0]) is first
    for query in QUERIES[1:]:
        there.index.ask(*query)
    assert there.index.ask(*QUERIES[0]) is not first
    assert there.index.ask(*QUERIES[0]).counts == {"A": 1}
    assert len(there.index._asked) == 2
    assert len(there.index._topologies) <= 2

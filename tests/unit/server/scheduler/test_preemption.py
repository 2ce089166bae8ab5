"""Preemption: the least important have to go, as few as possible, and only where it helps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.server.scheduler.algorithm import first_rejection, questions
from minikube_py.server.scheduler.candidate import Candidate
from minikube_py.server.scheduler.plugins.default_preemption import ineligible
from minikube_py.server.scheduler.preemption import (
    NO_VICTIMS,
    Budgets,
    explain,
    victims_on,
)
from tests.unit.server.scheduler.builders import cache, cycle, find, node, pod, profile

WEB = {"app": "web"}


def running(name, priority, cpu="1", at="a", **more):
    return pod(name, uid=name, node=at, priority=priority, requests={"cpu": cpu}, **more)


def outcome(incoming, *pods, budgets=()):
    cluster = cache(node("a"), pods=pods)
    attempt = cycle(incoming, cluster)
    checks = questions(attempt, profile())
    return victims_on(attempt, checks, cluster.nodes["a"], Budgets(budgets))


def victims(incoming, *pods, budgets=()):
    return [one.uid for one in outcome(incoming, *pods, budgets=budgets).victims]


def test_as_few_and_as_unimportant_pods_as_possible_go():
    pods = [running("x", 1), running("y", 2), running("z", 3), running("top", 100)]
    assert victims(pod(priority=10, requests={"cpu": "1"}), *pods) == ["x"]
    assert sorted(victims(pod(priority=10, requests={"cpu": "2"}), *pods)) == ["x", "y"]


def test_equals_and_betters_stay():
    pods = [running("x", 10, "2"), running("y", 11, "2")]
    assert outcome(pod(priority=10, requests={"cpu": "1"}), *pods) == NO_VICTIMS


def test_where_nothing_helps_nobody_goes_and_the_reason_is_told():
    pods = [running("x", 1), running("top", 100, "3")]
    found = outcome(pod(priority=10, requests={"cpu": "2"}), *pods)
    assert found.reasons == ("Insufficient cpu",)


def test_of_equal_pods_the_one_that_runs_longest_stays():
    pods = [
        running("old", 1, "2", created="2026-01-01T00:00:00Z"),
        running("new", 1, "2", created="2026-01-02T00:00:00Z"),
    ]
    assert victims(pod(priority=10, requests={"cpu": "2"}), *pods) == ["new"]


def test_reasons_that_no_eviction_helps_are_final():
    taint = {"key": "k", "effect": "NoSchedule"}
    cluster = cache(
        node("a"),
        node("b", taints=[taint]),
        node("c", cpu="500m"),
        pods=[running("x", 1, "4"), running("y", 1, "4", at="b")],
    )
    fit = find(cycle(pod(priority=10, requests={"cpu": "1"}), cluster), profile())
    final = {name: one.rejection.final for name, one in fit.rejected.items()}
    assert final == {"a": False, "b": True, "c": True}


def test_host_ports_and_anti_affinity_are_made_room_for():
    port = [{"containerPort": 80, "hostPort": 80}]
    assert victims(pod(priority=5, ports=port), running("x", 1, ports=port)) == ["x"]
    hostile = running("x", 1, affinity=away())
    assert victims(pod(priority=5, labels={"app": "web"}), hostile, running("y", 1)) == ["x"]


def away(key="kubernetes.io/hostname"):
    term = {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": key}
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def spread(key):
    one = {"topologyKey": key, "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}
    return {"topologySpreadConstraints": [{**one, "labelSelector": {"matchLabels": WEB}}]}


def budget(allowed, label="web", **status):
    return {
        "metadata": {"name": "b", "namespace": "d"},
        "spec": {"selector": {"matchLabels": {"app": label}}},
        "status": {"disruptionsAllowed": allowed, **status},
    }


def test_pods_whose_budget_would_be_overdrawn_go_last():
    pods = [running("web", 1, "2", labels=WEB), running("other", 2, "2", labels={"app": "x"})]
    incoming = pod(priority=10, requests={"cpu": "2"})
    assert victims(incoming, *pods) == ["web"]
    assert victims(incoming, *pods, budgets=[budget(0)]) == ["other"]
    assert victims(incoming, *pods, budgets=[budget(1)]) == ["web"]
    assert outcome(incoming, *pods, budgets=[budget(0)]).violations == 0
    both = outcome(pod(priority=10, requests={"cpu": "4"}), *pods, budgets=[budget(0)])
    assert ([one.uid for one in both.victims], both.violations) == (["other", "web"], 1)


def test_a_budget_lasts_for_so_many_and_counts_no_pod_twice():
    pods = [running(name, 1, labels=WEB) for name in "abc"]
    assert Budgets([budget(2)]).overdrawn(pods) == {"c"}
    assert Budgets([budget(0, disruptedPods={"a": "t"})]).overdrawn(pods) == {"b", "c"}
    assert Budgets([budget(0, label="other")]).overdrawn(pods) == frozenset()
    empty = {**budget(0), "spec": {"selector": {}}}
    assert Budgets([empty]).overdrawn(pods) == frozenset()


def test_the_node_whose_victims_matter_least_is_chosen():
    low, high = running("low", 1), running("high", 5)
    many = Candidate("many", [low, running("low2", 1)])
    few = Candidate("few", [low])
    important = Candidate("important", [high])
    late = Candidate("late", [running("late", 1, created="2026-01-05T00:00:00Z")])
    negative = Candidate("negative", [running("n1", -5), running("n2", -5)])
    single = Candidate("single", [running("n3", -5)])
    against = Candidate("against", [low], violations=1)
    assert min([many, few, important], key=Candidate.cost) is few
    assert min([few, late], key=Candidate.cost) is late
    assert min([negative, single], key=Candidate.cost) is single
    assert min([against, important], key=Candidate.cost) is important


def test_the_words_count_the_nodes():
    assert explain(5, [NO_VICTIMS, NO_VICTIMS], 3) == (
        "0/5 nodes are available: 2 No preemption victims found for incoming pod, "
        "3 Preemption is not helpful for scheduling."
    )


@pytest.mark.parametrize(
    ("deleting", "reason", "waits"),
    [
        (True, "PreemptionByScheduler", True),
        (True, "EvictionByEvictionAPI", False),
        (False, "PreemptionByScheduler", False),
    ],
)
def test_a_pod_waits_for_victims_of_its_own_that_are_still_terminating(deleting, reason, waits):
    condition = {"type": "DisruptionTarget", "status": "True", "reason": reason}
    victim = running("x", 1, "4", deleting=deleting, status={"conditions": [condition]})
    cluster = cache(node("a"), pods=[victim])
    incoming = pod(priority=10, requests={"cpu": "1"})
    attempt = cycle(incoming, cluster)
    fit = find(attempt, profile())
    assert ineligible(attempt, fit) == ""
    cluster.nominated.put(incoming.on("a"))
    text = "not eligible due to a terminating pod on the nominated node."
    assert ineligible(attempt, fit) == (text if waits else "")


SPECS = st.sampled_from(
    [
        {},
        {"labels": WEB},
        {"labels": WEB, "affinity": away()},
        {"labels": WEB, "affinity": away("zone")},
        {"labels": WEB, **spread("zone")},
        {"labels": WEB, **spread("kubernetes.io/hostname")},
        {"ports": [{"containerPort": 80, "hostPort": 80}]},
    ]
)
THERE = st.tuples(SPECS, st.integers(0, 3), st.sampled_from(["1", "2"]), st.sampled_from("ab"))


@given(pods=st.lists(THERE, max_size=6), spec=SPECS, cpu=st.sampled_from(["1", "3"]))
def test_without_its_victims_the_pod_fits_and_none_of_them_goes_in_vain(pods, spec, cpu):
    made = [
        running(f"p{number}", priority, amount, at, **more)
        for number, (more, priority, amount, at) in enumerate(pods)
    ]
    labels = {"zone": "z"}
    others = {"zone": "y"}
    incoming = pod("new", priority=2, requests={"cpu": cpu}, **spec)

    def fits(without):
        left = [one for one in made if one.uid not in without]
        cluster = cache(node("a", labels=labels), node("b", labels=others), pods=left)
        attempt = cycle(incoming, cluster)
        return first_rejection(questions(attempt, profile()), cluster.nodes["a"]) is None

    cluster = cache(node("a", labels=labels), node("b", labels=others), pods=made)
    attempt = cycle(incoming, cluster)
    found = victims_on(attempt, questions(attempt, profile()), cluster.nodes["a"], Budgets(()))
    if isinstance(found, Candidate):
        gone = {one.uid for one in found.victims}
        assert fits(gone)
        assert all(not fits(gone - {uid}) for uid in gone)
        assert all(one.priority < 2 for one in found.victims)
    elif found is not NO_VICTIMS:
        assert not fits({o.uid for o in made if o.priority < 2 and o.node == "a"})

"""Preemption: the least important have to go, as few as possible, and only where it helps."""

from minikube_py.server.scheduler.algorithm import find
from minikube_py.server.scheduler.preemption import Candidate, find_candidates, victims_on
from tests.unit.server.scheduler.builders import cache, node, pod


def there(*pods, **more):
    return cache(node("a", **more), node("b"), pods=pods)


def running(name, priority, cpu="1", at="a", **more):
    return pod(name, uid=name, node=at, priority=priority, requests={"cpu": cpu}, **more)


def victims(incoming, *pods):
    cluster = cache(node("a"), pods=pods)
    return [one.uid for one in victims_on(incoming, cluster.nodes["a"], cluster)]


def test_as_few_and_as_unimportant_pods_as_possible_go():
    pods = [running("x", 1), running("y", 2), running("z", 3), running("top", 100)]
    assert victims(pod(priority=10, requests={"cpu": "1"}), *pods) == ["x"]
    assert sorted(victims(pod(priority=10, requests={"cpu": "2"}), *pods)) == ["x", "y"]


def test_equals_and_betters_stay():
    pods = [running("x", 10, "2"), running("y", 11, "2")]
    assert victims(pod(priority=10, requests={"cpu": "1"}), *pods) == []


def test_where_nothing_helps_nobody_goes():
    pods = [running("x", 1)]
    assert victims(pod(priority=10, requests={"cpu": "5"}), *pods) == []


def test_of_equal_pods_the_one_that_runs_longest_stays():
    pods = [
        running("old", 1, "2", created="2026-01-01T00:00:00Z"),
        running("new", 1, "2", created="2026-01-02T00:00:00Z"),
    ]
    assert victims(pod(priority=10, requests={"cpu": "2"}), *pods) == ["new"]


def test_reasons_that_no_eviction_cures_make_a_node_hopeless():
    taint = {"key": "k", "effect": "NoSchedule"}
    cluster = cache(
        node("a"),
        node("b", taints=[taint]),
        pods=[running("x", 1, "4"), running("y", 1, "4", at="b")],
    )
    incoming = pod(priority=10, requests={"cpu": "1"})
    candidates, hopeless = find_candidates(incoming, cluster, find(incoming, cluster))
    assert [one.node for one in candidates] == ["a"]
    assert hopeless == 1


def test_host_ports_and_anti_affinity_are_made_room_for():
    port = [{"containerPort": 80, "hostPort": 80}]
    assert victims(pod(priority=5, ports=port), running("x", 1, ports=port)) == ["x"]
    term = {
        "labelSelector": {"matchLabels": {"app": "web"}},
        "topologyKey": "kubernetes.io/hostname",
    }
    away = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    hostile = running("x", 1, affinity=away)
    assert victims(pod(priority=5, labels={"app": "web"}), hostile, running("y", 1)) == ["x"]


def test_the_node_whose_victims_matter_least_is_chosen():
    low, high = running("low", 1), running("high", 5)
    many = Candidate("many", [low, running("low2", 1)])
    few = Candidate("few", [low])
    important = Candidate("important", [high])
    late = Candidate("late", [running("late", 1, created="2026-01-05T00:00:00Z")])
    assert min([many, few, important], key=Candidate.cost) is few
    assert min([few, late], key=Candidate.cost) is late


def test_all_of_it_together_is_empty_without_lesser_pods():
    incoming = pod(requests={"cpu": "8"})
    cluster = there(running("x", 0))
    assert find_candidates(incoming, cluster, find(incoming, cluster)) == ([], 0)

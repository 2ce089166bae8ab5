"""Finding and choosing nodes, and saying why there is none."""

import pytest

from minikube_py.server.scheduler.algorithm import choose, enough, explain
from tests.unit.server.scheduler.builders import cache, cycle, find, node, pod, profile


@pytest.mark.parametrize(
    ("nodes", "wanted"), [(1, 1), (100, 100), (101, 100), (1000, 420), (5000, 500), (20000, 1000)]
)
def test_in_a_large_cluster_not_all_nodes_are_looked_for(nodes, wanted):
    assert enough(nodes) == wanted


def test_the_reasons_are_counted_and_sorted():
    taint = {"key": "a", "effect": "NoSchedule"}
    there = cache(
        node("a", cpu="1"),
        node("b", cpu="1", memory="1Gi"),
        node("c", taints=[taint]),
        node("d", unschedulable=True),
    )
    fit = find(cycle(pod(requests={"cpu": "2", "memory": "2Gi"}), there), profile())
    assert fit.nodes == []
    assert explain(fit) == (
        "0/4 nodes are available: 1 Insufficient memory, 1 node(s) had untolerated taint(s), "
        "1 node(s) were unschedulable, 2 Insufficient cpu."
    )
    assert explain(fit, "preemption: none.").endswith("2 Insufficient cpu. preemption: none.")
    assert fit.plugins == {"NodeResourcesFit", "TaintToleration", "NodeUnschedulable"}


def test_nodes_that_do_not_come_into_question_are_not_asked_and_not_counted():
    field = {"key": "metadata.name", "operator": "In", "values": ["a", "gone"]}
    terms = {"nodeSelectorTerms": [{"matchFields": [field]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    there = cache(node("a", cpu="1"), node("b"), node("c"))
    fit = find(cycle(pod(requests={"cpu": "2"}, affinity=affinity), there), profile())
    assert explain(fit) == "0/3 nodes are available: 1 Insufficient cpu."
    assert fit.plugins == {"NodeResourcesFit", "NodeAffinity"}
    assert fit.looked_at == 1


def test_a_cluster_without_nodes_says_so():
    fit = find(cycle(pod(), cache()), profile())
    assert explain(fit) == "no nodes available to schedule pods"


def test_the_search_goes_on_where_it_stopped():
    there = cache(*(node(f"n{number:03}") for number in range(300)))
    first = find(cycle(pod(), there), profile(), start=0)
    second = find(cycle(pod(), there), profile(), start=first.looked_at)
    assert len(first.nodes) == len(second.nodes) == enough(300)
    names = {one.name for one in first.nodes} & {one.name for one in second.nodes}
    assert len(names) < len(first.nodes)


def test_the_emptiest_node_wins_and_the_name_breaks_ties():
    there = cache(node("b"), node("a"), node("c"), pods=[pod("x", node="a")])
    nodes = list(there.nodes.values())
    assert choose(cycle(pod(), there), nodes, profile()) == "b"
    assert choose(cycle(pod(), there), nodes[1:2], profile()) == "a"

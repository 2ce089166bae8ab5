"""Hints become one: examples of upstream's documentation, and laws that hold for any hints."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.agent.kubelet.topology.hints import Hint, Hints, Policy, merge

BOTH = frozenset({0, 1})
ONE, OTHER = frozenset({0}), frozenset({1})
POLICIES = ("none", "best-effort", "restricted", "single-numa-node")


def hint(*nodes: int, preferred: bool = True) -> Hint:
    return Hint(frozenset(nodes), preferred)


def merged(policy: str, *providers: Hints) -> tuple[Hint, bool]:
    return merge(providers, BOTH, Policy(name=policy))


@pytest.mark.parametrize("policy", POLICIES)
def test_who_asks_for_nothing_may_go_anywhere(policy: str) -> None:
    best, admitted = merged(policy, {}, {"cpu": None})
    assert admitted
    assert best.preferred
    assert best.nodes == (None if policy == "single-numa-node" else BOTH)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_node_that_suits_all_is_chosen(policy: str) -> None:
    cpus = {"cpu": [hint(0), hint(1), hint(0, 1, preferred=False)]}
    devices = {"gpu": [hint(1), hint(0, 1, preferred=False)]}
    assert merged(policy, cpus, devices) == (hint(1), True)


@pytest.mark.parametrize(
    ("policy", "admitted"),
    [("best-effort", True), ("restricted", False), ("single-numa-node", False)],
)
def test_resources_on_different_nodes_suit_only_who_does_not_insist(
    policy: str, *, admitted: bool
) -> None:
    found = merged(policy, {"cpu": [hint(0)]}, {"gpu": [hint(1)]})
    assert found[1] is admitted
    assert not found[0].preferred


def test_two_nodes_are_good_enough_for_restricted_where_one_could_never_do() -> None:
    providers = {"cpu": [hint(0, 1)]}
    assert merged("restricted", providers) == (hint(0, 1), True)
    assert merged("single-numa-node", providers)[1] is False


def test_what_nobody_can_give_is_refused_by_the_strict_policies_only() -> None:
    assert merged("restricted", {"gpu": []})[1] is False
    assert merged("best-effort", {"gpu": []}) == (Hint(BOTH, preferred=False), True)


def test_of_hints_that_are_alike_the_lowest_nodes_win() -> None:
    assert merged("best-effort", {"cpu": [hint(1), hint(0)]})[0] == hint(0)


def test_of_many_nodes_the_closest_win_where_that_is_asked_for() -> None:
    nodes = frozenset(range(3))
    pairs = {"cpu": [hint(0, 1), hint(0, 2)]}

    def distance(some: frozenset[int]) -> float:
        return 10.0 if some == {0, 2} else 30.0

    near = Policy(name="restricted", prefer_closest=True)
    assert merge([pairs], nodes, near, distance)[0] == hint(0, 2)
    assert merge([pairs], nodes, Policy(name="restricted"), distance)[0] == hint(0, 1)


def test_without_a_preferred_set_it_is_as_many_nodes_as_the_greediest_resource_needs() -> None:
    # The processors need one node and would do with two; the devices need two.
    cpus = {"cpu": [hint(0, preferred=False), hint(0, 1, preferred=False)]}
    devices = {"gpu": [hint(0, 1, preferred=False)]}
    assert merged("best-effort", cpus, devices)[0] == hint(0, 1, preferred=False)


sets = st.sets(st.integers(0, 3), min_size=1).map(frozenset)
lists = st.lists(st.builds(Hint, sets, st.booleans()), max_size=5)
hints = st.dictionaries(st.sampled_from("abc"), st.none() | lists, max_size=2)


@given(providers=st.lists(hints, max_size=3), policy=st.sampled_from(POLICIES))
def test_the_best_hint_is_the_one_that_trying_everything_finds(
    providers: list[Any], policy: str
) -> None:
    nodes = frozenset(range(4))
    best, admitted = merge(providers, nodes, Policy(name=policy))
    found = tried(providers, nodes, single=policy == "single-numa-node")
    if policy == "single-numa-node" and found.nodes == nodes:
        found = Hint(None, found.preferred)
    assert best == found
    assert admitted == (best.preferred or policy in ("none", "best-effort"))


def tried(providers: Sequence[Hints], nodes: frozenset[int], *, single: bool) -> Hint:
    """Return the best hint as upstream's documentation describes it, one comparison at a time."""
    lists = []
    for provider in providers:
        lists += [[Hint(None, preferred=True)]] if not provider else []
        for one in provider.values():
            nowhere = [Hint(None, preferred=False)]
            lists.append([Hint(None, preferred=True)] if one is None else list(one) or nowhere)
    if single:
        lists = [
            [one for one in some if one.preferred and (one.nodes is None or len(one.nodes) == 1)]
            for some in lists
        ]
    sizes = [[len(one.nodes) for one in some if one.nodes] for some in lists]
    enough = max((min(some) for some in sizes if some), default=0)
    best: Hint | None = None
    for some in product(*lists):
        given = [one.nodes for one in some if one.nodes is not None]
        same = all(one == given[0] for one in given)
        candidate = Hint(nodes.intersection(*given), all(one.preferred for one in some) and same)
        if candidate.nodes and (best is None or is_better(candidate, best, enough)):
            best = candidate
    return best or Hint(nodes, preferred=False)


def is_better(candidate: Hint, current: Hint, enough: int) -> bool:
    its, mine = candidate.nodes or frozenset(), current.nodes or frozenset()
    if candidate.preferred != current.preferred:
        return candidate.preferred
    narrower = (len(its), sorted(its, reverse=True)) < (len(mine), sorted(mine, reverse=True))
    if candidate.preferred or len(mine) > enough or len(mine) == len(its):
        return narrower
    if len(mine) == enough or len(its) > enough:
        return False
    return len(its) > len(mine)

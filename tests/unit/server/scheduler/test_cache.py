"""The cache: what was counted in is counted out, whatever the order."""

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.server.scheduler.builders import cache, node, node_item, pod

Step = st.tuples(
    st.sampled_from(["pod", "gone", "node", "no-node"]), st.integers(0, 5), st.integers(0, 2)
)


def facts(there):
    return {
        name: (
            sorted(info.pods),
            {k: v for k, v in info.requested.items() if v},
            info.weight,
        )
        for name, info in there.nodes.items()
    }


def make(number, at):
    spec = {"affinity": {"podAffinity": {}}} if number % 2 else {}
    requests = {"cpu": f"{number}"} if number else None
    return pod(f"p{number}", uid=f"p{number}", node=f"n{at}", requests=requests, **spec)


def made(at):
    soft = {"key": "k", "effect": "PreferNoSchedule"}
    images = [{"names": ["i", f"i{at}"], "sizeBytes": 1}]
    return node(f"n{at}", images=images, taints=[soft] if at else [])


@given(steps=st.lists(Step, max_size=40))
def test_step_by_step_and_at_once_give_the_same(steps):
    there = cache()
    pods, nodes = {}, set()
    for what, number, at in steps:
        if what == "pod":
            pods[number] = make(number, at)
            there.set_pod(pods[number])
        elif what == "gone":
            pods.pop(number, None)
            there.remove_pod(f"p{number}")
        elif what == "node":
            nodes.add(at)
            there.set_node(node_item(made(at)))
        else:
            nodes.discard(at)
            there.remove_node(f"n{at}")
    fresh = cache(*(made(at) for at in nodes), pods=pods.values())
    assert facts(there) == facts(fresh)
    assert there.nodes_with_image == fresh.nodes_with_image
    assert there.soft_tainted == fresh.soft_tainted
    assert {one.uid for one in there.pods()} == {one.uid for one in fresh.pods()}


def test_an_assumed_pod_gives_way_to_the_real_one():
    there = cache(node("a"), node("b"))
    waiting = pod("p", uid="u", requests={"cpu": "1"})
    there.set_pod(waiting.on("a"))
    assert there.nodes["a"].requested == {"cpu": 1000}
    there.set_pod(pod("p", uid="u", node="b", requests={"cpu": "1"}))
    assert there.nodes["a"].pods == {}
    assert there.nodes["b"].requested == {"cpu": 1000}


def test_what_would_be_does_not_change_what_is():
    there = cache(node("a"), pods=[pod("x", uid="x", node="a", requests={"cpu": "1"})])
    trial = there.nodes["a"].copy()
    trial.remove("x")
    assert trial.pods == {}
    assert list(there.nodes["a"].pods) == ["x"]
    assert there.nodes["a"].requested == {"cpu": 1000}


def test_room_is_held_for_nominated_pods_that_are_at_least_as_important():
    there = cache(node("a"))
    held = pod("h", uid="h", priority=5, requests={"cpu": "4"})
    there.nominated.put(held.on("b"))
    there.nominated.put(held.on("a"))
    assert [one.uid for one in there.nominated.before(pod(priority=1), "a")] == ["h"]
    assert there.nominated.before(pod(priority=1), "b") == ()
    assert list(there.nominated.before(pod(priority=9), "a")) == []
    assert list(there.nominated.before(held, "a")) == []
    assert there.nominated.remove("h")
    assert not there.nominated.remove("h")
    assert there.nominated.before(pod(priority=1), "a") == ()

"""Rules of a simulation: what a file and what annotations say."""

import pytest

from minikube_py.agent.config import SimulationConfig
from minikube_py.agent.simulated import app, rules
from minikube_py.agent.simulated.rules import NEVER, Behaviour, NodeGroup, Rules, Span, span
from minikube_py.lib.errors import StartError

FILE = """
nodes:
- {name: small, share: 3, capacity: {cpu: "4"}, zones: [a, b], downEvery: 3600}
- {name: big}
pods:
- {selector: app=web, start: [1, 3], ready: never, run: 30, exitCode: 2, stop: 0}
"""


def test_a_file_says_which_nodes_and_how_pods_behave(tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text(FILE)
    simulation = app.settle(SimulationConfig(simulate_nodes=9, simulate_config=str(path)))
    small, big = simulation.rules.nodes
    assert (small.capacity, small.zones, small.downEvery) == ({"cpu": "4"}, ["a", "b"], 3600)
    assert simulation.rules.shares(9) == [(small, 7), (big, 2)]
    found = simulation.rules.behaviour({"app": "web"}, {})
    assert found == Behaviour(
        start=Span(1, 3), ready=span(NEVER), run=span(30), exitCode=2, stop=span(0)
    )
    assert simulation.rules.behaviour({"app": "db"}, {}) == Behaviour()


def test_every_node_belongs_to_one_group():
    groups = tuple(NodeGroup(name=name, share=share) for name, share in (("a", 2), ("b", 5)))
    for count in range(30):
        assert sum(number for _, number in Rules(nodes=groups).shares(count)) == count


def test_annotations_of_a_pod_come_before_rules():
    usual = Rules()
    notes = {"simulate.kpy.dev/run": "2-4", "simulate.kpy.dev/exitCode": "1"}
    assert usual.behaviour({}, notes) == Behaviour(run=Span(2, 4), exitCode=1)
    assert usual.behaviour({}, {"simulate.kpy.dev/ready": "never"}).ready == span(NEVER)
    assert usual.behaviour({}, {"simulate.kpy.dev/run": "soon", "other": "1"}) == Behaviour()


def test_a_span_gives_an_object_the_same_time_each_time_and_others_others():
    times = {Span(1, 3).of(f"uid-{n}", "start") for n in range(50)}
    assert len(times) == 50
    assert all(1 <= time <= 3 for time in times)
    assert Span(1, 3).of("uid-7", "start") in times


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[]", "is [] but"),
        ("nodes: [{nam: x}]", "unknown key 'nam'"),
        ("nodes: [{capacity: {cpu: much}}]", "capacity of nodes"),
        ("nodes: [{share: 0}]", "share of nodes is 0"),
        ("nodes: [{}, {}]", "the same name"),
        ("nodes: [{downEvery: often}]", "downEvery is 'often'"),
        ("pods: [{selector: 'a==='}]", "selector of pods"),
        ("pods: [{start: -1}]", "start is -1"),
        ("pods: [{start: [3, 1]}]", "start is [3, 1]"),
        ("pods: [{exitCode: x}]", "exitCode is 'x'"),
        ("a: b: c", "cannot read"),
    ],
)
def test_a_file_with_a_mistake_keeps_the_server_from_starting(tmp_path, text, why):
    path = tmp_path / "rules.yaml"
    path.write_text(text if text != "[]" else "- 1")
    with pytest.raises(StartError, match="--simulate-config") as caught:
        rules.load(str(path))
    assert (why if text != "[]" else "give a mapping") in str(caught.value)


def test_without_nodes_nothing_is_simulated():
    assert app.settle(SimulationConfig()) is None
    with pytest.raises(StartError):
        app.settle(SimulationConfig(simulate_nodes=-1))

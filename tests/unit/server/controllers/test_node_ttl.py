"""The annotation that says how long kubelets may keep what they read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api.core import NODES
from minikube_py.api.object import annotations_of
from minikube_py.server.controllers import node_ttl
from minikube_py.server.controllers.node_ttl import ANNOTATION, STEPS, step_of
from tests.harness import harness
from tests.kubelet_model import node
from tests.virtual_time import settle, virtual


@pytest.mark.parametrize(
    ("before", "count", "seconds"),
    [(0, 100, 0), (0, 101, 15), (1, 95, 15), (1, 89, 0), (0, 5000, 300), (4, 1, 0)],
)
def test_the_steps_overlap(before, count, seconds):
    assert STEPS[step_of(before, count)].seconds == seconds


@given(st.integers(0, len(STEPS) - 1), st.integers(0, 20_000))
def test_every_number_of_nodes_has_a_step(before, count):
    found = step_of(before, count)
    assert STEPS[found].least <= count <= STEPS[found].most
    assert step_of(found, count) == found


@virtual
async def test_all_nodes_are_told_when_there_are_many():
    async with harness() as world:
        world.run(node_ttl.CONTROLLER)
        for number in range(100):
            await world.client.create(NODES, node(f"n{number}"))
        await settle(10)
        found = {annotations_of(one)[ANNOTATION] for one in world.cluster.objects(NODES)}
        assert found == {"0"}
        await world.client.create(NODES, node("n100"))
        await settle(10)
        found = {annotations_of(one)[ANNOTATION] for one in world.cluster.objects(NODES)}
        assert found == {"15"}

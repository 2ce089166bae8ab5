"""The cable between two nodes is cut and mended, is long, and loses frames.

Not part of every run, because most of its time is waiting; `make test-two-nodes` runs it.
"""

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.conformance.net import Net
from tests.e2e.node.machine import wait_until
from tests.e2e.nodes.failures import heals, is_ready, nodes_of, spread

pytestmark = pytest.mark.e2e


def test_a_cut_is_survived_and_a_mended_cable_brings_the_node_back(
    two_nodes: Cluster, lost: Net
) -> None:
    assert two_nodes.fabric is not None
    ends = (two_nodes.machine, two_nodes.workers[0].machine)
    spread(lost)
    two_nodes.fabric.cut(*ends)
    try:
        heals(lost)
    finally:
        two_nodes.fabric.mend(*ends)
    wait_until(lambda: is_ready(two_nodes, "n2"), 120, "the node is back")
    lost.do("rollout", "restart", "deployment/web")
    wait_until(lambda: nodes_of(lost) == {"n1", "n2"}, 120, "pods run on both nodes again")


def test_a_cable_that_delays_and_loses_still_carries(two_nodes: Cluster, lost: Net) -> None:
    assert two_nodes.fabric is not None
    machine = two_nodes.workers[0].machine
    spread(lost)
    two_nodes.fabric.slow(machine, delay_ms=50, loss_percent=5)
    try:
        wait_until(lambda: len(lost.ask_many("web", 6)) >= 5, 60, "the service answers")
        wait_until(lambda: is_ready(two_nodes, "n2"), 60, "the node is ready")
        assert "n2" in two_nodes.kubectl("get", "nodes")
    finally:
        two_nodes.fabric.fast(machine)

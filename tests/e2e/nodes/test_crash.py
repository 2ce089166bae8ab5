"""A node loses power: its pods go elsewhere, services heal, and it comes back."""

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.conformance.net import Net
from tests.e2e.node.machine import wait_until
from tests.e2e.nodes.failures import heals, is_ready, spread

pytestmark = pytest.mark.e2e


def test_pods_of_a_node_that_crashed_move_and_their_service_heals(
    two_nodes: Cluster, lost: Net
) -> None:
    worker = two_nodes.workers[0]
    spread(lost)
    worker.machine.crash()
    try:
        heals(lost)
        assert not is_ready(two_nodes, "n2")
    finally:
        two_nodes.restart_worker(worker)
    wait_until(lambda: all_run(lost), 60, "what was on the node is gone from the cluster")


def all_run(net: Net) -> bool:
    pods = net.get("pods", "-l", "app=web")["items"]
    return len(pods) == 2 and all(one["status"]["phase"] == "Running" for one in pods)

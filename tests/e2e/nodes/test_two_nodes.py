"""What a cluster of two machines does when all is well, and when something is not."""

from collections.abc import Iterator

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.conformance.net import web
from tests.e2e.node.machine import Machine, says, wait_until


def ready(cluster: Cluster) -> set[str]:
    found = cluster.get("nodes")["items"]
    return {
        node["metadata"]["name"]
        for node in found
        for condition in node["status"]["conditions"]
        if condition["type"] == "Ready" and condition["status"] == "True"
    }


def test_an_agent_joins_and_both_nodes_are_ready(two_nodes: Cluster) -> None:
    wait_until(lambda: ready(two_nodes) == {"n1", "n2"}, 60, "both nodes are ready")
    networks = [node["spec"]["podCIDR"] for node in two_nodes.get("nodes")["items"]]
    assert len(set(networks)) == 2


def test_nodes_reach_each_others_pods_wrapped_in_datagrams(two_nodes: Cluster) -> None:
    (other,) = [
        node["spec"]["podCIDR"]
        for node in two_nodes.get("nodes")["items"]
        if node["metadata"]["name"] == "n2"
    ]
    routes = ("ip", "route", "show", "dev", "kpy-vxlan")
    says(lambda: two_nodes.machine.sh(*routes), f"{other} via")


def test_a_kubelet_that_lets_nobody_in_is_reached_through_its_tunnel(
    two_nodes: Cluster, shut: Machine
) -> None:
    made = web("far", nodeName="n2")
    two_nodes.apply(made)
    two_nodes.kubectl("wait", "--for=condition=Ready", "pod/far", "--timeout=120s")
    try:
        assert two_nodes.kubectl("exec", "far", "--", "hostname").strip() == "far"
        path = "/api/v1/namespaces/default/pods/far:8080/proxy/"
        assert two_nodes.kubectl("get", "--raw", path).strip() == "far"
        assert two_nodes.kubectl("get", "--raw", "/api/v1/nodes/n2/proxy/healthz") == "ok"
        two_nodes.kubectl("logs", "far")
        assert "counter packets 0 " in shut.sh("nft", "list", "table", "inet", "shut")
    finally:
        two_nodes.kubectl("delete", "pod", "far", "--wait=false")


@pytest.fixture
def shut(two_nodes: Cluster) -> Iterator[Machine]:
    """Have n2 drop whatever comes from n1 to its kubelet."""
    machine = two_nodes.workers[0].machine
    machine.sh(
        "nft",
        "add table inet shut; add chain inet shut c { type filter hook input priority -10; };"
        " add rule inet shut c iifname uplink tcp dport 10250 counter drop",
    )
    yield machine
    machine.sh("nft", "delete", "table", "inet", "shut")

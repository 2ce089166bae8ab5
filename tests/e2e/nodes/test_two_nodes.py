"""What a cluster of two machines does when all is well, and when something is not."""

from tests.e2e.cluster import Cluster


def ready(cluster: Cluster) -> set[str]:
    found = cluster.get("nodes")["items"]
    return {
        node["metadata"]["name"]
        for node in found
        for condition in node["status"]["conditions"]
        if condition["type"] == "Ready" and condition["status"] == "True"
    }


def test_an_agent_joins_and_both_nodes_are_ready(two_nodes: Cluster) -> None:
    assert ready(two_nodes) == {"n1", "n2"}
    networks = [node["spec"]["podCIDR"] for node in two_nodes.get("nodes")["items"]]
    assert len(set(networks)) == 2


def test_nodes_reach_each_others_pods_wrapped_in_datagrams(two_nodes: Cluster) -> None:
    routes = two_nodes.machine.sh("ip", "route", "show", "dev", "kpy-vxlan")
    (other,) = [
        node["spec"]["podCIDR"]
        for node in two_nodes.get("nodes")["items"]
        if node["metadata"]["name"] == "n2"
    ]
    assert f"{other} via" in routes

"""Pods of a service on both nodes, and what is waited for when a node is lost and found."""

from typing import Any

from tests.e2e.cluster import Cluster
from tests.e2e.conformance.net import Net, pod, service, web
from tests.e2e.node.machine import wait_until

LOST = ("node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready")
NOTICED_SECONDS = 90.0
"""The server takes a silent node for lost after 20 s; the machine may be busy."""


def deployment(name: str, replicas: int) -> dict[str, Any]:
    """Return a Deployment whose pods leave a lost node at once, and spread over nodes."""
    template = web("template", labels={"app": name})
    spec = template["spec"]
    spec["tolerations"] = [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0}
        for key in LOST
    ]
    selector = {"matchLabels": {"app": name}}
    spec["topologySpreadConstraints"] = [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": selector,
        }
    ]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": selector,
            "template": {"metadata": {"labels": {"app": name}}, "spec": spec},
        },
    }


def spread(net: Net) -> None:
    """Have a service with a pod on each node, and a client on n1."""
    wait_until(lambda: not tainted(net.cluster), 90, "both nodes take pods")
    net.make(pod("client", nodeName="n1"), service("web", {"app": "web"}), deployment("web", 2))
    net.do("rollout", "status", "deployment/web", "--timeout=120s")
    wait_until(lambda: is_spread(net), 120, "there is a pod on each node")
    wait_until(lambda: net.ask("web"), 30, "the service answers")


def tainted(cluster: Cluster) -> list[str]:
    """Return the nodes that do not take pods: a busy one may have been silent for too long."""
    nodes = cluster.get("nodes")["items"]
    return [node["metadata"]["name"] for node in nodes if node["spec"].get("taints")]


def is_spread(net: Net) -> bool:
    """Tell whether pods are on both nodes; where not, have them placed anew."""
    if nodes_of(net) == {"n1", "n2"}:
        return True
    net.do("rollout", "restart", "deployment/web")
    net.do("rollout", "status", "deployment/web", "--timeout=90s")
    return False


def nodes_of(net: Net) -> set[str]:
    """Return the nodes of the pods that the service leads to."""
    label = "kubernetes.io/service-name=web"
    return {
        endpoint["nodeName"]
        for one in net.get("endpointslices", "-l", label)["items"]
        for endpoint in one["endpoints"] or ()
        if endpoint["conditions"].get("ready")
    }


def is_ready(cluster: Cluster, name: str) -> bool:
    """Tell whether a node is ready."""
    conditions = cluster.get("node", name)["status"]["conditions"]
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def heals(net: Net) -> None:
    """Wait until the service leads to two pods of n1 alone, and answers every time."""
    wait_until(
        lambda: nodes_of(net) == {"n1"} and len(net.slices("web")) == 2,
        NOTICED_SECONDS,
        "pods have moved to the node that is left",
    )
    wait_until(lambda: len(net.ask_many("web", 8)) == 8, 30, "the service answers every time")

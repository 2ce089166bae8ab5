"""A service of type LoadBalancer, reached from outside at the node's own address and port."""

import json
import socket
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.network.conftest import Namespace
from tests.e2e.node.machine import wait_until

PORT = 8081
OUTSIDE = "192.168.77.99"
SECONDS_MAX = 120.0
ANSWER = "while true; do echo hello | busybox nc -l -p 80; done"


@pytest.fixture
def outside(cluster: Cluster) -> Iterator[Namespace]:
    """Somebody else on the cable that the node hangs on."""
    mark = uuid.uuid4().hex[:6]
    found, end = Namespace(f"outside-{mark}"), f"out-{mark}"
    try:
        peer = ("peer", end, "netns", str(cluster.machine.pid))
        found.sh("ip", "link", "add", "eth0", "type", "veth", *peer)
        found.sh("ip", "addr", "add", f"{OUTSIDE}/24", "dev", "eth0")
        found.sh("ip", "link", "set", "eth0", "up")
        cluster.machine.sh("ip", "link", "set", end, "master", "uplink", "up")
        yield found
    finally:
        found.close()


def service(name: str, **spec: Any) -> dict[str, Any]:
    ports = [{"port": PORT, "targetPort": 80}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": ports, **spec},
    }


def pod() -> dict[str, Any]:
    command = ["busybox", "sh", "-c", ANSWER]
    container = {"name": "c", "image": "kpy.local/busybox:1", "command": command}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
    }


def ingress(cluster: Cluster, name: str, namespace: str) -> list[str]:
    found = cluster.get("service", name, "-n", namespace)
    return [one["ip"] for one in found["status"]["loadBalancer"].get("ingress", ())]


def answers(outside: Namespace, address: str) -> bool:
    """Return whether somebody greets who connects to the port of the load balancer."""

    def work() -> bool:
        try:
            with socket.create_connection((address, PORT), timeout=1) as client:
                return client.recv(10).strip() == b"hello"
        except OSError:
            return False

    return bool(outside.call(work))


def test_a_service_is_reached_from_outside_and_only_by_whom_it_admits(
    cluster: Cluster, namespace: str, outside: Namespace
) -> None:
    address = cluster.machine.address
    spec = cluster.get("node", cluster.machine.name)["spec"]
    assert spec["providerID"] == f"kpy://{cluster.machine.name}"
    assert "node.cloudprovider.kubernetes.io/uninitialized" not in str(spec)
    cluster.apply(pod(), service("web"), namespace=namespace)
    wait_until(
        lambda: address in ingress(cluster, "web", namespace), SECONDS_MAX, "the service is served"
    )
    wait_until(lambda: answers(outside, address), SECONDS_MAX, "the pod answers from outside")
    cluster.apply(service("late"), namespace=namespace)
    wait_until(
        lambda: "taken by service" in cluster.kubectl("get", "events", "-n", namespace),
        SECONDS_MAX,
        "the later service is told why it waits",
    )
    assert ingress(cluster, "late", namespace) == []
    for source, reached in (("10.0.0.0/8", False), (f"{OUTSIDE}/32", True)):
        patch = json.dumps({"spec": {"loadBalancerSourceRanges": [source]}})
        cluster.kubectl("patch", "service", "web", "-n", namespace, "-p", patch)
        wait_until(
            lambda wanted=reached: answers(outside, address) == wanted,
            SECONDS_MAX,
            f"only {source} is let in",
        )
    cluster.kubectl("delete", "service", "web", "-n", namespace)
    wait_until(
        lambda: address in ingress(cluster, "late", namespace),
        SECONDS_MAX,
        "the later service gets the port",
    )


def test_an_address_of_a_pool_is_answered_for_by_the_node_that_was_chosen(
    cluster: Cluster, namespace: str, outside: Namespace
) -> None:
    address = "192.168.77.200"
    made = service("web", loadBalancerClass="example.com/pool")
    made["metadata"]["annotations"] = {"kpy.dev/announced-by": cluster.machine.name}
    cluster.apply(pod(), made, namespace=namespace)
    status = json.dumps({"status": {"loadBalancer": {"ingress": [{"ip": address}]}}})
    patch = ("patch", "service", "web", "-n", namespace, "--subresource=status", "-p", status)
    cluster.kubectl(*patch)
    wait_until(lambda: answers(outside, address), SECONDS_MAX, "the node answers for the address")
    cluster.kubectl("delete", "service", "web", "-n", namespace)
    wait_until(lambda: not pings(outside, address), SECONDS_MAX, "nobody answers for it any more")


def pings(outside: Namespace, address: str) -> bool:
    """Return whether anybody on the cable says that the address is its own."""
    outside.sh("ip", "neigh", "flush", "dev", "eth0")
    answers(outside, address)
    shown = outside.sh("ip", "neigh", "show", address)
    return "lladdr" in shown

"""Services over two nodes: which node answers, where, and for whom."""

from collections.abc import Iterator

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.conformance.net import Net, pod, service, web
from tests.e2e.node.machine import Machine, wait_until

pytestmark = pytest.mark.e2e
NODES = {"n1": "192.168.77.1", "n2": "192.168.77.2"}


@pytest.fixture(scope="module")
def net(two_nodes: Cluster) -> Iterator[Net]:
    """Have a client on each node, and a pod on n2 that answers."""
    two_nodes.kubectl("create", "namespace", "services")
    two_nodes.kubectl(
        "wait", "--for=create", "serviceaccount/default", "--timeout=120s", "-n", "services"
    )
    made = Net(two_nodes, "services")
    made.make(
        pod("client-n1", nodeName="n1"),
        pod("client-n2", nodeName="n2"),
        web("far", nodeName="n2", labels={"app": "far"}),
    )
    yield made
    two_nodes.kubectl("delete", "namespace", "services", "--wait=false")


def from_machine(machine: Machine, host: str) -> str:
    line = f"timeout 3 busybox wget -q -O- http://{host} || true"
    return machine.sh("sh", "-c", line).strip()


def answers(net: Net, host: str, source: str) -> None:
    wait_until(lambda: net.ask(host, source) == "far", 30, f"{source} is answered at {host}")


def silent(net: Net, host: str, source: str) -> None:
    wait_until(lambda: not net.ask(host, source), 30, f"{source} is not answered at {host}")


def test_a_service_and_its_name_lead_to_a_pod_of_another_node_from_each(net: Net) -> None:
    net.make(service("anywhere", {"app": "far"}))
    for source in ("client-n1", "client-n2"):
        answers(net, "anywhere", source)  # DNS of the pod's own node says where


def test_internal_traffic_stays_on_the_node_where_it_has_to(net: Net) -> None:
    net.make(service("inside", {"app": "far"}, internalTrafficPolicy="Local"))
    answers(net, "inside", "client-n2")
    silent(net, "inside", "client-n1")


def test_every_node_has_the_port_and_with_a_local_policy_only_those_with_pods(net: Net) -> None:
    net.make(service("port", {"app": "far"}, type="NodePort"))
    port = net.get("service", "port")["spec"]["ports"][0]["nodePort"]
    machines = (net.cluster.machine, net.cluster.workers[0].machine)
    for machine in machines:
        for address in NODES.values():
            wait_until(
                lambda m=machine, a=address: from_machine(m, f"{a}:{port}") == "far",
                30,
                f"{machine.name} is answered at {address}:{port}",
            )
    # A datagram that carries a packet under a node's address has that address already: translated
    # once more it is lost, and each connection takes a second.
    listed = ("conntrack", "-L", "-p", "udp", "--orig-port-dst", "8472", "--src-nat")
    for machine in machines:
        assert not machine.sh(*listed)
    change = '{"spec":{"externalTrafficPolicy":"Local"}}'
    net.do("patch", "service", "port", "-p", change)
    at = f"{NODES['n1']}:{port}"
    wait_until(lambda: not from_machine(machines[1], at), 30, "n1 has no pod and is silent")
    at = f"{NODES['n2']}:{port}"
    wait_until(lambda: from_machine(machines[0], at) == "far", 30, "n2 has one and answers")

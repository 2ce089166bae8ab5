"""Three nodes, two of them with a server on one database: what each failure does to the others."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.datastore.conftest import postgres
from tests.datastore.servers import Server as DatabaseServer
from tests.e2e.cluster import Cluster
from tests.e2e.conformance.net import Net, pod, service, web
from tests.e2e.fabric import Fabric
from tests.e2e.node.machine import wait_until

__all__ = ["postgres"]

pytestmark = pytest.mark.e2e
NODES = ("s1", "s2", "w3")


class Three(NamedTuple):
    """Machines s1 and s2 with a server and a node each, and w3 with an agent that joined s1."""

    first: Cluster
    second: Cluster
    fabric: Fabric


@pytest.fixture(scope="module")
def three(postgres: DatabaseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
    database = postgres.endpoint()
    made: list[Cluster] = []
    fabric = Fabric()
    try:
        for number, name in enumerate(NODES[:2], start=1):
            folder, address = tmp_path_factory.mktemp(name), f"192.168.77.{number}"
            flags = [f"--datastore-endpoint={database}", "--node-monitor-grace-period=20s"]
            if made:
                token = (made[0].folder / "s1" / "server" / "token").read_text().strip()
                flags.append(f"--token={token}")
            made.append(Cluster(folder, name, address, flags))
            made[-1].fabric = fabric
            fabric.connect(made[-1].machine)
            made[-1].start()
        made[0].add_worker("w3", "192.168.77.3")
        yield Three(*made, fabric)
    finally:
        for cluster in reversed(made):
            cluster.close()


@pytest.fixture(scope="module")
def net(three: Three) -> Net:
    """Have a client and a web server on each node, and a service of each and of all of them."""
    three.first.kubectl("create", "namespace", "three")
    words = ("wait", "--for=create", "serviceaccount/default", "--timeout=120s", "-n", "three")
    three.first.kubectl(*words)
    made = Net(three.first, "three")
    made.make(
        *(pod(f"client-{node}", nodeName=node) for node in NODES),
        *(web(node, nodeName=node, labels={"app": "all"}) for node in NODES),
        *(service(node, {"name": node}) for node in NODES),
        service("all", {"app": "all"}),
    )
    return made


def asks(net: Net, source: str, target: str, *, answered: bool = True) -> None:
    """Wait until a client is answered by the pod of a node through its service, or is not."""
    wanted = target if answered else ""
    wait_until(
        lambda: net.ask(target, f"client-{source}") == wanted,
        60,
        f"{source} asks {target}: {wanted!r}",
    )


def test_pods_of_any_two_nodes_reach_each_other_and_a_service_all_of_them(net: Net) -> None:
    for source in NODES:
        for target in NODES:
            asks(net, source, target)
    seen: set[str] = set()
    wait_until(
        lambda: seen.update(net.ask_many("all", 8, "client-s1")) or seen == set(NODES),
        60,
        lambda: f"all nodes answer, not only {seen}",
    )


def test_a_cut_between_two_nodes_parts_only_these(net: Net, three: Three) -> None:
    ends = (three.second.machine, three.first.workers[0].machine)
    three.fabric.cut(*ends)
    try:
        asks(net, "s2", "w3", answered=False)
        asks(net, "w3", "s2", answered=False)
        for source, target in (("s1", "w3"), ("w3", "s1"), ("s1", "s2"), ("s2", "s1")):
            asks(net, source, target)
    finally:
        three.fabric.mend(*ends)
    asks(net, "s2", "w3")
    asks(net, "w3", "s2")


def test_a_line_that_delays_and_loses_still_carries(net: Net, three: Three) -> None:
    machine = three.second.machine
    three.fabric.slow(machine, delay_ms=20, loss_percent=5)
    try:
        asks(net, "w3", "s2")
        asks(net, "s2", "s1")
    finally:
        three.fabric.fast(machine)
    asks(net, "w3", "s2")


def test_when_the_server_that_a_node_joined_dies_the_node_goes_on_with_the_other(
    net: Net, three: Three
) -> None:
    places = ("get", "endpoints", "kubernetes", "-o", "jsonpath={.subsets[0].addresses[*].ip}")
    both = "192.168.77.1 192.168.77.2"
    wait_until(lambda: three.second.kubectl(*places) == both, 60, "pods know both servers")
    listed = three.first.workers[0].data_dir / "agent" / "servers.json"
    wait_until(lambda: "192.168.77.2" in listed.read_text(), 60, "the node knows both servers")
    three.first.machine.crash()
    left = Net(three.second, net.namespace)
    wait_until(lambda: three.second.kubectl(*places) == "192.168.77.2", 120, "one is left")
    left.make(web("late", nodeName="w3"))
    assert left.do("exec", "late", "--", "hostname").strip() == "late"
    asks(left, "w3", "s2")
    asks(left, "s2", "w3")
    wait_until(
        lambda: set(left.ask_many("all", 8, "client-w3")) == {"s2", "w3"},
        120,
        "the service leads to the nodes that are left",
    )
    node = three.second.get("node", "w3")["status"]["conditions"]
    assert {c["status"] for c in node if c["type"] == "Ready"} == {"True"}

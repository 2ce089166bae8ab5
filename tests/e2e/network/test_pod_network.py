"""A node's pod network in a namespace: real bridge, real routes, real packets."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from minikube_py.agent.network import addresses, kernel, links, run
from minikube_py.agent.network.masquerade import TABLE
from minikube_py.agent.network.routes import Change, Peer, Route
from minikube_py.api.core import NODES
from minikube_py.client.informer import Informers
from minikube_py.lib.clock import SystemClock
from minikube_py.lib.tasks import Nursery
from tests.model_cluster import ModelCluster

pytestmark = pytest.mark.e2e


def config(folder: Path, **changes: Any) -> run.NetworkConfig:
    values: dict[str, Any] = {
        "node_name": "a",
        "node_ip": "192.168.77.1",
        "cluster_cidr": "10.42.0.0/16",
        "service_cidr": "10.43.0.0/16",
        "cni_conf_dir": folder / "conf",
        "cni_state_dir": folder / "state",
    }
    return run.NetworkConfig(**{**values, **changes})


def with_cable(namespaces: Callable[[str], Any]) -> tuple[Any, Any]:
    """Two machines on one cable: 192.168.77.1 and .2."""
    one, other = namespaces("node"), namespaces("other")
    one.sh("ip", "link", "add", "eth0", "mtu", "1400", "type", "veth",
           "peer", "name", "eth0", "mtu", "1400", "netns", other.name)  # fmt: skip
    for namespace, number in ((one, 1), (other, 2)):
        namespace.sh("ip", "addr", "add", f"192.168.77.{number}/24", "dev", "eth0")
        namespace.sh("ip", "link", "set", "eth0", "up")
    return one, other


def test_set_up_makes_the_bridge_the_service_route_and_the_configuration(
    namespaces: Callable[[str], Any], tmp_path: Path
) -> None:
    node, _ = with_cable(namespaces)
    for _ in range(2):  # a second start finds everything and changes nothing
        node.run(lambda: run.PodNetwork(config(tmp_path)).set_up(["10.42.5.0/24"]))
    bridge = orjson.loads(node.sh("ip", "-j", "addr", "show", "cni0"))[0]
    assert [a["local"] for a in bridge["addr_info"] if a["scope"] == "global"] == ["10.42.5.1"]
    assert bridge["mtu"] == 1400
    assert "10.43.0.0/16 dev cni0" in node.sh("ip", "route")
    assert node.sh("cat", "/proc/sys/net/ipv4/ip_forward").strip() == "1"
    conf = orjson.loads((tmp_path / "conf/10-kpy.conflist").read_bytes())
    assert conf["plugins"][0]["mtu"] == 1400


def test_a_new_pod_cidr_moves_the_bridge(namespaces: Callable[[str], Any], tmp_path: Path) -> None:
    node, _ = with_cable(namespaces)
    for cidr in ("10.42.5.0/24", "10.42.6.0/24"):
        node.run(lambda cidr=cidr: run.PodNetwork(config(tmp_path)).set_up([cidr]))
    assert "10.42.6.1/24" in node.sh("ip", "addr", "show", "cni0")
    assert "10.42.5.1" not in node.sh("ip", "addr", "show", "cni0")


def test_no_service_route_is_made_where_a_default_route_leads(
    namespaces: Callable[[str], Any], tmp_path: Path
) -> None:
    node, _ = with_cable(namespaces)
    node.sh("ip", "route", "add", "default", "via", "192.168.77.2")
    node.run(lambda: run.PodNetwork(config(tmp_path)).set_up(["10.42.5.0/24"]))
    assert "10.43.0.0/16" not in node.sh("ip", "route")


OWN = Peer("a", ("10.42.0.0/24",), ("192.168.77.1",))


def peer(number: int, address: str) -> Peer:
    return Peer(f"n{number}", (f"10.42.{number}.0/24",), (address,))


def test_routes_to_other_nodes_come_change_and_go(
    namespaces: Callable[[str], Any], tmp_path: Path
) -> None:
    node, _ = with_cable(namespaces)
    network = run.PodNetwork(config(tmp_path))

    async def scenario() -> list[set[tuple[str, str]]]:
        seen = []
        for others in (
            [peer(1, "192.168.77.2"), peer(2, "192.168.77.3")],
            [peer(1, "192.168.77.4")],
            [],
        ):
            assert await network.connect(OWN, others)
            found = await asyncio.to_thread(links.read)
            seen.append({(route.cidr, route.gateway) for route in found.routes})
        return seen

    assert node.run(scenario) == [
        {("10.42.1.0/24", "192.168.77.2"), ("10.42.2.0/24", "192.168.77.3")},
        {("10.42.1.0/24", "192.168.77.4")},
        set(),
    ]


def test_a_gateway_that_is_not_on_the_cable_is_refused_and_the_others_stand(
    namespaces: Callable[[str], Any], tmp_path: Path
) -> None:
    node, _ = with_cable(namespaces)
    others = [peer(1, "172.16.0.9"), peer(2, "192.168.77.2")]
    assert not node.run(lambda: run.PodNetwork(config(tmp_path)).connect(OWN, others))
    assert node.call(links.read).routes == {Route("10.42.2.0/24", "192.168.77.2")}


def test_pods_of_two_nodes_see_each_others_addresses_and_the_outside_sees_the_nodes(
    namespaces: Callable[[str], Any], tmp_path: Path
) -> None:
    node, other = with_cable(namespaces)
    node.run(lambda: run.PodNetwork(config(tmp_path)).set_up(["10.42.0.0/24"]))
    pod = namespaces("pod")
    node.sh("ip", "link", "add", "veth0", "type", "veth", "peer", "eth0", "netns", pod.name)
    node.sh("ip", "link", "set", "veth0", "master", "cni0", "up")
    pod.sh("ip", "addr", "add", "10.42.0.5/24", "dev", "eth0")
    pod.sh("ip", "link", "set", "eth0", "up")
    pod.sh("ip", "route", "add", "default", "via", "10.42.0.1")
    other.sh("ip", "addr", "add", "10.42.1.5/32", "dev", "lo")  # stands for a pod there
    back = Change(Route("10.42.0.0/24", "192.168.77.1"), is_wanted=True)
    other.call(lambda: links.change([back]))
    network = run.PodNetwork(config(tmp_path))
    assert node.run(lambda: network.connect(OWN, [peer(1, "192.168.77.2")]))
    other.serve_name("0.0.0.0", 8080)
    assert pod.ask("10.42.1.5", 8080)[1] == "10.42.0.5"
    assert pod.ask("192.168.77.2", 8080)[1] == "192.168.77.1"


def test_pods_are_reached_where_others_forbid_forwarding(
    namespaces: Callable[[str], Any], tmp_path: Path
) -> None:
    node, other = with_cable(namespaces)
    node.sh("iptables", "-P", "FORWARD", "DROP")
    for _ in range(2):
        node.run(lambda: run.PodNetwork(config(tmp_path)).set_up(["10.42.0.0/24"]))
    pods = []
    for number in (5, 6):
        pod = namespaces("pod")
        node.sh("ip", "link", "add", f"veth{number}", "type", "veth",
                "peer", "eth0", "netns", pod.name)  # fmt: skip
        node.sh("ip", "link", "set", f"veth{number}", "master", "cni0", "up")
        pod.sh("ip", "addr", "add", f"10.42.0.{number}/24", "dev", "eth0")
        pod.sh("ip", "link", "set", "eth0", "up")
        pod.sh("ip", "route", "add", "default", "via", "10.42.0.1")
        pod.serve_name("0.0.0.0", 8080)
        pods.append(pod)
    other.serve_name("0.0.0.0", 8080)
    assert pods[0].ask("10.42.0.6", 8080)[1] == "10.42.0.5"
    assert pods[0].ask("192.168.77.2", 8080)[1] == "192.168.77.1"
    assert node.sh("iptables", "-S", "FORWARD").count("ACCEPT") == 2


def test_the_node_address_is_that_of_the_default_route_or_else_the_first(
    namespaces: Callable[[str], Any],
) -> None:
    node, _ = with_cable(namespaces)
    assert node.call(addresses.detect_node_ip) == "192.168.77.1"
    node.sh("ip", "link", "add", "eth1", "type", "bridge")
    node.sh("ip", "addr", "add", "10.9.0.1/24", "dev", "eth1")
    node.sh("ip", "link", "set", "eth1", "up")
    node.sh("ip", "route", "add", "default", "dev", "eth1")
    assert node.call(addresses.detect_node_ip) == "10.9.0.1"


def test_a_local_address_can_be_listened_on_and_reached_from_a_pod(
    namespaces: Callable[[str], Any], tmp_path: Path
) -> None:
    node, _ = with_cable(namespaces)
    node.run(lambda: run.PodNetwork(config(tmp_path)).set_up(["10.42.0.0/24"]))
    for _ in range(2):
        node.call(lambda: kernel.ensure_local_address("10.43.0.10"))
    pod = namespaces("pod")
    node.sh("ip", "link", "add", "veth0", "type", "veth", "peer", "eth0", "netns", pod.name)
    node.sh("ip", "link", "set", "veth0", "master", "cni0", "up")
    pod.sh("ip", "addr", "add", "10.42.0.5/24", "dev", "eth0")
    pod.sh("ip", "link", "set", "eth0", "up")
    pod.sh("ip", "route", "add", "default", "via", "10.42.0.1")
    node.serve_name("10.43.0.10", 53)
    assert pod.ask("10.43.0.10", 53) == (node.name, "10.42.0.5")
    assert node.ask("10.43.0.10", 53)[0] == node.name
    assert node.call(addresses.detect_node_ip) == "192.168.77.1"


def node_object(name: str, cidr: str, address: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {"podCIDR": cidr, "podCIDRs": [cidr]},
        "status": {"addresses": [{"type": "InternalIP", "address": address}]},
    }


async def eventually(check: Callable[[], bool], what: str) -> None:
    async with asyncio.timeout(60):
        while not await asyncio.to_thread(check):  # noqa: ASYNC110 -- of another program's work
            await asyncio.sleep(0.02)
    assert await asyncio.to_thread(check), what


def test_what_others_do_to_rules_routes_and_the_cable_is_put_right(
    namespaces: Callable[[str], Any], tmp_path: Path
) -> None:
    node, _ = with_cable(namespaces)
    clock = SystemClock()
    cluster = ModelCluster(clock)
    cluster.write(NODES, node_object("a", "10.42.0.0/24", "192.168.77.1"))
    cluster.write(NODES, node_object("b", "10.42.1.0/24", "192.168.77.2"))

    def shows(words: str, *command: str) -> Callable[[], bool]:
        return lambda: words in node.sh(*command)

    routed = shows("10.42.1.0/24 via 192.168.77.2", "ip", "route")
    served = shows("10.43.0.0/16 dev cni0", "ip", "route")
    ruled = shows(TABLE, "nft", "list", "tables")

    async def scenario() -> None:
        client = cluster.client()
        async with Informers(client, clock) as informers, Nursery("test") as nursery:
            nursery.start("network", run.run_network(informers, config(tmp_path), client))
            await eventually(lambda: routed() and served() and ruled(), "all is made")
            node.sh("ip", "route", "del", "10.42.1.0/24")
            await eventually(routed, "a route that somebody removes comes back")
            node.sh("ip", "link", "set", "eth0", "down")  # its routes go silently
            node.sh("ip", "link", "set", "eth0", "up")
            await eventually(routed, "routes come back with the cable")
            node.sh("ip", "route", "add", "default", "via", "192.168.77.2")
            node.sh("ip", "route", "del", "10.43.0.0/16")
            node.sh("ip", "route", "del", "default")
            await eventually(served, "services are reached without a default route")
            node.sh("nft", "flush", "ruleset")
            await eventually(ruled, "rules that somebody removes come back")

    node.run(scenario)

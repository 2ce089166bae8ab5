"""Policies in namespaces: what the table of pairs does not show, on real nftables."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from minikube_py.agent.network import run as network
from minikube_py.agent.policy.gate import Gate
from minikube_py.agent.policy.run import PolicySettings, run_network_policies
from minikube_py.agent.proxy.endpoints import Node
from minikube_py.agent.proxy.rules import ProxyConfig
from minikube_py.agent.proxy.run import ServiceRules
from minikube_py.api.core import NAMESPACES, PODS
from minikube_py.api.networking import NETWORKPOLICIES
from minikube_py.api.object import Key
from minikube_py.client.informer import Informers
from minikube_py.lib.clock import SystemClock
from minikube_py.lib.tasks import Nursery
from tests.model_cluster import ModelCluster

pytestmark = pytest.mark.e2e
VIP, DNS = "10.43.0.5", "10.43.0.10"
CIDRS = ("10.42.0.0/24", "fd42::/64")


class World:
    """A node with three pods of both families, and a cluster that says who they are."""

    def __init__(self, namespaces: Callable[[str], Any], folder: Path) -> None:
        self.node, self.outside = namespaces("node"), namespaces("outside")
        self.node.sh("ip", "link", "add", "eth0", "type", "veth",
                     "peer", "name", "eth0", "netns", self.outside.name)  # fmt: skip
        for namespace, number in ((self.node, 1), (self.outside, 2)):
            namespace.sh("ip", "addr", "add", f"192.168.77.{number}/24", "dev", "eth0")
            namespace.sh("ip", "link", "set", "eth0", "up")
        self.outside.sh("ip", "route", "add", "10.42.0.0/16", "via", "192.168.77.1")
        config = network.NetworkConfig(
            node_name="node",
            node_ip="192.168.77.1",
            cluster_cidr="10.42.0.0/16,fd42::/56",
            service_cidr="10.43.0.0/16,fd43::/112",
            cni_conf_dir=folder / "conf",
            cni_state_dir=folder / "state",
        )
        self.node.run(lambda: network.PodNetwork(config).set_up(CIDRS))
        self.gate = Gate()
        self.cluster = ModelCluster(SystemClock())
        self.cluster.write(NAMESPACES, {"metadata": {"name": "x", "labels": {"ns": "x"}}})
        self.pods = {name: self.pod(namespaces, name, n) for n, name in enumerate("abc", 5)}

    def pod(self, namespaces: Callable[[str], Any], name: str, number: int) -> Any:
        pod = namespaces(f"pod-{name}")
        link = f"veth{number}"
        self.node.sh("ip", "link", "add", link, "type", "veth", "peer", "eth0", "netns", pod.name)
        self.node.sh("ip", "link", "set", link, "master", "cni0", "up")
        self.node.sh("bridge", "link", "set", "dev", link, "hairpin", "on")
        pod.sh("ip", "addr", "add", f"10.42.0.{number}/24", "dev", "eth0")
        pod.sh("ip", "addr", "add", f"fd42::{number}/64", "dev", "eth0", "nodad")
        pod.sh("ip", "link", "set", "eth0", "up")
        pod.sh("ip", "route", "add", "default", "via", "10.42.0.1")
        pod.serve_name("::", 8080, family=socket.AF_INET6)  # which takes IPv4 as well
        pod.serve_name("0.0.0.0", 8080, socket.SOCK_DGRAM)
        assert self.node.ask(f"10.42.0.{number}", 8080)
        ips = [{"ip": f"10.42.0.{number}"}, {"ip": f"fd42::{number}"}]
        self.cluster.write(
            PODS,
            {
                "metadata": {"namespace": "x", "name": name, "labels": {"pod": name}},
                "spec": {"nodeName": "node", "containers": [{"name": "c"}]},
                "status": {"phase": "Running", "podIP": ips[0]["ip"], "podIPs": ips},
            },
        )
        return pod

    def set_policy(self, pod: str, **spec: Any) -> None:
        selector = {"matchLabels": {"pod": pod}}
        body = {"metadata": {"namespace": "x", "name": f"of-{pod}"}}
        self.cluster.write(NETWORKPOLICIES, {**body, "spec": {"podSelector": selector, **spec}})

    def reaches(self, who: Any, address: str, port: int = 8080, **kind: int) -> bool:
        kind.setdefault("family", socket.AF_INET6 if ":" in address else socket.AF_INET)
        try:
            return bool(who.ask(address, port, seconds=0.3, **kind))
        except OSError:
            return False

    def rules(self) -> str:
        return str(self.node.sh("nft", "list", "tables"))

    def run(self, scenario: Callable[[], Any]) -> None:
        async def main() -> None:
            async with self.enforcing():
                await scenario()

        self.node.run(main)

    @contextlib.asynccontextmanager
    async def enforcing(self) -> AsyncIterator[None]:
        clock = SystemClock()
        client = self.cluster.client()
        settings = PolicySettings(node_name="node", dns_addresses=(DNS,))
        async with Informers(client, clock) as informers, Nursery("test") as nursery:
            work = run_network_policies(client, informers, settings, clock, self.gate)
            nursery.start("policies", work)
            yield

    async def becomes(self, true: Callable[[], bool]) -> None:
        """Wait until something is true; looked at in a thread, because it may wait itself."""
        for _ in range(600):
            if await asyncio.to_thread(true):
                return
            await asyncio.sleep(0.05)
        raise AssertionError("it did not come true")

    async def closed(self, who: Any, address: str, **kind: int) -> None:
        await self.becomes(lambda: not self.reaches(who, address, **kind))

    async def open(self, who: Any, address: str, port: int = 8080) -> None:
        await self.becomes(lambda: self.reaches(who, address, port))


@pytest.fixture
def world(namespaces: Callable[[str], Any], tmp_path: Path) -> World:
    return World(namespaces, tmp_path)


def test_without_a_policy_there_is_no_table_and_pods_are_not_followed(world: World) -> None:
    async def scenario() -> None:
        world.set_policy("a")
        await world.becomes(lambda: "ip6 kpy-policy" in world.rules())
        world.cluster.remove(NETWORKPOLICIES, {"metadata": {"namespace": "x", "name": "of-a"}})
        await world.becomes(lambda: "kpy-policy" not in world.rules())
        await world.open(world.pods["b"], "10.42.0.5")

    world.run(scenario)


def test_the_node_reaches_its_pods_and_others_only_where_a_policy_allows(world: World) -> None:
    async def scenario() -> None:
        world.set_policy("a", ingress=[{"from": [{"ipBlock": {"cidr": "192.168.77.9/32"}}]}])
        for address in ("10.42.0.5", "fd42::5"):
            await world.closed(world.pods["b"], address)
            await world.open(world.node, address)
        assert not world.reaches(world.outside, "10.42.0.5")
        world.set_policy("a", ingress=[{"from": [{"ipBlock": {"cidr": "192.168.77.2/32"}}]}])
        await world.open(world.outside, "10.42.0.5")
        assert not world.reaches(world.pods["b"], "10.42.0.5")

    world.run(scenario)


def test_a_connection_that_stands_outlives_every_change_and_answers_always_pass(
    world: World,
) -> None:
    def connect() -> socket.socket:
        client = socket.create_connection(("10.42.0.9", 9000), timeout=30)
        client.settimeout(30)
        return client

    def listen() -> socket.socket:
        server = socket.create_server(("10.42.0.9", 9000))
        server.settimeout(30)
        return server

    async def scenario() -> None:
        pod = world.pods["a"]
        pod.sh("ip", "addr", "add", "10.42.0.9/24", "dev", "eth0")
        server = pod.call(listen)
        client = await asyncio.to_thread(world.pods["b"].call, connect)
        peer, _ = await asyncio.to_thread(server.accept)
        with server, client, peer:
            world.set_policy("a", policyTypes=["Ingress", "Egress"])
            await world.closed(world.pods["b"], "10.42.0.5")
            world.set_policy("b", policyTypes=["Ingress", "Egress"])
            await world.closed(world.pods["b"], "10.42.0.7")
            for one, other in ((client, peer), (peer, client)):
                await asyncio.to_thread(one.sendall, b"still there")
                assert await asyncio.to_thread(other.recv, 20) == b"still there"

    world.run(scenario)


def test_a_service_is_judged_by_the_pod_behind_it(world: World) -> None:
    config = ProxyConfig(
        node=Node(name="node"), cluster_cidr="10.42.0.0/16", service_cidr="10.43.0.0/16"
    )
    rules = ServiceRules(config)
    service = {
        "metadata": {"namespace": "x", "name": "web"},
        "spec": {"clusterIP": VIP, "clusterIPs": [VIP], "ports": [{"protocol": "TCP", "port": 80}]},
    }
    slice_ = {
        "addressType": "IPv4",
        "ports": [{"protocol": "TCP", "port": 8080}],
        "endpoints": [{"addresses": ["10.42.0.5"], "nodeName": "node"}],
    }
    rules.set_service(Key("x", "web"), service, [slice_])

    async def scenario() -> None:
        await rules.apply()
        from_b = {
            "from": [{"podSelector": {"matchLabels": {"pod": "b"}}}],
            "ports": [{"port": 8080}],
        }
        world.set_policy("a", ingress=[from_b])
        await world.closed(world.pods["c"], "10.42.0.5")
        assert not world.reaches(world.pods["c"], VIP, 80)
        for who in (world.pods["b"], world.node, world.pods["a"]):  # the last calls itself
            await world.open(who, VIP, 80)

    world.run(scenario)


def test_egress_to_the_node_is_judged_and_dns_is_allowed_by_its_labels(world: World) -> None:
    world.node.sh("ip", "addr", "add", f"{DNS}/32", "dev", "lo")
    world.node.serve_name(DNS, 53, socket.SOCK_DGRAM)
    world.node.serve_name("192.168.77.1", 6443)
    name = {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}
    labels = {"kubernetes.io/metadata.name": "kube-system"}
    world.cluster.write(NAMESPACES, {"metadata": {"name": "kube-system", "labels": labels}})
    to_dns = {
        "to": [
            {"namespaceSelector": name, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}
        ],
        "ports": [{"protocol": "UDP", "port": 53}],
    }

    def asks_dns(who: str) -> bool:
        return world.reaches(world.pods[who], DNS, 53, kind=socket.SOCK_DGRAM)

    async def scenario() -> None:
        await world.open(world.pods["a"], "192.168.77.1", 6443)
        world.set_policy("a", egress=[to_dns], policyTypes=["Egress"])
        await world.becomes(lambda: not world.reaches(world.pods["a"], "192.168.77.1", 6443))
        await world.becomes(lambda: asks_dns("a"))
        world.set_policy("b", policyTypes=["Egress"])
        await world.becomes(lambda: not asks_dns("b"))

    world.run(scenario)


def test_rules_that_somebody_removes_come_back_and_other_tables_are_left_alone(
    world: World,
) -> None:
    world.node.sh("nft", "add", "table", "ip", "theirs")

    async def scenario() -> None:
        world.set_policy("a")
        await world.closed(world.pods["b"], "10.42.0.5")
        for command in (("delete", "table", "ip", "kpy-policy"), ("flush", "ruleset")):
            world.node.sh("nft", *command)
            await world.becomes(lambda: "ip kpy-policy" in world.rules())
            await world.closed(world.pods["b"], "10.42.0.5")
        world.node.sh("nft", "add", "table", "ip", "theirs")
        world.set_policy("b")
        await world.closed(world.pods["c"], "10.42.0.6")
        assert "ip theirs" in world.rules()

    world.run(scenario)


def test_pods_stay_apart_while_kpy_is_started_anew(world: World) -> None:
    async def first() -> None:
        world.set_policy("a")
        await world.closed(world.pods["b"], "10.42.0.5")

    world.run(first)
    assert not world.reaches(world.pods["b"], "10.42.0.5")

    async def second() -> None:
        world.set_policy("b")
        await world.closed(world.pods["c"], "10.42.0.6")
        assert not world.reaches(world.pods["b"], "10.42.0.5")

    world.run(second)


def test_a_pod_is_isolated_before_the_api_knows_its_address(world: World) -> None:
    pod = world.cluster.write(
        PODS,
        {
            "metadata": {"namespace": "x", "name": "late", "labels": {"pod": "late"}},
            "spec": {"nodeName": "node", "containers": [{"name": "c"}]},
            "status": {"phase": "Pending"},
        },
    )
    late = world.pods["a"]
    late.sh("ip", "addr", "add", "10.42.0.20/24", "dev", "eth0")

    async def addresses() -> list[str]:
        return ["10.42.0.20"]

    async def scenario() -> None:
        await world.gate.isolate(pod, addresses)  # nothing waits while there is no policy
        assert world.gate.enforcement is None
        world.set_policy("late")
        await world.becomes(lambda: world.gate.enforcement is not None)
        await world.open(world.pods["b"], "10.42.0.20")
        await world.gate.isolate(pod, addresses)
        assert not await asyncio.to_thread(world.reaches, world.pods["b"], "10.42.0.20")
        ips = [{"ip": "10.42.0.20"}]
        status = {"phase": "Running", "podIP": "10.42.0.20", "podIPs": ips}
        world.cluster.write(PODS, {**pod, "status": status})
        world.set_policy("late", ingress=[{}])
        await world.open(world.pods["b"], "10.42.0.20")

    world.run(scenario)

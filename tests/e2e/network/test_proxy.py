"""Service rules in a namespace: real nftables, real connections of all the ways to a service."""

import asyncio
import contextlib
import errno
import socket
import struct
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from minikube_py.agent.network import run as network
from minikube_py.agent.proxy.chains import IPV6
from minikube_py.agent.proxy.endpoints import Node
from minikube_py.agent.proxy.rules import ProxyConfig
from minikube_py.agent.proxy.run import ProxySettings, ServiceRules, remove_rules, run_proxy
from minikube_py.api.core import NODES, SERVICES
from minikube_py.api.endpointslices import ENDPOINTSLICES
from minikube_py.api.object import Key
from minikube_py.client.informer import Informers
from minikube_py.lib.clock import SystemClock
from minikube_py.lib.tasks import Nursery
from tests.e2e.node.machine import PATIENCE_SECONDS, wait_until
from tests.model_cluster import ModelCluster

pytestmark = pytest.mark.e2e
CONFIG = ProxyConfig(
    node=Node(name="node"), cluster_cidr="10.42.0.0/16", service_cidr="10.43.0.0/16"
)
KEY = Key("default", "web")
VIP = "10.43.0.5"
SILENCE = 2.0
"""Who has not answered by then does not answer, seconds: others answer in milliseconds."""


class World:
    """A node with three pods on its bridge, and somebody outside on a cable."""

    def __init__(self, namespaces: Callable[[str], Any], folder: Path) -> None:
        self.node, self.outside = namespaces("node"), namespaces("outside")
        self.node.sh("ip", "link", "add", "eth0", "type", "veth",
                     "peer", "name", "eth0", "netns", self.outside.name)  # fmt: skip
        for namespace, number in ((self.node, 1), (self.outside, 2)):
            namespace.sh("ip", "addr", "add", f"192.168.77.{number}/24", "dev", "eth0")
            namespace.sh("ip", "link", "set", "eth0", "up")
        config = network.NetworkConfig(
            node_name="node",
            node_ip="192.168.77.1",
            cluster_cidr="10.42.0.0/16",
            service_cidr="10.43.0.0/16",
            cni_conf_dir=folder / "conf",
            cni_state_dir=folder / "state",
        )
        self.node.run(lambda: network.PodNetwork(config).set_up(["10.42.0.0/24"]))
        self.pods = [self.pod(namespaces, number) for number in (5, 6, 7)]
        self.rules = ServiceRules(CONFIG)

    def pod(self, namespaces: Callable[[str], Any], number: int) -> Any:
        pod = namespaces(f"pod{number}")
        link = f"veth{number}"
        self.node.sh("ip", "link", "add", link, "type", "veth", "peer", "eth0", "netns", pod.name)
        self.node.sh("ip", "link", "set", link, "master", "cni0", "up")
        self.node.sh("bridge", "link", "set", "dev", link, "hairpin", "on")
        pod.sh("ip", "addr", "add", f"10.42.0.{number}/24", "dev", "eth0")
        pod.sh("ip", "link", "set", "eth0", "up")
        pod.sh("ip", "route", "add", "default", "via", "10.42.0.1")
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            pod.serve_name("0.0.0.0", 8080, kind)
        # A bridge port may need a second to forward; TCP tries again, datagrams would be lost.
        assert self.node.ask(f"10.42.0.{number}", 8080)
        return pod

    def set_service(self, *numbers: int, service: dict[str, Any] | None = None) -> None:
        self.rules.set_service(KEY, service or web(), [slice_of(*numbers)])
        self.node.run(self.rules.apply)

    def tally(
        self, who: Any, address: str, port: int, count: int = 30, **kind: int
    ) -> Counter[str]:
        return Counter(who.ask(address, port, **kind)[0][:4] for _ in range(count))


@pytest.fixture
def world(namespaces: Callable[[str], Any], tmp_path: Path) -> World:
    return World(namespaces, tmp_path)


def web(protocol: str = "TCP", **spec: Any) -> dict[str, Any]:
    status = spec.pop("status", {})
    ports = [{"protocol": protocol, "port": 80, "nodePort": 30080, "targetPort": 8080}]
    return {
        "metadata": {"namespace": "default", "name": "web"},
        "spec": {"clusterIP": VIP, "clusterIPs": [VIP], "ports": ports, **spec},
        "status": status,
    }


def slice_of(*numbers: int, protocol: str = "TCP", nodes: dict[int, str] | None = None) -> Any:
    return {
        "metadata": {
            "namespace": "default",
            "name": "web-1",
            "labels": {"kubernetes.io/service-name": "web"},
        },
        "addressType": "IPv4",
        "ports": [{"protocol": protocol, "port": 8080}],
        "endpoints": [
            {"addresses": [f"10.42.0.{n}"], "nodeName": (nodes or {}).get(n, "node")}
            for n in numbers
        ],
    }


def refused(who: Any, address: str, port: int) -> bool:
    with pytest.raises(OSError) as caught:  # noqa: PT011 -- the number is looked at
        who.ask(address, port)
    return caught.value.errno == errno.ECONNREFUSED


def test_a_service_address_spreads_connections_of_the_node_and_of_pods(world: World) -> None:
    world.set_service(5, 6, 7)
    for who in (world.node, *world.pods):
        assert set(world.tally(who, VIP, 80, 60)) == {"pod5", "pod6", "pod7"}


def test_a_pod_sees_the_address_of_the_pod_that_called(world: World) -> None:
    world.set_service(6)
    assert world.pods[0].ask(VIP, 80)[1] == "10.42.0.5"


def test_a_pod_reaches_itself_through_its_service(world: World) -> None:
    world.set_service(5)
    name, seen = world.pods[0].ask(VIP, 80)
    assert name == world.pods[0].name
    assert seen == "10.42.0.1"


def test_a_node_port_is_reached_from_everywhere(world: World) -> None:
    world.set_service(5, 6, 7)
    assert set(world.tally(world.outside, "192.168.77.1", 30080, 60)) == {"pod5", "pod6", "pod7"}
    assert world.node.ask("192.168.77.1", 30080)
    assert world.pods[0].ask("192.168.77.1", 30080)
    assert world.outside.ask("192.168.77.1", 30080)[1] == "10.42.0.1"


def test_endpoints_come_and_go_in_small_steps(world: World) -> None:
    for numbers in ((5,), (5, 6), (6, 7), (7,), (5, 6, 7)):
        world.set_service(*numbers)
        assert set(world.tally(world.node, VIP, 80, 40)) == {f"pod{n}" for n in numbers}


def test_without_endpoints_a_connection_is_refused_at_once(world: World) -> None:
    world.set_service()
    assert refused(world.node, VIP, 80)
    assert refused(world.pods[0], VIP, 80)
    assert refused(world.outside, "192.168.77.1", 30080)
    world.set_service(5)
    assert world.node.ask(VIP, 80)


def test_a_port_that_a_service_does_not_have_is_refused(world: World) -> None:
    world.set_service(5)
    assert refused(world.pods[0], VIP, 81)
    assert refused(world.node, VIP, 81)


def test_a_service_that_is_deleted_answers_no_more(world: World) -> None:
    world.set_service(5)
    world.rules.set_service(KEY, None, [])
    world.node.run(world.rules.apply)
    with pytest.raises(TimeoutError):
        world.pods[0].ask(VIP, 80, seconds=SILENCE)
    assert refused(world.outside, "192.168.77.1", 30080)


def test_a_node_port_under_localhost_can_be_left_out(world: World) -> None:
    world.rules = ServiceRules(replace(CONFIG, localhost=False))
    world.set_service(5)
    assert refused(world.node, "127.0.0.1", 30080)
    assert world.node.ask("192.168.77.1", 30080)


def test_datagrams_reach_a_service_and_move_when_their_endpoint_goes(world: World) -> None:
    def udp(*numbers: int) -> None:
        slices = [slice_of(*numbers, protocol="UDP")]
        world.rules.set_service(KEY, web("UDP"), slices)
        world.node.run(world.rules.apply)

    def ask_from_one_port() -> str:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(20)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            client.bind(("0.0.0.0", 40000))
            client.connect((VIP, 80))
            client.send(b"?")
            return client.recv(100).decode()[:4]

    udp(5)
    assert world.pods[2].call(ask_from_one_port) == "pod5"
    udp(6)
    assert world.pods[2].call(ask_from_one_port) == "pod6"
    assert world.outside.ask("192.168.77.1", 30080, socket.SOCK_DGRAM)[0] == world.pods[1].name
    world.rules = ServiceRules(CONFIG)  # the endpoint goes while kpy is away
    udp(5)
    assert world.pods[2].call(ask_from_one_port) == "pod5"


def test_a_client_stays_with_its_endpoint_until_that_goes(world: World) -> None:
    service = web(sessionAffinity="ClientIP")
    world.set_service(5, 6, 7, service=service)
    (first,) = world.tally(world.node, VIP, 80)
    assert list(world.tally(world.pods[0], VIP, 80)) == list(world.tally(world.pods[0], VIP, 80))
    others = [number for number in (5, 6, 7) if f"pod{number}" != first]
    world.set_service(int(first[3]), others[0], service=service)
    assert list(world.tally(world.node, VIP, 80)) == [first]
    world.set_service(*others, service=service)
    (second,) = world.tally(world.node, VIP, 80)
    assert second != first
    (third,) = world.tally(world.outside, "192.168.77.1", 30080)
    assert third in {f"pod{number}" for number in others}


def test_a_client_is_forgotten_after_the_timeout(world: World) -> None:
    affinity = {"clientIP": {"timeoutSeconds": 1}}
    service = web(sessionAffinity="ClientIP", sessionAffinityConfig=affinity)
    world.set_service(5, 6, 7, service=service)
    assert len(world.tally(world.node, VIP, 80)) == 1
    world.node.sh("nft", "flush", "map", "ip", "kpy-proxy", "affinity-1")  # what time does
    seen = set()
    for _ in range(40):
        seen |= set(world.tally(world.node, VIP, 80, 1))
        world.node.sh("nft", "flush", "map", "ip", "kpy-proxy", "affinity-1")
    assert seen == {"pod5", "pod6", "pod7"}


def test_what_fits_no_connection_is_not_forwarded(world: World) -> None:
    counted = (
        "table ip t { chain c { type filter hook input priority 0; tcp dport 4444 counter; };}"
    )
    world.outside.sh("nft", counted)
    world.outside.serve_name("0.0.0.0", 8080, socket.SOCK_DGRAM)

    def arrived(number: int) -> bool:
        """Send a segment without any flag, and then what tells that it must have arrived."""

        def work() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as sock:
                segment = struct.pack(">HHIIBBHHH", 1025, 4444, 1, 0, 5 << 4, 0, 1024, 0, 0)
                sock.sendto(segment, ("192.168.77.2", 0))

        world.pods[0].call(work)
        assert world.pods[0].ask("192.168.77.2", 8080, socket.SOCK_DGRAM)
        return f"packets {number} " in world.outside.sh("nft", "list", "table", "ip", "t")

    assert arrived(1)
    world.set_service(5)
    assert arrived(1)
    world.node.sh("nft", "delete", "table", "ip", "kpy-proxy")
    assert arrived(2)


def test_nobody_outside_reaches_what_listens_on_localhost_only(world: World) -> None:
    world.set_service(5)
    world.node.serve_name("127.0.0.1", 8081)
    world.node.sh("sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1")
    world.outside.sh("sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1")
    world.outside.sh("ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
    world.outside.sh("ip", "route", "add", "127.0.0.1/32", "via", "192.168.77.1",
                     "src", "192.168.77.2")  # fmt: skip
    with pytest.raises(TimeoutError):
        world.outside.ask("127.0.0.1", 8081, seconds=SILENCE)
    world.node.sh("nft", "flush", "ruleset")
    assert world.outside.ask("127.0.0.1", 8081)  # what would happen without the rule


def test_a_second_start_replaces_the_rules_and_a_reset_removes_them(world: World) -> None:
    world.set_service(5)
    world.rules = ServiceRules(CONFIG)
    world.set_service(6)
    assert set(world.tally(world.node, VIP, 80)) == {"pod6"}
    world.node.run(remove_rules)
    assert "kpy-proxy" not in world.node.sh("nft", "list", "tables")


def test_rules_that_others_removed_come_back_with_the_next_change(world: World) -> None:
    world.set_service(5)
    world.node.sh("nft", "flush", "ruleset")
    with contextlib.suppress(Exception):
        world.set_service(6)
    world.set_service(6)
    assert set(world.tally(world.node, VIP, 80)) == {"pod6"}


@contextlib.asynccontextmanager
async def proxy_running(cluster: ModelCluster, mode: str = "nftables") -> AsyncIterator[None]:
    settings = ProxySettings(
        node_name="node", cluster_cidr="10.42.0.0/16", service_cidr="10.43.0.0/16", mode=mode
    )
    clock = SystemClock()
    async with Informers(cluster.client(), clock) as informers, Nursery("test") as nursery:
        nursery.start("proxy", run_proxy(informers, settings, clock))
        yield


async def eventually(check: Callable[[], bool]) -> None:
    await asyncio.to_thread(wait_until, check, PATIENCE_SECONDS, "it came true")


def fetch(url: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310
            return answer.status, orjson.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, orjson.loads(error.read())
    except OSError:  # nobody listens yet
        return 0, {}


def own_page(world: World, path: str) -> str:
    """Return what kube-proxy tells its own machine."""

    def work() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:10249{path}", timeout=10) as answer:
            return str(answer.read().decode())

    return str(world.node.call(work))


def test_the_proxy_follows_the_cluster_and_tells_of_its_health(world: World) -> None:
    cluster = ModelCluster(SystemClock())
    cluster.write(NODES, {"metadata": {"name": "node"}, "spec": {}})
    service = web(type="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=32000)

    def answers(name: str) -> Callable[[], bool]:
        def check() -> bool:
            try:
                return bool(world.node.ask(VIP, 80)[0].startswith(name))
            except OSError:
                return False

        return check

    def health(port: int) -> tuple[int, Any]:
        result: tuple[int, Any] = world.node.call(lambda: fetch(f"http://127.0.0.1:{port}/healthz"))
        return result

    async def scenario() -> None:
        async with proxy_running(cluster):
            cluster.write(SERVICES, service)
            cluster.write(ENDPOINTSLICES, slice_of(5))
            await eventually(answers("pod5"))
            cluster.write(ENDPOINTSLICES, slice_of(6))
            await eventually(answers("pod6"))
            assert (await asyncio.to_thread(world.node.ask, "127.0.0.1", 30080))[1] == "10.42.0.1"
            await eventually(lambda: health(32000)[1].get("localEndpoints") == 1)
            assert (await asyncio.to_thread(health, 32000))[0] == 200
            await eventually(lambda: health(10256)[0] == 200)
            assert (await asyncio.to_thread(health, 10256))[1]["nodeEligible"] is True
            page = await asyncio.to_thread(own_page, world, "/metrics")
            assert "kubeproxy_sync_proxy_rules_service_changes_total 1" in page
            assert await asyncio.to_thread(own_page, world, "/proxyMode") == "nftables"
            cluster.write(ENDPOINTSLICES, slice_of())
            await eventually(lambda: not answers("pod6")())
            await eventually(lambda: health(32000)[0] == 503)

    world.node.run(scenario)


def syncs(world: World) -> int:
    """Return how often rules were brought to the kernel."""
    name = "kubeproxy_sync_proxy_rules_duration_seconds_count "
    return int(own_page(world, "/metrics").partition(name)[2].split()[0])


OTHERS = "table ip others { chain c { type nat hook prerouting priority -99; counter accept; }; }"


REMOVALS = {
    "nftables": ("nft delete table ip kpy-proxy",),
    "iptables": (
        "iptables -t nat -F KPY-SERVICES",
        "iptables -t nat -F",
        "iptables -t nat -D PREROUTING -j KPY-SERVICES",
        "nft flush ruleset; nft -f /dev/stdin <<< '{others}'",
    ),
}


@pytest.mark.parametrize("mode", REMOVALS)
def test_rules_that_somebody_removes_come_back_and_other_tables_stay(
    world: World, mode: str
) -> None:
    world.node.sh("nft", OTHERS)
    shown = ("nft", "--stateless", "list", "table", "ip", "others")
    others = world.node.sh(*shown)
    cluster = ModelCluster(SystemClock())
    cluster.write(NODES, {"metadata": {"name": "node"}, "spec": {}})
    cluster.write(SERVICES, web())
    cluster.write(ENDPOINTSLICES, slice_of(5))

    def answers() -> bool:
        try:
            return bool(world.pods[1].ask(VIP, 80, seconds=0.3))
        except OSError:
            return False

    async def scenario() -> None:
        async with proxy_running(cluster, mode):
            await eventually(answers)
            done = 0
            for removal in REMOVALS[mode]:
                await eventually(lambda done=done: syncs(world) > done)  # it is not at work itself
                done = await asyncio.to_thread(syncs, world)
                line = removal.format(others=OTHERS)
                await asyncio.to_thread(world.node.sh, "bash", "-c", line)
                await eventually(answers)

    world.node.run(scenario)
    assert world.node.sh(*shown) == others


def test_a_service_has_an_ipv6_address_too(world: World) -> None:
    world.node.sh("ip", "-6", "addr", "add", "fd42::1/64", "dev", "cni0", "nodad")
    for number, pod in zip((5, 6), world.pods, strict=False):
        pod.sh("ip", "-6", "addr", "add", f"fd42::{number}/64", "dev", "eth0", "nodad")
        pod.serve_name(f"fd42::{number}", 8080, family=socket.AF_INET6)
    world.node.sh("ip", "-6", "route", "add", "fd43::/112", "dev", "cni0")
    config = ProxyConfig(
        node=Node(name="node"), cluster_cidr="fd42::/48", service_cidr="fd43::/112", family=IPV6
    )
    rules = ServiceRules(config)
    endpoints = [{"addresses": [f"fd42::{n}"], "nodeName": "node"} for n in (5, 6)]
    piece = {**slice_of(), "addressType": "IPv6", "endpoints": endpoints}
    for affinity, answering in (("None", {"pod5", "pod6"}), ("ClientIP", None)):
        service = web(
            clusterIPs=["fd43::5"],
            sessionAffinity=affinity,
            externalTrafficPolicy="Local",
            loadBalancerSourceRanges=["fd99::/64"],
            status={"loadBalancer": {"ingress": [{"ip": "2001:db8::9"}]}},
        )
        rules.set_service(KEY, service, [piece])
        world.node.run(rules.apply)
        asked = [world.node.ask("fd43::5", 80, family=socket.AF_INET6)[0][:4] for _ in range(30)]
        assert set(asked) == answering if answering else len(set(asked)) == 1
    rules.set_service(KEY, web(clusterIPs=["fd43::5"]), [])
    world.node.run(rules.apply)
    with pytest.raises(ConnectionRefusedError):
        world.node.ask("fd43::5", 80, family=socket.AF_INET6)


def test_many_services_load_in_one_transaction(world: World) -> None:
    for number in range(1000):
        vip = f"10.43.{1 + number // 250}.{number % 250}"
        service = web()
        service["spec"] |= {"clusterIP": vip, "clusterIPs": [vip]}
        service["spec"]["ports"][0]["nodePort"] = 30000 + number
        world.rules.set_service(Key("default", f"s{number}"), service, [slice_of(5, 6, 7)])
    world.node.run(world.rules.apply)
    assert set(world.tally(world.node, "10.43.4.249", 80, 60)) == {"pod5", "pod6", "pod7"}


def test_a_service_may_have_thousands_of_ports(world: World) -> None:
    numbers = range(10_000, 13_000)
    service = web()
    service["spec"]["ports"] = [
        {"name": f"p{number}", "protocol": "TCP", "port": number} for number in numbers
    ]
    piece = slice_of(5, 6)
    piece["ports"] = [{"name": f"p{number}", "protocol": "TCP", "port": 8080} for number in numbers]
    world.rules.set_service(KEY, service, [piece])
    world.node.run(world.rules.apply)
    for port in (numbers[0], numbers[-1]):
        assert set(world.tally(world.node, VIP, port)) == {"pod5", "pod6"}
    world.set_service(5, service=web("SCTP"))  # no kernel refuses its rules
    world.set_service(5)
    assert refused(world.node, VIP, numbers[0])
    assert world.node.ask(VIP, 80)

"""What a Service can say, in each mode of kube-proxy and each address family: a table."""

import asyncio
import errno
import socket
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from minikube_py.agent.proxy.chains import IPV6
from minikube_py.agent.proxy.endpoints import Node
from minikube_py.agent.proxy.run import MODES
from tests.e2e.network.test_proxy import CONFIG, KEY, World, slice_of, web

pytestmark = pytest.mark.e2e
ASKED = 60
"""Questions until each of three has answered: all of them but once in 10^10."""
SILENCE = 0.3
"""Who has not answered by then does not, seconds."""
ALL = frozenset({"pod5", "pod6", "pod7"})
TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM


@dataclass(frozen=True)
class Addresses:
    """Where things are in one family."""

    family: int
    pods: str
    services: str
    vip: str
    node: str
    outside: str
    external: str
    bridge: str

    def pod(self, number: int) -> str:
        return f"{self.pods}{number}"


V4 = Addresses(
    socket.AF_INET,
    pods="10.42.0.",
    services="10.43.0.0/16",
    vip="10.43.0.5",
    node="192.168.77.1",
    outside="192.168.77.2",
    external="203.0.113.9",
    bridge="10.42.0.1",
)
V6 = Addresses(
    socket.AF_INET6,
    pods="fd42::",
    services="fd43::/112",
    vip="fd43::5",
    node="fd77::1",
    outside="fd77::2",
    external="2001:db8::9",
    bridge="fd42::1",
)


class Table:
    """A world and the rules of one mode in it."""

    def __init__(self, world: World, mode: str, at: Addresses) -> None:
        self.world, self.mode, self.at = world, mode, at
        self.keeps_addresses = mode != "userspace"
        config = replace(CONFIG, node=Node(name="node", zone="near"))
        if at is V6:
            self._speak_v6()
            config = replace(
                config, cluster_cidr="fd42::/48", service_cidr="fd43::/112", family=IPV6
            )
        flag = "-6" if at is V6 else "-4"
        world.node.sh("ip", flag, "route", "replace", at.services, "dev", "cni0")
        world.node.sh("ip", flag, "route", "add", "default", "via", at.outside)
        bits = "128" if at is V6 else "32"
        world.outside.sh("ip", flag, "route", "add", f"{at.external}/{bits}", "via", at.node)
        self.rules = MODES[mode](config)

    def _speak_v6(self) -> None:
        world = self.world
        for name in ("net.ipv6.conf.all.forwarding", "net.bridge.bridge-nf-call-ip6tables"):
            world.node.sh("sysctl", "-qw", f"{name}=1")
        world.node.sh("ip", "-6", "addr", "add", "fd42::1/64", "dev", "cni0", "nodad")
        for namespace, number in ((world.node, 1), (world.outside, 2)):
            namespace.sh("ip", "-6", "addr", "add", f"fd77::{number}/64", "dev", "eth0", "nodad")
        for number, pod in zip((5, 6, 7), world.pods, strict=True):
            pod.sh("ip", "-6", "addr", "add", f"fd42::{number}/64", "dev", "eth0", "nodad")
            pod.sh("ip", "-6", "route", "add", "default", "via", "fd42::1")
            for kind in (TCP, UDP):
                pod.serve_name(f"fd42::{number}", 8080, kind, socket.AF_INET6)

    async def serve(
        self, *endpoints: int | dict[str, Any], protocol: str = "TCP", **spec: Any
    ) -> None:
        """Have the service say this, with these endpoints; a number is one that is ready here."""
        at = self.at
        labels = spec.pop("labels", {})
        service = web(protocol, **{"clusterIP": at.vip, "clusterIPs": [at.vip], **spec})
        service["metadata"]["labels"] = labels
        piece = slice_of(protocol=protocol)
        piece["addressType"] = "IPv6" if at is V6 else "IPv4"
        piece["endpoints"] = [self.endpoint(one) for one in endpoints]
        self.rules.set_service(KEY, service, [piece])
        await self.rules.apply()

    def endpoint(self, given: int | dict[str, Any]) -> dict[str, Any]:
        more = {"n": given} if isinstance(given, int) else dict(given)
        return {"addresses": [self.at.pod(more.pop("n"))], "nodeName": "node", **more}

    async def ask(self, who: Any, address: str, port: int = 80, kind: int = TCP) -> tuple[str, str]:
        async with asyncio.timeout(60):
            while True:
                try:
                    found = await asyncio.to_thread(who.ask, address, port, kind, self.at.family)
                except OSError as error:
                    # The kernel makes the route to a new IPv6 address of its own a moment later.
                    if error.errno != errno.ENETUNREACH:
                        raise
                    await asyncio.sleep(0.01)
                else:
                    return found[0][:4], found[1]

    async def answering(self, who: Any, address: str, port: int = 80) -> set[str]:
        """Return who answers."""
        seen: set[str] = set()
        for _ in range(ASKED):
            seen.add((await self.ask(who, address, port))[0])
            if seen == ALL:
                break
        return seen

    async def silent(self, who: Any, address: str, port: int = 80) -> bool:
        """Tell whether nobody answers, in whatever way."""
        try:
            found = await asyncio.to_thread(
                lambda: who.ask(address, port, TCP, self.at.family, seconds=SILENCE)
            )
        except OSError:
            return True
        return not found[0]  # a connection that is closed at once

    async def refused(self, who: Any, address: str, port: int = 80, kind: int = TCP) -> bool:
        try:
            await self.ask(who, address, port, kind)
        except OSError as error:
            return error.errno == errno.ECONNREFUSED
        return False


Feature = Callable[[Table], Any]


async def cluster_ip(t: Table) -> None:
    await t.serve(5, 6, 7)
    for who in (t.world.node, t.world.pods[0]):
        assert await t.answering(who, t.at.vip) == ALL
    await t.serve(6)
    seen = (await t.ask(t.world.pods[0], t.at.vip))[1]
    assert seen == (t.at.pod(5) if t.keeps_addresses else t.at.bridge)


async def hairpin(t: Table) -> None:
    await t.serve(5)
    assert (await t.ask(t.world.pods[0], t.at.vip))[0] == "pod5"


async def node_port(t: Table) -> None:
    await t.serve(5, 6, 7)
    assert await t.answering(t.world.outside, t.at.node, 30080) == ALL
    for who in (t.world.node, t.world.pods[0]):
        assert (await t.ask(who, t.at.node, 30080))[0] in ALL


async def external_ip(t: Table) -> None:
    await t.serve(5, 6, 7, externalIPs=[t.at.external])
    for who in (t.world.outside, t.world.pods[0]):
        assert await t.answering(who, t.at.external) == ALL


async def load_balancer_and_source_ranges(t: Table) -> None:
    status = {"loadBalancer": {"ingress": [{"ip": t.at.external}]}}
    own, other = ("fd77::/64", "fd99::/64") if t.at is V6 else ("192.168.77.0/24", "10.9.0.0/16")
    await t.serve(5, status=status)
    assert (await t.ask(t.world.outside, t.at.external))[0] == "pod5"
    await t.serve(5, status=status, loadBalancerSourceRanges=[other, own])
    assert (await t.ask(t.world.outside, t.at.external))[0] == "pod5"
    await t.serve(5, status=status, loadBalancerSourceRanges=[other])
    assert await t.silent(t.world.outside, t.at.external)
    assert (await t.ask(t.world.outside, t.at.node, 30080))[0] == "pod5"
    await t.serve(
        5, status={"loadBalancer": {"ingress": [{"ip": t.at.external, "ipMode": "Proxy"}]}}
    )
    assert await t.silent(t.world.outside, t.at.external)


async def session_affinity_and_its_timeout(t: Table) -> None:
    await t.serve(5, 6, 7, sessionAffinity="ClientIP")
    for address, port in ((t.at.vip, 80), (t.at.node, 30080)):
        assert len({(await t.ask(t.world.pods[0], address, port))[0] for _ in range(12)}) == 1
    (first,) = {(await t.ask(t.world.node, t.at.vip))[0]}
    rest = [number for number in (5, 6, 7) if f"pod{number}" != first]
    await t.serve(*rest, sessionAffinity="ClientIP")
    assert (await t.ask(t.world.node, t.at.vip))[0] != first
    if t.at is V6:
        return  # with nftables a hash chooses, which knows no time
    short = {"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 1}}}
    await t.serve(5, 6, 7, sessionAffinity="ClientIP", **short)
    seen = set()
    async with asyncio.timeout(60):
        while len(seen) < 2:
            seen.add((await t.ask(t.world.node, t.at.vip))[0])
            await asyncio.sleep(1.2)


async def external_traffic_policy(t: Table) -> None:
    far = ({"n": 6, "nodeName": "other"}, {"n": 7, "nodeName": "other"})
    await t.serve(5, *far, externalTrafficPolicy="Local")
    for _ in range(12):
        name, seen = await t.ask(t.world.outside, t.at.node, 30080)
        assert (name, seen) == ("pod5", t.at.outside if t.keeps_addresses else t.at.bridge)
    assert await t.answering(t.world.pods[0], t.at.node, 30080) == ALL
    await t.serve(*far, externalTrafficPolicy="Local")
    assert await t.silent(t.world.outside, t.at.node, 30080)
    assert (await t.ask(t.world.pods[0], t.at.vip))[0] in ALL


async def internal_traffic_policy(t: Table) -> None:
    far = ({"n": 6, "nodeName": "other"}, {"n": 7, "nodeName": "other"})
    await t.serve(5, *far, internalTrafficPolicy="Local")
    assert {(await t.ask(t.world.pods[1], t.at.vip))[0] for _ in range(12)} == {"pod5"}
    assert await t.answering(t.world.outside, t.at.node, 30080) == ALL
    await t.serve(*far, internalTrafficPolicy="Local")
    assert await t.silent(t.world.pods[0], t.at.vip)


async def terminating_endpoints(t: Table) -> None:
    ending = {"conditions": {"ready": False, "serving": True, "terminating": True}}
    await t.serve(5, {"n": 6, **ending})
    assert {(await t.ask(t.world.node, t.at.vip))[0] for _ in range(12)} == {"pod5"}
    await t.serve({"n": 6, **ending}, {"n": 7, "conditions": {"ready": False}})
    assert {(await t.ask(t.world.node, t.at.vip))[0] for _ in range(12)} == {"pod6"}
    far = {"n": 7, "nodeName": "other"}
    await t.serve({"n": 6, **ending}, far, externalTrafficPolicy="Local")
    assert (await t.ask(t.world.outside, t.at.node, 30080))[0] == "pod6"


async def hints(t: Table) -> None:
    def at_zone(number: int, zone: str) -> dict[str, Any]:
        return {"n": number, "hints": {"forZones": [{"name": zone}]}}

    await t.serve(at_zone(5, "near"), at_zone(6, "far"), at_zone(7, "far"))
    assert {(await t.ask(t.world.node, t.at.vip))[0] for _ in range(12)} == {"pod5"}
    await t.serve(at_zone(5, "near"), at_zone(6, "far"), 7)
    assert await t.answering(t.world.node, t.at.vip) == ALL


async def datagrams(t: Table) -> None:
    await t.serve(6, protocol="UDP")
    for who, address, port in (
        (t.world.node, t.at.vip, 80),
        (t.world.pods[0], t.at.vip, 80),
        (t.world.outside, t.at.node, 30080),
    ):
        assert (await t.ask(who, address, port, UDP))[0] == "pod6"
    await t.serve(protocol="UDP")
    assert await t.refused(t.world.pods[0], t.at.vip, 80, UDP)


async def no_endpoints(t: Table) -> None:
    await t.serve(externalIPs=[t.at.external])
    for who in (t.world.node, t.world.pods[0]):
        assert await t.refused(who, t.at.vip)
    assert await t.refused(t.world.outside, t.at.node, 30080)
    assert await t.refused(t.world.outside, t.at.external)


async def not_proxied(t: Table) -> None:
    for labels in ({"service.kubernetes.io/headless": ""},
                   {"service.kubernetes.io/service-proxy-name": "other"}):  # fmt: skip
        await t.serve(5)
        assert (await t.ask(t.world.pods[1], t.at.vip))[0] == "pod5"
        await t.serve(5, labels=labels)
        assert await t.silent(t.world.pods[1], t.at.vip)
    await t.serve(5, clusterIP="None", clusterIPs=["None"])
    assert await t.silent(t.world.pods[1], t.at.vip)
    await t.serve(5, type="ExternalName", externalName="x.example", clusterIP="", clusterIPs=[])
    assert await t.silent(t.world.pods[1], t.at.vip)


async def conflicts_and_nonsense(t: Table) -> None:
    """Another service with our addresses and ports, and endpoints without sense, harm nobody."""
    later = KEY._replace(name="web2")
    bad = slice_of()
    bad["addressType"] = "IPv6" if t.at is V6 else "IPv4"
    bad["endpoints"] = [{"addresses": [address]} for address in ("", "x", "10.42.0.999", "::g")]
    bad["endpoints"].append({"addresses": [t.at.pod(7)], "nodeName": "node"})
    rival = web(clusterIP=t.at.vip, clusterIPs=[t.at.vip], externalIPs=["no address"])
    await t.serve(5)
    t.rules.set_service(later, rival, [bad])
    await t.rules.apply()
    assert {(await t.ask(t.world.node, t.at.vip))[0] for _ in range(12)} == {"pod5"}
    assert (await t.ask(t.world.outside, t.at.node, 30080))[0] == "pod5"
    t.rules.set_service(KEY, None, [])
    await t.rules.apply()
    assert {(await t.ask(t.world.node, t.at.vip))[0] for _ in range(12)} == {"pod7"}
    t.rules.set_service(later, None, [])
    await t.rules.apply()
    assert await t.silent(t.world.node, t.at.vip)


FEATURES: tuple[Feature, ...] = (
    cluster_ip,
    hairpin,
    node_port,
    external_ip,
    load_balancer_and_source_ranges,
    session_affinity_and_its_timeout,
    external_traffic_policy,
    internal_traffic_policy,
    terminating_endpoints,
    hints,
    datagrams,
    no_endpoints,
    not_proxied,
    conflicts_and_nonsense,
)


@pytest.fixture(params=[(mode, at) for mode in sorted(MODES) for at in (V4, V6)],
                ids=lambda param: f"{param[0]}-{'ipv6' if param[1] is V6 else 'ipv4'}")  # fmt: skip
def table(
    request: pytest.FixtureRequest, namespaces: Callable[[str], Any], tmp_path: Path
) -> Table:
    return Table(World(namespaces, tmp_path), *request.param)


def test_whatever_a_service_says_is_done(table: Table) -> None:
    async def scenario() -> None:
        failed = []
        for feature in FEATURES:
            try:
                async with asyncio.timeout(120):
                    await feature(table)
            except (AssertionError, OSError) as error:
                where = "".join(traceback.format_tb(error.__traceback__)[-4:])
                failed.append(f"{feature.__name__}: {type(error).__name__} {error}\n{where}")
        await table.rules.close()
        assert not failed, "\n".join(failed)

    table.world.node.run(scenario)

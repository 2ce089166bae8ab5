"""What services cost: to load, to change, and to send through, beside a bare bridge.

All in network namespaces, so it takes root.
"""

import asyncio
import os
import resource
import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from minikube_py.agent.proxy.endpoints import Node
from minikube_py.agent.proxy.rules import ProxyConfig
from minikube_py.agent.proxy.run import ServiceRules
from minikube_py.api.endpointslices import ENDPOINTSLICES
from minikube_py.api.object import Key
from minikube_py.client.http import HttpClient
from minikube_py.client.kubeconfig import load
from tests.bench.names import names
from tests.bench.report import Figure
from tests.bench.throughput import throughput
from tests.e2e.cluster import Cluster
from tests.e2e.conformance.net import Net, pod, service, web
from tests.e2e.network.conftest import Namespace

SERVICES, ENDPOINTS, CHANGES, WRITES = 5000, 10, 100, 20
NODES, CHANGED = 500, 1
"""Of the cluster whose services are loaded: a hundred endpoints are on each."""
CONFIG = ProxyConfig(
    node=Node(name="node"), cluster_cidr="10.42.0.0/16", service_cidr="10.43.0.0/16"
)


async def network(scale: float) -> list[Figure]:
    """Measure; only names without root."""
    asked = await names(scale)
    return asked if os.geteuid() else [*await asyncio.to_thread(_measure, scale), *asked]


def _measure(scale: float) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="kpyb-", dir="/tmp") as folder, _namespaces() as make:
        node = make("node")
        figures = [*_rules(node, scale), *throughput(make, Path(folder), CONFIG)]
    return [*figures, *_to_packet()]


@contextmanager
def _namespaces() -> Iterator[Any]:
    made: list[Namespace] = []

    def make(name: str) -> Namespace:
        made.append(Namespace(f"{name}-{uuid.uuid4().hex[:6]}"))
        return made[-1]

    try:
        yield make
    finally:
        for namespace in made:
            namespace.close()


def _web(number: int) -> dict[str, Any]:
    address = f"10.43.{1 + number // 250}.{number % 250}"
    return {
        "metadata": {"namespace": "default", "name": f"s{number}"},
        "spec": {
            "clusterIP": address,
            "clusterIPs": [address],
            "ports": [{"protocol": "TCP", "port": 80, "targetPort": 8080}],
        },
        "status": {},
    }


def _slice(number: int, first: int = 0) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "default",
            "name": f"s{number}-1",
            "labels": {"kubernetes.io/service-name": f"s{number}"},
        },
        "addressType": "IPv4",
        "ports": [{"protocol": "TCP", "port": 8080}],
        "endpoints": [_endpoint(number * ENDPOINTS + n + first) for n in range(ENDPOINTS)],
    }


def _endpoint(number: int) -> dict[str, Any]:
    """Return an endpoint as the controller writes it, on one of as many nodes as it takes."""
    node, place = number % NODES, number // NODES
    return {
        "addresses": [f"10.{60 + node // 250}.{node % 250}.{place}"],
        "nodeName": f"node{node}" if node else "node",
        "conditions": {"ready": True, "serving": True, "terminating": False},
        "targetRef": {"kind": "Pod", "namespace": "default", "name": f"s-{number}"},
    }


def _cpu() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def _rules(node: Namespace, scale: float) -> list[Figure]:
    """Load many services, then change an endpoint of one again and again."""
    count = max(int(SERVICES * scale), 100)
    rules = ServiceRules(CONFIG)
    before, cpu_before = _resident_megabytes(), _cpu()
    begun = time.perf_counter()
    for number in range(count):
        rules.set_service(Key("default", f"s{number}"), _web(number), [_slice(number)])
    derived = time.perf_counter() - begun
    node.run(rules.apply)
    loaded = time.perf_counter() - begun
    more, spent = _resident_megabytes() - before, _cpu() - cpu_before

    async def change() -> tuple[float, float]:
        took, cpu = [], _cpu()
        for number in range(CHANGES):
            at = time.perf_counter()
            changed = [_slice(number, CHANGED)]
            rules.set_service(Key("default", f"s{number}"), _web(number), changed)
            await rules.apply()
            took.append(time.perf_counter() - at)
        return statistics.median(took), (_cpu() - cpu) / CHANGES

    took, cpu = node.run(change)
    what = f"{count} services of {ENDPOINTS} endpoints"
    return [
        Figure(
            "services, loaded", loaded, "s", 1.0,
            f"{what} on {NODES} nodes; {derived:.2f} s to derive; {spent:.2f} s CPU, nft included; "
            f"RSS grows by {more:.0f} MB",
        ),
        Figure(
            "an endpoint, changed", cpu * 1e3, "ms", 2.0,
            f"CPU, nft included, among {what}; p50 {took * 1e3:.1f} ms",
        ),
    ]  # fmt: skip


def _resident_megabytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def _to_packet() -> list[Figure]:
    """Write an EndpointSlice and connect until the other pod answers."""
    with tempfile.TemporaryDirectory(prefix="kpyb-", dir="/tmp") as folder:
        cluster = Cluster(Path(folder))
        try:
            cluster.start()
            cluster.kubectl("wait", "--for=create", "serviceaccount/default")
            net = Net(cluster, "default")
            made = service("moving", None, {"port": 80, "targetPort": 8080})
            del made["spec"]["selector"]
            net.make(web("first"), web("second"), pod("client"), made)
            took = cluster.machine.run(lambda: _moved(cluster, net))
        finally:
            cluster.close()
    note = f"p50 of {WRITES}; slowest {max(took) * 1e3:.0f} ms; API, watch, kube-proxy, nft"
    return [Figure("EndpointSlice to packet", statistics.median(took) * 1e3, "ms", 20.0, note)]


async def _moved(cluster: Cluster, net: Net) -> list[float]:
    places = {name: net.get("pod", name)["status"]["podIP"] for name in ("first", "second")}
    vip = net.get("service", "moving")["spec"]["clusterIP"]
    client = HttpClient(load(cluster.kubeconfig))
    piece = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "moving-1",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": "moving"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [places["first"]]}],
        "ports": [{"port": 8080, "protocol": "TCP", "name": ""}],
    }
    took = []
    try:
        await client.create(ENDPOINTSLICES, piece)
        await _answers(vip, "first")
        for turn in range(WRITES):
            name = ("second", "first")[turn % 2]
            patch = {"endpoints": [{"addresses": [places[name]]}]}
            begun = time.perf_counter()
            await client.patch(ENDPOINTSLICES, "moving-1", patch, "default")
            await _answers(vip, name)
            took.append(time.perf_counter() - begun)
            await asyncio.sleep(0.3)
    finally:
        await client.close()
    return took


async def _answers(address: str, name: str) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                reader, writer = await asyncio.open_connection(address, 80)
                writer.write(b"GET / HTTP/1.0\r\n\r\n")
                data = await reader.read()
                writer.close()
            except OSError:
                continue
            if data.endswith(f"{name}\n".encode()):
                return

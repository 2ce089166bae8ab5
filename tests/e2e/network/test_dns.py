"""Cluster DNS in a namespace: asked by a pod and by the node, on an address that rules spare."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dnslib
import pytest

from minikube_py.agent.dns.run import DnsConfig, run_dns
from minikube_py.agent.network import run as network
from minikube_py.agent.proxy.endpoints import Node
from minikube_py.agent.proxy.rules import ProxyConfig
from minikube_py.agent.proxy.run import ServiceRules
from minikube_py.api.core import NAMESPACES, SERVICES
from minikube_py.api.object import Key
from minikube_py.client.informer import Informers
from minikube_py.lib.clock import SystemClock
from minikube_py.lib.tasks import Nursery
from tests.model_cluster import ModelCluster

pytestmark = pytest.mark.e2e
ADDRESS = "10.43.0.10"


def ask(name: str) -> list[str]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(2)
        client.connect((ADDRESS, 53))
        client.send(dnslib.DNSRecord.question(name).pack())
        return [str(rr.rdata) for rr in dnslib.DNSRecord.parse(client.recv(2000)).rr]


def kube_dns() -> dict[str, Any]:
    return {
        "metadata": {"namespace": "kube-system", "name": "kube-dns"},
        "spec": {
            "clusterIP": ADDRESS,
            "clusterIPs": [ADDRESS],
            "ports": [{"name": "dns", "protocol": "UDP", "port": 53}],
        },
    }


def test_pods_and_the_node_ask_the_node_under_the_address_of_the_service(
    namespaces: Callable[[str], Any], tmp_path: Path
) -> None:
    node, pod = namespaces("node"), namespaces("pod")
    config = network.NetworkConfig(
        node_name="node",
        node_ip="127.0.0.1",
        cluster_cidr="10.42.0.0/16",
        service_cidr="10.43.0.0/16",
        cni_conf_dir=tmp_path / "conf",
        cni_state_dir=tmp_path / "state",
    )
    node.run(lambda: network.PodNetwork(config).set_up(["10.42.0.0/24"]))
    node.sh("ip", "link", "add", "veth0", "type", "veth", "peer", "eth0", "netns", pod.name)
    node.sh("ip", "link", "set", "veth0", "master", "cni0", "up")
    pod.sh("ip", "addr", "add", "10.42.0.5/24", "dev", "eth0")
    pod.sh("ip", "link", "set", "eth0", "up")
    pod.sh("ip", "route", "add", "default", "via", "10.42.0.1")
    node.serve_name("0.0.0.0", 8080)
    pod.ask("10.42.0.1", 8080)  # the bridge port forwards from now on
    rules = ServiceRules(
        ProxyConfig(
            node=Node(name="node"),
            cluster_cidr="10.42.0.0/16",
            service_cidr="10.43.0.0/16",
            local_addresses=frozenset({ADDRESS}),
        )
    )
    rules.set_service(Key("kube-system", "kube-dns"), kube_dns(), [])
    node.run(rules.apply)
    cluster = ModelCluster(SystemClock())
    cluster.write(NAMESPACES, {"metadata": {"name": "kube-system"}})
    cluster.write(SERVICES, kube_dns())
    resolv_conf = tmp_path / "resolv.conf"
    resolv_conf.write_text("")

    async def scenario() -> None:
        async with (
            Informers(cluster.client(), SystemClock()) as informers,
            Nursery("test") as nursery,
        ):
            dns = DnsConfig(addresses=(ADDRESS,), resolv_conf=resolv_conf)
            nursery.start("dns", run_dns(informers, dns))
            for who in (node, pod):
                answer = await answered(who)
                assert answer == [ADDRESS]

    async def answered(who: Any) -> list[str]:
        name = "kube-dns.kube-system.svc.cluster.local"
        for _ in range(100):
            try:
                found: list[str] = await asyncio.to_thread(who.call, lambda: ask(name))
            except OSError:
                await asyncio.sleep(0.05)
            else:
                return found
        raise AssertionError("nobody answers")

    node.run(scenario)

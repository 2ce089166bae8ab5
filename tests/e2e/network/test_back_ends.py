"""Pods of two nodes reach each other through each back end: real links, real packets.

A node is a network namespace, and an address on a link of its own stands for its pods.
"""

import asyncio
import ctypes
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from minikube_py.agent.network import kernel, links, run, wireguard
from minikube_py.agent.network.link_events import link_events
from minikube_py.agent.network.routes import Change, Peer, State
from tests.e2e.node.machine import wait_until

pytestmark = pytest.mark.e2e
CLONE_NEWNS = 0x20000
SOCKETS = Path("/run/wireguard")
libc = ctypes.CDLL(None, use_errno=True)
BACKENDS = ("host-gw", "vxlan", "wireguard")


class Node:
    """A namespace with a pod network, in the order of what `run_network` does."""

    def __init__(self, number: int, namespace: Any, folder: Path, backend: str) -> None:
        self.namespace = namespace
        self.address = f"192.168.77.{number}"
        self.config = run.NetworkConfig(
            node_name=f"n{number}",
            node_ip=self.address,
            cluster_cidr="10.42.0.0/16,fd42::/56",
            service_cidr="10.43.0.0/16",
            cni_conf_dir=folder / f"conf{number}",
            cni_state_dir=folder / f"state{number}",
            backend=backend,
            key_dir=folder / f"agent{number}",
        )
        key = wireguard.public_key(wireguard.private_key(self.config.key_dir))
        cidrs = (f"10.42.{number}.0/24", f"fd42:0:0:{number}::/64")
        addresses = (self.address, f"fd77::{number}")
        self.peer = Peer(f"n{number}", cidrs, addresses, key)
        self.pods = (f"10.42.{number}.5", f"fd42:0:0:{number}::5")
        self.sockets = folder / f"sockets{number}"
        self.sockets.mkdir()

    def inside(self, work: Callable[[], Any]) -> Any:
        """Run a function in the namespace, with a folder of its own for wireguard-go's socket."""

        def enter() -> Any:
            assert libc.unshare(CLONE_NEWNS) == 0
            SOCKETS.mkdir(exist_ok=True)
            subprocess.run(["mount", "--make-rprivate", "/"], check=True)
            subprocess.run(["mount", "--bind", str(self.sockets), str(SOCKETS)], check=True)
            return work()

        return self.namespace.call(enter)

    def connect(self, others: Sequence[Peer]) -> bool:
        async def steps() -> bool:
            network = run.PodNetwork(self.config)
            await network.set_up(self.peer.pod_cidrs)
            return await network.connect(self.peer, others)

        return bool(self.inside(lambda: asyncio.run(steps())))


@pytest.fixture
def pair(
    namespaces: Callable[[str], Any], tmp_path: Path, backend: str
) -> Iterator[tuple[Node, Node]]:
    spaces = [namespaces("node"), namespaces("other")]
    spaces[0].sh("ip", "link", "add", "eth0", "type", "veth", "peer", "eth0",
                 "netns", spaces[1].name)  # fmt: skip
    made = []
    for number, space in enumerate(spaces, start=1):
        space.sh("ip", "link", "set", "eth0", "up")
        space.sh("ip", "address", "add", f"192.168.77.{number}/24", "dev", "eth0")
        space.sh("ip", "address", "add", f"fd77::{number}/64", "dev", "eth0", "nodad")
        made.append(Node(number, space, tmp_path, backend))
        space.sh("ip", "link", "add", "pods", "type", "bridge")
        space.sh("ip", "link", "set", "pods", "up")
        for pod in made[-1].pods:
            bits = "128" if ":" in pod else "32"
            space.sh("ip", "address", "add", f"{pod}/{bits}", "dev", "pods", "nodad")
    yield made[0], made[1]
    for space in spaces:  # wireguard-go ends with its link
        space.sh("sh", "-c", "ip link del kpy-wg 2>/dev/null || true")


def reached(source: Node, target: Node, pod: int) -> bool:
    """Tell whether a pod answers a pod; both keep their own addresses on the way."""
    line = ("ping", "-q", "-W1", "-c1", "-I", source.pods[pod], target.pods[pod])
    return " 0% packet loss" in source.namespace.sh("sh", "-c", f"busybox {' '.join(line)} || true")


@pytest.mark.parametrize("backend", BACKENDS)
def test_pods_of_two_nodes_reach_each_other_in_both_families(pair: tuple[Node, Node]) -> None:
    one, two = pair
    for _ in range(2):  # a second start finds everything and changes nothing
        assert one.connect([two.peer])
        assert two.connect([one.peer])
    for pod in (0, 1):
        wait_until(lambda pod=pod: reached(one, two, pod), 15, f"{one.pods[pod]} reaches")
        wait_until(lambda pod=pod: reached(two, one, pod), 15, f"{two.pods[pod]} reaches")


@pytest.mark.parametrize("backend", ["vxlan", "wireguard"])
def test_a_node_that_goes_leaves_nothing_and_the_last_takes_the_link_along(
    pair: tuple[Node, Node],
) -> None:
    one, two = pair
    third = Peer("n3", ("10.42.3.0/24",), ("192.168.77.3",), two.peer.public_key)
    assert one.connect([two.peer, third])
    assert one.connect([two.peer])
    found = one.namespace.call(links.read)
    assert found.link is not None
    assert {route.cidr for route in found.routes} == set(two.peer.pod_cidrs)
    assert one.connect([])
    assert one.namespace.call(links.read) == State()


@pytest.mark.parametrize("backend", ["vxlan", "wireguard"])
def test_a_node_with_a_new_address_is_found_again(pair: tuple[Node, Node]) -> None:
    one, two = pair
    assert one.connect([two.peer])
    assert two.connect([one.peer])
    two.namespace.sh("ip", "address", "flush", "dev", "eth0", "scope", "global")
    two.namespace.sh("ip", "address", "add", "192.168.77.9/24", "dev", "eth0")
    moved = two.peer._replace(addresses=("192.168.77.9",))
    two.config = replace(two.config, node_ip="192.168.77.9")
    assert two.connect([one.peer])
    assert one.connect([moved])
    wait_until(lambda: reached(one, two, 0), 15, "the pod is reached at the node's new address")


@pytest.mark.parametrize("backend", ["vxlan"])
def test_packets_of_pods_are_smaller_by_the_headers(pair: tuple[Node, Node]) -> None:
    one, two = pair
    assert one.connect([two.peer])
    for link in ("cni0", "kpy-vxlan"):
        shown = orjson.loads(one.namespace.sh("ip", "-j", "link", "show", link))
        assert shown[0]["mtu"] == 1450


@pytest.mark.parametrize("backend", ["wireguard"])
def test_a_private_key_is_on_no_command_line_and_in_no_log(
    pair: tuple[Node, Node], caplog: pytest.LogCaptureFixture
) -> None:
    one, two = pair
    assert one.connect([two.peer])
    private = wireguard.private_key(one.config.key_dir)
    assert private not in caplog.text
    shown = one.inside(
        lambda: subprocess.run(["wg", "show", "kpy-wg", "peers"], check=True, capture_output=True)
    )
    assert two.peer.public_key in shown.stdout.decode()


@pytest.mark.parametrize("backend", ["vxlan"])
def test_a_link_that_others_remove_is_told(pair: tuple[Node, Node]) -> None:
    one, two = pair
    assert one.connect([two.peer])
    link = one.namespace.call(links.read).link

    async def scenario() -> None:
        gone = asyncio.Event()
        with link_events({"kpy-vxlan"}, lambda: "eth0", gone.set):
            await asyncio.to_thread(one.namespace.sh, "ip", "link", "add", "x", "type", "bridge")
            await asyncio.to_thread(one.namespace.sh, "ip", "link", "del", "x")
            assert not gone.is_set()
            change = Change(link, is_wanted=False)
            await asyncio.to_thread(one.namespace.call, lambda: links.change([change]))
            async with asyncio.timeout(60):
                await gone.wait()

    one.namespace.run(scenario)
    assert not one.namespace.call(lambda: kernel.has_link("kpy-vxlan"))

"""How fast two pods send to each other: over a bare bridge, over ours and through a service.

Measured in turns, the same bytes each time. Of speeds the best counts, for what disturbs only takes
away; of the CPU time of both ends the median, which also a busy machine tells within some percent.
"""

import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from minikube_py.agent.network import run as pod_network
from minikube_py.agent.proxy.rules import ProxyConfig
from minikube_py.agent.proxy.run import ServiceRules
from minikube_py.api.object import Key, Obj
from tests.bench.report import Figure
from tests.e2e.network.conftest import Namespace

TURNS, MEGABYTES = 10, 400
PORT = 9000
SENDER, RECEIVER, SERVICE = "10.42.0.5", "10.42.0.6", "10.43.0.9"
RECEIVE = """
import socket
server = socket.create_server(("0.0.0.0", 9000))
print("ready", flush=True)
while True:
    client, _ = server.accept()
    while client.recv(1 << 20):
        pass
    client.close()
"""
SEND = """
import socket, sys, time
client = socket.create_connection((sys.argv[1], 9000))
data, count = bytes(1 << 20), int(sys.argv[2])
begun, cpu = time.perf_counter(), time.process_time()
for _ in range(count):
    client.sendall(data)
print(time.perf_counter() - begun, time.process_time() - cpu)
"""
NAMES = ("pod to pod, slower than a bare bridge", "service, slower than a bare bridge")


class Turn(NamedTuple):
    """What it took to send."""

    seconds: float
    cpu_seconds: float
    """Of both ends."""


class Way(NamedTuple):
    """From where to where."""

    sender: Namespace
    address: str
    receiver: "subprocess.Popen[bytes]"

    def send(self) -> Turn:
        """Send once."""
        before = self._cpu_seconds()
        line = (sys.executable, "-c", SEND, self.address, str(MEGABYTES))
        took, cpu = map(float, self.sender.sh(*line).split())
        return Turn(took, cpu + self._cpu_seconds() - before)

    def _cpu_seconds(self) -> float:
        return int(Path(f"/proc/{self.receiver.pid}/schedstat").read_text().split()[0]) / 1e9


def throughput(make: Any, folder: Path, config: ProxyConfig) -> list[Figure]:
    """Measure all ways in turns."""
    bare, ours = make("bare"), make("ours")
    bare.sh("ip", "link", "add", "cni0", "type", "bridge")
    bare.sh("ip", "link", "set", "cni0", "up")
    bare.sh("sh", "-c", "for f in /proc/sys/net/bridge/bridge-nf-call-*; do echo 0 > $f; done")
    _set_up(ours, folder, config)
    receivers: list[subprocess.Popen[bytes]] = []
    try:
        plain, own = (_way(make, node, receivers) for node in (bare, ours))
        ways = (plain, own, own._replace(address=SERVICE))
        turns = [[way.send() for way in ways] for _ in range(TURNS)]
    finally:
        for process in receivers:
            process.kill()
            process.communicate()
    return [_figure(name, turns, place) for place, name in enumerate(NAMES, start=1)]


def _set_up(node: Namespace, folder: Path, config: ProxyConfig) -> None:
    """Have our bridge and rules with one service."""
    network = pod_network.NetworkConfig(
        node_name="node", node_ip="127.0.0.1", cluster_cidr=config.cluster_cidr,
        service_cidr=config.service_cidr, cni_conf_dir=folder / "c", cni_state_dir=folder / "s",
    )  # fmt: skip
    node.run(lambda: pod_network.PodNetwork(network).set_up(["10.42.0.0/24"]))
    service: Obj = {
        "metadata": {"namespace": "default", "name": "s"},
        "spec": {"clusterIPs": [SERVICE], "ports": [{"protocol": "TCP", "port": PORT}]},
    }
    piece: Obj = {
        "addressType": "IPv4",
        "ports": [{"protocol": "TCP", "port": PORT}],
        "endpoints": [{"addresses": [RECEIVER], "nodeName": "node"}],
    }
    rules = ServiceRules(config)
    rules.set_service(Key("default", "s"), service, [piece])
    node.run(rules.apply)


def _way(make: Any, node: Namespace, receivers: list["subprocess.Popen[bytes]"]) -> Way:
    sender, receiver = (_pod(make, node, address) for address in (SENDER, RECEIVER))
    line = ["nsenter", f"--net={receiver.path}", sys.executable, "-c", RECEIVE]
    process = subprocess.Popen(line, stdout=subprocess.PIPE)
    receivers.append(process)
    assert process.stdout is not None
    process.stdout.readline()
    return Way(sender, RECEIVER, process)


def _pod(make: Any, node: Namespace, address: str) -> Namespace:
    number = address.rpartition(".")[2]
    made: Namespace = make(f"pod{number}")
    link = f"veth{number}"
    node.sh("ip", "link", "add", link, "type", "veth", "peer", "eth0", "netns", made.name)
    node.sh("ip", "link", "set", link, "master", "cni0", "up")
    made.sh("ip", "addr", "add", f"{address}/24", "dev", "eth0")
    made.sh("ip", "link", "set", "eth0", "up")
    made.sh("ip", "route", "add", "default", "via", "10.42.0.1")
    return made


def _figure(name: str, turns: Sequence[Sequence[Turn]], place: int) -> Figure:
    bare, best = (min(turn[at].seconds for turn in turns) for at in (0, place))
    cpu = statistics.median(turn[place].cpu_seconds / turn[0].cpu_seconds for turn in turns)
    speeds = f"{MEGABYTES / best:.0f} MB/s, bare {MEGABYTES / bare:.0f}; best of {TURNS}"
    note = f"{speeds}; CPU of both ends {cpu - 1:+.1%}, median"
    return Figure(name, (1 - bare / best) * 100, "%", 5.0, note)

"""`kpy check network` names the hop that fails, whichever it is, on a real cluster of two."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.cluster import BIN, Cluster
from tests.e2e.node.machine import wait_until

pytestmark = pytest.mark.e2e


def walked(cluster: Cluster, node: int = 0) -> subprocess.CompletedProcess[str]:
    machine = (cluster.machine, *(worker.machine for worker in cluster.workers))[node]
    folder = cluster.folder / machine.name
    line = [str(BIN / "kpy"), "check", "network", "--data-dir", str(folder)]
    inside = machine.inside(line)
    return subprocess.run(inside, check=False, capture_output=True, text=True, timeout=120)


@contextmanager
def dropped(cluster: Cluster, *rules: str) -> Iterator[None]:
    """Have n1 drop packets for the length of the block; a rule begins with its hook."""
    made = ""
    for hook in ("prerouting", "output"):
        chain = f"add chain inet broken {hook} {{ type filter hook {hook} priority -300; }};"
        own = (rule for rule in rules if rule.startswith(hook))
        made += chain + "".join(f"add rule inet broken {rule} drop;" for rule in own)
    cluster.machine.sh("nft", f"add table inet broken; {made}")
    try:
        yield
    finally:
        cluster.machine.sh("nft", "delete", "table", "inet", "broken")


def failing(done: subprocess.CompletedProcess[str]) -> list[str]:
    lines = done.stdout.splitlines()
    found = [line.split("  ")[2].strip() for line in lines if line.startswith("FAIL")]
    assert done.returncode == int(bool(found)), done.stdout + done.stderr
    return found


@pytest.mark.parametrize("node", [0, 1])
def test_every_hop_is_well_from_each_node(two_nodes: Cluster, node: int) -> None:
    other = ("n2", "n1")[node]

    def all_well() -> bool:
        done = walked(two_nodes, node)
        return not failing(done) and f"pods of {other}" in done.stdout

    wait_until(all_well, 60, "the network is up")
    look = ("ip", "-o", "link", "show", "master", "cni0")
    wait_until(
        lambda: len(two_nodes.machine.sh(*look).splitlines()) == len(own_pods(two_nodes)),
        60,
        lambda: f"nothing is left of the check: {two_nodes.machine.sh(*look)}",
    )


def own_pods(cluster: Cluster) -> list[str]:
    pods = cluster.get("pods", "-A")["items"]
    return [p["metadata"]["name"] for p in pods if p["spec"].get("nodeName") == "n1"]


POD = "prerouting iifname cni0"
BROKEN = {
    "pod -> node": (f"{POD} icmp type echo-request",),
    "pod -> service, pod -> DNS, large packets to n2": (
        f"{POD} ip daddr 10.43.0.1",
        f"{POD} udp dport 53",
        "output udp dport 8472 udp length > 1400",
    ),
    "pod -> pods of n2": ("output udp dport 8472",),
}


def named(cluster: Cluster, *hops: str) -> subprocess.CompletedProcess[str]:
    """Wait until a walk fails at just these hops: on a busy machine others may be late once."""
    last = walked(cluster)

    def true() -> subprocess.CompletedProcess[str] | None:
        nonlocal last
        last = walked(cluster)
        return last if failing(last) == list(hops) else None

    if failing(last) == list(hops):
        return last
    found: subprocess.CompletedProcess[str] = wait_until(
        true, 60, lambda: f"{hops} are named: {last.stdout}"
    )
    return found


@pytest.mark.parametrize("names", BROKEN)
def test_the_hops_that_are_broken_are_named(two_nodes: Cluster, names: str) -> None:
    with dropped(two_nodes, *BROKEN[names]):
        done = named(two_nodes, *names.split(", "))
    assert done.stdout.count("cause:") == done.stdout.count("remedy:") == len(names.split(", "))


def test_a_cut_cable_is_named(two_nodes: Cluster) -> None:
    assert two_nodes.fabric is not None
    ends = (two_nodes.machine, two_nodes.workers[0].machine)
    two_nodes.fabric.cut(*ends)
    try:
        named(two_nodes, "pod -> node n2")
    finally:
        two_nodes.fabric.mend(*ends)


def test_a_machine_that_is_no_node_is_told(two_nodes: Cluster) -> None:
    line = [str(BIN / "kpy"), "check", "network", "--data-dir", "/nowhere"]
    done = subprocess.run(
        two_nodes.inside(line), check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "/nowhere is not that of a node" in done.stderr

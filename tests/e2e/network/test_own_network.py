"""`--network-backend=none`: another program's CNI configuration connects the pods, kpy the rest."""

import json
from collections.abc import Iterator

import pytest

from tests.e2e.cluster import READY_SECONDS, Cluster
from tests.e2e.conformance.net import Net, pod, service, web
from tests.e2e.node.machine import wait_until

pytestmark = pytest.mark.e2e
CIDR = "10.99.0.0/16"
CONFIG = {
    "cniVersion": "1.0.0",
    "name": "theirs",
    "plugins": [
        {"type": "ptp", "ipam": {"type": "host-local", "dataDir": "/run/theirs",
                                 "subnet": CIDR, "routes": [{"dst": "0.0.0.0/0"}]}},
    ],
}  # fmt: skip
FOLDERS = """
mount -t tmpfs none /mnt && mkdir /mnt/up /mnt/work
mount -t overlay overlay -o lowerdir=/etc,upperdir=/mnt/up,workdir=/mnt/work /etc
mount -t tmpfs none /opt && mkdir -p /opt/cni && ln -s /usr/lib/cni /opt/cni/bin
"""
"""Gives a machine an /etc and an /opt that are its own."""


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    flags = ("--network-backend=none", f"--cluster-cidr={CIDR}")
    made = Cluster(tmp_path_factory.mktemp("theirs"), flags=flags)
    try:
        made.machine.sh("sh", "-ec", FOLDERS)
        made.start(with_node=False)
        yield made
    finally:
        made.close()


def condition(cluster: Cluster) -> tuple[str, str]:
    """Return whether the node is ready, and what it says of it; it may not be there yet."""
    node = cluster.get("nodes")["items"][0]
    found = [one for one in node["status"]["conditions"] if one["type"] == "Ready"][0]  # noqa: RUF015
    return found["status"], found["message"]


def test_a_node_waits_for_the_network_of_another_program_and_works_with_it(
    theirs: Cluster,
) -> None:
    what = "cni plugin not initialized"
    wait_until(lambda: theirs.get("nodes")["items"], READY_SECONDS, "there is a node")
    wait_until(lambda: what in condition(theirs)[1], READY_SECONDS, lambda: str(condition(theirs)))
    assert condition(theirs)[0] == "False"
    place = "cat > /etc/cni/net.d/10-theirs.conflist"
    theirs.machine.sh("sh", "-ec", f"{place} <<'END'\n{json.dumps(CONFIG)}\nEND")
    theirs.wait_ready("n1")
    theirs.kubectl("create", "namespace", "own")
    theirs.kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=120s", "-n", "own")
    net = Net(theirs, "own")
    net.make(pod("client"), web("target"), service("target", {"name": "target"}))
    address = net.get("pod", "target")["status"]["podIP"]
    assert address.startswith("10.99.")
    net.reaches(f"{address}:8080", "target")
    wait_until(lambda: net.ask("target") == "target", 30, "the service has its name and answers")
    assert net.do("exec", "target", "--", "hostname").strip() == "target"
    links = theirs.machine.sh("ip", "-o", "link")
    assert "cni0" not in links
    assert "kpy-vxlan" not in links

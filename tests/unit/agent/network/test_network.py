"""The pod network is decided by pure functions: addresses, configuration, rules, routes."""

from pathlib import Path

import orjson
import pytest

from minikube_py.agent.network import addresses, cni, masquerade
from minikube_py.agent.network.addresses import LinkAddress
from minikube_py.lib.errors import StartError

NETWORK = cni.BridgeNetwork(
    pod_cidrs=("10.42.3.0/24",), bridge="cni0", mtu=1400, state_dir=Path("/state")
)


def test_the_first_global_address_is_ipv4_and_not_of_a_local_link() -> None:
    found = [
        LinkAddress("lo", "127.0.0.1"),
        LinkAddress("cni0", "10.42.0.1"),
        LinkAddress("eth0", "fe80::1"),
        LinkAddress("eth0", "fd00::2"),
        LinkAddress("eth0", "192.168.7.5"),
    ]
    assert addresses.first_global(found) == "192.168.7.5"
    assert addresses.first_global(found[:4]) == "fd00::2"
    assert addresses.first_global(found[:3]) == ""


def test_a_node_ip_that_is_no_address_is_refused() -> None:
    with pytest.raises(StartError, match="--node-ip 'localhost' is not an IP address"):
        addresses.detect_node_ip("localhost")


def test_plugins_are_found_in_the_first_folder_that_holds_all(tmp_path: Path) -> None:
    empty, full = tmp_path / "empty", tmp_path / "full"
    for folder, names in ((empty, ("bridge",)), (full, cni.PLUGINS)):
        folder.mkdir()
        for name in names:
            (folder / name).touch()
    assert cni.find_plugins((empty, full)) == full
    with pytest.raises(StartError, match="install the package containernetworking-plugins"):
        cni.find_plugins((empty,))


def test_the_configuration_is_a_hairpin_bridge_with_portmap_and_no_masquerade() -> None:
    bridge, portmap, bandwidth = cni.conflist(NETWORK)["plugins"]
    assert bandwidth == {"type": "bandwidth", "capabilities": {"bandwidth": True}}
    assert (bridge["type"], bridge["bridge"], bridge["mtu"]) == ("bridge", "cni0", 1400)
    assert bridge["hairpinMode"] is True
    assert bridge["isGateway"] is True
    assert bridge["ipMasq"] is False
    assert bridge["ipam"]["ranges"] == [[{"subnet": "10.42.3.0/24"}]]
    assert bridge["ipam"]["routes"] == [{"dst": "0.0.0.0/0"}]
    assert portmap["capabilities"] == {"portMappings": True}


def test_the_configuration_is_not_touched_where_it_is_right(tmp_path: Path) -> None:
    network = cni.BridgeNetwork(
        pod_cidrs=("10.42.3.0/24",), bridge="cni0", mtu=0, state_dir=tmp_path / "state"
    )
    cni.write_config(tmp_path / "conf", network)
    path = tmp_path / "conf" / cni.FILE_NAME
    first = path.stat()
    cni.write_config(tmp_path / "conf", network)
    assert path.stat().st_ino == first.st_ino
    assert orjson.loads(path.read_bytes()) == cni.conflist(network)


def test_the_gateway_is_the_first_address_of_the_network() -> None:
    assert cni.gateway("10.42.3.0/24") == "10.42.3.1/24"
    assert cni.gateway("fd42:0:0:3::/64") == "fd42:0:0:3::1/64"


def test_pods_are_masqueraded_towards_the_outside_only() -> None:
    text = masquerade.ruleset(("10.42.3.0/24",), ("10.42.0.0/16",))
    assert (
        "ip saddr 10.42.3.0/24 ip daddr != { 10.42.0.0/16 } "
        "ip daddr != 224.0.0.0/4 masquerade fully-random"
    ) in text
    apart = masquerade.ruleset(("10.9.0.0/24",), ("10.42.0.0/16",))
    assert "!= { 10.9.0.0/24, 10.42.0.0/16 }" in apart

"""The pod network is decided by pure functions: addresses, configuration, rules, routes."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.agent.network import addresses, cni, masquerade, routes
from minikube_py.agent.network.addresses import LinkAddress
from minikube_py.lib.errors import StartError

NETWORK = cni.BridgeNetwork(
    pod_cidrs=("10.42.3.0/24",), bridge="cni0", mtu=1400, state_dir=Path("/state")
)


def node(name: str, cidr: str = "", ip: str = "", **status: Any) -> dict[str, Any]:
    spec = {"podCIDR": cidr, "podCIDRs": [cidr]} if cidr else {}
    entries = [{"type": "Hostname", "address": name}]
    entries += [{"type": "InternalIP", "address": ip}] if ip else []
    return {"metadata": {"name": name}, "spec": spec, "status": {"addresses": entries, **status}}


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
    bridge, portmap = cni.conflist(NETWORK)["plugins"]
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


def test_a_node_routes_to_all_others_that_have_a_network_and_an_address() -> None:
    nodes = [
        node("own", "10.42.0.0/24", "192.168.0.1"),
        node("b", "10.42.1.0/24", "192.168.0.2"),
        node("no-network", "", "192.168.0.3"),
        node("no-address", "10.42.3.0/24"),
        node("wrong-family", "10.42.4.0/24", "fd00::4"),
    ]
    assert routes.wanted_routes(nodes, "own") == {"10.42.1.0/24": "192.168.0.2"}


ROUTES = st.dictionaries(
    st.integers(0, 9).map(lambda n: f"10.42.{n}.0/24"),
    st.integers(1, 4).map(lambda n: f"192.168.0.{n}"),
)


@given(wanted=ROUTES, current=ROUTES)
def test_the_plan_turns_the_current_routes_into_the_wanted_ones(
    wanted: dict[str, str], current: dict[str, str]
) -> None:
    table = dict(current)
    for cidr, gateway in routes.plan(wanted, current):
        if gateway:
            table[cidr] = gateway
        else:
            del table[cidr]
    assert table == wanted
    assert not list(routes.plan(wanted, table))

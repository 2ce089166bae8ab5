"""Addresses that a node answers for: reached from the cable, moved to another node, and lapsing."""

from collections.abc import Callable
from typing import Any

import pytest

from minikube_py.agent.network import announced

pytestmark = pytest.mark.e2e
ADDRESSES = ("192.168.77.200", "fd77::200")


class Cable:
    """Two nodes and somebody else, on one switch."""

    def __init__(self, namespaces: Callable[[str], Any]) -> None:
        self.outside = namespaces("outside")
        self.outside.sh("ip", "link", "add", "switch", "type", "bridge")
        self.outside.sh("ip", "link", "set", "switch", "up")
        self.nodes = [self.node(namespaces(f"node{number}"), number) for number in (1, 2)]
        self.outside.sh("ip", "addr", "add", "192.168.77.9/24", "dev", "switch")
        self.outside.sh("ip", "addr", "add", "fd77::9/64", "dev", "switch", "nodad")

    def node(self, found: Any, number: int) -> Any:
        peer = ("peer", "name", "eth0", "netns", found.name)
        self.outside.sh("ip", "link", "add", f"port{number}", "type", "veth", *peer)
        self.outside.sh("ip", "link", "set", f"port{number}", "master", "switch", "up")
        found.sh("ip", "addr", "add", f"192.168.77.{number}/24", "dev", "eth0")
        found.sh("ip", "addr", "add", f"fd77::{number}/64", "dev", "eth0", "nodad")
        found.sh("ip", "link", "set", "eth0", "up")
        found.sh("sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
        found.serve_name("::", 8080, family=10)  # which takes IPv4 as well
        return found

    def keep(self, number: int, *addresses: str) -> list[str]:
        """Have a node answer for these addresses and say so."""

        def work() -> list[str]:
            uplink = announced.uplink_of(f"192.168.77.{number}")
            assert uplink is not None
            fresh = announced.keep(addresses, uplink)
            announced.announce(fresh, uplink)
            return fresh

        return list(self.nodes[number - 1].call(work))

    def who(self, address: str) -> str:
        family = 10 if ":" in address else 2
        return str(self.outside.ask(address, 8080, family=family)[0])[:5]


@pytest.fixture
def cable(namespaces: Callable[[str], Any]) -> Cable:
    return Cable(namespaces)


def test_an_address_is_answered_for_and_goes_over_to_another_node(cable: Cable) -> None:
    assert cable.keep(1, *ADDRESSES) == list(ADDRESSES)
    assert cable.keep(1, *ADDRESSES) == []
    assert [cable.who(address) for address in ADDRESSES] == ["node1", "node1"]
    cable.keep(1)
    assert announced.LINK not in cable.nodes[0].sh("ip", "link")
    assert "proxy" not in cable.nodes[0].sh("ip", "-6", "neigh", "show", "proxy")
    cable.keep(2, *ADDRESSES)
    assert [cable.who(address) for address in ADDRESSES] == ["node2", "node2"]


def test_an_address_lapses_unless_it_is_renewed(cable: Cable) -> None:
    cable.keep(1, *ADDRESSES)
    shown = cable.nodes[0].sh("ip", "addr", "show", "dev", announced.LINK)
    lives = [line.split()[1] for line in shown.splitlines() if "valid_lft" in line]
    finite = [int(life.removesuffix("sec")) for life in lives if life != "forever"]
    assert len(finite) == 2
    assert all(0 < life <= announced.LIFE_SECONDS for life in finite)

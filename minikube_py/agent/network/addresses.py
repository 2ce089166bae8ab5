"""Which address a node is known by: the one asked for, that of the default route, or the first.

A machine that has none is given one of its own, so that a cluster of one needs no network card.
"""

import ipaddress
import logging
from collections.abc import Iterable
from typing import NamedTuple

from minikube_py.agent.network import kernel
from minikube_py.agent.network.netlink import netlink
from minikube_py.lib.errors import StartError
from minikube_py.lib.net import default_route_address, is_address

log = logging.getLogger(__name__)
LOCAL_LINKS = ("lo", "kpy-", "cni", "veth", "docker", "br-", "virbr")
"""Links by the beginning of their names whose addresses nobody outside can reach."""
ALONE = "198.18.0.1"
"""Of a network that nobody routes to (RFC 2544), and that an Endpoints object may name."""


class LinkAddress(NamedTuple):
    """An address of a network interface."""

    link: str
    address: str


def detect_node_ip(wanted: str = "") -> str:
    """Return the address of this node; `wanted` is what `--node-ip` says, "" where nothing.

    Raises:
        StartError: `wanted` is no address.

    """
    if wanted:
        if not is_address(wanted):
            raise StartError(f"--node-ip {wanted!r} is not an IP address")
        return wanted
    return default_route_address() or first_global(read_addresses()) or _be_alone()


def _be_alone() -> str:
    """Give a machine without any network an address that its pods know it by; return that."""
    kernel.ensure_local_address(ALONE)
    log.info("this machine has no network: it is a node for itself, with address %s", ALONE)
    return ALONE


def first_global(addresses: Iterable[LinkAddress]) -> str:
    """Return the first address that others may reach, IPv4 before IPv6; "" where there is none."""
    reachable = [
        ipaddress.ip_address(entry.address)
        for entry in addresses
        if not entry.link.startswith(LOCAL_LINKS)
    ]
    usable = [
        address
        for address in reachable
        if not (address.is_loopback or address.is_link_local or address.is_multicast)
    ]
    return str(min(usable, key=lambda address: address.version)) if usable else ""


def read_addresses() -> list[LinkAddress]:
    """Ask the kernel for the addresses of all links that are up; takes a millisecond."""
    with netlink() as socket:
        links = {
            link["index"]: link.get("ifname")
            for link in socket.get_links()
            if link.get("state") == "up"
        }
        return [
            LinkAddress(links[address["index"]], address.get("address"))
            for address in socket.get_addr()
            if address["index"] in links
        ]

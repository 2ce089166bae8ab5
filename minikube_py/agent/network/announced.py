"""Addresses of services that this node answers for, as the kernel has them; blocking calls.

They stand on a link of their own, so that it is plain which are ours. For IPv4 the kernel answers
on every link for each address that it has anywhere; for IPv6 the uplink is told to speak for them.
An address lasts for less than a minute unless it is renewed: a node whose kpy has ended does not
answer for long, and the one that takes over is not contradicted.
"""

import contextlib
import socket
import struct
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

from minikube_py.agent.network.kernel import NO_DAD, UNIVERSE, set_switch
from minikube_py.agent.network.netlink import netlink, refusal

LINK = "kpy-lb"
LIFE_SECONDS = 40
"""Less than the 50 s after which a silent node is not ready, and another one answers."""
PROXY_FLAG = 0x08
"""NTF_PROXY: of a neighbour entry that says whom we speak for."""
BROADCAST = b"\xff" * 6
ETHERTYPE_ARP = 0x0806
ALL_NODES = "ff02::1"
NEIGHBOUR_ADVERTISEMENT, OVERRIDE, TARGET_LINK_ADDRESS = 136, 0x20000000, 2
"""RFC 4861, 4.4 and 4.6.1."""


class Uplink(NamedTuple):
    """The link by which others reach this node."""

    number: int
    name: str
    mac: bytes


def uplink_of(node_ip: str) -> Uplink | None:
    """Return the link that has the node's address, or None."""
    with netlink() as sock:
        for entry in sock.get_addr():
            if entry.get("address") == node_ip:
                link = next(iter(sock.get_links(entry["index"])))
                mac = bytes.fromhex((link.get("address") or "").replace(":", ""))
                return Uplink(entry["index"], link.get("ifname"), mac)
    return None


def keep(wanted: Iterable[str], uplink: Uplink) -> list[str]:
    """Have exactly these addresses, for as long as they last; return those that are new."""
    names = set(wanted)
    with netlink() as sock:
        found = sock.link_lookup(ifname=LINK)
        if not found and not names:
            return []
        if not found:
            sock.link("add", ifname=LINK, kind="bridge")  # a dummy is a module, which may lack
            found = sock.link_lookup(ifname=LINK)
        index = int(found[0])
        sock.link("set", index=index, state="up")
        current = {
            entry.get("address")
            for entry in sock.get_addr(index=index)
            if entry["scope"] == UNIVERSE
        }
        for address in current - names:
            sock.addr("del", index=index, address=address, prefixlen=_bits(address))
            _speak_for(sock, address, uplink, begin=False)
        life = {"preferred_lft": LIFE_SECONDS, "valid_lft": LIFE_SECONDS}
        for address in sorted(names):
            # A bridge without ports has no carrier, which would keep an IPv6 address tentative.
            more = {**life, "flags": NO_DAD} if ":" in address else life
            sock.addr("replace", index=index, address=address, prefixlen=_bits(address), **more)
            _speak_for(sock, address, uplink, begin=True)
        if not names:
            sock.link("del", index=index)
    return sorted(names - current)


def _bits(address: str) -> int:
    return ip_address(address).max_prefixlen


def _speak_for(sock: Any, address: str, uplink: Uplink, *, begin: bool) -> None:
    """Have the uplink answer for an IPv6 address, or no longer."""
    if ":" not in address:
        return
    entry = {"dst": address, "ifindex": uplink.number, "family": socket.AF_INET6}
    if begin:
        set_switch(f"net/ipv6/conf/{uplink.name}/proxy_ndp", "1")
        sock.neigh("replace", flags=PROXY_FLAG, **entry)
        return
    with contextlib.suppress(refusal()):  # it never was, or went with the link
        sock.neigh("del", flags=PROXY_FLAG, **entry)


def announce(addresses: Iterable[str], uplink: Uplink) -> None:
    """Tell all on the cable, unasked, that this node has the addresses from now on."""
    for address in addresses:
        if ":" in address:
            _advertise(address, uplink)
        else:
            _claim(address, uplink)


def arp_claim(address: str, mac: bytes) -> bytes:
    """Return the frame of an ARP announcement (RFC 5227, 2.3)."""
    packed = ip_address(address).packed
    head = BROADCAST + mac + struct.pack("!H", ETHERTYPE_ARP)
    return head + struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac + packed + bytes(6) + packed


def neighbour_advertisement(address: str, mac: bytes) -> bytes:
    """Return an unsolicited neighbour advertisement; the kernel fills in the checksum."""
    head = struct.pack("!BBHI", NEIGHBOUR_ADVERTISEMENT, 0, 0, OVERRIDE)
    return head + ip_address(address).packed + struct.pack("!BB", TARGET_LINK_ADDRESS, 1) + mac


def _claim(address: str, uplink: Uplink) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind((uplink.name, 0))
        sock.send(arp_claim(address, uplink.mac))


def _advertise(address: str, uplink: Uplink) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, uplink.number)
        message = neighbour_advertisement(address, uplink.mac)
        sock.sendto(message, (ALL_NODES, 0, 0, uplink.number))


def is_there(root: Path = Path("/sys/class/net")) -> bool:
    """Return whether this node answered for something when it was last at work."""
    return (root / LINK).exists()

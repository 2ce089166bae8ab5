"""Tells when something goes that the way to other nodes' pods hangs on; the kernel says so.

The messages of the netlink socket are read here rather than by a library, because a node has many
links that come and go with its pods, and little is wanted of each (linux/rtnetlink.h,
linux/if_link.h). Routes that go with their link go silently: hence the uplink is followed.
"""

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Callable, Collection, Iterator

from minikube_py.agent.network.kernel import PROTOCOL

log = logging.getLogger(__name__)
GROUPS = 0x1 | 0x40 | 0x400
"""RTMGRP_LINK, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_ROUTE."""
RTM_NEWLINK, RTM_DELLINK, RTM_DELROUTE = 16, 17, 25
IFLA_IFNAME = 3
HEAD = struct.Struct("=IHHII")
LINK_BYTES = 16
ROUTE = struct.Struct("=BBBBBBBBI")
"""rtmsg: the second byte is the length of the destination, the sixth who made the route."""
ATTRIBUTE = struct.Struct("=HH")
READ_BYTES = 64 * 1024


@contextlib.contextmanager
def link_events(
    names: Collection[str], uplink: Callable[[], str], gone: Callable[[], object]
) -> Iterator[None]:
    """Call `gone` in this loop whenever something of ours goes, or may have gone.

    That is one of the links of these names, a route that we made, the default route, or what hung
    on the uplink, whose name `uplink` tells ("" where there is none) and whose every change counts.
    """
    loop = asyncio.get_running_loop()
    family = socket.AF_NETLINK
    with socket.socket(
        family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
    ) as sock:
        sock.bind((0, GROUPS))

        def read() -> None:
            try:
                data = sock.recv(READ_BYTES)
            except BlockingIOError:
                return
            except OSError:  # there were more messages than room: one of them may have been it
                gone()
                return
            if matters(data, names, uplink()):
                gone()

        loop.add_reader(sock, read)
        try:
            yield
        finally:
            loop.remove_reader(sock)


def matters(data: bytes, names: Collection[str], uplink: str) -> bool:
    """Tell whether messages say that something of ours went; pure."""
    for kind, body in _messages(data):
        if kind in (RTM_NEWLINK, RTM_DELLINK):
            wanted = {uplink} if kind == RTM_NEWLINK else {uplink, *names}
            if any(n == IFLA_IFNAME and v in wanted for n, v in _attributes(body[LINK_BYTES:])):
                return True
        elif kind == RTM_DELROUTE and len(body) >= ROUTE.size:
            _, length, _, _, _, maker, *_ = ROUTE.unpack_from(body)
            if maker == PROTOCOL or length == 0:
                return True
    return False


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    start = 0
    while start + HEAD.size <= len(data):
        length, kind, *_ = HEAD.unpack_from(data, start)
        if length < HEAD.size:
            return
        yield kind, data[start + HEAD.size : start + length]
        start += _aligned(length)


def _attributes(body: bytes) -> Iterator[tuple[int, str]]:
    start = 0
    while start + ATTRIBUTE.size <= len(body):
        length, number = ATTRIBUTE.unpack_from(body, start)
        if length < ATTRIBUTE.size:
            return
        value = body[start + ATTRIBUTE.size : start + length]
        yield number, value.rstrip(b"\0").decode(errors="replace")
        start += _aligned(length)


def _aligned(length: int) -> int:
    return (length + 3) & ~3

"""Tells when one of some links of this machine goes: the kernel says so on a netlink socket.

The messages are read here rather than by a library, because a node has many links that come and
go with its pods, and only a name is wanted of each (linux/rtnetlink.h, linux/if_link.h).
"""

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Callable, Collection, Iterator

log = logging.getLogger(__name__)
RTMGRP_LINK = 1
RTM_DELLINK = 17
IFLA_IFNAME = 3
HEAD = struct.Struct("=IHHII")
INFO_BYTES = 16
ATTRIBUTE = struct.Struct("=HH")
READ_BYTES = 64 * 1024


@contextlib.contextmanager
def link_events(names: Collection[str], gone: Callable[[], object]) -> Iterator[None]:
    """Call `gone` in this loop whenever a link of one of these names goes, or may have gone."""
    loop = asyncio.get_running_loop()
    family = socket.AF_NETLINK
    with socket.socket(
        family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
    ) as sock:
        sock.bind((0, RTMGRP_LINK))

        def read() -> None:
            try:
                data = sock.recv(READ_BYTES)
            except BlockingIOError:
                return
            except OSError:  # there were more messages than room: one of them may have been it
                gone()
                return
            if any(name in names for name in removed(data)):
                gone()

        loop.add_reader(sock, read)
        try:
            yield
        finally:
            loop.remove_reader(sock)


def removed(data: bytes) -> Iterator[str]:
    """Yield the names of the links that messages say are gone."""
    start = 0
    while start + HEAD.size <= len(data):
        length, kind, *_ = HEAD.unpack_from(data, start)
        if length < HEAD.size:
            return
        if kind == RTM_DELLINK:
            body = data[start + HEAD.size + INFO_BYTES : start + length]
            yield from (value for number, value in _attributes(body) if number == IFLA_IFNAME)
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

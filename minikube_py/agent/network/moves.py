"""Tells when this machine has another address than before: a new lease, another network.

The kernel says on a netlink socket that addresses or routes have changed (linux/rtnetlink.h); what
exactly does not matter, because then the machine is asked what it sends from. Pods that come and
go change addresses too, and cost one such question a second at most.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator, Sequence

from minikube_py.lib.clock import Clock
from minikube_py.lib.net import default_route_address

GROUPS = 0x10 | 0x100 | 0x40 | 0x400
"""RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_ROUTE."""
SETTLE_SECONDS = 1.0
"""An address goes before the next one comes, and its route comes last."""
READ_BYTES = 64 * 1024


@contextlib.contextmanager
def address_events() -> Iterator[asyncio.Event]:
    """Give what is set whenever addresses or routes of this machine have changed."""
    loop, changed = asyncio.get_running_loop(), asyncio.Event()
    kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK
    with socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE) as sock:
        sock.bind((0, GROUPS))

        def read() -> None:
            with contextlib.suppress(OSError):  # or there were more messages than room
                sock.recv(READ_BYTES)
            changed.set()

        loop.add_reader(sock, read)
        try:
            yield changed
        finally:
            loop.remove_reader(sock)


async def moved(
    known: Sequence[str], clock: Clock, detect: Callable[[], str] = default_route_address
) -> str:
    """Wait until the machine sends from an address that is none of these; return it."""
    with address_events() as changed:
        while True:
            found = detect()
            if found and found not in known:
                return found
            await changed.wait()
            await clock.sleep(SETTLE_SECONDS)
            changed.clear()

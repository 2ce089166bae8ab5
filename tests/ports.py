"""Ports for servers that a test starts.

A port that the kernel picked and that was closed again may go to the next connection of any
process before the server listens on it. So ports are drawn from below the range that the kernel
picks from: only another server can have one.
"""

import contextlib
import itertools
import os
import socket
from pathlib import Path

PICKED_BY_KERNEL = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOWEST = 12_000
TRIES = 1000
_drawn = itertools.count(os.getpid() * 97)


def free_port() -> int:
    """Return a port that nothing on this machine listens on, neither TCP nor UDP."""
    end = int(PICKED_BY_KERNEL.read_text().split()[0])
    for _ in range(TRIES):
        port = LOWEST + next(_drawn) % (end - LOWEST)
        if all(_is_free(port, kind) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)):
            return port
    raise OSError(f"no port between {LOWEST} and {end} is free")


def _is_free(port: int, kind: socket.SocketKind) -> bool:
    with contextlib.closing(socket.socket(socket.AF_INET, kind)) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True

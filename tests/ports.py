"""Ports for servers that a test starts.

A port that the kernel picked and that was closed again may go to the next connection of any
process before the server listens on it. So ports are drawn from below the range that the kernel
picks from: only another server can have one. And each process of tests draws from blocks of its
own, which it holds by a name that only one socket of the machine can have.
"""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

PICKED_BY_KERNEL = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOWEST = 12_000
BLOCK = 100
TRIES = 1000


def free_port() -> int:
    """Return a port that nothing on this machine listens on, neither TCP nor UDP."""
    for _ in range(TRIES):
        port = next(_ports)
        if all(_is_free(port, kind) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)):
            return port
    raise OSError(f"none of {TRIES} ports from {LOWEST} on is free")


def _draw() -> Iterator[int]:
    """Yield the ports of one block after the other; the last process's first are not the first."""
    blocks = (int(PICKED_BY_KERNEL.read_text().split()[0]) - LOWEST) // BLOCK
    held: set[int] = set()
    while True:
        for number in range(blocks):
            block = (number + os.getpid()) % blocks
            if block in held or _hold(block):
                held.add(block)
                yield from range(LOWEST + block * BLOCK, LOWEST + (block + 1) * BLOCK)
        if not held:
            raise OSError("other processes hold all ports")


_ports = _draw()


def _hold(block: int) -> bool:
    """Take a block for as long as this process lives; return whether it was to be had."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as name:
        try:
            name.bind(f"\0kpy-tests-ports-{block}")
        except OSError:
            return False
        name.detach()
        return True


def _is_free(port: int, kind: socket.SocketKind) -> bool:
    with contextlib.closing(socket.socket(socket.AF_INET, kind)) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True

"""Connections that the kernel remembers: how many, how long, and those that are wrong by now.

The rules are asked for the first packet of a connection only. TCP connections end by themselves;
a UDP client may send from one port for ever and would keep its endpoint, or the lack of one. What a
change makes stale is known from the change; what became stale while nobody looked is found among
all connections when all rules are replaced, as after a start.
"""

import asyncio
import logging
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from minikube_py.agent.network import kernel
from minikube_py.agent.nft_elements import Element
from minikube_py.agent.proxy.chains import IPV6, Family
from minikube_py.lib import programs
from minikube_py.lib.errors import StartError
from minikube_py.lib.programs import ProgramError

log = logging.getLogger(__name__)
TIMEOUT_SECONDS = 20.0
SWITCHES = {
    "net/netfilter/nf_conntrack_tcp_timeout_established": "86400",
    "net/netfilter/nf_conntrack_tcp_timeout_close_wait": "3600",
}
"""Upstream's defaults: who has heard the other end close may go on; dead ones go after a day."""
CONNECTIONS = "net/netfilter/nf_conntrack_max"
PER_CORE, CONNECTIONS_MIN = 32768, 131072
"""The kernel remembers at least that many (upstream's conntrack.maxPerCore and min)."""


LINE = re.compile(
    r"^udp .*?src=\S+ dst=(?P<address>\S+) sport=\d+ dport=(?P<port>\d+) .*?src=(?P<endpoint>\S+)",
    re.MULTILINE,
)


class Stale(NamedTuple):
    """Connections to forget: to a front, at one endpoint or, where it is "", at any."""

    address: str
    """"" for a node port."""
    port: int
    endpoint: str = ""


def plan(old: Sequence[Element], new: Sequence[Element]) -> list[Stale]:
    """Return which connections a change of one service's elements makes stale; pure."""
    before, after = _targets(old), _targets(new)
    stale = set()
    for front, targets in before.items():
        stale |= {Stale(*front, target) for target in targets - after.get(front, set())}
    # Before a front had endpoints, its packets went elsewhere.
    stale |= {Stale(*front) for front in after.keys() - before.keys()}
    return sorted(stale)


def _targets(elements: Iterable[Element]) -> dict[tuple[str, int], set[str]]:
    """Return the addresses of endpoints by front, of UDP."""
    targets: dict[tuple[str, int], set[str]] = {}
    for container, key, value in elements:
        if "udp . " not in key or "no-endpoints" in container:
            continue
        if container.endswith(("endpoints", "sticky")):
            *address, _, port, _ = key.split(" . ")
            front = (address[0] if address else "", int(port))
            targets.setdefault(front, set()).add(value.split(" . ")[0])
    return targets


def plan_all(services: Iterable[Sequence[Element]], listed: str) -> list[Stale]:
    """Return which of all UDP connections are wrong by the elements of all services; pure.

    `listed` is what `conntrack -L` prints: a line has source and destination of the first packet,
    then those of its answers. Whoever answers from another address than was asked is an endpoint.
    """
    targets = _targets(chain.from_iterable(services))
    stale = set()
    for match in LINE.finditer(listed):
        address, port, endpoint = match["address"], int(match["port"]), match["endpoint"]
        front = (address, port) if (address, port) in targets else ("", port)
        if not front[0] and address == endpoint:
            continue  # of no service: any program may have a port of the same number
        if endpoint not in targets.get(front, {endpoint}):
            stale.add(Stale(*front, endpoint))
    return sorted(stale)


def require_conntrack() -> None:
    """Make sure that the program is there.

    Raises:
        StartError: it is not; names the package.

    """
    if shutil.which("conntrack") is None:
        raise StartError("conntrack is missing; install the package conntrack")


def command(stale: Stale) -> Iterator[str]:
    """Yield the words of the command that forgets these connections."""
    yield from ("conntrack", "-D", "-p", "udp", "--orig-port-dst", str(stale.port))
    if stale.address:
        yield from ("--orig-dst", stale.address)
    if stale.endpoint:
        yield from ("--reply-src", stale.endpoint)
    if ":" in f"{stale.address}{stale.endpoint}":
        yield from ("-f", "ipv6")


def set_limits(root: Path = kernel.SYSCTL_ROOT) -> None:
    """Set what kube-proxy sets on every node; more connections than asked for are left alone."""
    for name, value in SWITCHES.items():
        kernel.set_switch(name, value, root)
    wanted = max(CONNECTIONS_MIN, PER_CORE * (os.cpu_count() or 1))
    try:
        path = root / CONNECTIONS
        if int(path.read_text()) < wanted:
            path.write_text(str(wanted))
    except (OSError, ValueError) as error:
        # In a network namespace only its owner can.
        log.info("connections not raised name=%s error=%s", CONNECTIONS, error)


async def forget_stale(services: Sequence[Sequence[Element]], family: Family) -> None:
    """Make the kernel forget what is wrong by the elements of all services."""
    listing = ("conntrack", "-L", "-p", "udp", "-f", "ipv6" if family is IPV6 else "ipv4")
    try:
        ended = await programs.run(*listing, seconds=TIMEOUT_SECONDS)
    except ProgramError as error:
        log.warning("connections not looked at: %s", error)
        return
    await forget(await asyncio.to_thread(plan_all, services, ended.printed))


async def forget(stale: Sequence[Stale]) -> None:
    """Make the kernel forget connections; that there are none is no fault."""
    for connections in stale:
        try:
            ended = await programs.run(*command(connections), seconds=TIMEOUT_SECONDS)
        except ProgramError as error:
            log.warning("conntrack failed front=%s: %s", connections, error)
            continue
        if ended.status and "0 flow entries have been deleted" not in ended.complaint:
            log.warning("conntrack failed error=%s", ended.complaint[:200])

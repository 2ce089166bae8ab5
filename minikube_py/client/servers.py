"""The servers of a cluster as a client knows them: it stays with one that works.

    agent -- kubelet, proxy, DNS --> Servers.dial --> the server that answered last
                                                  --> if it does not: the next one, and so on

Which servers there are stands in the endpoints of the Service `kubernetes`, which each server
writes itself into; the list is kept on disk, so that a node finds a server after a restart although
the one that it joined is gone. Nobody asks servers whether they are well: a connection that cannot
be made says so. One that hangs is noticed by its dead peer (`lib/dialling.py`).
"""

import asyncio
import json
import logging
import socket
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from minikube_py.api.object import Obj
from minikube_py.lib.dialling import notice_dead_peer
from minikube_py.lib.errors import StartError
from minikube_py.lib.fsutil import read_if_there, write_atomic

log = logging.getLogger(__name__)
SERVER_NAME = "kubernetes.default.svc"
"""A name that the certificate of every API server holds."""
CONNECT_SECONDS = 4.0
"""A server that takes longer is passed over while there are others."""
SERVERS_MAX = 32
"""More are not kept; a control plane has three or five."""


class Server(NamedTuple):
    """Where one server listens."""

    host: str
    port: int


class Servers:
    """The list, the best first."""

    def __init__(self, first: str, file: Path) -> None:
        """Take the URL of the server that is joined, and where the list is kept.

        Raises:
            StartError: the file is there and cannot be read.

        """
        parts = urlsplit(first)
        self.first = Server(parts.hostname or "", parts.port or 443)
        self._file = file
        self._known: list[Server] = [self.first]
        self.changed = asyncio.Event()
        """Set whenever the list changes."""
        kept = _kept(file)
        self._known += [server for server in kept if server != self.first]

    def known(self) -> Sequence[Server]:
        """Return all, the one that works first."""
        return tuple(self._known)

    def keep(self) -> None:
        """Write the list down."""
        write_atomic(self._file, json.dumps([list(one) for one in self._known]).encode())

    def learn(self, servers: Iterable[Server]) -> None:
        """Take over what the cluster says; the server that was joined stays as a last resort."""
        said = sorted(set(servers))[:SERVERS_MAX]
        if not said:
            return
        order = {server: place for place, server in enumerate(self._known)}
        found = sorted({*said, self.first}, key=lambda one: (order.get(one, len(order)), one))
        if found == self._known:
            return
        self._known = found
        self.keep()
        log.info("API servers are %s", ", ".join(f"{s.host}:{s.port}" for s in found))
        self.changed.set()

    async def dial(self, _host: str, _port: int) -> socket.socket:
        """Connect to a server that works, whichever was asked for.

        Raises:
            OSError: there is none; the error of the last.

        """
        tried = self.known()
        for place, server in enumerate(tried):
            is_last = place == len(tried) - 1
            try:
                async with asyncio.timeout(None if is_last else CONNECT_SECONDS):
                    made = await connect(server)
            except OSError as error:  # a TimeoutError is one
                self._failed(server, error)
                if is_last:
                    raise
            else:
                self._worked(server)
                return made
        raise AssertionError("there is always a server")

    def _worked(self, server: Server) -> None:
        if server in self._known and self._known[0] != server:
            self._known.remove(server)
            self._known.insert(0, server)

    def _failed(self, server: Server, error: OSError) -> None:
        """Try it after all others from now on."""
        if server in self._known and len(self._known) > 1:
            log.warning("API server passed over address=%s:%d error=%s", *server, error)
            self._known.remove(server)
            self._known.append(server)


async def connect(server: Server) -> socket.socket:
    """Make a TCP connection; raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    family, kind, protocol, _, address = found[0]
    made = socket.socket(family, kind, protocol)
    try:
        made.setblocking(False)  # noqa: FBT003 -- the socket's own word
        notice_dead_peer(made)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.sock_connect(made, address)
    except BaseException:
        made.close()
        raise
    return made


def servers_of(endpoint_slice: Obj) -> list[Server]:
    """Return the servers that an EndpointSlice of the Service `kubernetes` names."""
    ports = [port.get("port") for port in endpoint_slice.get("ports") or ()]
    return [
        Server(str(address), int(port))
        for endpoint in endpoint_slice.get("endpoints") or ()
        for address in endpoint.get("addresses") or ()
        for port in ports
        if port
    ]


def _kept(file: Path) -> list[Server]:
    try:
        data = read_if_there(file)
        return [Server(str(host), int(port)) for host, port in json.loads(data or b"[]")]
    except (ValueError, TypeError) as error:
        raise StartError(f"{file} does not list servers: {error}; remove it") from error

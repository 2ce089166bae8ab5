"""Questions about other names go to the servers that this machine itself uses.

Answers are kept for a while, equal questions at the same time are asked once, and there is a
bound to how many are under way; beyond it a client is told that it failed.
"""

import asyncio
import contextlib
import logging
import secrets
import struct
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import NamedTuple

from minikube_py.agent.dns import codec
from minikube_py.agent.dns.codec import FormatError, Labels, Query
from minikube_py.lib.tasks import Nursery

log = logging.getLogger(__name__)
RESOLV_CONF = Path("/etc/resolv.conf")
RESOLV_CHECK_SECONDS = 5.0
"""How often the file is looked at, while there are questions."""
ATTEMPT_SECONDS = 2.0
"""For one server; then the next is asked."""
ATTEMPTS_MAX = 4
UNDER_WAY_MAX = 1000
KEPT_MAX = 10_000
KEPT_SECONDS_MAX = 30
"""No answer is kept longer, whatever its time to live (CoreDNS' default configuration)."""
NEGATIVE_SECONDS = 5
DNS_PORT = 53


class Server(NamedTuple):
    """Where questions are sent."""

    address: str
    port: int = DNS_PORT


class ForwardError(Exception):
    """No server gave an answer."""


def servers_of(resolv_conf: str, own: frozenset[str]) -> tuple[Server, ...]:
    """Return the servers that the file names, without ourselves; pure."""
    lines = (line.split() for line in resolv_conf.splitlines())
    addresses = (words[1] for words in lines if len(words) > 1 and words[0] == "nameserver")
    return tuple(dict.fromkeys(Server(a) for a in addresses if a not in own))


class Resolvers:
    """The servers of resolv.conf as it is now."""

    def __init__(self, path: Path, own: frozenset[str], now: Callable[[], float]) -> None:
        self._path = path
        self._own = own
        self._now = now
        self._checked = float("-inf")
        self._stamp: tuple[int, int] | None = None
        self._servers: tuple[Server, ...] = ()

    def servers(self) -> tuple[Server, ...]:
        """Return the servers; looks whether the file changed, at most every few seconds."""
        if self._now() - self._checked >= RESOLV_CHECK_SECONDS:
            self._checked = self._now()
            with contextlib.suppress(OSError):
                status = self._path.stat()
                stamp = (status.st_mtime_ns, status.st_ino)
                if stamp != self._stamp:
                    text = self._path.read_text(errors="replace")
                    self._servers, self._stamp = servers_of(text, self._own), stamp
        return self._servers


class Stubs:
    """Which servers are asked for a name: those of the longest domain it lies in, or the others."""

    def __init__(self, given: Sequence[str], others: Callable[[], Sequence[Server]]) -> None:
        self._others = others
        self._domains: dict[Labels, list[Server]] = {}
        for domain, _, place in (text.partition("=") for text in given):
            labels = tuple(domain.lower().split("."))
            self._domains.setdefault(labels, []).append(_server(place))

    def servers(self, name: Labels) -> Sequence[Server]:
        """Return the servers for a name, the first to be asked first."""
        for at in range(len(name)):
            found = self._domains.get(name[at:])
            if found is not None:
                return found
        return self._others()


def _server(place: str) -> Server:
    if place.startswith("[") or place.count(":") == 1:
        address, _, port = place.rpartition(":")
        return Server(address.strip("[]"), int(port))
    return Server(place)


class _Kept(NamedTuple):
    message: bytes
    stored: float
    until: float


class Forwarder:
    """Asks other servers and remembers what they said."""

    def __init__(self, servers: Callable[[Labels], Sequence[Server]], nursery: Nursery) -> None:
        self._servers = servers
        self._nursery = nursery
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._asking: dict[Hashable, asyncio.Future[bytes]] = {}
        self._good: Server | None = None
        """The server that answered last; it is asked first."""

    def kept(self, query: Query) -> bytes | None:
        """Return the answer that is remembered, its number and times to live set right."""
        found = self._kept.get(_sense(query))
        now = asyncio.get_running_loop().time()
        if found is None or found.until <= now:
            return None
        return _addressed(query, _aged(found.message, int(now - found.stored)))

    async def ask(self, query: Query, *, tcp: bool = False) -> bytes:
        """Return the answer to a query.

        Raises:
            ForwardError: no server answered, or too many questions are under way.

        """
        key = (_sense(query), tcp)
        asking = self._asking.get(key)
        if asking is None:
            if len(self._asking) >= UNDER_WAY_MAX:
                raise ForwardError("too many questions are under way")
            asking = self._asking[key] = asyncio.get_running_loop().create_future()
            self._nursery.start("question", self._settle(key, asking, query, tcp=tcp))
        # Whoever asked first may go away; the others still want to know.
        return _addressed(query, await asyncio.shield(asking))

    async def _settle(
        self, key: Hashable, asking: asyncio.Future[bytes], query: Query, *, tcp: bool
    ) -> None:
        """Ask for all who want to know."""
        try:
            message = await self._ask_servers(query, tcp=tcp)
            self._keep(query, message)
            asking.set_result(message)
        except ForwardError as error:
            asking.set_exception(error)
            # Nobody may be left to hear of it.
            asking.exception()
        finally:
            self._asking.pop(key, None)
            asking.cancel()

    async def _ask_servers(self, query: Query, *, tcp: bool) -> bytes:
        """Ask one server after the other, the one that answered last first."""
        servers = sorted(self._servers(query.labels), key=lambda server: server != self._good)
        failure = "no server is configured"
        for server in servers[:ATTEMPTS_MAX]:
            try:
                async with asyncio.timeout(ATTEMPT_SECONDS):
                    message = await (_ask_stream if tcp else _ask_datagram)(server, query)
            except (OSError, asyncio.IncompleteReadError) as error:
                failure = f"{server.address}: {str(error) or type(error).__name__}"
                continue
            self._good = server
            if message[3] & codec.RCODE_MASK not in (codec.SERVFAIL, codec.REFUSED):
                return message
            failure = f"{server.address} refused"
        raise ForwardError(failure)

    def _keep(self, query: Query, message: bytes) -> None:
        try:
            seconds = _seconds_to_keep(message)
        except FormatError:
            return
        if seconds > 0:
            now = asyncio.get_running_loop().time()
            key = _sense(query)
            self._kept.pop(key, None)
            self._kept[key] = _Kept(message, now, now + seconds)
            while len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)


def _sense(query: Query) -> Hashable:
    """Return what makes two queries equal: all but their numbers and capitals."""
    rest = query.raw[codec.HEADER_BYTES + len(query.question) :]
    return query.labels, query.type, query.qclass, query.flags, rest


def _addressed(query: Query, message: bytes) -> bytes:
    """Return an answer with the number and the capitals of this query."""
    end = codec.HEADER_BYTES + len(query.question)
    head = struct.pack(">H", query.id) + message[2 : codec.HEADER_BYTES]
    return head + query.question + message[end:]


def _is_answer(query: Query, number: int, message: bytes) -> bool:
    """Tell whether a datagram answers our question; anybody may send some."""
    if len(message) < codec.HEADER_BYTES or message[:2] != struct.pack(">H", number):
        return False
    end = codec.HEADER_BYTES + len(query.question)
    asked = query.question.lower() == message[codec.HEADER_BYTES : end].lower()
    return bool(message[2] & codec.QR >> 8) and asked


def _seconds_to_keep(message: bytes) -> int:
    if message[2] & codec.TC >> 8:
        return 0
    records = [r for r in codec.read_records(message) if r.type != codec.OPT]
    lives = [record.ttl for record in records]
    if not any(record.section == 0 for record in records):
        lives.append(NEGATIVE_SECONDS)
    return min([*lives, KEPT_SECONDS_MAX])


def _aged(message: bytes, seconds: int) -> bytes:
    aged = bytearray(message)
    for record in codec.read_records(message):
        if record.type != codec.OPT:
            struct.pack_into(">I", aged, record.ttl_at, max(0, record.ttl - seconds))
    return bytes(aged)


class _Datagram(asyncio.DatagramProtocol):
    """Waits for the one datagram that answers."""

    def __init__(self, query: Query, number: int) -> None:
        self._query = query
        self._number = number
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, _: object) -> None:
        if not self.answer.done() and _is_answer(self._query, self._number, data):
            self.answer.set_result(data)

    def error_received(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


async def _ask_datagram(server: Server, query: Query) -> bytes:
    """Ask from a port of its own and with a number of its own, which nobody can guess."""
    number = secrets.randbits(16)
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Datagram(query, number), remote_addr=server
    )
    try:
        transport.sendto(struct.pack(">H", number) + query.raw[2:])
        return await protocol.answer
    finally:
        transport.close()


async def _ask_stream(server: Server, query: Query) -> bytes:
    number = secrets.randbits(16)
    reader, writer = await asyncio.open_connection(*server)
    try:
        message = struct.pack(">H", number) + query.raw[2:]
        writer.write(struct.pack(">H", len(message)) + message)
        (length,) = struct.unpack(">H", await reader.readexactly(2))
        answer = await reader.readexactly(length)
    finally:
        writer.close()
    if not _is_answer(query, number, answer):
        raise OSError("the answer is to another question")
    return answer

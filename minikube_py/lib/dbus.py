"""A connection to a message bus of D-Bus: calls, signals and the file descriptors that come along.

A reader takes messages off the socket and hands each to who waits for it: an answer to its call, a
signal to the queue. Calls are few and small; there is no more of the protocol than they need.
"""

import asyncio
import contextlib
import itertools
import os
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from minikube_py.lib.dbus_wire import (
    ANSWER,
    CALL,
    ERROR,
    HEAD_BYTES,
    SIGNAL,
    DbusError,
    Message,
    decode,
    encode,
    length_of,
)
from minikube_py.lib.tasks import Nursery

SYSTEM_BUS = Path("/run/dbus/system_bus_socket")
CALL_SECONDS = 25.0
"""As libdbus waits."""
SIGNALS_MAX = 64
FDS_MAX = 4
READ_BYTES = 64 << 10
DAEMON = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")


class Answer(NamedTuple):
    """What a call gave."""

    values: Sequence[Any]
    fds: Sequence[int] = ()
    """Open file descriptors; whoever called closes them."""


class Bus:
    """One connection; made by `connected`."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._serials = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._fds: list[int] = []
        self.signals: asyncio.Queue[Message | None] = asyncio.Queue(SIGNALS_MAX)
        """Signals as they come, and None when the bus has gone."""

    async def call(
        self, to: tuple[str, str, str], member: str, signature: str = "", *values: Any
    ) -> Answer:
        """Call a method; `to` is destination, path and interface.

        Raises:
            DbusError: the answer is an error, or there is none.

        """
        destination, path, interface = to
        fields: dict[str, Any] = {
            "path": path,
            "interface": interface,
            "member": member,
            "destination": destination,
        }
        if signature:
            fields["signature"] = signature
        serial = next(self._serials)
        message = Message(kind=CALL, serial=serial, fields=fields, body=values)
        loop = asyncio.get_running_loop()
        waiting = self._waiting[serial] = loop.create_future()
        try:
            await loop.sock_sendall(self._socket, encode(message))
            async with asyncio.timeout(CALL_SECONDS):
                answer: Answer = await waiting
                return answer
        except (OSError, TimeoutError) as error:
            raise DbusError(f"{member}: {error or 'no answer'}") from None
        finally:
            del self._waiting[serial]

    async def match(self, **conditions: str) -> None:
        """Have signals sent here that fulfil all conditions; raises DbusError."""
        rule = ",".join(f"{key}='{value}'" for key, value in conditions.items())
        await self.call(DAEMON, "AddMatch", "s", rule)

    # --- reading ---

    async def read(self) -> None:
        """Hand out messages until the bus is gone."""
        data = b""
        try:
            while True:
                while len(data) < HEAD_BYTES or len(data) < length_of(data):
                    more = await self._receive()
                    if not more:
                        raise DbusError("the bus has closed the connection")  # noqa: TRY301
                    data += more
                length = length_of(data)
                self._take(decode(data[:length]))
                data = data[length:]
        except (OSError, DbusError) as error:
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(DbusError(str(error)))
            self._tell(None)

    def _take(self, message: Message) -> None:
        count = int(message.fields.get("unix_fds", 0))
        fds, self._fds = self._fds[:count], self._fds[count:]
        waiting = self._waiting.get(int(message.fields.get("reply_serial", 0)))
        if message.kind == SIGNAL:
            self._tell(message)
        if waiting is None or waiting.done() or message.kind not in (ANSWER, ERROR):
            for fd in fds:
                os.close(fd)
        elif message.kind == ANSWER:
            waiting.set_result(Answer(message.body, fds))
        else:
            name = message.fields.get("error_name", "")
            waiting.set_exception(DbusError(" ".join([name, *map(str, message.body[:1])])))

    def _tell(self, message: Message | None) -> None:
        if self.signals.full():
            self.signals.get_nowait()  # who does not listen misses the oldest
        self.signals.put_nowait(message)

    async def _receive(self) -> bytes:
        """Return what came, with the file descriptors put aside; nothing at the end."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(self._socket, READ_BYTES, FDS_MAX)
            except BlockingIOError:
                ready = loop.create_future()
                loop.add_reader(self._socket, _set, ready)
                try:
                    await ready
                finally:
                    loop.remove_reader(self._socket)
                continue
            self._fds += list(fds)
            return data

    def close(self) -> None:
        """Give back what came and was not taken."""
        for fd in self._fds:
            os.close(fd)
        self._fds = []


def _set(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)


@contextlib.asynccontextmanager
async def connected(path: Path = SYSTEM_BUS) -> AsyncIterator[Bus]:
    """Be on a bus for the length of the block; raises DbusError."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(0)
        try:
            await loop.sock_connect(connection, str(path))
            await _authenticate(connection)
        except OSError as error:
            raise DbusError(f"{path}: {error.strerror}") from None
        bus = Bus(connection)
        async with Nursery("bus") as nursery:
            nursery.start("bus reader", bus.read())
            try:
                await bus.call(DAEMON, "Hello")
                yield bus
            finally:
                bus.close()


async def _authenticate(connection: socket.socket) -> None:
    """Say who we are, which the kernel vouches for; raises DbusError."""
    loop = asyncio.get_running_loop()
    name = str(os.geteuid()).encode().hex()
    await loop.sock_sendall(connection, b"\0" + f"AUTH EXTERNAL {name}\r\n".encode())
    if not (await _line(connection)).startswith(b"OK"):
        raise DbusError("the bus does not let us in")
    await loop.sock_sendall(connection, b"NEGOTIATE_UNIX_FD\r\n")
    if not (await _line(connection)).startswith(b"AGREE_UNIX_FD"):
        raise DbusError("the bus does not pass file descriptors")
    await loop.sock_sendall(connection, b"BEGIN\r\n")


async def _line(connection: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    line = b""
    while not line.endswith(b"\r\n"):
        more = await loop.sock_recv(connection, 1)
        if not more or len(line) > READ_BYTES:
            raise DbusError("the bus hangs up")
        line += more
    return line

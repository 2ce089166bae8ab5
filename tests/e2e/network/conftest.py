"""Network namespaces that a test makes, and ways to run code inside them."""

import asyncio
import contextlib
import ctypes
import os
import socket
import subprocess
import threading
import uuid
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """A network namespace; a thread that enters it takes its sockets and processes there."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = Path("/run/netns") / name
        self._cleanups = contextlib.ExitStack()
        subprocess.run(["ip", "netns", "add", name], check=True)
        self.sh("ip", "link", "set", "lo", "up")

    def sh(self, *command: str) -> str:
        """Run a program inside and return what it prints."""
        line = ["nsenter", f"--net={self.path}", *command]
        done = subprocess.run(line, check=False, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def call(self, work: Callable[[], Any]) -> Any:
        """Run a function in a thread inside; return or raise what it does."""
        future: Future[Any] = Future()

        def enter() -> None:
            try:
                handle = os.open(self.path, os.O_RDONLY)
                assert libc.setns(handle, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
                os.close(handle)
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001 -- raised again in the test's thread
                future.set_exception(error)

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        return future.result()

    def run(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Run a coroutine function in an event loop of its own inside."""

        async def main() -> Any:
            return await work()

        return self.call(lambda: asyncio.run(main()))

    def serve_name(
        self, address: str, port: int, kind: int = socket.SOCK_STREAM, family: int = socket.AF_INET
    ) -> None:
        """Answer every connection or datagram with `namespace client-address`, until closed."""
        server = self.call(lambda: listening(address, port, kind, family))
        thread = threading.Thread(target=answer_all, args=(server, self.name), daemon=True)
        thread.start()

        def stop() -> None:
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            server.close()
            thread.join(5)

        self._cleanups.callback(stop)

    def ask(
        self,
        address: str,
        port: int,
        kind: int = socket.SOCK_STREAM,
        family: int = socket.AF_INET,
        *,
        seconds: float = 10,
    ) -> tuple[str, str]:
        """Return the name of who answers there and the address that it saw."""

        def work() -> tuple[str, str]:
            with socket.socket(family, kind) as client:
                client.settimeout(seconds)
                client.connect((address, port))
                client.send(b"?")
                name, _, seen = client.recv(200).decode().partition(" ")
                return name, seen

        result: tuple[str, str] = self.call(work)
        return result

    def close(self) -> None:
        """End the servers and the namespace."""
        self._cleanups.close()
        subprocess.run(["ip", "netns", "del", self.name], check=True)


def listening(address: str, port: int, kind: int, family: int) -> socket.socket:
    server = socket.socket(family, kind)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((address, port))
    if kind == socket.SOCK_STREAM:
        server.listen(64)
    return server


def answer_all(server: socket.socket, name: str) -> None:
    with contextlib.suppress(OSError):
        while True:
            if server.type == socket.SOCK_STREAM:
                connection, peer = server.accept()
                with connection:
                    connection.recv(1)
                    connection.send(f"{name} {peer[0]}".encode())
            else:
                _, peer = server.recvfrom(100)
                if not peer:
                    return
                server.sendto(f"{name} {peer[0]}".encode(), peer)


@pytest.fixture
def namespaces() -> Iterator[Callable[[str], Namespace]]:
    """Make namespaces whose names begin as asked; all are removed after the test."""
    made: list[Namespace] = []

    def make(name: str) -> Namespace:
        made.append(Namespace(f"{name}-{uuid.uuid4().hex[:6]}"))
        return made[-1]

    yield make
    for namespace in reversed(made):
        namespace.close()

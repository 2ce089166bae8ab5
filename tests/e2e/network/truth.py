"""Who reaches whom among pods: sockets opened in the pods' own networks, all at once.

A socket belongs to the network that its thread was in when it was made. So the sockets of all
pods are made in turn and then waited for together, without a program in any pod.
"""

import contextlib
import ctypes
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Self, TypeVar

from tests.policy_scenarios import PORTS, PROTOCOLS, Probe

T = TypeVar("T")
CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)
KINDS = {"TCP": socket.SOCK_STREAM, "UDP": socket.SOCK_DGRAM}
QUIET_SECONDS = 0.15
"""After the last expected success nobody else may get through for so long."""
AGAIN_SECONDS = 1.0
"""Datagrams that nobody answered are sent again after so long, as TCP does by itself."""


def inside(network: Path, work: Callable[[], T]) -> T:
    """Run a function in a thread that has entered a network."""
    future: Future[T] = Future()

    def enter() -> None:
        try:
            handle = os.open(network, os.O_RDONLY)
            entered = libc.setns(handle, CLONE_NEWNET)
            os.close(handle)
            assert entered == 0, os.strerror(ctypes.get_errno())
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 -- raised again in the test's thread
            future.set_exception(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    return future.result()


def own_address() -> str:
    """Return the address that this network speaks to others from."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("10.43.0.1", 9))
        return str(probe.getsockname()[0])


def networks_of(machine_pids: Iterable[int]) -> dict[str, Path]:
    """Return the networks of the pods of some machines by address, as processes are in them."""
    found = {}
    seen = {Path(f"/proc/{pid}/ns/net").stat().st_ino for pid in machine_pids}
    for pid in (below for machine in machine_pids for below in descendants(machine)):
        path = Path(f"/proc/{pid}/ns/net")
        with contextlib.suppress(OSError):  # a process that has just ended
            inode = path.stat().st_ino
            if inode not in seen:
                seen.add(inode)
                found[inside(path, own_address)] = path
    return found


def descendants(pid: int) -> Iterator[int]:
    """Yield a process and all below it."""
    yield pid
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from descendants(int(child))


class Servers:
    """Answers with the name of the pod on every port, in every pod, from one thread."""

    def __init__(self, pods: Mapping[str, Path]) -> None:
        self._selector = selectors.DefaultSelector()
        self._wake, woken = socket.socketpair()
        self._selector.register(woken, selectors.EVENT_READ, None)
        for name, network in pods.items():
            for made in inside(network, listeners):
                self._selector.register(made, selectors.EVENT_READ, name.encode())
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._wake.send(b"!")
        self._thread.join(5)
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._wake.close()
        self._selector.close()

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    return
                with contextlib.suppress(OSError):
                    answer(key.fileobj, key.data)  # type: ignore[arg-type]


def listeners() -> list[socket.socket]:
    made = []
    for port in PORTS:
        for protocol in PROTOCOLS:
            one = socket.socket(socket.AF_INET, KINDS[protocol])
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(("0.0.0.0", port))
            if protocol == "TCP":
                one.listen(256)
            one.settimeout(0)
            made.append(one)
    return made


def answer(server: socket.socket, name: bytes) -> None:
    if server.type == socket.SOCK_STREAM:
        connection, _ = server.accept()
        with connection:
            connection.send(name)
    else:
        _, peer = server.recvfrom(100)
        server.sendto(name, peer)


class Truth:
    """Tries probes until what is allowed has succeeded; keeps what did."""

    def __init__(self, networks: Mapping[str, Path], addresses: Mapping[str, str]) -> None:
        self._networks = networks
        self._addresses = addresses

    def of(self, expected: Mapping[Probe, bool], seconds: float) -> dict[Probe, bool]:
        """Return which probes came through, after at most so many seconds."""
        wanted = {probe for probe, allowed in expected.items() if allowed}
        reached: set[Probe] = set()
        with self._trying(list(expected)) as (selector, sockets):
            deadline = time.monotonic() + seconds
            again, quiet_until = time.monotonic() + AGAIN_SECONDS, 0.0
            while (now := time.monotonic()) < deadline:
                if wanted <= reached:
                    quiet_until = quiet_until or now + QUIET_SECONDS
                    if now >= quiet_until:
                        break
                if now >= again:
                    again = now + AGAIN_SECONDS
                    send([one for probe, one in sockets.items() if probe not in reached])
                for key, _ in selector.select(0.02):
                    if came_through(key.fileobj, key.data):  # type: ignore[arg-type]
                        reached.add(key.data)
                        selector.unregister(key.fileobj)
        return {probe: probe in reached for probe in expected}

    @contextlib.contextmanager
    def _trying(
        self, probes: Sequence[Probe]
    ) -> Iterator[tuple[selectors.BaseSelector, dict[Probe, socket.socket]]]:
        sockets: dict[Probe, socket.socket] = {}
        with selectors.DefaultSelector() as selector:
            try:
                for source, network in self._networks.items():
                    own = [probe for probe in probes if probe.source == source]
                    sockets |= inside(network, lambda own=own: self._open(own))  # type: ignore[misc]
                for probe, one in sockets.items():
                    selector.register(one, selectors.EVENT_READ, probe)
                yield selector, sockets
            finally:
                for one in sockets.values():
                    one.close()

    def _open(self, probes: Sequence[Probe]) -> dict[Probe, socket.socket]:
        made = {}
        for probe in probes:
            one = socket.socket(socket.AF_INET, KINDS[probe.protocol])
            one.settimeout(0)
            one.connect_ex((self._addresses[probe.target], probe.port))
            made[probe] = one
        send(list(made.values()))
        return made


def send(sockets: Sequence[socket.socket]) -> None:
    """Ask by datagrams; connections are answered without being asked."""
    for one in sockets:
        if one.type == socket.SOCK_DGRAM:
            with contextlib.suppress(OSError):
                one.send(b"?")


def came_through(one: socket.socket, probe: Probe) -> bool:
    try:
        return one.recv(100).decode() == probe.target
    except OSError:
        return False

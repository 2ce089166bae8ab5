"""Logs, addresses and notes to systemd."""

import asyncio
import inspect
import io
import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from minikube_py.lib import log, net
from minikube_py.lib.errors import StartError
from minikube_py.lib.notify import notify
from minikube_py.lib.tasks import together


@pytest.fixture
def kept_logging() -> Iterator[None]:
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


def test_a_line_has_level_time_module_and_event(kept_logging: None) -> None:
    stream = io.StringIO()
    log.configure("info", stream)
    logging.getLogger("minikube_py.agent.kubelet").info("pod started pod=%s", "a/b")
    logging.getLogger("minikube_py.agent").debug("not shown")
    line = stream.getvalue()
    assert line[0] == "I"
    assert line.endswith(" agent.kubelet] pod started pod=a/b\n")
    assert line.count("\n") == 1


def test_a_traceback_stands_below_its_line(kept_logging: None) -> None:
    stream = io.StringIO()
    log.configure("error", stream)
    try:
        int("reason")
    except ValueError:
        logging.getLogger("minikube_py.x").exception("failed")
    first, *rest = stream.getvalue().splitlines()
    assert first.startswith("E")
    assert rest[-1].startswith("ValueError: invalid literal")


def test_addresses_of_a_network_are_counted_from_zero() -> None:
    assert net.nth_address("10.96.0.0/12", 1) == "10.96.0.1"
    assert net.nth_address("fd00::/108", 10) == "fd00::a"


def test_a_port_that_is_taken_is_named_with_the_flag() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=f"port {port}: address already in use; .*--x-port"):
            net.check_port("127.0.0.1", port, flag="--x-port")
    net.check_port("127.0.0.1", port, flag="--x-port")


def test_systemd_is_told_where_it_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify("READY=1")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        assert notify("READY=1", "STATUS=fine")
        assert receiver.recv(100) == b"READY=1\nSTATUS=fine"
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    assert not notify("READY=1")


async def test_works_that_are_cancelled_before_they_begin_leave_nothing_unawaited() -> None:
    async def work() -> None:
        await asyncio.sleep(0)

    works = [work() for _ in range(3)]
    running = asyncio.create_task(together(works))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert all(inspect.getcoroutinestate(one) == inspect.CORO_CLOSED for one in works)

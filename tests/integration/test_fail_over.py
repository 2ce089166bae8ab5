"""Two servers as programs on one PostgreSQL: when one dies the other goes on, work and all."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.datastore.conftest import postgres
from tests.datastore.servers import Server as DatabaseServer
from tests.program import Server

__all__ = ["postgres"]

WAIT_SECONDS = 120.0
"""A lead changes within 14 s; the rest is for a machine with other things to do."""


@pytest.fixture
def two(postgres: DatabaseServer, tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    endpoint = f"--datastore-endpoint={postgres.endpoint()}"
    servers: list[Server] = []
    try:
        for number in (1, 2):
            folder = tmp_path / str(number)
            folder.mkdir()
            flags = [endpoint, f"--advertise-address=192.0.2.{number}"]
            if servers:
                flags.append(f"--token={servers[0].kpy('token').strip()}")
            servers.append(Server(folder, *flags))
            servers[-1].start()
        yield servers[0], servers[1]
    finally:
        for server in servers:
            if server.process is not None and server.process.poll() is None:
                server.process.kill()
                server.process.wait()


def wait_for(true: Callable[[], bool], what: Callable[[], str]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not true():
        assert time.monotonic() < deadline, what()
        time.sleep(0.1)


def has_account(server: Server, namespace: str) -> bool:
    """Tell whether controllers have looked at a namespace."""
    found = server.kubectl("get", "serviceaccounts", "-n", namespace, "-o", "name")
    return "serviceaccount/default" in found


def addresses(server: Server) -> set[str]:
    """Return where pods find the API."""
    found = json.loads(server.kubectl("get", "endpoints", "kubernetes", "-o", "json"))
    return {one["ip"] for subset in found.get("subsets", ()) for one in subset["addresses"]}


def leader(server: Server) -> str:
    path = "jsonpath={.spec.holderIdentity}"
    return server.kubectl(
        "get", "lease", "-n", "kube-system", "kube-controller-manager", "-o", path
    )


def roles(two: tuple[Server, Server]) -> tuple[Server, Server, str]:
    """Return who leads, who does not, and the leader's identity; the first need not lead."""
    led = leader(two[1])
    leads_first = led in two[0].log.read_text()  # each tells of its own elections
    return (*(two if leads_first else two[::-1]), led)


def address(server: Server) -> str:
    return server.flags[1].partition("=")[2]


def test_when_a_server_is_killed_the_other_takes_over_its_work(two: tuple[Server, Server]) -> None:
    first, second = two
    wait_for(lambda: addresses(second) == {"192.0.2.1", "192.0.2.2"}, first.log.read_text)
    first.kubectl("create", "namespace", "before")
    wait_for(lambda: has_account(second, "before"), first.log.read_text)
    first, second, led = roles(two)
    first.stop(signal.SIGKILL)
    second.kubectl("create", "namespace", "after")
    wait_for(lambda: has_account(second, "after"), second.log.read_text)
    assert leader(second) != led
    wait_for(lambda: addresses(second) == {address(second)}, second.log.read_text)
    first.start()
    wait_for(lambda: has_account(first, "after"), first.log.read_text)
    wait_for(lambda: addresses(first) == {"192.0.2.1", "192.0.2.2"}, first.log.read_text)


def test_one_hands_its_work_over_when_it_stops_and_none_gets_in_without_the_token(
    two: tuple[Server, Server], tmp_path: Path
) -> None:
    first, second = two
    (tmp_path / "3").mkdir()
    with pytest.raises(AssertionError, match="pass its join token as --token; `kpy token` on one"):
        Server(tmp_path / "3", first.flags[0]).start()
    wait_for(lambda: addresses(second) == {"192.0.2.1", "192.0.2.2"}, first.log.read_text)
    wait_for(lambda: bool(leader(second)), first.log.read_text)
    first, second, led = roles(two)
    assert first.stop()[0] == 0
    wait_for(lambda: addresses(second) == {address(second)}, second.log.read_text)
    second.kubectl("create", "namespace", "after")
    wait_for(lambda: has_account(second, "after"), second.log.read_text)
    assert leader(second) != led

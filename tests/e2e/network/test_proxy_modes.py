"""The other modes of kube-proxy: endpoints that come and go, and what is left behind.

What a service can say is in test_service_table.py.
"""

import asyncio
import errno
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from minikube_py.agent.proxy.iptables_run import IptablesRules
from minikube_py.agent.proxy.run import leave_other_modes
from minikube_py.agent.proxy.userspace import UserspaceRules
from minikube_py.agent.reset import traces
from tests.e2e.network.test_proxy import CONFIG, KEY, VIP, World, slice_of, web

pytestmark = pytest.mark.e2e
MODES = {"iptables": IptablesRules, "userspace": UserspaceRules}


class Mode:
    """A world whose services are reached in one of the modes."""

    def __init__(self, world: World, mode: str) -> None:
        self.world = world
        self.keeps_addresses = mode == "iptables"
        self.rules = MODES[mode](CONFIG)
        world.node.sh("ip", "route", "replace", "10.43.0.0/16", "dev", "cni0")

    async def serve(self, *numbers: int, service: Any = None, **piece: Any) -> None:
        given = service or web(piece.get("protocol", "TCP"))
        self.rules.set_service(KEY, given, [slice_of(*numbers, **piece)])
        await self.rules.apply()

    async def ask(self, who: Any, address: str, port: int, **kind: int) -> tuple[str, str]:
        found: tuple[str, str] = await asyncio.to_thread(who.ask, address, port, **kind)
        return found

    async def tally(self, who: Any, address: str, port: int, count: int = 30) -> Counter[str]:
        """Return who answers; asked until all three have, or `count` times."""
        seen: Counter[str] = Counter()
        for _ in range(count):
            seen[(await self.ask(who, address, port))[0][:4]] += 1
        return seen

    async def refused(self, who: Any, address: str, port: int) -> bool:
        try:
            await self.ask(who, address, port)
        except OSError as error:
            return error.errno == errno.ECONNREFUSED
        return False

    async def silent(self, who: Any, address: str, port: int) -> bool:
        """Tell whether nobody answers, in whatever way."""
        try:
            return not (await self.ask(who, address, port, seconds=0.5))[0]
        except OSError:
            return True

    def run(self, scenario: Callable[[], Any]) -> None:
        async def main() -> None:
            try:
                await scenario()
            finally:
                await self.rules.close()

        self.world.node.run(main)


@pytest.fixture(params=sorted(MODES))
def mode(request: pytest.FixtureRequest, namespaces: Callable[[str], Any], tmp_path: Path) -> Mode:
    return Mode(World(namespaces, tmp_path), request.param)


def test_addresses_and_node_ports_lead_to_all_endpoints_and_follow_them(mode: Mode) -> None:
    world = mode.world

    async def scenario() -> None:
        await mode.serve(5, 6, 7)
        for who in (world.node, world.pods[0]):
            assert set(await mode.tally(who, VIP, 80, 50)) == {"pod5", "pod6", "pod7"}
        assert set(await mode.tally(world.outside, "192.168.77.1", 30080, 50)) == {
            "pod5", "pod6", "pod7",
        }  # fmt: skip
        if mode.keeps_addresses:
            assert (await mode.ask(world.pods[0], VIP, 80))[1].startswith("10.42.0.")
        await mode.serve(5)
        assert (await mode.ask(world.pods[0], VIP, 80))[0].startswith("pod5")  # itself
        for numbers in ((5, 6), (7,)):
            await mode.serve(*numbers)
            seen = await mode.tally(world.node, VIP, 80)
            assert set(seen) == {f"pod{number}" for number in numbers}
        await mode.serve()
        assert await mode.refused(world.node, VIP, 80)
        assert await mode.refused(world.pods[0], VIP, 80)
        assert await mode.refused(world.outside, "192.168.77.1", 30080)

    mode.run(scenario)


@contextmanager
def one_port(address: str, port: int) -> Iterator[Callable[[], str]]:
    """Have a client that always asks from the same port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(20)
        client.connect((address, port))

        def ask() -> str:
            client.send(b"?")
            return client.recv(100).decode()[:4]

        yield ask


def test_datagrams_move_when_their_endpoint_goes(mode: Mode) -> None:
    def ask_twice(between: Callable[[], None]) -> list[str]:
        with one_port(VIP, 80) as ask:
            first = ask()
            between()
            return [first, ask()]

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        await mode.serve(5, protocol="UDP")

        def move() -> None:
            work = mode.serve(6, protocol="UDP")
            asyncio.run_coroutine_threadsafe(work, loop).result(60)

        pod = mode.world.pods[2]
        seen = await asyncio.to_thread(pod.call, lambda: ask_twice(move))
        assert seen == ["pod5", "pod6"]

    mode.run(scenario)


def test_what_is_left_behind_is_removed(mode: Mode) -> None:
    world = mode.world

    async def scenario() -> None:
        await mode.serve(5, 6)
        mode.rules.set_service(KEY, None, [])
        await mode.rules.apply()
        assert await mode.silent(world.pods[0], VIP, 80)
        again = type(mode.rules)(CONFIG)  # as after a start
        again.set_service(KEY, web(), [slice_of(7)])
        await again.apply()
        assert set(await mode.tally(world.node, VIP, 80, 10)) == {"pod7"}
        again.set_service(KEY, None, [])
        await again.apply()
        for program in await asyncio.to_thread(traces.service_chains, Path("/")):
            await asyncio.to_thread(traces.remove_service_chains, program)

    mode.run(scenario)
    assert "KPY-" not in world.node.sh("iptables-save")
    assert VIP not in world.node.sh("ip", "addr", "show", "dev", "lo")


def test_another_mode_takes_away_what_this_one_has_left(mode: Mode) -> None:
    async def scenario() -> None:
        await mode.serve(5)
        await leave_other_modes("nftables")

    mode.run(scenario)
    assert "KPY-" not in mode.world.node.sh("iptables-save")

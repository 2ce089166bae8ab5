"""A port is claimed by one server, and one that crashed holds it for a while only."""

from datetime import UTC, datetime, timedelta

import pytest

from minikube_py.datastore.memory import MemoryBackend
from minikube_py.server.registry.port_claims import CLAIMS, LIFETIME, PortClaims


class Clock:
    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def two(clock: Clock) -> tuple[PortClaims, PortClaims]:
    backend = MemoryBackend()
    return (
        PortClaims(backend, clock, "one"),  # type: ignore[arg-type]
        PortClaims(backend, clock, "other"),  # type: ignore[arg-type]
    )


async def test_a_port_is_claimed_by_one_server(two: tuple[PortClaims, PortClaims]) -> None:
    assert await two[0].take([30000, 30001]) == set()
    assert await two[1].take([30001, 30002]) == {30001}
    await two[1].give_back([30001, 30002])  # not its own: stays
    assert await two[1].take([30001]) == {30001}
    await two[0].give_back([30001])
    assert await two[1].take([30001]) == set()


async def test_what_a_crash_left_behind_is_free_again_after_a_while(
    two: tuple[PortClaims, PortClaims], clock: Clock
) -> None:
    await two[0].take([30000])
    clock.time += LIFETIME
    assert await two[1].take([30000]) == {30000}
    clock.time += timedelta(seconds=1)
    assert await two[1].take([30000]) == {30000}  # it is taken away, and may be asked for again
    assert await two[1].take([30000]) == set()


async def test_nothing_is_left_when_all_is_given_back(clock: Clock) -> None:
    backend = MemoryBackend()
    claims = PortClaims(backend, clock, "one")  # type: ignore[arg-type]
    await claims.take(range(30000, 30010))
    await claims.give_back(range(30000, 30010))
    assert not (await backend.list(CLAIMS)).items

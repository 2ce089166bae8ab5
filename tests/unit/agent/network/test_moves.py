"""When a machine counts as moved."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from minikube_py.agent.network import moves
from tests.virtual_time import VirtualClock, virtual


@virtual
async def test_another_address_is_told_and_the_lack_of_one_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = iter(["10.0.0.1", "", "10.0.0.1", "10.0.0.2"])

    @contextmanager
    def all_the_time() -> Iterator[asyncio.Event]:
        changed = asyncio.Event()
        monkeypatch.setattr(changed, "clear", lambda: None)
        changed.set()
        yield changed

    monkeypatch.setattr(moves, "address_events", all_the_time)
    clock = VirtualClock()
    begun = clock.monotonic()
    assert await moves.moved(["10.0.0.1"], clock, lambda: next(found)) == "10.0.0.2"
    assert clock.monotonic() - begun == pytest.approx(3 * moves.SETTLE_SECONDS)


async def test_the_kernel_is_listened_to() -> None:
    with moves.address_events() as changed:
        assert not changed.is_set()

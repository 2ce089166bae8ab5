"""Virtual time: a loop in which waiting costs nothing, and the clock that shows its time.

Where nothing can run now, the loop jumps to the next timer. A wait that nothing can end is an
error, so that a test of lost wake-ups fails at once and does not hang.
"""

import asyncio
import functools
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class _Selector(selectors.SelectSelector):
    """Advances time instead of waiting."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("deadlock: everything waits and no timer is set")
        if not ready and timeout:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time only the waits of its tasks move."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)
        # A timer is due within this of its time; a nanosecond does not show in years of seconds.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self._virtual.now


class VirtualClock:
    """The Clock of a virtual loop; starts at the first second of 2026."""

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def until(self, moment: datetime) -> None:
        await asyncio.sleep(max((moment - self.now()).total_seconds(), 0))

    def call_later(self, seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, callback)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)


def virtual(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Make an async test one that runs in virtual time."""

    @functools.wraps(test)
    def wrapper(*args: Any, **more: Any) -> None:
        run(test(*args, **more))

    return wrapper


async def settle(seconds: float = 0.001) -> None:
    """Let everything run that can run within some virtual time."""
    await asyncio.sleep(seconds)

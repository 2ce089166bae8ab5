"""A clock that can be put forward: those who wait for a later time wake at once."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from minikube_py.lib.clock import SystemClock


class _Timer:
    """One call to come."""

    def __init__(self, clock: "WarpingClock", due: float, callback: Callable[[], None]) -> None:
        self.due = due
        self.callback = callback
        self._clock = clock
        self._handle = self._arm()

    def _arm(self) -> asyncio.TimerHandle:
        wait = max(self.due - self._clock.monotonic(), 0.0)
        return asyncio.get_running_loop().call_later(wait, self._fire)

    def _fire(self) -> None:
        self._clock.timers.discard(self)
        self.callback()

    def rearm(self) -> None:
        self._handle.cancel()
        self._handle = self._arm()

    def cancel(self) -> None:
        self._clock.timers.discard(self)
        self._handle.cancel()


class WarpingClock(SystemClock):
    """The machine's clock, and what was put upon it."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.timers: set[_Timer] = set()

    def forward(self, seconds: float) -> None:
        """Let time pass at once."""
        self.ahead += seconds
        for timer in tuple(self.timers):
            timer.rearm()

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.ahead)

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead

    async def sleep(self, seconds: float) -> None:
        over = asyncio.Event()
        timer = self.call_later(seconds, over.set)
        try:
            await over.wait()
        finally:
            timer.cancel()

    async def until(self, moment: datetime) -> None:
        await self.sleep((moment - self.now()).total_seconds())

    def call_later(self, seconds: float, callback: Callable[[], None]) -> _Timer:
        timer = _Timer(self, self.monotonic() + seconds, callback)
        self.timers.add(timer)
        return timer

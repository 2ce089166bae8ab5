"""Time is a parameter: what waits or stamps takes a Clock, and a test passes its own."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol


class Timer(Protocol):
    """A call to come that can be called off."""

    def cancel(self) -> None:
        """Call it off; harmless when it is past."""


class Clock(Protocol):
    """What time it is, and how to wait."""

    def now(self) -> datetime:
        """Return the wall time, in UTC."""

    def monotonic(self) -> float:
        """Return seconds that never go back."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    async def until(self, moment: datetime) -> None:
        """Wait until the wall shows this time, or is set to another one."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call back once, after a wait."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the wall time, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    async def until(self, moment: datetime) -> None:
        """Wait until the wall shows this time, or is set to another one."""
        from minikube_py.lib.walltime import reached_or_set  # noqa: PLC0415 -- few wait so

        await reached_or_set(moment)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call back once, after a wait, from the running loop."""
        return asyncio.get_running_loop().call_later(seconds, callback)

"""What has an end is renewed in time: over years, when the clock is set, and on demand."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

from minikube_py.lib import renewal
from minikube_py.lib.clock import SystemClock
from minikube_py.lib.walltime import reached_or_set
from tests.virtual_time import VirtualClock, settle, virtual

YEAR = timedelta(days=365)


@virtual
async def test_over_ten_years_it_is_renewed_when_it_is_due_and_not_otherwise() -> None:
    clock, renewed = VirtualClock(), []

    async def renew() -> datetime:
        renewed.append(clock.now())
        return clock.now() + YEAR

    begun = clock.now()
    keeping = asyncio.create_task(renewal.keep(renew, begun + YEAR, clock))
    await clock.sleep(timedelta(days=3651).total_seconds())
    assert renewed == [begun + n * YEAR for n in range(1, 11)]
    keeping.cancel()


@virtual
async def test_a_change_renews_at_once_and_what_stays_due_is_no_hot_loop() -> None:
    clock, changed, renewed = VirtualClock(), asyncio.Event(), []

    async def renew() -> datetime:
        renewed.append(clock.now())
        return clock.now() - YEAR

    keeping = asyncio.create_task(renewal.keep(renew, clock.now() + YEAR, clock, changed))
    await settle()
    assert not renewed
    changed.set()
    await settle()
    assert len(renewed) == 1
    await clock.sleep(3 * 3600 + 1)
    assert len(renewed) == 4
    keeping.cancel()


@virtual
async def test_a_clock_that_is_set_while_something_is_renewed_leaves_nothing_due() -> None:
    clock, renewed = JumpingClock(), []

    async def renew() -> datetime:
        renewed.append(clock.now())
        due = clock.now() + YEAR
        if len(renewed) == 1:
            clock.ahead = 10 * YEAR
        return due

    keeping = asyncio.create_task(renewal.keep(renew, clock.now(), clock))
    await settle()
    assert [moment.year for moment in renewed] == [2026, 2035]
    keeping.cancel()


class JumpingClock(VirtualClock):
    """Virtual time that somebody sets."""

    ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


async def test_the_wall_clock_wakes_who_waits_for_a_time_that_is_past() -> None:
    async with asyncio.timeout(10):
        await reached_or_set(datetime(1970, 1, 1, tzinfo=UTC))
        await SystemClock().until(datetime.now(UTC) - YEAR)


async def test_the_wall_clock_wakes_who_waits_for_a_time_to_come() -> None:
    moment = datetime.fromtimestamp(int(time.time()) + 1, UTC)
    async with asyncio.timeout(10):
        await reached_or_set(moment)
    assert datetime.now(UTC) >= moment


async def test_a_far_time_is_waited_for() -> None:
    waiting = asyncio.create_task(reached_or_set(datetime.max.replace(tzinfo=UTC)))
    done, _ = await asyncio.wait([waiting], timeout=0.2)
    assert not done
    waiting.cancel()

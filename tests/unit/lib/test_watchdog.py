"""The watchdog: who holds the event loop is named, who does not is left alone, idle is idle."""

import asyncio
import logging
import time

import pytest

from minikube_py.lib.watchdog import LIMIT_SECONDS, Watchdog

PATIENCE_SECONDS = 30.0
HELD_SECONDS = 0.5
HELD = "the event loop was held"


@pytest.fixture
async def watchdog():
    watching = Watchdog()
    yield watching
    watching.close()


async def idle(watching):
    async with asyncio.timeout(PATIENCE_SECONDS):
        while watching.armed:  # noqa: ASYNC110 -- the timer that ends it tells nobody
            await asyncio.sleep(0.01)


def hold(seconds):
    """Keep the processor for so long, whatever else runs on the machine."""
    ends = time.thread_time() + seconds
    while time.thread_time() < ends:
        sum(range(100))


async def test_what_holds_the_loop_is_named_with_its_task_and_place(watchdog, caplog):
    async def greedy():
        watchdog.poke()
        hold(HELD_SECONDS)

    await asyncio.create_task(greedy(), name="the greedy one")
    await idle(watchdog)
    (told,) = [record.getMessage() for record in caplog.records if HELD in record.getMessage()]
    assert "task='the greedy one'" in told
    assert "test_watchdog.py" in told
    assert " hold" in told


async def test_how_late_the_loop_was_is_counted(watchdog):
    watchdog.poke()
    hold(HELD_SECONDS)
    await idle(watchdog)
    assert watchdog.late.sum > LIMIT_SECONDS
    (count,) = [line for line in watchdog.lines() if "_count" in line]
    assert not count.endswith(" 0")


async def test_without_work_no_timer_is_set(watchdog):
    watchdog.poke()
    assert watchdog.armed
    await idle(watchdog)
    counted = watchdog.late.count
    await asyncio.sleep(0.3)
    assert watchdog.late.count == counted
    assert not watchdog.armed


async def test_who_waits_holds_nothing(watchdog, caplog):
    for _ in range(5):
        watchdog.poke()
        await asyncio.sleep(0.1)
    await idle(watchdog)
    assert HELD not in caplog.text


async def test_one_that_is_closed_watches_no_longer(watchdog, caplog):
    watchdog.poke()
    watchdog.close()
    watchdog.close()
    with caplog.at_level(logging.WARNING):
        hold(HELD_SECONDS)
        await asyncio.sleep(0.1)
    watchdog.poke()
    assert watchdog.late.count == 0

"""Work that may take long: where it is done, and how it asks the loop."""

import asyncio
import threading

import pytest

from minikube_py.api import cel
from minikube_py.api.cel import types
from minikube_py.lib.patience import OutOfPatienceError, check, in_loop, patiently


async def test_short_work_is_done_in_the_loop() -> None:
    assert await patiently(threading.get_ident, seconds=60) == threading.get_ident()


async def test_long_work_is_begun_again_in_a_thread() -> None:
    places = []

    def work() -> str:
        places.append(threading.get_ident())
        check()
        return "done"

    assert await patiently(work, seconds=-1) == "done"
    here, away = places
    assert here == threading.get_ident() != away


async def test_a_thread_asks_the_loop_about_its_state() -> None:
    def work() -> tuple[int, int]:
        check()
        return threading.get_ident(), in_loop(threading.get_ident)

    away, asked = await patiently(work, seconds=-1)
    assert asked == threading.get_ident() != away
    assert in_loop(threading.get_ident) == threading.get_ident()


async def test_what_goes_wrong_is_raised_from_either_place() -> None:
    def work() -> None:
        check()
        in_loop(lambda: int("one"))

    with pytest.raises(ValueError, match="one"):
        await patiently(work, seconds=-1)
    with pytest.raises(ValueError, match="one"):
        await patiently(work, seconds=60)


def test_nobody_is_impatient_outside() -> None:
    check()


async def test_the_loop_goes_on_while_an_expression_takes_long() -> None:
    program = cel.compile("xs.all(x, xs.all(y, x + y < 1000000))", {"xs": types.DYN})
    numbers = {"xs": list(range(200))}
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.ensure_future(count())
    assert await patiently(lambda: program.evaluate(numbers)) is True
    counting.cancel()
    assert turns > 0


async def test_an_expression_looks_at_the_clock_on_its_way() -> None:
    program = cel.compile("xs.all(x, xs.all(y, x + y < 1000000))", {"xs": types.DYN})
    left = []

    def work() -> None:
        try:
            program.evaluate({"xs": list(range(200))})
        except OutOfPatienceError:
            left.append(True)
            raise

    await patiently(work, seconds=0.0005)
    assert left == [True]

"""Work of unknown length that must not hold the event loop: begun there, else done in a thread.

Most expressions of users take microseconds, so a thread for each would cost more than they do; a
few take seconds. Work looks at the clock now and then through `check`; where it took too long it is
given up and done again from its beginning in a thread, where nobody minds. So it must be without
effects until it is done, and what it asks of the loop's own state it asks through `in_loop`.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Final, TypeVar

T = TypeVar("T")

SECONDS: Final = 0.008
"""How long work may hold the loop before it is moved."""
_deadline: Final[ContextVar[float]] = ContextVar("deadline", default=0.0)
_home: Final[ContextVar[asyncio.AbstractEventLoop | None]] = ContextVar("home", default=None)


class OutOfPatienceError(Exception):
    """The work takes too long for the event loop; whoever began it does it again in a thread."""


def check() -> None:
    """Give up if the work holds the loop for too long.

    Raises:
        OutOfPatienceError: it does.

    """
    deadline = _deadline.get()
    if deadline and time.perf_counter() > deadline:
        raise OutOfPatienceError


def elsewhere() -> None:
    """Give up, however long it took: what follows is known to take long.

    Raises:
        OutOfPatienceError: the work is still in the loop.

    """
    if _deadline.get():
        raise OutOfPatienceError


async def patiently(work: Callable[[], T], *, seconds: float = SECONDS) -> T:
    """Return what the work gives; it may be begun twice."""
    token = _deadline.set(time.perf_counter() + seconds)
    try:
        return work()
    except OutOfPatienceError:
        pass
    finally:
        _deadline.reset(token)
    loop = asyncio.get_running_loop()

    def away() -> T:
        _home.set(loop)
        return work()

    return await asyncio.to_thread(away)


def in_loop(question: Callable[[], T]) -> T:
    """Return the answer to a question about the loop's own state, also from a thread."""

    async def ask() -> T:
        return question()

    return question() if _home.get() is None else wait_in_thread(ask)


def wait_in_thread(question: Callable[[], Coroutine[None, None, T]]) -> T:
    """Return what the loop has to wait for; work that needs such goes to a thread first.

    Raises:
        OutOfPatienceError: it is not yet there.

    """
    loop = _home.get()
    if loop is None:
        raise OutOfPatienceError
    return asyncio.run_coroutine_threadsafe(question(), loop).result()

"""Waiting for what the server does by and by."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
SECONDS_MAX = 120.0
"""What takes longer on the busiest machine does not happen."""


async def eventually(ask: Callable[[], Awaitable[T]], good: Callable[[T], bool]) -> T:
    """Ask again and again until the answer is good; the failure shows the last one."""
    answer: T | None = None
    try:
        async with asyncio.timeout(SECONDS_MAX):
            while not good(answer := await ask()):  # noqa: ASYNC110 -- a client has no other way
                await asyncio.sleep(0.02)
    except TimeoutError as error:
        raise AssertionError(f"not within {SECONDS_MAX:g} s; at last: {answer}") from error
    return answer

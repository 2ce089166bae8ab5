"""Structured concurrency: every task has a parent and a name, and no failure is lost.

`asyncio.create_task` stands nowhere else. A `Nursery` is for parts that come and go while their
parent runs (a pod worker, a watch); `restarting` is for parts that must always run.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar

from minikube_py.lib.backoff import Backoff
from minikube_py.lib.clock import Clock

log = logging.getLogger(__name__)
T = TypeVar("T")
R = TypeVar("R")
TURN_SECONDS = 0.002
"""So long work that waits for nothing holds the loop before it lets others run."""
RESTART = Backoff(first_seconds=0.2, max_seconds=30.0)
HEALTHY_SECONDS = 60.0
"""A part that ran this long before it failed starts over with the shortest wait."""


class Nursery:
    """Tasks that end at the latest when their parent leaves the block.

    A task that fails is logged with its traceback and does not end the others.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.cancel()

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` as a child task."""
        task = asyncio.get_running_loop().create_task(self._guard(name, work), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # cancelled before it began
        return task

    async def _guard(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("task failed task=%s parent=%s", name, self.name)

    async def cancel(self) -> None:
        """End all children and wait for them."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def join(self) -> None:
        """Wait until all children have ended by themselves."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)


async def restarting(
    name: str,
    run: Callable[[], Awaitable[None]],
    *,
    backoff: Backoff = RESTART,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Run a part for ever: when it fails or returns, log why and start it again after a wait."""
    loop = asyncio.get_running_loop()
    failures = 0
    while True:
        started = loop.time()
        try:
            await run()
            log.warning("part ended, starting it again part=%s", name)
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("part failed, starting it again part=%s", name)
        failures = 1 if loop.time() - started > HEALTHY_SECONDS else failures + 1
        await sleep(backoff.wait_seconds(failures))


async def together(works: Iterable[Coroutine[Any, Any, T]]) -> list[T | Exception]:
    """Run some works at the same time; return what each gave or raised, in their order."""
    begun = list(works)
    try:
        return await asyncio.gather(*(_outcome(work) for work in begun))
    finally:
        for work in begun:  # one that was cancelled before it began is awaited by nobody
            work.close()


async def for_each(
    items: Iterable[T], work: Callable[[T], Awaitable[object]], *, at_once: int
) -> None:
    """Do some work for each item, for so many at once; there are never more tasks than that.

    Raises:
        Exception: what the first that failed raised; those that were not begun are left out.

    """
    waiting = iter(items)
    failures: list[Exception] = []

    async def one_after_the_other() -> None:
        for item in waiting:
            try:
                await work(item)
            except Exception as error:  # noqa: BLE001 -- raised below, when all have ended
                failures.append(error)
            if failures:
                return

    await asyncio.gather(*(one_after_the_other() for _ in range(at_once)))
    if failures:
        raise failures[0]


async def unhurried(work: Callable[[T], R], items: Iterable[T], clock: Clock) -> list[R]:
    """Return what a function makes of each item; every 2 ms others get their turn."""
    return [work(item) async for item in in_turns(items, clock)]


async def in_turns(items: Iterable[T], clock: Clock) -> AsyncIterator[T]:
    """Yield items to who works through them; every 2 ms others get their turn."""
    ends = clock.monotonic() + TURN_SECONDS
    for item in items:
        yield item
        if clock.monotonic() > ends:
            await asyncio.sleep(0)
            ends = clock.monotonic() + TURN_SECONDS


async def _outcome(work: Awaitable[T]) -> T | Exception:
    try:
        return await work
    except Exception as error:  # noqa: BLE001 -- handed to the caller, who decides
        return error


_UNINTERRUPTED: set[asyncio.Task[Any]] = set()
"""Keeps tasks alive whose callers have gone; each ends by itself."""


async def uninterrupted(name: str, work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end even where the caller is cancelled meanwhile.

    For a write that a client no longer waits for: what it began is finished or undone.
    """
    task = asyncio.get_running_loop().create_task(work, name=name)
    _UNINTERRUPTED.add(task)
    task.add_done_callback(_UNINTERRUPTED.discard)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(_log_failure)
        raise


def _log_failure(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.info("abandoned work failed task=%s error=%s", task.get_name(), task.exception())


class StoppedError(Exception):
    """Work was given up because what it was for is no longer wanted."""


async def unless(stop: asyncio.Event, name: str, work: Coroutine[Any, Any, T]) -> T:
    """Run `work`, but give it up as soon as `stop` is set.

    Raises:
        StoppedError: it was set before the work was done.

    """
    loop = asyncio.get_running_loop()
    task = loop.create_task(work, name=name)
    stopped = loop.create_task(stop.wait(), name=f"{name} stop")
    try:
        await asyncio.wait((task, stopped), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise StoppedError(name)
    finally:
        for each in (task, stopped):
            each.cancel()
        await asyncio.gather(task, stopped, return_exceptions=True)

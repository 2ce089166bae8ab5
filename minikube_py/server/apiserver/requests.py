"""The requests under way: how long they may take, and what becomes of them when the server stops.

Almost all have the same limit, so they end in the order in which they came; one timer for the
oldest does for all. What lasts by nature (exec, logs, proxies) has no limit and is ended when the
server stops; our own watches are not here, they end in good order by themselves (`Watches`).
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from minikube_py.api.errors import BadRequestError, ServerTimeoutError
from minikube_py.api.times import parse_duration
from minikube_py.lib.watchdog import Watchdog
from minikube_py.server.apiserver.request import RequestInfo

LASTING_VERBS = frozenset({"watch", "proxy"})
LASTING_SUBRESOURCES = frozenset({"attach", "exec", "proxy", "log", "portforward"})
"""Upstream's long-running requests."""
Task = asyncio.Task[Any] | None
"""What `current_task` returns; within a request it is never None."""


class Requests:
    """Knows the task of every request."""

    def __init__(self, limit_seconds: float) -> None:
        self._limit = limit_seconds
        self._loop = asyncio.get_running_loop()
        self._ends: dict[Task, tuple[float, RequestInfo]] = {}
        """When the requests with the usual limit have to be done, the oldest first."""
        self._own: dict[Task, asyncio.TimerHandle] = {}
        """The timers of requests that asked for less."""
        self._lasting: set[Task] = set()
        self._expired: set[Task] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._ended = asyncio.Event()
        self.watchdog = Watchdog(self._named)
        self.stopping = False
        """Whether the server is about to end."""

    def __len__(self) -> int:
        return len(self._ends) + len(self._own) + len(self._lasting)

    def begin(self, task: Task, info: RequestInfo, query: Mapping[str, str]) -> None:
        """Limit the time of a request.

        Raises:
            BadRequestError: it asks for a limit that is none.

        """
        if info.verb in LASTING_VERBS or info.subresource in LASTING_SUBRESOURCES:
            return
        wanted = limit_of(query)
        if wanted is not None and 0 < wanted < self._limit:
            self._own[task] = self._loop.call_later(wanted, self._expire, task)
            return
        self.watchdog.poke()
        end = self._loop.time() + self._limit
        self._ends[task] = end, info
        if self._timer is None:
            self._timer = self._loop.call_at(end, self._look)

    def end(self, task: Task) -> None:
        """Forget a request."""
        if self._ends.pop(task, None) is None:
            timer = self._own.pop(task, None)
            if timer is not None:
                timer.cancel()
        if self.stopping:
            self._ended.set()

    @contextmanager
    def lasting(self, task: Task, info: RequestInfo) -> Iterator[None]:
        """Remember, for the length of the block, that a request is handed on to another server."""
        if info.verb not in LASTING_VERBS and info.subresource not in LASTING_SUBRESOURCES:
            yield
            return
        self._lasting.add(task)
        try:
            yield
        finally:
            self._lasting.discard(task)
            self._ended.set()

    def has_expired(self, task: Task) -> bool:
        """Tell, once, whether a request was cancelled because its time is over."""
        if task not in self._expired:
            return False
        self._expired.discard(task)
        if task is not None:
            task.uncancel()
        return True

    def stop(self) -> None:
        """End what would last for ever; from now on every answer is its connection's last."""
        self.stopping = True
        if self._timer is not None:
            self._timer.cancel()
        _cancel(self._lasting)
        self.watchdog.close()

    async def finished(self) -> None:
        """Wait until nothing is under way any more; only after `stop`."""
        while len(self):
            self._ended.clear()
            await self._ended.wait()

    def end_all(self) -> None:
        """End everything."""
        _cancel((*self._ends, *self._own, *self._lasting))

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._ends:
            task, (end, _) = next(iter(self._ends.items()))
            if end > now:
                self._timer = self._loop.call_at(end, self._look)
                return
            del self._ends[task]
            self._expire(task)

    def _named(self, task: Task) -> str:
        """Return what a task is about: a request, or a part of the server."""
        known = self._ends.get(task)
        if known is not None:
            return f"{known[1].verb} {known[1].path}"
        return task.get_name() if task is not None else ""

    def _expire(self, task: Task) -> None:
        if task is not None and not task.done():
            self._expired.add(task)
            task.cancel()


def _cancel(tasks: Iterable[Task]) -> None:
    for task in tasks:
        if task is not None:
            task.cancel()


def limit_of(query: Mapping[str, str]) -> float | None:
    """Return the seconds that `?timeout=` asks for, None where it is not there.

    Raises:
        BadRequestError: it is no duration.

    """
    text = query.get("timeout")
    if not text:
        return None
    try:
        return parse_duration(text)
    except ValueError as error:
        raise BadRequestError(f"invalid timeout specified in the request URL - {error}") from error


def timed_out() -> ServerTimeoutError:
    """Make the answer to a request whose time is over."""
    return ServerTimeoutError("Timeout: request did not complete within the allotted timeout")

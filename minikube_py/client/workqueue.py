"""Keys to look at: each at most once in the queue, and never handled twice at the same time.

A key that is added while somebody works on it comes again when that is done. The queue needs no
bound of its own: every key stands in it once, so it is never longer than there are objects; the
same holds for delayed keys, of which only the earliest time is kept.
"""

import asyncio
import heapq
from collections import deque
from typing import Generic, TypeVar

from minikube_py.lib.backoff import Backoff
from minikube_py.lib.clock import Clock, Timer
from minikube_py.lib.prometheus import Histogram
from minikube_py.lib.tasks import TURN_SECONDS

K = TypeVar("K")
RETRY = Backoff(first_seconds=0.005, max_seconds=60.0)
"""client-go starts at 5 ms too; it lets a key rest for up to 1000 s, longer than a user waits."""
SECONDS = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0)
"""Bounds of histograms of how long keys wait and take; client-go has the same."""


class WorkQueue(Generic[K]):
    """The keys that wait for a worker."""

    def __init__(self, clock: Clock, backoff: Backoff = RETRY) -> None:
        self._clock = clock
        self._backoff = backoff
        self._queue: deque[K] = deque()
        self._dirty: dict[K, float] = {}
        """Since when each key waits."""
        self._busy: dict[K, float] = {}
        """Since when each key is worked on."""
        self.waits = Histogram(SECONDS)
        """How long keys waited before a worker took them."""
        self.adds = 0
        """How many keys have been put into the queue."""
        self.retries = 0
        """How many keys are or were to come again because they failed."""
        self._failures: dict[K, int] = {}
        self._rests: dict[K, float] = {}
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._entries = 0
        self._timer: Timer | None = None
        self._timer_at = 0.0
        self._turn_ends = 0.0
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nobody works; delayed keys do not count."""
        return not self._queue and not self._busy

    @property
    def delayed(self) -> int:
        """How many keys wait for their time."""
        return len(self._due)

    def busy_seconds(self) -> list[float]:
        """Return how long each key that is worked on now has been so."""
        now = self._clock.monotonic()
        return [now - since for since in self._busy.values()]

    def add(self, key: K) -> None:
        """Have the key handled, soon and once."""
        if key in self._dirty:
            return
        rest = self._rests.get(key, 0.0) - self._clock.monotonic() if self._rests else 0.0
        if rest > 0:
            self.add_after(key, rest)
            return
        self._dirty[key] = self._clock.monotonic()
        self.adds += 1
        if key not in self._busy:
            self._queue.append(key)
            self._wake.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Have the key handled after a wait, or earlier where an earlier time stands already."""
        if seconds <= 0:
            self.add(key)
            return
        due = self._clock.monotonic() + seconds
        if self._due.get(key, due + 1) <= due:
            return
        self._due[key] = due
        self._entries += 1
        heapq.heappush(self._heap, (due, self._entries, key))
        self._arm()

    def retry(self, key: K) -> None:
        """Have the key handled again after a wait that grows with each failure in a row."""
        self.retries += 1
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        self.add_after(key, self._backoff.wait_seconds(failures))

    def forget(self, key: K) -> None:
        """The key was handled well: its next failure is its first."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """Wait for a key and take it; `done` must follow.

        Who takes key after key without waiting for anything lets others run now and then.
        """
        if self._queue and self._clock.monotonic() > self._turn_ends:
            await asyncio.sleep(0)
            self._turn_ends = self._clock.monotonic() + TURN_SECONDS
        while not self._queue:
            self._wake.clear()
            await self._wake.wait()
        key = self._queue.popleft()
        now = self._clock.monotonic()
        self.waits.observe(now - self._dirty.pop(key))
        self._busy[key] = now
        return key

    def done(self, key: K, *, rest: float = 0.0) -> None:
        """The worker has finished with the key; it may be taken again, after a rest where asked.

        What comes in while a key rests is handled together when the rest is over.
        """
        self._busy.pop(key, None)
        self._forget_rests()
        if rest > 0:
            self._rests[key] = self._clock.monotonic() + rest
        if key not in self._dirty:
            return
        if rest > 0:
            del self._dirty[key]
            self.add_after(key, rest)
        else:
            self._queue.append(key)
            self._wake.set()

    def _forget_rests(self) -> None:
        """Drop the rests that are over, oldest first; a later one of the same length is not."""
        now = self._clock.monotonic()
        while self._rests:
            key, until = next(iter(self._rests.items()))
            if until > now:
                return
            del self._rests[key]

    def close(self) -> None:
        """Call off the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        """Have one timer, for the earliest key."""
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)  # an entry whose key got an earlier time
        if not self._heap:
            return
        due = self._heap[0][0]
        if self._timer is not None and self._timer_at <= due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = due
        wait = max(due - self._clock.monotonic(), 0.0)
        self._timer = self._clock.call_later(wait, self._fire)

    def _fire(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        while self._heap and self._heap[0][0] <= now:
            due, _, key = heapq.heappop(self._heap)
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key)
        self._arm()

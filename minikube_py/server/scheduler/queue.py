"""Pods that wait for a node: those to try now, those to try later, those that nothing helps yet.

A pod that did not fit waits until something happens that may cure what rejected it. Then it is
tried again, at the earliest after a back-off that grows with its attempts. A pod with scheduling
gates waits for its own change. Nothing here is a timer unless a pod waits.
"""

import asyncio
import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field

from minikube_py.lib.backoff import Backoff
from minikube_py.lib.clock import Clock, Timer
from minikube_py.server.scheduler.framework import Change
from minikube_py.server.scheduler.pod_info import PodInfo

BACKOFF = Backoff(first_seconds=1.0, max_seconds=10.0)
STUCK_SECONDS = 300.0
"""After this a pod is tried again whatever happened, as upstream does, against missed changes."""


@dataclass
class Waiting:
    """One pod in the queue."""

    pod: PodInfo
    since: float
    attempts: int = 0
    cured_by: frozenset[Change] = field(default_factory=frozenset)
    not_before: float = 0.0
    """End of the back-off."""


class SchedulingQueue:
    """Every pod stands in one of three places: active, backing off, unschedulable."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._active: list[tuple[int, float, int, str]] = []
        self._later: list[tuple[float, int, str]] = []
        self._unschedulable: dict[str, Waiting] = {}
        self._waiting: dict[str, Waiting] = {}
        """The pods in `_active` and `_later`, and the one being tried."""
        self._entries = 0
        self._wake = asyncio.Event()
        self._timer: Timer | None = None
        self._timer_at = 0.0
        self.changes: set[Change] = set()
        """What happened since the pod being tried was taken."""

    def __len__(self) -> int:
        return len(self._waiting) + len(self._unschedulable)

    def put(self, pod: PodInfo) -> None:
        """Take up a pending pod or a new version of one; its own change may have cured it."""
        known = self._waiting.get(pod.uid)
        if known is not None:
            known.pod = pod
            return
        parked = self._unschedulable.pop(pod.uid, None)
        if parked is not None:
            parked.pod = pod
            self._retry(parked)
            return
        self._activate(Waiting(pod, self._clock.monotonic()))

    def refresh(self, pod: PodInfo) -> None:
        """Take up a new version of a pod that changes nothing for its chances."""
        known = self._waiting.get(pod.uid) or self._unschedulable.get(pod.uid)
        if known is not None:
            known.pod = pod

    def remove(self, uid: str) -> None:
        """Forget a pod that is gone or has a node."""
        self._waiting.pop(uid, None)
        self._unschedulable.pop(uid, None)

    async def get(self) -> Waiting:
        """Wait for a pod to try; of several the one of the highest priority, then the oldest."""
        while True:
            while self._active:
                uid = heapq.heappop(self._active)[3]
                waiting = self._waiting.get(uid)
                if waiting is not None:
                    waiting.attempts += 1
                    self.changes = set()
                    return waiting
            self._wake.clear()
            await self._wake.wait()

    def done(self, waiting: Waiting) -> None:
        """The pod has got a node."""
        self._waiting.pop(waiting.pod.uid, None)

    def fail(self, waiting: Waiting, cured_by: Iterable[Change] | None) -> None:
        """The pod did not fit (or, without `cured_by`, something went wrong): park or retry it."""
        uid = waiting.pod.uid
        if self._waiting.pop(uid, None) is None:
            return  # deleted meanwhile
        now = self._clock.monotonic()
        waiting.not_before = now + BACKOFF.wait_seconds(waiting.attempts)
        waiting.cured_by = frozenset(cured_by or ())
        if cured_by is None or self.changes & waiting.cured_by:
            self._retry(waiting)
        else:
            self._unschedulable[uid] = waiting
            waiting.since = now
            self._arm(now + STUCK_SECONDS)

    def gate(self, waiting: Waiting) -> None:
        """The pod is held back by its scheduling gates: wait for its own change."""
        if self._waiting.pop(waiting.pod.uid, None) is not None:
            waiting.attempts -= 1
            waiting.cured_by = frozenset()
            self._unschedulable[waiting.pod.uid] = waiting

    def happened(self, change: Change) -> None:
        """Try the pods again that a change may have cured."""
        self.changes.add(change)
        cured = [one for one in self._unschedulable.values() if change in one.cured_by]
        for waiting in cured:
            del self._unschedulable[waiting.pod.uid]
            self._retry(waiting)

    def _retry(self, waiting: Waiting) -> None:
        """Try a pod when its back-off is over."""
        if waiting.not_before <= self._clock.monotonic():
            self._activate(waiting)
            return
        self._waiting[waiting.pod.uid] = waiting
        self._entries += 1
        heapq.heappush(self._later, (waiting.not_before, self._entries, waiting.pod.uid))
        self._arm(waiting.not_before)

    def _activate(self, waiting: Waiting) -> None:
        self._waiting[waiting.pod.uid] = waiting
        self._entries += 1
        entry = (-waiting.pod.priority, waiting.since, self._entries, waiting.pod.uid)
        heapq.heappush(self._active, entry)
        self._wake.set()

    def _arm(self, due: float) -> None:
        """Have one timer, for the earliest time that is waited for."""
        if self._timer is not None:
            if self._timer_at <= due:
                return
            self._timer.cancel()
        self._timer_at = due
        wait = max(due - self._clock.monotonic(), 0.0)
        self._timer = self._clock.call_later(wait, self._fire)

    def _fire(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        while self._later and self._later[0][0] <= now:
            uid = heapq.heappop(self._later)[2]
            waiting = self._waiting.get(uid)
            if waiting is not None:
                self._activate(waiting)
        stuck = [
            one
            for one in self._unschedulable.values()
            if one.cured_by and now - one.since >= STUCK_SECONDS
        ]
        for waiting in stuck:
            del self._unschedulable[waiting.pod.uid]
            self._activate(waiting)
        self._arm_next()

    def _arm_next(self) -> None:
        times = [one.since + STUCK_SECONDS for one in self._unschedulable.values() if one.cured_by]
        if self._later:
            times.append(self._later[0][0])
        if times:
            self._arm(min(times))

    def close(self) -> None:
        """Call off the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

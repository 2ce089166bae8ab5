"""Tells of pods that have no node by the time that their annotation `kpy.dev/deadline` names.

Until then the deadline only orders pods of one priority (plugins/priority_sort.py).
"""

import heapq
from collections.abc import Callable

from minikube_py.lib.clock import Clock, Timer
from minikube_py.server.scheduler.pod_info import PodInfo

WAIT_MAX_SECONDS = 3600.0
"""The wall clock may be set meanwhile, so it is looked at again by then."""


class Deadlines:
    """The deadlines of waiting pods, and one timer for the earliest of them."""

    def __init__(self, clock: Clock, missed: Callable[[PodInfo], None]) -> None:
        self._clock = clock
        self._missed = missed
        self._pods: dict[str, PodInfo] = {}
        self._heap: list[tuple[float, str]] = []
        self._timer: Timer | None = None

    def watch(self, pod: PodInfo) -> None:
        """Take up a waiting pod, or a new version of one."""
        known = self._pods.get(pod.uid)
        if pod.deadline is None:
            self._pods.pop(pod.uid, None)
            return
        self._pods[pod.uid] = pod
        if known is None or known.deadline != pod.deadline:
            heapq.heappush(self._heap, (pod.deadline, pod.uid))
            self._look()

    def forget(self, uid: str) -> None:
        """Forget a pod that is gone or has a node."""
        self._pods.pop(uid, None)
        if not self._pods:
            self.close()

    def _look(self) -> None:
        """Tell of deadlines that are over, once each, and wait for the next one."""
        now = self._clock.now().timestamp()
        while self._heap:
            deadline, uid = self._heap[0]
            pod = self._pods.get(uid)
            if pod is not None and pod.deadline == deadline and deadline > now:
                self._arm(deadline - now)
                return
            heapq.heappop(self._heap)
            if pod is not None and pod.deadline == deadline:
                self._missed(pod)
        self.close()

    def _arm(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._clock.call_later(min(seconds, WAIT_MAX_SECONDS), self._look)

    def close(self) -> None:
        """Call off the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

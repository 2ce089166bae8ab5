"""Pods that have a node reserved and wait until permit plugins let them be bound."""

import asyncio
from collections.abc import Collection, Iterable, Mapping

from minikube_py.lib.clock import Clock, Timer
from minikube_py.server.scheduler.framework import Rejected, rejection
from minikube_py.server.scheduler.pod_info import PodInfo

WAIT_MAX_SECONDS = 900.0
"""No plugin has a pod wait longer; upstream's limit."""


class WaitingPod:
    """One pod, the plugins that have not allowed it yet, and a timer for each."""

    def __init__(self, pod: PodInfo, waits: Mapping[str, float], clock: Clock) -> None:
        self.pod = pod
        self._outcome: asyncio.Future[Rejected | None] = asyncio.get_running_loop().create_future()
        self._timers: dict[str, Timer] = {
            plugin: clock.call_later(
                min(seconds, WAIT_MAX_SECONDS),
                lambda plugin=plugin: self.reject(  # type: ignore[misc]
                    plugin, f'rejected due to timeout after waiting at plugin "{plugin}"'
                ),
            )
            for plugin, seconds in waits.items()
        }

    def pending(self) -> Collection[str]:
        """Return the names of the plugins that have not allowed it yet."""
        return tuple(self._timers)

    def allow(self, plugin: str) -> None:
        """Take away one plugin's objection; after the last one the pod is bound."""
        timer = self._timers.pop(plugin, None)
        if timer is not None:
            timer.cancel()
        if not self._timers:
            self._decide(None)

    def reject(self, plugin: str, message: str) -> None:
        """Give the attempt up."""
        self._decide(Rejected(plugin, rejection(message)))

    def _decide(self, outcome: Rejected | None) -> None:
        if not self._outcome.done():
            self._outcome.set_result(outcome)

    async def outcome(self) -> Rejected | None:
        """Wait for the decision: None, or which plugin rejected the pod."""
        try:
            return await self._outcome
        finally:
            for timer in self._timers.values():
                timer.cancel()


class PermitWaits:
    """All pods that wait for permission, by uid."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pods: dict[str, WaitingPod] = {}

    def get(self, uid: str) -> WaitingPod | None:
        """Return one of them."""
        return self._pods.get(uid)

    def all(self) -> Iterable[WaitingPod]:
        """Return them all."""
        return tuple(self._pods.values())

    def add(self, pod: PodInfo, waits: Mapping[str, float]) -> WaitingPod:
        """Have a pod wait for some plugins, for so many seconds each."""
        waiting = self._pods[pod.uid] = WaitingPod(pod, waits, self._clock)
        return waiting

    async def wait(self, waiting: WaitingPod) -> Rejected | None:
        """Wait for the decision about a pod that was added."""
        try:
            return await waiting.outcome()
        finally:
            self._pods.pop(waiting.pod.uid, None)

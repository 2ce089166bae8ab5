"""Ends the pods of a node in order when its machine goes down.

systemd-logind tells of it, and waits. Where there is no logind, SIGPWR says the same: it is what
init systems send when the power goes. Pods that are ended like this have failed, so that their
controllers make others elsewhere; no new ones are taken. Words are those of upstream's kubelet.
"""

import asyncio
import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from minikube_py.agent.kubelet.container_status import Failure
from minikube_py.agent.kubelet.pod import full_name
from minikube_py.agent.kubelet.shutdown.logind import Logind
from minikube_py.agent.kubelet.shutdown.plan import Group, ShutdownPolicy, turns
from minikube_py.api.object import Obj
from minikube_py.lib.backoff import Backoff
from minikube_py.lib.clock import Clock
from minikube_py.lib.dbus import SYSTEM_BUS, connected
from minikube_py.lib.dbus_wire import DbusError
from minikube_py.lib.tasks import Nursery

log = logging.getLogger(__name__)
TROUBLE = "node is shutting down"
REFUSAL = Failure("NodeShutdown", "Pod was rejected as the node is shutting down.")
FAILURE = Failure(
    "Terminated", "Pod was terminated in response to imminent node shutdown.", disruption=True
)
RETRY = Backoff(first_seconds=1.0, max_seconds=60.0)
MARGIN_SECONDS = 10.0
"""Beyond its own time no group waits longer than this for pods to end and to be told of."""


class Worker(Protocol):
    """A pod of this node."""

    pod: Obj

    def evict(self, failure: Failure, grace: int) -> bool:
        """End the pod."""

    async def gone(self) -> None:
        """Wait until it has ended and the cluster knows."""


class Around(NamedTuple):
    """What a shutdown acts on."""

    workers: Callable[[], Iterable[Worker]]
    """The pods that run."""
    trouble: Callable[[str], None]
    """Makes the node say why it is not ready, "" when it is again."""
    tell: Callable[[str, str], None]
    """Records an event of the node: reason, message."""
    clock: Clock


class NodeShutdown:
    """Waits for the end of the machine."""

    def __init__(self, policy: ShutdownPolicy, around: Around, bus: Path = SYSTEM_BUS) -> None:
        self._policy = policy
        self._around = around
        self._bus = bus
        self.under_way = False

    def refusal(self) -> Failure | None:
        """Return why no pod is taken now, or None."""
        return REFUSAL if self.under_way else None

    async def run(self) -> None:
        """Wait and act, for ever."""
        async with Nursery("node shutdown") as nursery:
            if self._bus.is_socket():
                nursery.start("logind", self._follow_always())
            else:
                log.info("no system bus, SIGPWR tells of a shutdown path=%s", self._bus)
            with power_failure() as told:
                while True:
                    await told.wait()
                    told.clear()
                    await self.end()

    async def _follow_always(self) -> None:
        """Follow logind, also when it or the bus is started anew."""
        failures = 0
        while True:
            begun = self._around.clock.monotonic()
            try:
                await self._follow()
            except DbusError as error:
                lasted = self._around.clock.monotonic() - begun
                failures = 1 if lasted > RETRY.max_seconds else failures + 1
                log.warning("logind does not tell of shutdowns, trying again error=%s", error)
            await self._around.clock.sleep(RETRY.wait_seconds(failures))

    async def _follow(self) -> None:
        """Hold logind's lock until pods have ended."""
        async with connected(self._bus) as bus:
            logind = Logind(bus)
            await logind.allow(self._policy.seconds)
            await logind.follow()
            lock: int | None = await logind.inhibit()
            try:
                async for going in logind.announcements():
                    if going:
                        await self.end()
                        _release(lock)
                        lock = None
                    else:
                        self._call_off()
                        lock = await logind.inhibit() if lock is None else lock
            finally:
                _release(lock)
        raise DbusError("the bus is gone")

    async def end(self) -> None:
        """End all pods, those that matter least first."""
        self.under_way = True
        log.warning("the machine goes down, pods end seconds=%g", self._policy.seconds)
        self._around.trouble(TROUBLE)
        self._around.tell("Shutdown", "Shutdown manager detected shutdown event")
        workers = {full_name(worker.pod): worker for worker in self._around.workers()}
        for group, pods in turns(self._policy, (worker.pod for worker in workers.values())):
            await self._end_group(group, [workers[full_name(pod)] for pod in pods])

    async def _end_group(self, group: Group, workers: Collection[Worker]) -> None:
        for worker in workers:
            worker.evict(FAILURE, int(group.seconds))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(group.seconds + MARGIN_SECONDS):
                await asyncio.gather(*(worker.gone() for worker in workers))
                log.info("pods ended priority=%d count=%d", group.priority, len(workers))
                return
        log.warning("pods did not end in time priority=%d", group.priority)

    def _call_off(self) -> None:
        self.under_way = False
        self._around.trouble("")


def _release(lock: int | None) -> None:
    if lock is not None:
        os.close(lock)


@contextlib.contextmanager
def power_failure() -> Iterator[asyncio.Event]:
    """Give what is set when SIGPWR comes; never, in a thread that gets no signals."""
    told = asyncio.Event()
    if threading.current_thread() is not threading.main_thread():
        yield told
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGPWR, told.set)
    try:
        yield told
    finally:
        loop.remove_signal_handler(signal.SIGPWR)

"""Pod lifecycle events: which pod's containers changed, told as soon as the runtime tells.

The runtime's event stream gives the ends of containers within milliseconds. Starts are the
kubelet's own doing and no news to it. An event is sooner than the runtime's own books, which are
kept from the same events: so a pod is woken when the books have it. A relist now and then finds
what a broken stream lost, and wakes the pods whose workers have seen something else; with a runtime
that has no such stream the relist alone does the work, as often as upstream's.
"""

import logging
from collections.abc import Callable

from minikube_py.agent.cri.connection import Connection
from minikube_py.agent.cri.errors import (
    CriError,
    CriNotFoundError,
    CriUnimplementedError,
)
from minikube_py.agent.cri.events import container_events
from minikube_py.agent.cri.runtime import Runtime
from minikube_py.agent.kubelet.kubelet_metrics import RELIST_DURATION, RELIST_INTERVAL
from minikube_py.agent.kubelet.observed import POD_UID, States
from minikube_py.lib.backoff import Backoff
from minikube_py.lib.clock import Clock
from minikube_py.lib.tallies import Tallies
from minikube_py.lib.tasks import Nursery

log = logging.getLogger(__name__)
RELIST_SECONDS = 60.0
"""A safety net under the event stream."""
RELIST_ALONE_SECONDS = 1.0
"""Without events; the period of upstream's generic PLEG."""
RETRY = Backoff(first_seconds=0.1, max_seconds=2.0)
BOOKS = Backoff(first_seconds=0.005, max_seconds=0.5)
"""Before each look whether the runtime has noted an end; it takes some 5 ms."""
LOOKS_MAX = 60


def changed_pods(before: States, after: States) -> set[str]:
    """Return the uids of the pods of which anything came, went or changed: pure."""
    ids = before.keys() | after.keys()
    different = (key for key in ids if before.get(key) != after.get(key))
    return {(after.get(key) or before[key])[0] for key in different}


class Pleg:
    """Follows the runtime and wakes pods."""

    def __init__(
        self,
        connection: Connection,
        clock: Clock,
        seen: Callable[[], States],
        wake: Callable[[str], None],
        exited: Callable[[str], None],
        tallies: Tallies,
    ) -> None:
        """Take what workers have seen, and whom to call with the uid of a pod, id of a container.

        `wake` is called where there is something to look at, `exited` where a container has ended.
        """
        self._tallies = tallies
        self._listed_at: float | None = None
        self._seen = seen
        self._exited = exited
        self._connection = connection
        self._runtime = Runtime(connection)
        self._clock = clock
        self._wake = wake
        self._evented = True
        self.healthy = False
        """Whether the last relist succeeded."""

    async def relist(self) -> None:
        """Compare what the runtime has with what workers have seen; raises CriError."""
        begun = self._clock.monotonic()
        if self._listed_at is not None:
            self._tallies.observe(RELIST_INTERVAL, begun - self._listed_at)
        self._listed_at = begun
        try:
            sandboxes = await self._runtime.list_sandboxes({})
            containers = await self._runtime.list_containers({})
        except CriError:
            self.healthy = False
            raise
        self.healthy = True
        self._tallies.observe(RELIST_DURATION, self._clock.monotonic() - begun)
        states = {one.id: (one.labels.get(POD_UID, ""), one.state) for one in sandboxes}
        states |= {one.id: (one.labels.get(POD_UID, ""), one.state) for one in containers}
        for uid in changed_pods(self._seen(), states):
            self._wake(uid)

    async def run(self) -> None:
        """Follow the runtime for ever."""
        failures = 0
        while True:
            try:
                await self.relist()
                failures = 0
                await self._follow()
            except CriUnimplementedError:
                self._evented = False
            except CriError as error:
                failures += 1
                level = logging.WARNING if failures == 1 else logging.DEBUG
                log.log(level, "runtime not followed, trying again error=%s", error)
            wait = RETRY.wait_seconds(failures) if self._evented else RELIST_ALONE_SECONDS
            await self._clock.sleep(wait)

    async def _follow(self) -> None:
        """Wake pods by events until the stream ends."""
        if not self._evented:
            return
        async with Nursery("ends of containers") as nursery:
            async for event in container_events(self._connection):
                if event.kind == "exit":
                    nursery.start(f"end of {event.container_id}", self._end(event.container_id))

    async def _end(self, container_id: str) -> None:
        """Wake the pod of a container or sandbox that has ended, when the runtime has noted it."""
        for look in range(1, LOOKS_MAX):
            await self._clock.sleep(BOOKS.wait_seconds(look))
            try:
                uid, alive = await self._look(container_id)
            except CriError as error:
                log.debug("ended container not found id=%s error=%s", container_id, error)
                await self.relist()
                return
            if not alive:
                self._exited(container_id)
                self._wake(uid)
                return
        log.warning("runtime has not noted the end of a container id=%s", container_id)

    async def _look(self, container_id: str) -> tuple[str, bool]:
        """Return the uid of the pod, and whether the runtime believes that the thing runs."""
        try:
            container = await self._runtime.container_status(container_id)
        except CriNotFoundError:
            sandbox = await self._runtime.sandbox_status(container_id)
            return sandbox.uid, sandbox.ready
        return container.labels.get(POD_UID, ""), container.state == "running"

    async def run_relist(self) -> None:
        """Relist now and then, for ever."""
        while True:
            await self._clock.sleep(RELIST_SECONDS)
            try:
                await self.relist()
            except CriError as error:
                log.debug("relist failed error=%s", error)

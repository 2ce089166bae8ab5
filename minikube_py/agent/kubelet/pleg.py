"""Pod lifecycle events: which pod's containers changed, told as soon as the runtime tells.

The runtime's event stream gives the ends of containers within milliseconds. Starts are the
kubelet's own doing and no news to it. A relist now and then finds what a broken stream lost; with
a runtime that has no such stream the relist alone does the work, as often as upstream's.
"""

import logging
from collections.abc import Callable, Mapping

from minikube_py.agent.cri.connection import Connection
from minikube_py.agent.cri.errors import CriError, CriUnimplementedError
from minikube_py.agent.cri.events import container_events
from minikube_py.agent.cri.runtime import Runtime
from minikube_py.agent.kubelet.observed import POD_UID
from minikube_py.lib.backoff import Backoff
from minikube_py.lib.clock import Clock

log = logging.getLogger(__name__)
RELIST_SECONDS = 60.0
"""A safety net under the event stream."""
RELIST_ALONE_SECONDS = 1.0
"""Without events; the period of upstream's generic PLEG."""
RETRY = Backoff(first_seconds=0.1, max_seconds=2.0)

States = Mapping[str, tuple[str, str]]
"""id of a container or sandbox -> (uid of its pod, state)"""


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
        wake: Callable[[str], None],
        exited: Callable[[str], None],
    ) -> None:
        """Take `wake`, called with the uid of a pod, and `exited`, with the id of a container."""
        self._exited = exited
        self._connection = connection
        self._runtime = Runtime(connection)
        self._clock = clock
        self._wake = wake
        self._states: States = {}
        self._evented = True
        self.healthy = False
        """Whether the last relist succeeded."""

    async def relist(self) -> None:
        """Compare what the runtime has with the last time; raises CriError."""
        try:
            sandboxes = await self._runtime.list_sandboxes({})
            containers = await self._runtime.list_containers({})
        except CriError:
            self.healthy = False
            raise
        self.healthy = True
        states = {
            sandbox.id: (sandbox.uid, "ready" if sandbox.ready else "notready")
            for sandbox in sandboxes
        }
        states |= {c.id: (c.labels.get(POD_UID, ""), c.state) for c in containers}
        before, self._states = self._states, states
        for uid in changed_pods(before, states):
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
        async for event in container_events(self._connection):
            if event.kind != "exit":
                continue
            self._exited(event.container_id)
            known = self._states.get(event.container_id)
            if known is None:
                await self.relist()
            else:
                self._wake(known[0])

    async def run_relist(self) -> None:
        """Relist now and then, for ever."""
        while True:
            await self._clock.sleep(RELIST_SECONDS)
            try:
                await self.relist()
            except CriError as error:
                log.debug("relist failed error=%s", error)

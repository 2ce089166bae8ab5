"""The second half of a pod's way: permission, what has to be ready before, binding, and after.

It runs beside the decisions about other pods, which count the pod as if it were on its node.
Whatever fails on the way takes everything back, in the reverse order.
"""

import asyncio
import logging
from dataclasses import dataclass

from minikube_py.server.scheduler.extender import Extenders
from minikube_py.server.scheduler.framework import (
    Cycle,
    Rejected,
    Rejection,
    Wait,
)
from minikube_py.server.scheduler.profile import Profile
from minikube_py.server.scheduler.waiting import PermitWaits, WaitingPod

log = logging.getLogger(__name__)
BINDINGS_MAX = 64
"""Bindings under way at a time; more wait, so that a burst does not flood the server."""


@dataclass(frozen=True)
class Placement:
    """A pod that has found its node, in the cycle that found it."""

    cycle: Cycle
    profile: Profile
    node: str


class NobodyBinds(Exception):  # noqa: N818 -- it is a state of the configuration, told in words
    """No bind plugin took the pod."""


class Placing:
    """Carries out placements; knows neither the queue nor what becomes of those that fail."""

    def __init__(self, waits: PermitWaits, extenders: Extenders) -> None:
        self._waits = waits
        self._extenders = extenders
        self._bindings = asyncio.Semaphore(BINDINGS_MAX)

    async def room(self) -> None:
        """Wait while too many bindings are under way."""
        async with self._bindings:
            return

    def reserve(self, placement: Placement) -> Rejected | None:
        """Have all plugins set aside what they must; where one cannot, nothing is."""
        for plugin in placement.profile.reserve:
            why = plugin.reserve(placement.cycle, placement.node)
            if why is not None:
                self.unreserve(placement)
                return Rejected(plugin.name, why)
        return None

    def unreserve(self, placement: Placement) -> None:
        """Have all plugins give back what they set aside, the last one first."""
        for plugin in reversed(placement.profile.reserve):
            plugin.unreserve(placement.cycle, placement.node)

    def permit(self, placement: Placement) -> Rejected | WaitingPod | None:
        """Ask for permission: denied, to be waited for, or given."""
        waits: dict[str, float] = {}
        for plugin in placement.profile.permit:
            said = plugin.permit(placement.cycle, placement.node)
            if isinstance(said, Wait):
                waits[plugin.name] = said.seconds
            elif isinstance(said, Rejection):
                return Rejected(plugin.name, said)
        if not waits:
            return None
        return self._waits.add(placement.cycle.pod.on(placement.node), waits)

    async def bind(self, placement: Placement, waiting: WaitingPod | None) -> Rejected | None:
        """Wait for permission, prepare, bind and tell; return who rejected the pod meanwhile.

        Raises:
            StatusError: the API server refused something, or could not be reached.
            ExtenderError: the extender that binds the pod did not.
            NobodyBinds: no bind plugin took the pod.

        """
        cycle, node, profile = placement.cycle, placement.node, placement.profile
        if waiting is not None:
            denied = await self._waits.wait(waiting)
            if denied is not None:
                return denied
        for plugin in profile.pre_bind:
            why = await plugin.pre_bind(cycle, node)
            if why is not None:
                return Rejected(plugin.name, why)
        async with self._bindings:
            await self._bind(placement)
        for after in profile.post_bind:
            after.post_bind(cycle, node)
        return None

    async def _bind(self, placement: Placement) -> None:
        extender = self._extenders.binder(placement.cycle.pod)
        if extender is not None:
            await extender.bind(placement.cycle.pod, placement.node)
            return
        for plugin in placement.profile.bind:
            if await plugin.bind(placement.cycle, placement.node):
                return
        raise NobodyBinds(f"no bind plugin took pod {placement.cycle.pod.key}")

"""Ending containers: the hook, the signal, the grace period, and whose turn it is.

Regular containers end together; sidecars serve them until then and end after them, in the opposite
order of their start. The hooks of all run at once, as upstream's, and all of it shares one grace
period: who has had none left when his turn comes ends with the others.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import NamedTuple

from minikube_py.agent.cri.errors import CriError, CriNotFoundError
from minikube_py.agent.cri.runtime import Container
from minikube_py.agent.kubelet.errors import SyncError
from minikube_py.agent.kubelet.hooks import HookError, run_hook
from minikube_py.agent.kubelet.node_context import NodeContext
from minikube_py.agent.kubelet.observed import Observed
from minikube_py.agent.kubelet.pod import Spec, find_spec, full_name, grace_seconds, specs_of
from minikube_py.agent.kubelet.signals import ended_by, untold
from minikube_py.api.object import Obj, get
from minikube_py.lib.tasks import together

log = logging.getLogger(__name__)
GRACE_SECONDS_MIN = 1
"""Whoever asks for less still gives the signal a chance before the kill."""
PROBES = {"LivenessProbe": "livenessProbe", "StartupProbe": "startupProbe"}


def grace_of(pod: Obj, spec: Spec | None, reason: str) -> int:
    """Return the grace period of a container; a failed probe may have one of its own."""
    if spec is not None and reason in PROBES:
        own = get(spec.container, f"{PROBES[reason]}.terminationGracePeriodSeconds")
        if own is not None:
            return int(own)
    return grace_seconds(pod)


class Stop(NamedTuple):
    """How containers are stopped."""

    grace: int
    """Seconds that they have to end by themselves, hooks included."""
    host: str
    """Where hooks over HTTP go."""
    hooks: bool = True
    """Whether preStop hooks run."""


Turn = Callable[[float], Awaitable[None]]
"""Waits until it is a container's turn to end, at most so many seconds."""


async def _at_once(_: float) -> None:
    """Wait for nobody."""


async def stop_container(
    context: NodeContext,
    pod: Obj,
    container: Container,
    stop: Stop,
    *,
    message: str = "",
    turn: Turn = _at_once,
) -> None:
    """Stop one container; returns when it is dead.

    Raises:
        SyncError: the runtime could not stop it.

    """
    clock = context.clock
    end = clock.monotonic() + stop.grace
    spec = find_spec(pod, container.name)
    if spec is not None:
        told = message or f"Stopping container {spec.name}"
        context.tell_container(pod, spec, "Normal", "Killing", told)
        if stop.hooks and stop.grace > 0 and container.state == "running":
            await _pre_stop(context, pod, spec, container, stop)
    await turn(end - clock.monotonic())
    left = max(round(end - clock.monotonic()), GRACE_SECONDS_MIN)
    signal = untold(pod, spec.container, container) if spec is not None else ""
    if signal and await ended_by(context.runtime, clock, container, signal, left) is False:
        left = 0  # it has had its time
    try:
        await context.runtime.stop_container(container.id, left)
    except CriNotFoundError:
        return
    except CriError as error:
        raise SyncError(
            f'error killing container "{container.name}": {error}', "FailedKillPod"
        ) from None
    log.info("container stopped pod=%s container=%s", full_name(pod), container.name)


async def _pre_stop(
    context: NodeContext, pod: Obj, spec: Spec, container: Container, stop: Stop
) -> None:
    hook = get(spec.container, "lifecycle.preStop")
    if not hook:
        return
    try:
        async with asyncio.timeout(stop.grace):
            await run_hook(context.runtime, spec.container, container.id, hook, stop.host)
    except TimeoutError:
        log.info("preStop hook took too long pod=%s container=%s", full_name(pod), spec.name)
    except HookError as error:
        log.info("preStop hook failed pod=%s error=%s", full_name(pod), error)
        context.tell_container(pod, spec, "Warning", "FailedPreStopHook", "PreStopHook failed")


async def stop_pod(context: NodeContext, pod: Obj, observed: Observed, grace: int) -> None:
    """Stop all containers of a pod, then its sandboxes.

    Raises:
        SyncError: something still runs; try again.

    """
    stop = Stop(grace, next(iter(observed.ips), ""))
    await stop_all(context, pod, observed.running, stop)
    for sandbox in observed.sandboxes:
        if sandbox.ready:
            await _stop_sandbox(context, sandbox.id)


async def stop_all(
    context: NodeContext, pod: Obj, running: Sequence[Container], stop: Stop
) -> None:
    """Stop these containers of a pod, in their order; raises SyncError."""
    order = _Order(pod, running)

    async def end(container: Container) -> None:
        try:
            await stop_container(
                context, pod, container, stop, turn=lambda left: order.turn(container, left)
            )
        finally:
            order.ended(container)

    for outcome in await together(end(container) for container in running):
        if isinstance(outcome, Exception):
            raise outcome


class _Order:
    """Who ends after whom: a sidecar after all regular containers and all later sidecars."""

    def __init__(self, pod: Obj, containers: Sequence[Container]) -> None:
        self._containers = containers
        self._ends = {container.id: asyncio.Event() for container in containers}
        self._sidecars = [one.name for one in specs_of(pod, "initContainers") if one.is_sidecar]

    def _before(self, name: str) -> Iterator[Container]:
        """Yield those that end before the container of that name."""
        if name in self._sidecars:
            earlier = self._sidecars[: self._sidecars.index(name) + 1]
            yield from (one for one in self._containers if one.name not in earlier)

    async def turn(self, container: Container, seconds: float) -> None:
        """Wait until those that end before it are dead, at most so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 0.0)):
                for other in self._before(container.name):
                    await self._ends[other.id].wait()

    def ended(self, container: Container) -> None:
        """Take note of an end, or that it failed."""
        self._ends[container.id].set()


async def _stop_sandbox(context: NodeContext, sandbox_id: str) -> None:
    try:
        await context.runtime.stop_sandbox(sandbox_id)
    except CriNotFoundError:
        return
    except CriError as error:
        raise SyncError(f"error killing pod: {error}", "FailedKillPod") from None


async def remove_sandboxes(context: NodeContext, observed: Observed) -> None:
    """Remove the sandboxes of a pod with all their dead containers; raises SyncError."""
    for sandbox in observed.sandboxes:
        try:
            if sandbox.ready:
                await context.runtime.stop_sandbox(sandbox.id)
            await context.runtime.remove_sandbox(sandbox.id)
        except CriNotFoundError:
            continue
        except CriError as error:
            raise SyncError(f"sandbox not removed: {error}") from None
    orphans = {sandbox.id for sandbox in observed.sandboxes}
    for container in observed.containers:
        if container.sandbox_id not in orphans:
            try:
                await context.runtime.remove_container(container.id)
            except CriError as error:
                raise SyncError(f"container not removed: {error}") from None

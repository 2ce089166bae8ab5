"""Ending containers: the hook, the signal, the grace period, and whose turn it is.

Regular containers end together; sidecars serve them until then and end after them, in the opposite
order of their start. All of it shares one grace period.
"""

import asyncio
import logging
from collections.abc import Iterable

from minikube_py.agent.cri.errors import CriError, CriNotFoundError
from minikube_py.agent.cri.runtime import Container
from minikube_py.agent.kubelet.errors import SyncError
from minikube_py.agent.kubelet.hooks import HookError, run_hook
from minikube_py.agent.kubelet.node_context import NodeContext
from minikube_py.agent.kubelet.observed import Observed
from minikube_py.agent.kubelet.pod import Spec, find_spec, full_name, grace_seconds, specs_of
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


async def stop_container(
    context: NodeContext,
    pod: Obj,
    container: Container,
    host: str,
    *,
    grace: int,
    message: str = "",
) -> None:
    """Stop one container; returns when it is dead.

    Raises:
        SyncError: the runtime could not stop it.

    """
    clock = context.clock
    begun = clock.monotonic()
    spec = find_spec(pod, container.name)
    if spec is not None:
        told = message or f"Stopping container {spec.name}"
        context.tell_container(pod, spec, "Normal", "Killing", told)
        if grace > 0 and container.state == "running":
            await _pre_stop(context, pod, spec, container, host, grace)
    left = max(round(grace - (clock.monotonic() - begun)), GRACE_SECONDS_MIN)
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
    context: NodeContext, pod: Obj, spec: Spec, container: Container, host: str, grace: int
) -> None:
    hook = get(spec.container, "lifecycle.preStop")
    if not hook:
        return
    try:
        async with asyncio.timeout(grace):
            await run_hook(context.runtime, spec.container, container.id, hook, host)
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
    host = next(iter(observed.ips), "")
    begun = context.clock.monotonic()
    sidecars = {spec.name: i for i, spec in enumerate(specs_of(pod, "initContainers"))}
    sidecars = {n: i for n, i in sidecars.items() if _is_sidecar(pod, n)}
    running = observed.running
    first = [container for container in running if container.name not in sidecars]
    last = [container for container in running if container.name in sidecars]
    await _stop_all(context, pod, first, host, grace)
    for container in sorted(last, key=lambda c: sidecars[c.name], reverse=True):
        left = max(round(grace - (context.clock.monotonic() - begun)), GRACE_SECONDS_MIN)
        await stop_container(context, pod, container, host, grace=left)
    for sandbox in observed.sandboxes:
        if sandbox.ready:
            await _stop_sandbox(context, sandbox.id)


def _is_sidecar(pod: Obj, name: str) -> bool:
    spec = find_spec(pod, name)
    return spec is not None and spec.is_sidecar


async def _stop_all(
    context: NodeContext, pod: Obj, containers: Iterable[Container], host: str, grace: int
) -> None:
    outcomes = await together(
        stop_container(context, pod, container, host, grace=grace) for container in containers
    )
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome


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

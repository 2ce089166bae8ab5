"""What the runtime has of one pod: the other half of every decision of the kubelet.

Everything that must survive a restart of kpy is read back from here: which container runs which
version of its spec (annotation with a hash), how often it was started (annotation with a count),
where it leaves its last words. The labels and annotations are upstream's, so that other tools find
their way.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from minikube_py.agent.cri.errors import CriNotFoundError
from minikube_py.agent.cri.runtime import Container, Runtime, Sandbox

POD_NAME = "io.kubernetes.pod.name"
POD_NAMESPACE = "io.kubernetes.pod.namespace"
POD_UID = "io.kubernetes.pod.uid"
CONTAINER_NAME = "io.kubernetes.container.name"
HASH = "io.kubernetes.container.hash"
RESTART_COUNT = "io.kubernetes.container.restartCount"
MESSAGE_PATH = "io.kubernetes.container.terminationMessagePath"
MESSAGE_POLICY = "io.kubernetes.container.terminationMessagePolicy"
GRACE_PERIOD = "io.kubernetes.pod.terminationGracePeriod"
RESOURCES = "kpy.dev/container.resources"
"""The `resources` that a container was made with, as JSON."""
States = Mapping[str, tuple[str, str]]
"""id of a container or sandbox -> (uid of its pod, state)"""


@dataclass(frozen=True)
class Observed:
    """The sandboxes and containers of one pod, newest first."""

    sandboxes: Sequence[Sandbox] = ()
    containers: Sequence[Container] = ()

    @cached_property
    def by_name(self) -> dict[str, list[Container]]:
        """The containers by name, each list newest first."""
        found: dict[str, list[Container]] = {}
        for container in self.containers:
            found.setdefault(container.name, []).append(container)
        return found

    def latest(self, name: str) -> Container | None:
        """Return the newest container of that name, or None."""
        return next(iter(self.by_name.get(name, ())), None)

    @property
    def sandbox(self) -> Sandbox | None:
        """The newest sandbox, ready or not."""
        return next(iter(self.sandboxes), None)

    @property
    def ips(self) -> tuple[str, ...]:
        """The addresses of the newest sandbox while it is ready."""
        return self.sandbox.ips if self.sandbox is not None and self.sandbox.ready else ()

    @property
    def states(self) -> Iterator[tuple[str, str]]:
        """The id and the state of each."""
        yield from ((sandbox.id, sandbox.state) for sandbox in self.sandboxes)
        yield from ((container.id, container.state) for container in self.containers)

    @property
    def running(self) -> list[Container]:
        """The containers that run, or may."""
        return [c for c in self.containers if c.state in ("running", "unknown")]


def restart_count(container: Container) -> int:
    """Return how often this container had been started before."""
    text = container.annotations.get(RESTART_COUNT, "")
    return int(text) if text.isdigit() else container.attempt


def newest_first(sandboxes: Iterable[Sandbox], containers: Iterable[Container]) -> Observed:
    """Make the observation of one pod."""
    return Observed(
        tuple(sorted(sandboxes, key=lambda s: (s.created_at, s.attempt), reverse=True)),
        tuple(sorted(containers, key=lambda c: (c.created_at, c.attempt), reverse=True)),
    )


async def observe(runtime: Runtime, uid: str) -> Observed:
    """Ask the runtime about one pod; raises CriError."""
    labels = {POD_UID: uid}
    sandboxes, containers = await asyncio.gather(
        runtime.list_sandboxes(labels), runtime.list_containers(labels)
    )
    found = newest_first(sandboxes, containers)
    known = await asyncio.gather(*(_status(runtime, c) for c in found.containers))
    latest = found.sandbox
    if latest is not None and latest.ready:
        try:
            status = await runtime.sandbox_status(latest.id)
        except CriNotFoundError:
            return newest_first(found.sandboxes[1:], [c for c in known if c is not None])
        found = replace(found, sandboxes=(status, *found.sandboxes[1:]))
    return replace(found, containers=tuple(c for c in known if c is not None))


async def _status(runtime: Runtime, listed: Container) -> Container | None:
    try:
        status = await runtime.container_status(listed.id)
    except CriNotFoundError:  # removed since it was listed
        return None
    return replace(status, sandbox_id=listed.sandbox_id)

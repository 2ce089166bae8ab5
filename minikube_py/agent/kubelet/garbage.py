"""Removes what nobody needs any more: old dead containers and sandboxes, and orphaned pods.

Of each container the running instance and the one before it are kept, so that
`kubectl logs --previous` has something to show. A pod that the runtime still has and the cluster
does not (deleted while kpy was away) is stopped and removed. Files and groups are removed only of
pods that have a folder here: another kubelet may use the same machine. What the runtime itself has
lost of its own is removed by somebody who knows that runtime (`remove_orphans`).
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from pathlib import Path

from minikube_py.agent.cri.errors import CriError, CriNotFoundError
from minikube_py.agent.cri.runtime import Container, Runtime, Sandbox
from minikube_py.agent.kubelet.cgroups import Cgroups
from minikube_py.agent.kubelet.observed import CONTAINER_NAME, GRACE_PERIOD, POD_UID
from minikube_py.agent.kubelet.volumes.pod_volumes import PodVolumes
from minikube_py.lib.clock import Clock
from minikube_py.lib.tasks import together

log = logging.getLogger(__name__)
PERIOD_SECONDS = 60.0
DEAD_KEPT = 1
"""Dead instances of a container that are kept beside the newest one."""

RemoveOrphans = Callable[[], Awaitable[None]]
"""Raises CriError."""


async def no_orphans() -> None:
    """Remove nothing: the runtime is not ours."""


def surplus_containers(containers: Iterable[Container]) -> Iterator[Container]:
    """Yield the dead containers that nobody will ask for: pure."""
    by_name: dict[tuple[str, str], list[Container]] = {}
    for container in containers:
        name = container.labels.get(CONTAINER_NAME, container.name)
        by_name.setdefault((container.labels.get(POD_UID, ""), name), []).append(container)
    for group in by_name.values():
        group.sort(key=lambda c: c.created_at, reverse=True)
        yield from (c for c in group[DEAD_KEPT + 1 :] if c.state == "exited")


def surplus_sandboxes(
    sandboxes: Iterable[Sandbox], containers: Iterable[Container]
) -> Iterator[Sandbox]:
    """Yield the dead sandboxes that are not a pod's newest and hold no container: pure."""
    used = {container.sandbox_id for container in containers}
    newest: dict[str, Sandbox] = {}
    listed = sorted(sandboxes, key=lambda s: s.created_at)
    for sandbox in listed:
        newest[sandbox.uid] = sandbox
    for sandbox in listed:
        if not sandbox.ready and sandbox is not newest[sandbox.uid] and sandbox.id not in used:
            yield sandbox


class Garbage:
    """Cleans up now and then."""

    def __init__(
        self,
        runtime: Runtime,
        volumes: PodVolumes,
        cgroups: Cgroups,
        clock: Clock,
        is_known: Callable[[str], bool],
        remove_orphans: RemoveOrphans = no_orphans,
    ) -> None:
        """Take `is_known`, which tells whether a uid is that of a pod that is looked after."""
        self._runtime = runtime
        self._volumes = volumes
        self._cgroups = cgroups
        self._clock = clock
        self._is_known = is_known
        self._remove_orphans = remove_orphans
        self.release: Callable[[Callable[[str], bool]], Awaitable[None]] | None = None
        """Takes back what pods had for themselves; is told whether a pod (by uid) is still here."""

    async def run(self) -> None:
        """Clean up for ever; begin only when the pods of this node are known."""
        while True:
            try:
                await self.collect()
            except CriError as error:
                log.warning("garbage not collected, trying again error=%s", error)
            await self._clock.sleep(PERIOD_SECONDS)

    async def collect(self) -> None:
        """Clean up once; raises CriError."""
        sandboxes = await self._runtime.list_sandboxes({})
        containers = await self._runtime.list_containers({})
        orphans = [s for s in sandboxes if POD_UID in s.labels and not self._is_known(s.uid)]
        gone = {sandbox.id for sandbox in orphans}
        await together(self._remove_pod(sandbox, containers) for sandbox in orphans)
        left = [c for c in containers if c.sandbox_id not in gone]
        for container in surplus_containers(left):
            await self._remove_container(container)
        for sandbox in surplus_sandboxes([s for s in sandboxes if s.id not in gone], left):
            await self._runtime.remove_sandbox(sandbox.id)
        await self._remove_orphans()
        await self._remove_files()

    async def _remove_pod(self, sandbox: Sandbox, containers: Sequence[Container]) -> None:
        log.info("removing a pod that the cluster does not have uid=%s", sandbox.uid)
        own = [c for c in containers if c.sandbox_id == sandbox.id and c.state == "running"]
        await together(self._runtime.stop_container(c.id, _grace(c)) for c in own)
        await self._runtime.stop_sandbox(sandbox.id)
        await self._runtime.remove_sandbox(sandbox.id)

    async def _remove_container(self, container: Container) -> None:
        try:
            status = await self._runtime.container_status(container.id)
            await self._runtime.remove_container(container.id)
        except CriNotFoundError:
            return
        _remove_log(status.log_path)

    async def _remove_files(self) -> None:
        running = {s.uid for s in await self._runtime.list_sandboxes({})}
        if self.release is not None:
            await self.release(lambda uid: self._is_known(uid) or uid in running)
        groups = self._cgroups.pods()
        for uid in self._volumes.uids():
            if self._is_known(uid) or uid in running:
                continue
            log.info("removing files of a pod that is gone uid=%s", uid)
            await self._volumes.tear_down(uid)
            if uid in groups:
                self._cgroups.remove(groups[uid])


def _remove_log(path: str) -> None:
    if path:
        Path(path).unlink(missing_ok=True)


def _grace(container: Container) -> int:
    text = container.annotations.get(GRACE_PERIOD, "")
    return int(text) if text.isdigit() else 30

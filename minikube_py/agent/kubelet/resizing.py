"""In-place resize of one pod: what it asks for, what it has been given, what its containers have.

    asked for (spec) --- allocate ---> given --- actuate ---> what the kernel holds them to

`allocate` decides, without waiting, whether the node can afford it. `actuate` brings containers to
it: more for the pod's group first, then each container, less for the group last, so that a
container never has more than its pod. What has been given is kept in the pod's folder; what a
container was made with stands in its annotations, what it has got since then in the same file. So
kpy may die between any two steps, and goes on from there.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from minikube_py.agent.cri.errors import CriError
from minikube_py.agent.cri.runtime import Container
from minikube_py.agent.kubelet.allocation import (
    DEFERRED,
    INFEASIBLE,
    Allocation,
    asked,
    needs_restart,
    resizable,
    summary,
    with_allocation,
)
from minikube_py.agent.kubelet.cgroups import pod_group
from minikube_py.agent.kubelet.container_status import Failure
from minikube_py.agent.kubelet.errors import SyncError
from minikube_py.agent.kubelet.node_context import NodeContext
from minikube_py.agent.kubelet.observed import POD_UID, RESOURCES, Observed
from minikube_py.agent.kubelet.pod import Spec
from minikube_py.agent.kubelet.resources import Limits, container_resources, pod_limits
from minikube_py.api.object import Obj, uid_of

log = logging.getLogger(__name__)
FILE = "resources.json"


class Resizing:
    """The resources of one pod on their way from its spec to the kernel."""

    def __init__(self, context: NodeContext, pod: Obj) -> None:
        self._context = context
        self._uid = uid_of(pod)
        self._had: dict[str, Obj] = {}
        """What running containers were given after they were made, by id."""
        self._kept = b""
        """What stands in the file."""
        self.given: Allocation = self._restore() or asked(pod)
        """What the pod has been given."""
        self.refused: Failure | None = None
        """Why it has not got what it asks for now."""
        self.refused_since = 0.0
        self._error = ""
        self._under_way = False
        self._limits: Limits | None = None
        self._held: Limits | None = None
        """To what the pod's group was held when it was made or widened last."""

    # --- allocate ---

    def adopt(self, observed: Observed) -> None:
        """After a start of kpy, take for given what the containers were made with."""
        if self._kept:
            return
        found = {name: observed.latest(name) for name in self.given if name}
        made = {name: made_with(one) for name, one in found.items() if one is not None}
        self.given = {**self.given, **{k: v for k, v in made.items() if v is not None}}

    def allocate(self, pod: Obj) -> bool:
        """Give the pod what it asks for, if the node can afford it; tell whether that is new."""
        wanted = asked(pod)
        if wanted == self.given:
            self.refused = None
            return False
        refused = self._context.resize_refusal(pod)
        if refused is None:
            self.given, self.refused, self._error, self._under_way = wanted, None, "", True
            self._tell(pod, "Normal", "ResizeStarted", "started")
            return True
        if self.refused is None:
            self.refused_since = self._context.clock.monotonic()
        if refused != self.refused:
            kind = "ResizeInfeasible" if refused.reason == INFEASIBLE else "ResizeDeferred"
            self._tell(pod, "Warning", kind, refused.reason, refused.message)
        self.refused = refused
        return False

    @property
    def deferred(self) -> bool:
        """Whether the pod waits for others to leave it what it asks for."""
        return self.refused is not None and self.refused.reason == DEFERRED

    def pod(self, pod: Obj) -> Obj:
        """Return the pod as it is to be run now."""
        return with_allocation(pod, self.given)

    # --- what there is ---

    def actual(self, container: Container) -> Obj | None:
        """Return the `resources` that a container has; None where that is not known."""
        return self._had.get(container.id) or made_with(container)

    def outdated(self, pod: Obj, observed: Observed) -> Mapping[str, str]:
        """Return the containers that must start anew for their resources: id -> why."""
        return {
            container.id: f"Container {spec.name} resize requires restart"
            for spec, container in self._behind(self.pod(pod), observed)
            if (had := self.actual(container)) is not None and needs_restart(spec.container, had)
        }

    def _behind(self, given: Obj, observed: Observed) -> Iterator[tuple[Spec, Container]]:
        """Yield the running containers that have not got what was given."""
        for spec in resizable(given):
            latest = observed.latest(spec.name)
            if latest is None or latest.state != "running":
                continue
            if self.actual(latest) != (spec.container.get("resources") or {}):
                yield spec, latest

    def resources(self, observed: Observed) -> dict[str, Obj]:
        """Return what running containers have, by id."""
        running = ((one.id, self.actual(one)) for one in observed.running)
        return {key: value for key, value in running if value is not None}

    def conditions(self, pod: Obj, observed: Observed) -> list[dict[str, Any]]:
        """Return the conditions PodResizePending and PodResizeInProgress, where they hold."""
        found = []
        if self.refused is not None:
            found.append({"type": "PodResizePending", "status": "True", **vars(self.refused)})
        if self._error or self._under_way or any(self._behind(self.pod(pod), observed)):
            progress = {"type": "PodResizeInProgress", "status": "True"}
            if self._error:
                progress |= {"reason": "Error", "message": self._error}
            found.append(progress)
        return found

    # --- actuate ---

    def limit_pod(self, pod: Obj) -> None:
        """Make the pod's group; one that is to hold less is held to it after its containers.

        Raises:
            OSError: it cannot be made.

        """
        limits = self._pod_limits(self.pod(pod))
        wanted = wider(self._limits or limits, limits)
        if wanted == self._held and self._context.cgroups.has(pod_group(pod)):
            return
        self._context.cgroups.create(pod_group(pod), wanted)
        self._held = wanted
        self._limits = self._limits or limits

    def _pod_limits(self, given: Obj) -> Limits:
        """Return the limits of the pod's group; who has processors for itself is not held back."""
        limits = pod_limits(given)
        own = self._context.assignments.has_own_cpus(self._uid)
        return replace(limits, cpu_quota_micros=None) if own else limits

    async def actuate(self, pod: Obj, observed: Observed) -> bool:
        """Bring running containers and the pod's group to what was given; tell whether any changed.

        Raises:
            SyncError: the runtime or what is used now does not allow it; try again.

        """
        given = self.pod(pod)
        limits = self._pod_limits(given)
        behind = list(self._behind(given, observed))
        if not behind and limits == self._limits and not self._under_way:
            return False
        await self._save()
        try:
            await self._check_memory(given, behind, limits)
            for spec, container in behind:
                await self._update(given, spec, container)
        except (CriError, SyncError) as error:
            self._note_error(pod, str(error))
            raise SyncError(str(error)) from None
        self._context.cgroups.limit(pod_group(pod), limits)
        self._limits = self._held = limits
        self._had = {c.id: self._had[c.id] for c in observed.running if c.id in self._had}
        await self._save()
        self._complete(given, observed)
        return True

    def _complete(self, given: Obj, observed: Observed) -> None:
        if not self._under_way and not self._error:
            return
        if any(self._behind(given, observed)):
            return
        self._under_way, self._error = False, ""
        self._tell(given, "Normal", "ResizeCompleted", "completed")

    def _note_error(self, pod: Obj, message: str) -> None:
        if message != self._error:
            self._tell(pod, "Warning", "ResizeError", "error", message)
        self._error = message

    async def _update(self, given: Obj, spec: Spec, container: Container) -> None:
        wanted = self._kernel(given, spec.container)
        had = self.actual(container)
        old = None if had is None else self._kernel(given, {**spec.container, "resources": had})
        if old != wanted:
            await self._context.runtime.update_resources(container.id, wanted)
        self._had[container.id] = spec.container.get("resources") or {}

    def _kernel(self, given: Obj, container: Obj) -> dict[str, Any]:
        """Return what the runtime is to hold a container to; an OOM score is for its start only."""
        machine = self._context.machine
        found = container_resources(
            given, container, machine.memory_bytes, unified=machine.unified, swap=machine.swap
        )
        return {name: value for name, value in found.items() if name != "oom_score_adj"}

    async def _check_memory(
        self, given: Obj, behind: Sequence[tuple[Spec, Container]], limits: Limits
    ) -> None:
        """Refuse limits below what is used now: the kernel would kill rather than refuse."""
        shrinking = {
            container.id: (spec.name, memory)
            for spec, container in behind
            if (memory := self._shrinks_to(given, spec, container))
        }
        old = self._limits.memory_bytes if self._limits else None
        pod_shrinks = limits.memory_bytes and (old is None or limits.memory_bytes < old)
        if not shrinking and not pod_shrinks:
            return
        used = await self._memory_used()
        trouble = []
        if pod_shrinks and sum(used.values()) > (limits.memory_bytes or 0):
            trouble.append(
                f"attempting to set pod memory limit ({limits.memory_bytes})"
                f" below current usage ({sum(used.values())})"
            )
        trouble += [
            f'attempting to set container "{name}" memory limit ({memory})'
            f" below current usage ({used[key]})"
            for key, (name, memory) in shrinking.items()
            if used.get(key, 0) > memory
        ]
        if trouble:
            told = trouble[0] if len(trouble) == 1 else f"[{', '.join(trouble)}]"
            raise SyncError(f"cannot decrease memory limits: {told}")

    def _shrinks_to(self, given: Obj, spec: Spec, container: Container) -> int:
        """Return the new memory limit in bytes where it is lower than the old one, else 0."""
        new = int(self._kernel(given, spec.container)["memory_limit_in_bytes"])
        had = self.actual(container) or {}
        old = int(
            self._kernel(given, {**spec.container, "resources": had})["memory_limit_in_bytes"]
        )
        return new if new and (not old or new < old) else 0

    async def _memory_used(self) -> dict[str, int]:
        """Return the bytes that each container of the pod uses, by id."""
        stats = await self._context.runtime.container_stats({POD_UID: self._uid})
        return {
            one["attributes"]["id"]: int(one["memory"]["usage_bytes"].get("value", 0))
            for one in stats
            if (one.get("memory") or {}).get("usage_bytes")
        }

    def _tell(self, pod: Obj, kind: Any, reason: str, what: str, error: str = "") -> None:
        self._context.tell(pod, kind, reason, f"Pod resize {what}: {summary(pod, error)}")

    # --- what survives ---

    def _restore(self) -> Allocation | None:
        file = self._context.volumes.pod_folder(self._uid) / FILE
        try:
            data = file.read_bytes()
            kept = orjson.loads(data)
            given, self._had = dict(kept["given"]), dict(kept["had"])
        except FileNotFoundError:
            return None
        except (OSError, KeyError, TypeError, ValueError) as error:
            log.warning("resources of a pod are not readable file=%s error=%s", file, error)
            return None
        self._kept = data
        return given

    async def _save(self) -> None:
        data = orjson.dumps({"given": self.given, "had": self._had})
        if data != self._kept:
            await self._context.volumes.keep(self._uid, FILE, data)
            self._kept = data


def made_with(container: Container) -> Obj | None:
    """Return the `resources` that a container was made with, None where it does not say."""
    text = container.annotations.get(RESOURCES)
    return None if text is None else orjson.loads(text)


def wider(one: Limits, other: Limits) -> Limits:
    """Return limits that allow all that either of two allows."""
    quotas = (one.cpu_quota_micros, other.cpu_quota_micros)
    memory = (one.memory_bytes, other.memory_bytes)
    return Limits(
        cpu_shares=max(one.cpu_shares, other.cpu_shares),
        cpu_quota_micros=None if None in quotas else max(q for q in quotas if q is not None),
        memory_bytes=None if None in memory else max(m for m in memory if m is not None),
        pids=one.pids,
    )

"""One task for each pod: the life of a pod on this node, from its binding to its last trace.

    SYNCING -----> TERMINATING -----> TERMINATED -----> FINISHED
    run it         stop it            keep its logs     nothing is left

A worker has a mailbox of one: the newest version of its pod replaces any that it has not looked
at. Whatever happens (an update, a container's end, a probe, a changed configMap, a time that has
come) only wakes it; it then looks at everything anew. So there is nothing that it could miss.

A pod goes to TERMINATING when it is deleted, when all it had to do is done, or when the kubelet
ends it (deadline, refusal). It never goes back.
"""

import asyncio
import enum
import logging
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from minikube_py.agent.cri.errors import CriError
from minikube_py.agent.kubelet.container_status import DEADLINE, Facts, Failure
from minikube_py.agent.kubelet.errors import SyncError
from minikube_py.agent.kubelet.execute import Executor, runtime_fields
from minikube_py.agent.kubelet.kubelet_metrics import worker_step
from minikube_py.agent.kubelet.last_words import LastWords
from minikube_py.agent.kubelet.node_context import NodeContext
from minikube_py.agent.kubelet.observed import Observed, observe
from minikube_py.agent.kubelet.pod import (
    TERMINAL,
    full_name,
    grace_seconds,
    is_host_network,
    phase_of,
)
from minikube_py.agent.kubelet.pod_cleanup import delete_pod, free, remove_traces
from minikube_py.agent.kubelet.references import (
    Ref,
    ReferencesTimeoutError,
    references_of,
)
from minikube_py.agent.kubelet.resizing import Resizing
from minikube_py.agent.kubelet.rounds import Rounds
from minikube_py.agent.kubelet.static.manifest import is_static
from minikube_py.agent.kubelet.status import derive, foreign_part
from minikube_py.agent.kubelet.sync_pod import StopAll, StopContainer
from minikube_py.agent.kubelet.termination import stop_pod
from minikube_py.agent.kubelet.tokens import TokenError
from minikube_py.agent.kubelet.volumes.payload import Sources, VolumeError
from minikube_py.api import times
from minikube_py.api.object import Obj, get, is_deleting, uid_of
from minikube_py.lib.backoff import Backoff
from minikube_py.lib.tasks import StoppedError, unless

log = logging.getLogger(__name__)
RETRY = Backoff(first_seconds=1.0, factor=2.0, max_seconds=30.0)
ROUNDS_MAX = 64
"""Plans in one go; init containers take one each."""
REMOVED_GRACE_SECONDS = 1
"""For a pod that is gone from the cluster: somebody has decided not to wait for it."""


class State(enum.Enum):
    """Where a pod is in its life on this node."""

    SYNCING = "syncing"  # it is run
    TERMINATING = "terminating"  # it is being stopped
    TERMINATED = "terminated"  # nothing of it runs; its logs and its status can be read
    FINISHED = "finished"  # no trace of it is left


class PodWorker:
    """The life of one pod."""

    def __init__(self, context: NodeContext, pod: Obj, failure: Failure | None = None) -> None:
        """Take a pod; with a failure it is refused rather than run."""
        self.uid = uid_of(pod)
        self.pod = pod
        self.state = State.SYNCING
        self.removed = False
        self.observed = Observed()
        self._context = context
        self._failure = failure
        self._volumes: Mapping[str, Path] | None = None
        """None until all have been set up for the first time."""
        self._stale = 0
        """How often they could not be brought up to date since they were."""
        self._token_due: float | None = None
        self._ended = asyncio.Event()
        self._words = LastWords()
        self.resizing = Resizing(context, pod)
        self._stopping = asyncio.Event()
        self._rounds = Rounds(context, self.resizing, self._stopping)
        self._adopted = False
        self._assigned = False
        self._failures = 0
        self._news = "create"
        """Why the next step is done, in upstream's words: create, update, sync, kill."""
        self._woken = asyncio.Event()
        self._shorter = asyncio.Event()
        self._grace: int | None = None
        self._shortest: int | None = None
        """The grace period of a pod that the node ends."""
        context.statuses.seen(pod)
        if is_deleting(pod) or phase_of(pod) in TERMINAL or failure is not None:
            self._stopping.set()

    # --- the mailbox ---

    def update(self, pod: Obj) -> None:
        """Take a newer version of the pod; what comes of our own reports wakes nobody."""
        same = foreign_part(pod) == foreign_part(self.pod)
        self.pod = pod
        self._context.statuses.seen(pod)
        if same:
            return
        self._news = "update"
        self.allocate()
        if is_deleting(pod):
            self._news = "kill"
            self._stopping.set()
            if self._grace is not None and grace_seconds(pod) < self._grace:
                self._shorter.set()
        self._woken.set()

    def remove(self) -> None:
        """Take note that the pod is gone from the cluster."""
        self.removed = True
        self._stopping.set()
        if self._grace is not None and self._grace > self._removed_grace:
            self._shorter.set()
        self._context.statuses.forget(self.uid)
        self._woken.set()

    @property
    def _removed_grace(self) -> int:
        """How long a pod has that is gone; a static one ends as its manifest says."""
        return grace_seconds(self.pod) if is_static(self.pod) else REMOVED_GRACE_SECONDS

    def evict(self, failure: Failure, grace: int) -> bool:
        """End the pod for the sake of the node; tell whether there was anything to end."""
        if self.state is not State.SYNCING or self._stopping.is_set():
            return False
        self._failure, self._shortest = failure, grace
        self._stopping.set()
        self._woken.set()
        return True

    async def gone(self) -> None:
        """Wait until nothing of the pod runs any more and the cluster has been told."""
        await self._ended.wait()
        await self._context.statuses.told(self.uid)

    def wake(self) -> None:
        """Have everything looked at anew."""
        self._woken.set()

    # --- resources ---

    @property
    def volumes(self) -> Mapping[str, Path]:
        """Where the volumes of the pod lie, by name; empty before they are set up."""
        return self._volumes or {}

    @property
    def given(self) -> Obj:
        """The pod with the resources that it has been given, as it is run."""
        return self.resizing.pod(self.pod)

    def allocate(self) -> None:
        """Give the pod the resources that it asks for, if the node has them now."""
        if self.state is State.SYNCING and not self._stopping.is_set():
            refused = self.resizing.refused
            if self.resizing.allocate(self.pod):
                self._context.freed()  # it may have asked for less
            if refused != self.resizing.refused:
                self._woken.set()

    # --- the life ---

    async def run(self) -> None:
        """Live until no trace of the pod is left."""
        while True:
            self._woken.clear()
            wait: float | None
            kind, self._news = self._news, "sync"
            try:
                with worker_step(self._context.tallies, self._context.clock, kind):
                    wait = await self._step()
                self._failures = 0
            except (SyncError, CriError, OSError) as error:
                wait = self._note_failure(error)  # OSError: the disk is full, or worse
            if self.state is State.FINISHED:
                return
            await self._rest(wait)

    def _note_failure(self, error: SyncError | CriError | OSError) -> float:
        self._failures += 1
        log.info("pod not in order pod=%s error=%s", full_name(self.pod), error)
        if isinstance(error, OSError):
            self._context.tell(self.pod, "Warning", "FailedSync", f"Error syncing pod: {error}")
        elif isinstance(error, SyncError) and error.event:
            self._context.tell(self.pod, "Warning", error.event, str(error))
        return RETRY.wait_seconds(self._failures)

    async def _rest(self, seconds: float | None) -> None:
        """Wait for something to happen, at most so long."""
        if seconds is None:
            await self._woken.wait()
            return
        timer = self._context.clock.call_later(max(seconds, 0.0), self._woken.set)
        try:
            await self._woken.wait()
        finally:
            timer.cancel()

    async def _step(self) -> float | None:
        """Do what the state asks for; return how long to rest, None until woken."""
        if self.state is State.SYNCING and not self._stopping.is_set():
            return await self._sync()
        if self.state is not State.TERMINATED:
            await self._terminate()
        if self.removed or is_deleting(self.pod):
            await self._finish()
        return None

    # --- looking ---

    async def _observe(self) -> Observed:
        observed = await observe(self._context.runtime, self.uid)
        self.observed = self._words.add_to(observed)
        if not self._adopted:
            self._adopted = True
            self._believe(self.pod.get("status") or {})
            self.resizing.adopt(self.observed)
            self.allocate()
        if not self._stopping.is_set():
            host = next(iter(self._ips()), "")
            self._context.probes.sync(self.uid, self.pod, self.observed, host)
        return self.observed

    def _ips(self) -> tuple[str, ...]:
        if is_host_network(self.pod):
            return tuple(self._context.host_ips)
        return self.observed.ips

    def _believe(self, status: Obj) -> None:
        """Keep what the cluster was told of the containers that run already."""
        for kind in ("containerStatuses", "initContainerStatuses"):
            for entry in status.get(kind) or ():
                _, _, container_id = str(entry.get("containerID", "")).partition("://")
                started, ready = bool(entry.get("started")), bool(entry.get("ready"))
                latest = self.observed.latest(entry["name"])
                if latest is not None and latest.id == container_id:
                    self._context.probes.seed(container_id, started=started, ready=ready)

    def _derive(self, *, terminal: bool = False) -> dict[str, Any]:
        facts = Facts(
            observed=self.observed,
            probes=self._context.probes.results,
            waiting=self._rounds.waiting,
            terminal=terminal,
            failure=self._failure,
            resources=self.resizing.resources(self.observed),
            resizes=() if terminal else self.resizing.conditions(self.pod, self.observed),
            host_ips=self._context.host_ips,
            devices=self._context.assignments.health(self.pod),
        )
        old = self._context.statuses.known(self.uid) or self.pod.get("status") or {}
        return derive(self.given, facts, old, times.now_string(self._context.clock))

    # --- running ---

    async def _sync(self) -> float | None:
        """Bring the pod closer to its spec; return when to look again."""
        await self._observe()
        if not await self._assign() or self._report():
            return 0.0
        if self._context.network_trouble() and not is_host_network(self.pod):
            raise SyncError(
                f"network is not ready: {self._context.network_trouble()}", "NetworkNotReady"
            )
        await self._prepare()
        await self._carry_out()
        if self._stopping.is_set() or self._report():
            return 0.0
        if await self._actuate() and self._report():
            return 0.0
        return self._next_look()

    async def _assign(self) -> bool:
        """Give the pod what it has for itself, once; end it where it cannot have that."""
        if self._assigned:
            return True
        running = [one.name for one in self.observed.running]
        failure = await self._context.assignments.admit(self.given, running)
        if failure is not None:
            self._failure = failure
            self._context.tell(self.pod, "Warning", failure.reason, failure.told)
            self._stopping.set()
            return False
        self._assigned = True
        return True

    async def _actuate(self) -> bool:
        """Bring what runs to the resources that were given; tell whether anything changed."""
        try:
            return await self.resizing.actuate(self.pod, self.observed)
        except SyncError:
            self._report()
            raise

    def _report(self) -> bool:
        """Tell how the pod is; go to its end where it has come to it by itself or by deadline."""
        if self._deadline_in() == 0:
            self._failure = DEADLINE
            self._context.tell(self.pod, "Normal", DEADLINE.reason, DEADLINE.message)
        status = self._derive()
        self._context.statuses.set(self.uid, status)
        if status["phase"] not in TERMINAL:
            return False
        self._stopping.set()
        return True

    def _deadline_in(self) -> float | None:
        """Return the seconds until the pod's time is up, None where it has no limit."""
        limit = get(self.pod, "spec.activeDeadlineSeconds")
        start = self._context.statuses.known(self.uid).get("startTime")
        if limit is None or not start:
            return None
        end = times.parse(start) + timedelta(seconds=int(limit))
        return max((end - self._context.clock.now()).total_seconds(), 0.0)

    async def _prepare(self) -> None:
        """Have ready what containers need: limits, objects, tokens, volumes."""
        context, pod = self._context, self.given
        try:
            self.resizing.limit_pod(self.pod)
        except OSError as error:
            message = f"unable to ensure pod container exists: {error}"
            raise SyncError(message, "FailedCreatePodContainer") from None
        try:
            await context.references.hold(self.uid, references_of(pod))
            due = await context.tokens.prepare(pod)
            persistent = await context.claims.resolve(pod)
            self._volumes = await context.volumes.set_up(pod, self._sources(persistent))
        except (ReferencesTimeoutError, TokenError, VolumeError) as error:
            self._go_on_without(error)
            return
        self._stale = 0
        now = context.clock.now()
        left = (due - now).total_seconds() if due else None
        self._token_due = None if left is None else context.clock.monotonic() + left

    def _go_on_without(self, error: Exception) -> None:
        """Go on with volumes as they are where they cannot be brought up to date; raises SyncError.

        The server may be away for longer than tokens are good for; what crashes meanwhile has to
        start again, and finds what the last run found. A kubelet counts such volumes as mounted.
        """
        if self._volumes is None:
            raise SyncError(str(error), "FailedMount") from None
        self._stale += 1
        self._context.tell(self.pod, "Warning", "FailedMount", str(error))
        self._token_due = self._context.clock.monotonic() + RETRY.wait_seconds(self._stale)

    def _sources(self, persistent: Mapping[str, Obj]) -> Sources:
        context, namespace = self._context, self.pod["metadata"].get("namespace", "")
        return Sources(
            config_map=lambda name: context.references.get(Ref("configmaps", namespace, name)),
            secret=lambda name: context.references.get(Ref("secrets", namespace, name)),
            token=lambda source: context.tokens.token(self.pod, source),
            fields=runtime_fields(self._ips(), context.host_ips),
            allocatable=context.allocatable,
            persistent=persistent,
        )

    async def _carry_out(self) -> None:
        """Plan and act until nothing is left to do now."""
        refused: set[str] = set()
        for _ in range(ROUNDS_MAX):
            actions = self._rounds.plan(self.pod, self.given, self.observed, refused)
            if not actions:
                return
            executor = Executor(
                self._context, self.given, self.observed, self.volumes, self._stopping
            )
            moved = await self._rounds.act(actions, executor, refused)
            if self._stopping.is_set():
                return
            await self._observe()
            if not moved:
                return
            if any(isinstance(action, StopContainer | StopAll) for action in actions):
                # Its successor may take long to come: an image may have to be pulled.
                self._context.statuses.set(self.uid, self._derive())

    def _next_look(self) -> float | None:
        """Return the seconds until something is due by itself, None where nothing is."""
        now = self._context.clock.monotonic()
        due = [moment - now for moment in self._rounds.retry_at.values()]
        moments = (self._token_due, self._context.volumes.due(self.uid))
        due += [moment - now for moment in moments if moment is not None]
        deadline = self._deadline_in()
        if deadline is not None:
            due.append(deadline)
        return max(min(due), 0.01) if due else None

    # --- ending ---

    async def _terminate(self) -> None:
        """Stop all of the pod and free what it held."""
        self.state = State.TERMINATING
        context = self._context
        context.probes.stop(self.uid)
        await self._observe()
        if not self.removed:
            context.statuses.set(self.uid, self._derive())
        while self.observed.running or any(s.ready for s in self.observed.sandboxes):
            self._shorter.clear()
            self._grace = self._removed_grace if self.removed else grace_seconds(self.pod)
            if self._shortest is not None:
                self._grace = min(self._grace, self._shortest)
            work = stop_pod(context, self.pod, self.observed, self._grace)
            try:
                await unless(self._shorter, "stop pod", work)
            except StoppedError:
                log.info("grace period shortened pod=%s", full_name(self.pod))
            await self._observe()
        context.probes.forget(self.uid)
        await free(context, self.pod)
        self.state = State.TERMINATED
        context.freed()
        if not self.removed:
            context.statuses.set(self.uid, self._derive(terminal=True))
        self._ended.set()
        log.info("pod stopped pod=%s", full_name(self.pod))

    async def _finish(self) -> None:
        """Give the pod back to the cluster, then remove its last traces."""
        if not self.removed:
            await self._context.statuses.told(self.uid)
        if not self.removed:
            await delete_pod(self._context, self.pod)
        await remove_traces(self._context, self.pod, self.observed)
        self._context.statuses.forget(self.uid)
        self.state = State.FINISHED
        log.info("pod removed pod=%s", full_name(self.pod))

"""The scheduler: takes pods from the queue one by one, decides, and binds in the background.

A decision never waits: it is made on the cache between two steps of the event loop. The pod is
then assumed to be on its node while the binding is written, so that the next decision counts it.
"""

import asyncio
import contextlib
import logging

from minikube_py.api.core import NAMESPACES, NODES, PODS
from minikube_py.api.errors import NotFoundError, StatusError
from minikube_py.api.object import get
from minikube_py.api.resource import Resource
from minikube_py.client.events import Recorder
from minikube_py.client.informer import Informer, Informers
from minikube_py.client.protocol import Client, Lister
from minikube_py.lib.clock import Clock
from minikube_py.lib.tasks import Nursery
from minikube_py.server.scheduler import algorithm
from minikube_py.server.scheduler.algorithm import Fit
from minikube_py.server.scheduler.binding import NobodyBinds, Placement, Placing
from minikube_py.server.scheduler.cache import Cache
from minikube_py.server.scheduler.cluster_events import Action, pod_event
from minikube_py.server.scheduler.configuration import Configuration
from minikube_py.server.scheduler.deadlines import Deadlines
from minikube_py.server.scheduler.extender import ExtenderError, Extenders
from minikube_py.server.scheduler.following import Follower
from minikube_py.server.scheduler.framework import Cycle, Handle, Rejected
from minikube_py.server.scheduler.metrics import (
    ERROR,
    SCHEDULED,
    UNSCHEDULABLE,
    SchedulerMetrics,
)
from minikube_py.server.scheduler.pod_info import DEADLINE, PodInfo
from minikube_py.server.scheduler.profile import DEFAULT_NAME
from minikube_py.server.scheduler.queue import NO_NODES, QueuedPod, SchedulingQueue, events_of
from minikube_py.server.scheduler.ranking import Rankings
from minikube_py.server.scheduler.status import FITS_NOWHERE, WENT_WRONG, PodStatus
from minikube_py.server.scheduler.waiting import PermitWaits, WaitingPod

log = logging.getLogger(__name__)
DEFAULTS = Configuration()


class Scheduler:
    """One scheduler of one cluster."""

    def __init__(
        self,
        client: Client,
        informers: Informers,
        clock: Clock,
        configuration: Configuration = DEFAULTS,
        metrics: SchedulerMetrics | None = None,
    ) -> None:
        self._clock = clock
        self._all_informers = informers
        self._nursery = Nursery("scheduler")
        self._informers: dict[Resource, Informer] = {}
        for kind in (NODES, NAMESPACES, PODS):
            self.lister(kind)
        self._pods = self._informers[PODS]
        self.cache = Cache(self._informers[NAMESPACES])
        self.events = Recorder(client, DEFAULT_NAME, clock)
        self.waiting = PermitWaits(clock)
        self._extenders = Extenders(configuration.extenders)
        profiles = configuration.build(self._handle(client))
        self.profiles = {profile.name: profile for profile in profiles}
        for kind in {one.resource for p in profiles for q in p.plugins for one in events_of(q)}:
            self.lister(kind)
        self.queue = SchedulingQueue(clock, self.profiles, backoff=configuration.backoff)
        self._metrics = metrics or SchedulerMetrics()
        self._metrics.queue = self.queue
        self._deadlines = Deadlines(clock, self._missed)
        self._follower = Follower(self.cache, self.queue, self._deadlines, self.profiles)
        self._status = PodStatus(client, clock)
        self._placing = Placing(self.waiting, self._extenders)
        self._rankings = Rankings()
        self._start = 0
        """The place from which the next pod's nodes are asked."""

    def lister(self, resource: Resource) -> Lister:
        """Return the cache of a kind; it is filled before the first decision."""
        informer = self._informers[resource] = self._all_informers.get(resource)
        return informer

    def _activate(self, uid: str) -> None:
        self.queue.activate(uid)

    def _handle(self, client: Client) -> Handle:
        return Handle(
            client=client,
            lister=self.lister,
            clock=self._clock,
            events=self.events,
            waiting=self.waiting,
            activate=self._activate,
            start=self._nursery.start,
            cache=self.cache,
            extenders=self._extenders,
        )

    async def run(self) -> None:
        """Schedule until cancelled."""
        for informer in self._informers.values():
            await informer.wait_synced()
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self.queue.close)
            stack.callback(self._deadlines.close)
            stack.push_async_callback(self._extenders.close)
            for end in self._follower.follow(self._informers):
                stack.callback(end)
            await stack.enter_async_context(self._nursery)
            self._nursery.start("scheduler events", self.events.run())
            while True:
                await self._schedule(await self.queue.get())
                await self._placing.room()
                await asyncio.sleep(0)  # a long queue must not keep others from running

    async def _schedule(self, queued: QueuedPod) -> None:
        profile, pod = queued.profile, queued.pod
        asked = self._extenders.concern(pod)
        cycle = Cycle(pod, self.cache)
        node = None if asked else self._rankings.choose(cycle, profile)
        if node is None:
            cycle = Cycle(pod, self.cache)
            try:
                node = await self._find(queued, cycle)
            except ExtenderError as error:
                self._failed(queued, error)
        if node is not None:
            self._place(queued, Placement(cycle, profile, node))

    async def _find(self, queued: QueuedPod, cycle: Cycle) -> str | None:
        """Ask nodes and extenders; return the best node, or say why there is none."""
        profile, pod = queued.profile, queued.pod
        fit = await algorithm.find(cycle, profile, start=self._start)
        self._start = (self._start + fit.looked_at) % max(len(self.cache.nodes), 1)
        await self._extenders.filter(pod, fit)
        fitting = [one for one in fit.nodes if one.name in self.cache.nodes]
        if not fitting:
            await self._reject(queued, cycle, fit)
            return None
        more = await self._extenders.scores(pod, fitting) if len(fitting) > 1 else {}
        return algorithm.choose(cycle, fitting, profile, more)

    def _failed(self, queued: QueuedPod, error: Exception) -> None:
        """Tell of what went wrong, and try again after a while."""
        log.warning("scheduling failed pod=%s error=%s", queued.pod.key, error)
        self._tell(queued, str(error), WENT_WRONG)
        self.queue.fail(queued, None)

    def _place(self, queued: QueuedPod, placement: Placement) -> None:
        """Count the pod as placed, and see to it that it will be."""
        pod = queued.pod
        self.cache.set_pod(pod.on(placement.node))
        denied = self._placing.reserve(placement)
        if denied is not None:
            self.cache.remove_pod(pod.uid)
            self._deny(queued, placement, denied)
            return
        permit = self._placing.permit(placement)
        if isinstance(permit, Rejected):
            self._take_back(placement)
            self._deny(queued, placement, permit)
            return
        self._nursery.start(f"bind {pod.key}", self._bind(queued, placement, permit))

    async def _bind(
        self, queued: QueuedPod, placement: Placement, waiting: WaitingPod | None
    ) -> None:
        pod, node = queued.pod, placement.node
        try:
            denied = await self._placing.bind(placement, waiting)
        except (StatusError, ExtenderError, NobodyBinds) as error:
            self._unbound(queued, placement, error)
            return
        if denied is not None:
            self._take_back(placement)
            self._deny(queued, placement, denied)
            return
        self._count(queued, SCHEDULED)
        self.queue.done(queued)
        self.cache.nominated.remove(pod.uid)
        log.info("pod bound pod=%s node=%s attempts=%d", pod.key, node, queued.attempts)
        text = f"Successfully assigned {pod.key} to {node}"
        self.events.record(pod.obj, "Normal", "Scheduled", text, component=placement.profile.name)

    def _take_back(self, placement: Placement) -> None:
        """Count the pod out, and give back what was set aside for it."""
        self._placing.unreserve(placement)
        pod = placement.cycle.pod.on(placement.node)
        self.cache.remove_pod(pod.uid)
        self.queue.happened(pod_event(Action.DELETE, pod, None))

    def _deny(self, queued: QueuedPod, placement: Placement, denied: Rejected) -> None:
        """Tell of a pod that had a node and was rejected all the same."""
        fit = Fit(1, rejected={placement.node: denied})
        self._tell(queued, algorithm.explain(fit), FITS_NOWHERE)
        self.queue.fail(queued, {denied.plugin})

    def _unbound(
        self,
        queued: QueuedPod,
        placement: Placement,
        error: StatusError | ExtenderError | NobodyBinds,
    ) -> None:
        """Take back an assumption; try again unless the pod is gone or somebody else bound it."""
        pod = queued.pod
        item = self._pods.item(pod.key)
        if item is not None and item.fields.get("spec.nodeName"):
            self._placing.unreserve(placement)
            self.queue.done(queued)
            return  # bound by another; the informer has put it where it is
        self._take_back(placement)
        if item is None or item.uid != pod.uid or isinstance(error, NotFoundError):
            self.queue.remove(pod.uid)
            return
        queued.pod = PodInfo(item)
        self._failed(queued, error)

    async def _reject(self, queued: QueuedPod, cycle: Cycle, fit: Fit) -> None:
        """Say why the pod fits nowhere, have plugins help, and let it wait."""
        messages = []
        nominated: str | None = None
        self._metrics.preemptions += 1 if fit.count and queued.profile.post_filter else 0
        for plugin in queued.profile.post_filter if fit.count else ():
            found = await plugin.post_filter(cycle, fit)
            nominated = found.node if found.node is not None else nominated
            messages += [found.message] if found.message else []
            if found.done:
                break
        self._nominate(queued.pod, nominated)
        message = algorithm.explain(fit, " ".join(messages))
        self.queue.fail(queued, fit.plugins or {NO_NODES})
        self._tell(queued, message, FITS_NOWHERE, nominated)

    def _nominate(self, pod: PodInfo, node: str | None) -> None:
        if node:
            self.cache.nominated.put(pod.on(node))
        elif node is not None:
            self.cache.nominated.remove(pod.uid)

    def _count(self, queued: QueuedPod, result: str) -> None:
        self._metrics.attempts[queued.profile.name, result] += 1

    def _missed(self, pod: PodInfo) -> None:
        """Tell of a pod that has no node by its deadline."""
        moment = get(pod.obj, ("metadata", "annotations", DEADLINE))
        text = f"the deadline {moment} can no longer be met: the pod has no node"
        log.info("deadline missed pod=%s deadline=%s", pod.key, moment)
        self.events.record(pod.obj, "Warning", "DeadlineMissed", text, component=pod.scheduler)

    def _tell(
        self, queued: QueuedPod, message: str, reason: str, nominated: str | None = None
    ) -> None:
        """Say in an event and in the pod's status why it has no node."""
        pod = queued.pod
        self._count(queued, ERROR if reason == WENT_WRONG else UNSCHEDULABLE)
        self.events.record(
            pod.obj, "Warning", "FailedScheduling", message, component=queued.profile.name
        )
        writing = self._status.write(pod, reason, message, nominated)
        self._nursery.start(f"status {pod.key}", writing)


async def run_scheduler(
    client: Client,
    clock: Clock,
    configuration: Configuration = DEFAULTS,
    metrics: SchedulerMetrics | None = None,
) -> None:
    """Run a scheduler with informers of its own until cancelled."""
    async with Informers(client, clock) as informers:
        await Scheduler(client, informers, clock, configuration, metrics).run()

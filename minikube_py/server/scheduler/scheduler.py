"""The scheduler: takes pods from the queue one by one, decides, and binds in the background.

A decision never waits: it is made on the cache between two steps of the event loop. The pod is
then assumed to be on its node while the binding is written, so that the next decision counts it.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from minikube_py.api import times
from minikube_py.api.core import NAMESPACES, NODES, PODS
from minikube_py.api.errors import ConflictError, NotFoundError, StatusError
from minikube_py.api.item import Item
from minikube_py.api.object import Obj, condition_of, get
from minikube_py.client.events import Recorder
from minikube_py.client.informer import Informers
from minikube_py.client.protocol import Client
from minikube_py.lib.clock import Clock
from minikube_py.lib.tasks import Nursery
from minikube_py.server.scheduler import algorithm
from minikube_py.server.scheduler.algorithm import Fit
from minikube_py.server.scheduler.cache import Cache
from minikube_py.server.scheduler.framework import Change
from minikube_py.server.scheduler.pod_info import PodInfo
from minikube_py.server.scheduler.preemption import Preemption
from minikube_py.server.scheduler.queue import SchedulingQueue, Waiting

log = logging.getLogger(__name__)
NAME = "default-scheduler"
BINDINGS_MAX = 64
"""Bindings under way at a time; more wait, so that a burst does not flood the server."""
FINISHED = frozenset({"Succeeded", "Failed"})


class Scheduler:
    """One scheduler of one cluster."""

    def __init__(self, client: Client, informers: Informers, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._pods = informers.get(PODS)
        self._nodes = informers.get(NODES)
        self._namespaces = informers.get(NAMESPACES)
        self.cache = Cache(self._namespaces)
        self.queue = SchedulingQueue(clock)
        self.events = Recorder(client, NAME, clock)
        self._preemption = Preemption(client, self.events, clock)
        self._bindings = asyncio.Semaphore(BINDINGS_MAX)
        self._start = 0

    async def run(self) -> None:
        """Schedule until cancelled."""
        for informer in (self._nodes, self._namespaces, self._pods):
            await informer.wait_synced()
        ends = [self._nodes.subscribe(self._node_changed), self._pods.subscribe(self._pod_changed)]
        try:
            async with Nursery("scheduler") as nursery:
                nursery.start("scheduler events", self.events.run())
                while True:
                    waiting = await self.queue.get()
                    await self._schedule(waiting, nursery)
                    await asyncio.sleep(0)  # a long queue must not keep others from running
        finally:
            self.queue.close()
            for end in ends:
                end()

    async def _schedule(self, waiting: Waiting, nursery: Nursery) -> None:
        pod = waiting.pod
        if pod.gates:
            self.queue.gate(waiting)
            return
        view = self.cache.with_nominated(pod)
        fit = algorithm.find(pod, view, start=self._start)
        if not fit.nodes:
            await self._reject(waiting, fit)
            return
        self._start = (self._start + fit.looked_at) % max(len(self.cache.nodes), 1)
        node = algorithm.choose(pod, fit.nodes, self.cache)
        self.cache.set_pod(pod.on(node))
        self.queue.done(waiting)
        await self._bindings.acquire()
        nursery.start(f"bind {pod.key}", self._bind(waiting, node))

    async def _bind(self, waiting: Waiting, node: str) -> None:
        pod = waiting.pod
        try:
            await self._client.create(
                PODS, binding(pod, node), subresource="binding", name=pod.key.name
            )
        except StatusError as error:
            self._unbound(waiting, error)
        else:
            self.cache.nominated.pop(pod.uid, None)
            log.info("pod bound pod=%s node=%s attempts=%d", pod.key, node, waiting.attempts)
            text = f"Successfully assigned {pod.key} to {node}"
            self.events.record(pod.obj, "Normal", "Scheduled", text)
        finally:
            self._bindings.release()

    def _unbound(self, waiting: Waiting, error: StatusError) -> None:
        """Take back an assumption; try again unless the pod is gone or somebody else bound it."""
        pod = waiting.pod
        log.warning("binding failed pod=%s reason=%s error=%s", pod.key, error.reason, error)
        item = self._pods.item(pod.key)
        if item is not None and item.fields.get("spec.nodeName"):
            return  # bound by another; the informer has put it where it is
        self.cache.remove_pod(pod.uid)
        self.queue.happened(Change.POD_GONE)
        if item is None or item.uid != pod.uid or isinstance(error, NotFoundError):
            return
        self.queue.put(PodInfo(item))

    async def _reject(self, waiting: Waiting, fit: Fit) -> None:
        """Say why the pod fits nowhere, make room where that helps, and let it wait."""
        pod, count = waiting.pod, len(self.cache.nodes)
        after = await self._preemption.attempt(pod, self.cache, fit) if count else ""
        message = algorithm.explain(fit, count, after)
        cures = {change for one in fit.rejected.values() for change in one.plugin.cured_by}
        self.queue.fail(waiting, cures or {Change.NODE_ADDED})
        self.events.record(pod.obj, "Warning", "FailedScheduling", message)
        await self._note(pod, message)

    async def _note(self, pod: PodInfo, message: str) -> None:
        """Write the condition PodScheduled where it says something else."""
        known = condition_of(pod.obj, "PodScheduled")
        if known is not None and known.get("message") == message:
            return
        patch = {"status": {"conditions": unschedulable(pod.obj, message, self._clock)}}
        try:
            await self._client.patch(PODS, pod.key.name, patch, pod.namespace, subresource="status")
        except (NotFoundError, ConflictError) as error:
            log.debug("pod changed meanwhile pod=%s error=%s", pod.key, error)
        except StatusError as error:
            log.warning("condition not written pod=%s error=%s", pod.key, error)

    def _node_changed(self, old: Item | None, new: Item | None) -> None:
        if new is None:
            if old is not None:
                self.cache.remove_node(old.key.name)
            return
        before = self.cache.nodes.get(new.key.name)
        facts = None if before is None else _facts(before)
        self.cache.set_node(new.obj)
        after = self.cache.nodes[new.key.name]
        if facts is None:
            self.queue.happened(Change.NODE_ADDED)
        elif facts != _facts(after):
            self.queue.happened(Change.NODE_CHANGED)

    def _pod_changed(self, old: Item | None, new: Item | None) -> None:
        item = new or old
        if item is None:
            return
        if new is None or new.fields.get("status.phase") in FINISHED:
            self._gone(item)
        elif new.fields.get("spec.nodeName"):
            self._placed(old, new)
        elif new.deleting:
            self.queue.remove(new.uid)
        elif new.fields.get("spec.schedulerName") == NAME and not self.cache.has_pod(new.uid):
            self._pending(old, new)

    def _gone(self, item: Item) -> None:
        self.queue.remove(item.uid)
        self.cache.nominated.pop(item.uid, None)
        if self.cache.has_pod(item.uid):
            self.cache.remove_pod(item.uid)
            self.queue.happened(Change.POD_GONE)

    def _placed(self, old: Item | None, new: Item) -> None:
        self.queue.remove(new.uid)
        self.cache.nominated.pop(new.uid, None)
        known = old is not None and old.fields.get("spec.nodeName") and self.cache.has_pod(new.uid)
        if known and old is not None and not _counts(old, new):
            return
        self.cache.set_pod(PodInfo(new))
        self.queue.happened(Change.POD_PLACED)

    def _pending(self, old: Item | None, new: Item) -> None:
        """A pod's own change may cure it, but not what was written of it here."""
        if old is not None and old.labels == new.labels and old.obj["spec"] == new.obj["spec"]:
            self.queue.refresh(PodInfo(new))
        else:
            self.queue.put(PodInfo(new))


def _facts(info: Any) -> Sequence[object]:
    """Return what of a node decides whether pods fit."""
    return (info.labels, info.taints, info.unschedulable, info.allocatable)


def _counts(old: Item, new: Item) -> bool:
    """Tell whether a change of a pod that has a node changes what it takes.

    A pod that is resized in place carries a condition that says so until it is done.
    """
    if old.labels != new.labels or old.deleting != new.deleting:
        return True
    return b'"PodResize' in old.data or b'"PodResize' in new.data


def binding(pod: PodInfo, node: str) -> Obj:
    """Return the Binding of a pod to a node."""
    metadata = {"name": pod.key.name, "namespace": pod.namespace, "uid": pod.uid}
    target = {"apiVersion": "v1", "kind": "Node", "name": node}
    return {"apiVersion": "v1", "kind": "Binding", "metadata": metadata, "target": target}


def unschedulable(pod: Obj, message: str, clock: Clock) -> list[Obj]:
    """Return the pod's conditions with the one that says that it fits nowhere."""
    old = condition_of(pod, "PodScheduled")
    now = times.now_string(clock)
    same = old is not None and old.get("status") == "False"
    new = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": message,
        "lastProbeTime": None,
        "lastTransitionTime": old.get("lastTransitionTime", now) if same and old else now,
    }
    others = (one for one in get(pod, "status.conditions", ()) if one["type"] != "PodScheduled")
    return [*others, new]


async def run_scheduler(client: Client, clock: Clock) -> None:
    """Run a scheduler with informers of its own until cancelled."""
    async with Informers(client, clock) as informers:
        await Scheduler(client, informers, clock).run()

"""Keeps the cache and the queue current: what informers tell becomes facts and cluster events."""

import functools
from collections.abc import Callable, Collection, Iterable, Mapping

from minikube_py.api.core import NODES, PODS
from minikube_py.api.item import Item
from minikube_py.api.resource import Resource
from minikube_py.client.informer import Handler, Informer
from minikube_py.server.scheduler.cache import Cache
from minikube_py.server.scheduler.cluster_events import (
    Action,
    ClusterEvent,
    node_actions,
    pod_actions,
    pod_event,
)
from minikube_py.server.scheduler.deadlines import Deadlines
from minikube_py.server.scheduler.pod_info import PodInfo
from minikube_py.server.scheduler.queue import SchedulingQueue

FINISHED = frozenset({"Succeeded", "Failed"})


class Follower:
    """Hears of all changes that concern scheduling; never waits."""

    def __init__(
        self,
        cache: Cache,
        queue: SchedulingQueue,
        deadlines: Deadlines,
        names: Collection[str],
    ) -> None:
        self._cache = cache
        self._deadlines = deadlines
        self._queue = queue
        self._names = names
        """The schedulers whose pods these are."""

    def follow(self, informers: Mapping[Resource, Informer]) -> Iterable[Callable[[], None]]:
        """Hear of all there is, nodes first, and of every change; yield the ways out."""
        yield informers[NODES].subscribe(self.node_changed)
        yield informers[PODS].subscribe(self.pod_changed)
        for resource, informer in informers.items():
            if resource not in (NODES, PODS):
                handler: Handler = functools.partial(self.other_changed, resource)
                yield informer.subscribe(handler)

    def node_changed(self, old: Item | None, new: Item | None) -> None:
        """Take up what happened to a node."""
        if new is None:
            if old is not None:
                self._cache.remove_node(old.key.name)
                self._queue.happened(ClusterEvent(NODES, Action.DELETE, old, None))
            return
        self._cache.set_node(new)
        for action in (Action.ADD,) if old is None else node_actions(old, new):
            self._queue.happened(ClusterEvent(NODES, action, old, new))

    def other_changed(self, resource: Resource, old: Item | None, new: Item | None) -> None:
        """Pass on what happened to an object that plugins asked for."""
        action = Action.OTHER
        if old is None:
            action = Action.ADD
        elif new is None:
            action = Action.DELETE
        self._queue.happened(ClusterEvent(resource, action, old, new))

    def pod_changed(self, old: Item | None, new: Item | None) -> None:
        """Take up what happened to a pod."""
        item = new or old
        if item is None:
            return
        if new is None or new.fields.get("status.phase") in FINISHED:
            self._gone(item)
        elif new.fields.get("spec.nodeName"):
            self._placed(old, new)
        elif new.deleting:
            self._forget(new.uid)
        elif new.fields.get("spec.schedulerName") in self._names:
            self._pending(old, new)

    def _forget(self, uid: str) -> None:
        """Hold no room any more for a pod that needs none."""
        nominated = self._cache.nominated.get(uid)
        self._queue.remove(uid)
        self._deadlines.forget(uid)
        if nominated is not None:
            self._cache.nominated.remove(uid)
            self._queue.happened(pod_event(Action.DELETE, nominated, None))

    def _gone(self, item: Item) -> None:
        self._forget(item.uid)
        known = self._cache.pod(item.uid)
        if known is not None:
            self._cache.remove_pod(item.uid)
            self._queue.happened(pod_event(Action.DELETE, known, None))

    def _placed(self, old: Item | None, new: Item) -> None:
        self._queue.remove(new.uid)
        self._deadlines.forget(new.uid)
        self._cache.nominated.remove(new.uid)
        bound = old is not None and bool(old.fields.get("spec.nodeName"))
        known = self._cache.pod(new.uid)
        if known is not None and bound and old is not None:
            if is_resized(old, new):
                self._changed(known, PodInfo(new))
            elif old.labels != new.labels or old.deleting != new.deleting:
                self._changed(known, known.at(new))
            return
        if known is None or known.node != new.fields.get("spec.nodeName") or new.deleting:
            pod = PodInfo(new)
            self._cache.set_pod(pod)
        elif known.labels == new.labels:
            pod = self._cache.confirm(known, new)
        else:  # with its node it got the labels of the zone
            pod = known.at(new)
            self._cache.set_pod(pod)
        self._queue.happened(pod_event(Action.ADD, None, pod))

    def _changed(self, known: PodInfo, pod: PodInfo) -> None:
        self._cache.set_pod(pod)
        for action in pod_actions(known, pod):
            self._queue.happened(pod_event(action, known, pod))

    def _pending(self, old: Item | None, new: Item) -> None:
        """A pod's own change may help it, but not what was written of it here."""
        if self._cache.has_pod(new.uid):
            return
        pod = PodInfo(new)
        self._deadlines.watch(pod)
        if pod.nominated and self._cache.nominated.get(pod.uid) is None:
            self._cache.nominated.put(pod.on(pod.nominated))
        if old is not None and self._queue.has(pod.uid) and not _differs(old, new):
            self._queue.refresh(pod)
        else:
            self._queue.put(pod)


def _differs(old: Item, new: Item) -> bool:
    """Tell whether anything but the status and what every write changes is another."""
    if old.labels != new.labels or old.obj["spec"] != new.obj["spec"]:
        return True
    before, after = old.obj, new.obj
    return any(
        before["metadata"].get(name) != after["metadata"].get(name)
        for name in ("annotations", "finalizers", "ownerReferences")
    ) or _claims(before) != _claims(after)


def _claims(pod: Mapping[str, object]) -> object:
    status = pod.get("status")
    return status.get("resourceClaimStatuses") if isinstance(status, Mapping) else None


def is_resized(old: Item, new: Item) -> bool:
    """Tell whether a pod that has a node may take more or less of it than before.

    A pod that is resized in place carries a condition that says so until it is done.
    """
    return b'"PodResize' in old.data or b'"PodResize' in new.data

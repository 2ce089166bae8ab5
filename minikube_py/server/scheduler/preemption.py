"""Room for important pods: which less important ones have to go, and from which node.

Only nodes count whose reasons may go away with other pods. On each of them all less important pods
are taken away in thought; where the pod then fits, as many of them are put back as possible, the
most important first. Of the nodes, the one is chosen whose victims matter least. The victims are
deleted with grace; the pod is nominated for the node, which holds the room for it.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from minikube_py.api import times
from minikube_py.api.core import PODS
from minikube_py.api.errors import NotFoundError, StatusError
from minikube_py.api.object import get
from minikube_py.client.events import Recorder
from minikube_py.client.protocol import Client
from minikube_py.lib.clock import Clock
from minikube_py.server.scheduler.algorithm import Fit
from minikube_py.server.scheduler.cache import Cache
from minikube_py.server.scheduler.node_info import NodeInfo
from minikube_py.server.scheduler.plugins import FILTERS
from minikube_py.server.scheduler.pod_info import PodInfo

log = logging.getLogger(__name__)
NOT_HELPFUL = "Preemption is not helpful for scheduling"
NO_VICTIMS = "No preemption victims found for incoming pod"
CANDIDATES_MAX = 100
"""Nodes that are tried; upstream tries a tenth of all, at least so many."""


@dataclass(frozen=True)
class Candidate:
    """A node and who would have to leave it."""

    node: str
    victims: Sequence[PodInfo]

    def cost(self) -> tuple[int, int, int, float, str]:
        """Sort key: least important victims, then fewer, then those that started last."""
        priorities = [victim.priority for victim in self.victims]
        top = max(priorities)
        first = min(started(victim) for victim in self.victims if victim.priority == top)
        return top, sum(priorities), len(self.victims), -first, self.node


def started(pod: PodInfo) -> float:
    """Return when the pod started, as seconds of the epoch."""
    moment = get(pod.obj, "status.startTime") or get(pod.obj, "metadata.creationTimestamp")
    return times.parse(moment).timestamp() if moment else 0.0


class Preemption:
    """Makes room for pods that fit nowhere."""

    def __init__(self, client: Client, events: Recorder, clock: Clock) -> None:
        self._client = client
        self._events = events
        self._clock = clock

    async def attempt(self, pod: PodInfo, cache: Cache, fit: Fit) -> str:
        """Evict victims where that helps; return the words that explain what came of it."""
        count = len(cache.nodes)
        if get(pod.obj, "spec.preemptionPolicy") == "Never":
            return "preemption: not eligible due to preemptionPolicy=Never."
        if self._is_waiting(pod, cache):
            return "preemption: not eligible due to a terminating pod on the nominated node."
        candidates, hopeless = find_candidates(pod, cache, fit)
        if candidates:
            await self._evict(pod, min(candidates, key=Candidate.cost), cache)
            return ""
        reasons = {NOT_HELPFUL: hopeless, NO_VICTIMS: count - hopeless}
        parts = sorted(f"{number} {reason}" for reason, number in reasons.items() if number)
        return f"preemption: 0/{count} nodes are available: {', '.join(parts)}."

    @staticmethod
    def _is_waiting(pod: PodInfo, cache: Cache) -> bool:
        """Tell whether victims of an earlier attempt are still on their way out."""
        nominated = cache.nominated.get(pod.uid)
        node = cache.nodes.get(nominated.node) if nominated is not None else None
        if node is None:
            return False
        return any(one.deleting and one.priority < pod.priority for one in node.pods.values())

    async def _evict(self, pod: PodInfo, chosen: Candidate, cache: Cache) -> None:
        cache.nominated[pod.uid] = pod.on(chosen.node)
        log.info(
            "pod preempts pod=%s node=%s victims=%d", pod.key, chosen.node, len(chosen.victims)
        )
        for victim in chosen.victims:
            await self._evict_one(pod, victim, chosen.node)
        try:
            await self._client.patch(
                PODS,
                pod.key.name,
                {"status": {"nominatedNodeName": chosen.node}},
                pod.namespace,
                subresource="status",
            )
        except StatusError as error:
            log.warning("nomination not written pod=%s error=%s", pod.key, error)

    async def _evict_one(self, pod: PodInfo, victim: PodInfo, node: str) -> None:
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "PreemptionByScheduler",
            "message": "default-scheduler: preempting to accommodate a higher priority pod",
            "lastTransitionTime": times.now_string(self._clock),
        }
        others = (
            one
            for one in get(victim.obj, "status.conditions", ())
            if one["type"] != "DisruptionTarget"
        )
        patch = {"status": {"conditions": [*others, condition]}}
        name, namespace = victim.key.name, victim.namespace
        options = {"preconditions": {"uid": victim.uid}}
        try:
            await self._client.patch(PODS, name, patch, namespace, subresource="status")
            await self._client.delete(PODS, name, namespace, options=options)
        except NotFoundError:
            return
        except StatusError as error:
            log.warning("victim not deleted pod=%s error=%s", victim.key, error)
            return
        text = f"Preempted by pod {pod.uid} on node {node}"
        self._events.record(victim.obj, "Normal", "Preempted", text)


def find_candidates(pod: PodInfo, cache: Cache, fit: Fit) -> tuple[list[Candidate], int]:
    """Return the nodes that victims would make fit, and how many nodes nothing would."""
    helpful = [
        cache.nodes[name]
        for name, rejection in fit.rejected.items()
        if rejection.plugin.preemptable and name in cache.nodes
    ]
    found = []
    for node in helpful:
        victims = victims_on(pod, node, cache)
        if victims:
            found.append(Candidate(node.name, victims))
            if len(found) >= CANDIDATES_MAX:
                break
    return found, len(fit.rejected) - len(helpful)


def victims_on(pod: PodInfo, node: NodeInfo, cache: Cache) -> list[PodInfo]:
    """Return the least that has to leave a node for the pod to fit; nothing where it never does."""
    lower = [other for other in node.pods.values() if other.priority < pod.priority]
    if not lower:
        return []
    trial = node.copy()
    for other in lower:
        trial.remove(other.uid)
    if not fits(pod, trial, cache):
        return []
    victims = []
    for other in sorted(lower, key=importance):
        trial.add(other)
        if not fits(pod, trial, cache):
            trial.remove(other.uid)
            victims.append(other)
    return victims


def importance(pod: PodInfo) -> tuple[int, float]:
    """Sort key: the most important and longest running first."""
    return -pod.priority, started(pod)


def fits(pod: PodInfo, node: NodeInfo, cache: Cache) -> bool:
    """Tell whether the pod could run on a node as it would be."""
    trial = cache.replacing(node)
    checks = (plugin.filter(pod, trial) for plugin in FILTERS)
    return all(check is None or check(node) is None for check in checks)

"""Makes room for important pods: evicts less important ones where that lets them fit.

Who has to go is decided at once (`preemption.py`) and the pod is nominated for the node, which
holds the room for it. The victims are told and deleted, with their grace, beside the scheduling;
until that is done the pod is not tried again.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence

from minikube_py.api import times
from minikube_py.api.core import PODS
from minikube_py.api.errors import ConflictError, NotFoundError, StatusError
from minikube_py.api.object import Obj, condition_of, get
from minikube_py.api.policy import PODDISRUPTIONBUDGETS
from minikube_py.server.scheduler import preemption
from minikube_py.server.scheduler.candidate import Candidate
from minikube_py.server.scheduler.cluster_events import Action, ClusterEvent, Registered
from minikube_py.server.scheduler.framework import (
    Cycle,
    Fitting,
    Handle,
    Help,
    Rejection,
    rejection,
)
from minikube_py.server.scheduler.pod_info import PodInfo
from minikube_py.server.scheduler.preemption import Budgets

log = logging.getLogger(__name__)
UNDER_WAY = rejection("waiting for the preemption for this pod to be finished", final=True)
CANDIDATES_PERCENT = 10
CANDIDATES_MIN = 100
"""So many candidates are compared, this share of the nodes and at least so many."""
NODES_AT_ONCE = 20
"""Tried without letting others run."""


class DefaultPreemption:
    """Evicts pods in favour of more important ones."""

    name = "DefaultPreemption"

    def __init__(self, handle: Handle, args: Mapping[str, int]) -> None:
        self._handle = handle
        self._budgets = handle.lister(PODDISRUPTIONBUDGETS)
        self._percent = int(args.get("minCandidateNodesPercentage", CANDIDATES_PERCENT))
        self._least = int(args.get("minCandidateNodesAbsolute", CANDIDATES_MIN))
        check_args(self._percent, self._least)
        self._under_way: set[str] = set()
        """Pods for which others are being evicted just now."""
        self._held: set[str] = set()
        """Those of them that should have been tried meanwhile."""
        self._start = 0

    def events_to_register(self) -> Iterable[Registered]:
        """Whatever else rejected the pod says when to try it again; this plugin never does."""
        return (Registered(PODS, Action.DELETE, _never),)

    def pre_enqueue(self, pod: PodInfo) -> Rejection | None:
        """Hold the pod back until its victims have been deleted."""
        if pod.uid not in self._under_way:
            return None
        self._held.add(pod.uid)
        return UNDER_WAY

    async def post_filter(self, cycle: Cycle, fit: Fitting) -> Help:
        """Choose victims and begin to evict them, or say why that does not help."""
        why = ineligible(cycle, fit)
        if why:
            return Help(f"preemption: {why}")
        candidates, reasons, untried = await self._candidates(cycle, fit)
        if not candidates:
            text = preemption.explain(len(cycle.cache.nodes), reasons, untried)
            return Help(f"preemption: {text}", node="")
        left = await self._handle.extenders.preempt(cycle, candidates)
        if not left:
            return Help("preemption: no candidate node for preemption")
        chosen = min(left, key=Candidate.cost)
        self._begin(cycle.pod, chosen)
        return Help(node=chosen.node, done=True)

    async def _candidates(
        self, cycle: Cycle, fit: Fitting
    ) -> tuple[Sequence[Candidate], Sequence[Rejection], int]:
        """Return the nodes that victims would make fit, and why others would not be."""
        known = cycle.cache.nodes
        names = [name for name, one in fit.rejected.items() if not one.rejection.final]
        wanted = max(len(names) * self._percent // 100, self._least)
        budgets = Budgets(item.obj for item in self._budgets.items())
        found: list[Candidate] = []
        reasons: list[Rejection] = []
        for at in range(len(names)):
            node = known.get(names[(self._start + at) % len(names)])
            if node is None:
                continue
            outcome = preemption.victims_on(cycle, fit.checks, node, budgets)
            if isinstance(outcome, Rejection):
                reasons.append(outcome)
            else:
                found.append(outcome)
            if len(found) >= wanted:
                break
            if at % NODES_AT_ONCE == NODES_AT_ONCE - 1:
                await asyncio.sleep(0)
        self._start += 1
        return found, reasons, len(known) - len(names)

    def _begin(self, pod: PodInfo, chosen: Candidate) -> None:
        log.info(
            "pod preempts pod=%s node=%s victims=%d", pod.key, chosen.node, len(chosen.victims)
        )
        victims = [victim for victim in chosen.victims if not victim.deleting]
        nominated = self._handle.cache.nominated
        lesser = [one for one in nominated.on(chosen.node) if one.priority < pod.priority]
        if victims or lesser:
            self._under_way.add(pod.uid)
            self._handle.start(f"preempt for {pod.key}", self._evict(pod, chosen, victims, lesser))

    async def _evict(
        self,
        pod: PodInfo,
        chosen: Candidate,
        victims: Sequence[PodInfo],
        lesser: Sequence[PodInfo],
    ) -> None:
        try:
            for one in lesser:
                await self._take_nomination(one)
            done = [await self._evict_one(pod, victim, chosen.node) for victim in victims]
        finally:
            self._under_way.discard(pod.uid)
        if not all(done) or pod.uid in self._held:
            self._handle.activate(pod.uid)
        self._held.discard(pod.uid)

    async def _take_nomination(self, pod: PodInfo) -> None:
        """Let a less important pod look for another place than the node it waits for."""
        self._handle.cache.nominated.remove(pod.uid)
        patch = {"metadata": {"uid": pod.uid}, "status": {"nominatedNodeName": None}}
        name, namespace = pod.key.name, pod.namespace
        try:
            await self._handle.client.patch(PODS, name, patch, namespace, subresource="status")
        except StatusError as error:
            log.warning("nomination not taken back pod=%s error=%s", pod.key, error)
        self._handle.activate(pod.uid)

    async def _evict_one(self, pod: PodInfo, victim: PodInfo, node: str) -> bool:
        """Evict a victim; tell whether it is on its way out."""
        waiting = self._handle.waiting.get(victim.uid)
        if waiting is not None:
            waiting.reject(self.name, "preempted")
        else:
            try:
                await self._delete(pod, victim)
            except (NotFoundError, ConflictError):
                return True  # it is gone, or another one has its name
            except StatusError as error:
                log.warning("victim not deleted pod=%s error=%s", victim.key, error)
                return False
        text = f"Preempted by pod {pod.uid} on node {node}"
        self._handle.events.record(victim.obj, "Normal", "Preempted", text, component=pod.scheduler)
        return True

    async def _delete(self, pod: PodInfo, victim: PodInfo) -> None:
        name, namespace = victim.key.name, victim.namespace
        patch = {"status": {"conditions": [self._condition(pod, victim.obj)]}}
        client = self._handle.client
        await client.patch(
            PODS, name, patch, namespace, patch_type="strategic", subresource="status"
        )
        options = {"preconditions": {"uid": victim.uid}}
        await client.delete(PODS, name, namespace, options=options)

    def _condition(self, pod: PodInfo, victim: Obj) -> Obj:
        """Return the condition that says why the victim goes."""
        old = condition_of(victim, preemption.TARGET)
        now = times.now_string(self._handle.clock)
        same = old is not None and old.get("status") == "True"
        generation = get(victim, "metadata.generation")
        return {
            "type": preemption.TARGET,
            "status": "True",
            "reason": preemption.PREEMPTED,
            "message": f"{pod.scheduler}: preempting to accommodate a higher priority pod",
            "lastTransitionTime": old.get("lastTransitionTime", now) if same and old else now,
            **({"observedGeneration": generation} if generation else {}),
        }


def _never(_: PodInfo, __: ClusterEvent) -> bool:
    return False


def check_args(percent: int, least: int) -> None:
    """Raise ValueError where the numbers of candidates make no sense."""
    if not 0 <= percent <= 100:
        raise ValueError(
            f"minCandidateNodesPercentage: Invalid value: {percent}: not in valid range [0, 100]"
        )
    if least < 0:
        raise ValueError(
            f"minCandidateNodesAbsolute: Invalid value: {least}: not in valid range [0, inf)"
        )
    if not percent and not least:
        raise ValueError(
            "minCandidateNodesPercentage and minCandidateNodesAbsolute: cannot both be zero"
        )


def ineligible(cycle: Cycle, fit: Fitting) -> str:
    """Return why the pod may not have others evicted; "" where it may."""
    pod, cache = cycle.pod, cycle.cache
    if get(pod.obj, "spec.preemptionPolicy") == "Never":
        return "not eligible due to preemptionPolicy=Never."
    nominated = cache.nominated.get(pod.uid)
    node = cache.nodes.get(nominated.node) if nominated is not None else None
    if node is None:
        return ""
    there = fit.rejected.get(node.name)
    if there is not None and there.rejection.final:
        return ""
    if any(preemption.terminating_by_preemption(one) for one in preemption.lesser(pod, node)):
        return "not eligible due to a terminating pod on the nominated node."
    return ""

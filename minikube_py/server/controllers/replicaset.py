"""Replica sets: so many pods of one template, no more and no fewer.

Replication controllers are the same with a simpler selector; `replicationcontroller` makes them
of the functions here.
"""

import functools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from minikube_py.api import selectors, times
from minikube_py.api.apps import REPLICASETS
from minikube_py.api.core import PODS
from minikube_py.api.errors import StatusError
from minikube_py.api.object import (
    Key,
    Obj,
    condition_of,
    controller_of,
    evolve,
    get,
    is_deleting,
    labels_of,
    uid_of,
)
from minikube_py.api.resource import Resource
from minikube_py.api.selectors import LabelSelector
from minikube_py.client.actions import Action, Create, Delete, update_status
from minikube_py.client.controller import Also, Context, Controller
from minikube_py.client.executor import is_terminating as is_namespace_terminating
from minikube_py.client.informer import Informer
from minikube_py.lib.clock import Clock
from minikube_py.lib.tasks import unhurried
from minikube_py.server.controllers.adoption import adopters, claim, index_orphans
from minikube_py.server.controllers.pod_facts import PodFacts, deletion_order, facts
from minikube_py.server.controllers.pods import new_pod
from minikube_py.server.controllers.status import same_status

BURST_MAX = 500
"""Upstream creates and deletes no more at a time; the next look does the rest."""


@dataclass(frozen=True)
class Observed:
    """What there is of a replica set."""

    pods: Sequence[PodFacts]
    """All its pods, finished and terminating ones too."""
    now: datetime
    on_node: Counter[str] = field(default_factory=Counter)
    """Active pods of the owner's replica sets by node; only deletions look at it."""

    @property
    def active(self) -> list[PodFacts]:
        """The pods that count."""
        return [pod for pod in self.pods if pod.active]


@dataclass(frozen=True)
class Variant:
    """A kind that works like replica sets."""

    resource: Resource
    selector_of: Callable[[Obj], LabelSelector]


async def reconcile(variant: Variant, key: Key, ctx: Context) -> float | None:
    """Bring one replica set closer to its spec."""
    rs, pods = ctx.lister(variant.resource).get(key), ctx.lister(PODS)
    if rs is None:
        return None
    claimed = claim(rs, variant.selector_of(rs), PODS, pods)
    await ctx.apply(claimed.actions)
    failure = None
    try:
        await ctx.apply(plan(rs, await observe(variant, rs, ctx)))
    except StatusError as error:
        failure = error
    seen = await observe(variant, rs, ctx)
    await ctx.apply(plan_status(variant.resource, rs, seen, failure))
    if failure is not None and not is_namespace_terminating(failure):
        raise failure
    return seconds_to_next(rs, seen)


async def observe(variant: Variant, rs: Obj, ctx: Context) -> Observed:
    """Return what the caches hold of a replica set, after its adoptions are written."""
    pods = ctx.lister(PODS)
    owned = claim(rs, variant.selector_of(rs), PODS, pods).owned
    observed = Observed(await unhurried(facts, owned, ctx.clock), ctx.now())
    if len(observed.active) <= rs["spec"]["replicas"]:
        return observed
    related = await related_pods(rs, ctx.lister(variant.resource), pods, ctx.clock)
    return replace(observed, on_node=related)


def plan(rs: Obj, observed: Observed) -> Iterator[Action]:
    """Decide which pods to create or to delete."""
    if is_deleting(rs):
        return
    active = observed.active
    missing = min(rs["spec"]["replicas"] - len(active), BURST_MAX)
    for _ in range(missing):
        yield Create(PODS, new_pod(rs, rs["spec"]["template"]), announce=rs)
    surplus = min(-missing, BURST_MAX)
    if surplus > 0:
        for pod in deletion_order(active, observed.on_node, observed.now)[:surplus]:
            yield Delete(PODS, pod.key, pod.uid, announce=rs)


def plan_status(
    resource: Resource, rs: Obj, observed: Observed, failure: StatusError | None
) -> Iterator[Action]:
    """Write the status where it differs from what is seen."""
    status = derive_status(rs, observed, failure)
    if not same_status(rs.get("status") or {}, status):
        yield update_status(resource, evolve(rs, "status", status))


def derive_status(rs: Obj, observed: Observed, failure: StatusError | None) -> dict[str, Any]:
    """Count the pods and say whether writing them failed."""
    active, seconds = observed.active, rs["spec"].get("minReadySeconds", 0)
    wanted = labels_of(rs["spec"]["template"]) if rs["spec"].get("template") else {}
    status: dict[str, Any] = {
        "replicas": len(active),
        "fullyLabeledReplicas": sum(wanted.items() <= pod.labels.items() for pod in active),
        "readyReplicas": sum(pod.ready for pod in active),
        "availableReplicas": sum(pod.is_available(seconds, observed.now) for pod in active),
        "observedGeneration": rs["metadata"].get("generation", 0),
        "conditions": _conditions(rs, len(active), failure, observed.now),
    }
    if rs["kind"] == REPLICASETS.kind:
        status["terminatingReplicas"] = sum(pod.terminating for pod in observed.pods)
    return status


def _conditions(rs: Obj, active: int, failure: StatusError | None, now: datetime) -> list[Obj]:
    others = [c for c in get(rs, "status.conditions", ()) if c["type"] != "ReplicaFailure"]
    if failure is None:
        return others
    known = condition_of(rs, "ReplicaFailure")
    if known is not None:
        return [*others, known]
    short = active < rs["spec"]["replicas"]
    return [
        *others,
        {
            "type": "ReplicaFailure",
            "status": "True",
            "lastTransitionTime": times.format_seconds(now),
            "reason": "FailedCreate" if short else "FailedDelete",
            "message": str(failure),
        },
    ]


def seconds_to_next(rs: Obj, observed: Observed) -> float | None:
    """Return when the next ready pod becomes available, None where none is waited for."""
    seconds = rs["spec"].get("minReadySeconds", 0)
    ready = (pod for pod in observed.active if pod.ready)
    waits = (pod.seconds_to_available(seconds, observed.now) for pod in ready)
    return min((wait for wait in waits if wait > 0), default=None)


async def related_pods(rs: Obj, sets: Informer, pods: Informer, clock: Clock) -> Counter[str]:
    """Count by node the active pods of all replica sets that have the same controller."""
    owner = get(controller_of(rs), "uid", "")
    related = [item.uid for item in sets.items_owned_by(owner)] if owner else [uid_of(rs)]
    items = (item for uid in related for item in pods.items_owned_by(uid))
    owned = await unhurried(facts, items, clock)
    return Counter(pod.node for pod in owned if pod.active and pod.controller in related)


def selector_of(rs: Obj) -> LabelSelector:
    """Return which pods a replica set means."""
    return selectors.from_object(rs["spec"].get("selector"))


def controller(variant: Variant, name: str) -> Controller:
    """Return the controller of replica sets, or of what works like them."""
    return Controller(
        name=name,
        watches=variant.resource,
        owns=(PODS,),
        also=(Also(PODS, adopters(variant.resource, variant.selector_of)),),
        reconcile=functools.partial(reconcile, variant),
        start=index_orphans(PODS),
    )


CONTROLLER = controller(Variant(REPLICASETS, selector_of), "replicaset-controller")

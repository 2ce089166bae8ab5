"""Daemon sets: one pod on every node that fits.

Each look settles the history first, because its newest hash labels the pods; then nodes get and
lose pods; then a rollout replaces as many old ones as may be replaced now.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from minikube_py.api import selectors
from minikube_py.api.apps import CONTROLLERREVISIONS, DAEMONSETS
from minikube_py.api.core import NODES, PODS
from minikube_py.api.errors import AlreadyExistsError, StatusError
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, evolve, get, is_deleting, uid_of
from minikube_py.api.selectors import LabelSelector
from minikube_py.client.actions import Action, update_status
from minikube_py.client.controller import Also, Context, Controller
from minikube_py.client.executor import is_terminating as is_namespace_terminating
from minikube_py.server.controllers.adoption import (
    adopters,
    claim,
    index_orphans,
    is_controlled_by,
)
from minikube_py.server.controllers.daemonset_pods import (
    View,
    by_node,
    fitter,
    node_facts,
    plan_pods,
)
from minikube_py.server.controllers.daemonset_revisions import (
    HASH_LABEL,
    current,
    hash_of,
    new_revision,
    plan_current,
    plan_history,
)
from minikube_py.server.controllers.daemonset_rollout import plan_rollout
from minikube_py.server.controllers.revision_data import data_of, same_data
from minikube_py.server.controllers.status import same_status

BACKOFF_SECONDS, BACKOFF_MAX_SECONDS = 1.0, 900.0
"""The first and the longest wait between two replacements of failed pods on one node."""


class Failure(NamedTuple):
    """When a failed pod was replaced on a node, and how long the next one waits."""

    seconds: float
    at: float


async def reconcile(key: Key, ctx: Context) -> float | None:
    """Bring one daemon set closer to its spec."""
    ds = ctx.lister(DAEMONSETS).get(key)
    if ds is None or is_deleting(ds):
        return None
    digest = await settle_history(ds, ctx)
    failure = None
    try:
        await step(observe(ds, digest, ctx), plan_pods, ctx)
        await step(observe(ds, digest, ctx), plan_rollout, ctx)
    except StatusError as error:
        failure = error
    view = observe(ds, digest, ctx)
    await ctx.apply(plan_status(view))
    if failure is not None and not is_namespace_terminating(failure):
        raise failure
    live = {pod.labels.get(HASH_LABEL, "") for pods in view.pods.values() for pod in pods}
    history = ctx.lister(CONTROLLERREVISIONS).controlled_by(ds)
    await ctx.apply(plan_history(ds, history, live))
    return seconds_to_next(view)


async def settle_history(ds: Obj, ctx: Context) -> str:
    """Make the revision of the current template where it is absent; return its hash."""
    revisions, selector = ctx.lister(CONTROLLERREVISIONS), selector_of(ds)
    await ctx.apply(claim(ds, selector, CONTROLLERREVISIONS, revisions).actions)
    await ctx.apply(claim(ds, selector, PODS, ctx.lister(PODS)).actions)
    try:
        await ctx.apply(plan_current(ds, revisions.controlled_by(ds)))
    except AlreadyExistsError:
        await settle_collision(ds, ctx)
        raise
    found = current(ds, revisions.controlled_by(ds))
    return hash_of(found) if found is not None else hash_of(new_revision(ds, 0))


async def settle_collision(ds: Obj, ctx: Context) -> None:
    """Choose another hash where the name is taken by something else than what was wanted."""
    metadata = new_revision(ds, 0)["metadata"]
    there = await ctx.client.get(CONTROLLERREVISIONS, metadata["name"], metadata["namespace"])
    if is_controlled_by(there, ds) and same_data(there, data_of(ds)):
        return  # the cache will show it
    count = get(ds, "status.collisionCount", 0) + 1
    await ctx.apply([update_status(DAEMONSETS, evolve(ds, "status.collisionCount", count))])


async def step(view: View, plan: Callable[[View], Iterable[Action]], ctx: Context) -> None:
    """Carry out a plan, and note on which nodes it replaces failed pods."""
    if plan is plan_pods:
        remember(failures_of(ctx), view)
    await ctx.apply(plan(view))


def observe(ds: Obj, digest: str, ctx: Context) -> View:
    """Return what the caches hold of a daemon set."""
    selector, fit = selector_of(ds), fitter(ds)
    owned = claim(ds, selector, PODS, ctx.lister(PODS)).owned
    nodes = {item.key.name: fit(node_facts(item)) for item in ctx.lister(NODES).items()}
    waits = waits_of(failures_of(ctx), uid_of(ds), ctx.now())
    return View(ds, digest, by_node(owned), nodes, ctx.now(), waits)


def failures_of(ctx: Context) -> dict[tuple[str, str], Failure]:
    """Return what is remembered of failed pods, by daemon set and node."""
    failures: dict[tuple[str, str], Failure] = ctx.memory.setdefault("failures", {})
    return failures


def waits_of(
    failures: Mapping[tuple[str, str], Failure], uid: str, now: datetime
) -> dict[str, float]:
    """Return how long each node of a daemon set still waits."""
    moment = now.timestamp()
    return {
        node: one.at + one.seconds - moment
        for (owner, node), one in failures.items()
        if owner == uid and one.at + one.seconds > moment
    }


def remember(failures: dict[tuple[str, str], Failure], view: View) -> None:
    """Double the wait of every node whose failed pod is replaced now; forget what is long past."""
    moment = view.now.timestamp()
    for key in [key for key, one in failures.items() if moment - one.at > 2 * BACKOFF_MAX_SECONDS]:
        del failures[key]
    for node, pods in view.pods.items():
        failed = any(pod.phase == "Failed" and not pod.deleting for pod in pods)
        fit = view.nodes.get(node)
        if not failed or node in view.waits or fit is None or not fit.stay:
            continue
        key = uid_of(view.ds), node
        before = failures.get(key)
        seconds = min(before.seconds * 2, BACKOFF_MAX_SECONDS) if before else BACKOFF_SECONDS
        failures[key] = Failure(seconds, moment)


def plan_status(view: View) -> Iterator[Action]:
    """Write the status where it differs from what is seen."""
    before = view.ds.get("status") or {}
    status = derive_status(view)
    if not same_status(before, status):
        yield update_status(DAEMONSETS, evolve(view.ds, "status", status))


def derive_status(view: View) -> dict[str, Any]:
    """Count the nodes; where one has several pods the oldest counts."""
    before: Obj = view.ds.get("status") or {}
    kept = {key: before[key] for key in ("collisionCount", "conditions") if key in before}
    wanted = view.wanted
    first = [view.pods[node][0] for node in wanted if view.pods.get(node)]
    available = sum(view.is_available(pod) for pod in first)
    astray = (not fit.run and bool(view.pods.get(node)) for node, fit in view.nodes.items())
    return {
        **kept,
        "observedGeneration": view.ds["metadata"].get("generation", 0),
        "desiredNumberScheduled": len(wanted),
        "currentNumberScheduled": len(first),
        "numberMisscheduled": sum(astray),
        "numberReady": sum(pod.ready for pod in first),
        "updatedNumberScheduled": sum(map(view.is_updated, first)),
        "numberAvailable": available,
        "numberUnavailable": len(wanted) - available,
    }


def seconds_to_next(view: View) -> float | None:
    """Return when time alone changes something: availability, or the end of a back-off."""
    seconds = view.ds["spec"].get("minReadySeconds", 0)
    ready = (pod for pods in view.pods.values() for pod in pods if pod.ready and pod.active)
    waits = [pod.seconds_to_available(seconds, view.now) for pod in ready]
    waits += (
        wait
        for node, wait in view.waits.items()
        if any(pod.phase == "Failed" and not pod.deleting for pod in view.pods.get(node, ()))
    )
    return min((wait for wait in waits if wait > 0), default=None)


def selector_of(ds: Obj) -> LabelSelector:
    """Return which pods and revisions a daemon set means."""
    return selectors.from_object(ds["spec"].get("selector"))


def of_node(old: Item | None, new: Item | None, ctx: Context) -> Iterator[Key]:
    """Look at all daemon sets when nodes come, go, or change what decides about pods."""
    if old is not None and new is not None and node_facts(old) == node_facts(new):
        return
    for item in ctx.lister(DAEMONSETS).items():
        yield item.key


CONTROLLER = Controller(
    name="daemonset-controller",
    user="daemon-set-controller",
    watches=DAEMONSETS,
    owns=(PODS, CONTROLLERREVISIONS),
    also=(
        Also(NODES, of_node),
        Also(PODS, adopters(DAEMONSETS, selector_of)),
        Also(CONTROLLERREVISIONS, adopters(DAEMONSETS, selector_of)),
    ),
    reconcile=reconcile,
    start=index_orphans(PODS, CONTROLLERREVISIONS),
)

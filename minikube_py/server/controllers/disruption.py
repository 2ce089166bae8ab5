"""Disruption budgets: how many of some pods may be evicted now.

Evictions take from `disruptionsAllowed` at the API server and note the pod in `disruptedPods`;
this loop counts again whenever a pod changes. A pod that was evicted and is still there after two
minutes counts again.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from minikube_py.api import intstr, selectors, times
from minikube_py.api.core import PODS
from minikube_py.api.errors import NotFoundError
from minikube_py.api.item import Item
from minikube_py.api.object import (
    Key,
    Obj,
    condition_of,
    evolve,
    get,
    is_deleting,
    key_of,
    uid_of,
)
from minikube_py.api.policy import PODDISRUPTIONBUDGETS
from minikube_py.api.selectors import LabelSelector
from minikube_py.client.actions import Action, Emit, Patch, update_status
from minikube_py.client.controller import Also, Context, Controller
from minikube_py.server.controllers.disruption_scale import (
    SCALED,
    Find,
    ScaleError,
    others,
    scale_of,
)
from minikube_py.server.controllers.pods import is_finished, is_ready
from minikube_py.server.controllers.status import same_status, with_condition

DELETION_SECONDS = 120.0
"""An evicted pod should be on its way out by then."""
STALE_SECONDS = 120.0
"""The condition of a pod that was to be disrupted and was not is taken back by then."""
ALLOWED, TARGET = "DisruptionAllowed", "DisruptionTarget"


class DisruptedPod(NamedTuple):
    """A pod that says it is about to be disrupted."""

    key: Key


@dataclass(frozen=True)
class Observed:
    """The pods that a budget selects."""

    pods: Sequence[Obj]
    now: datetime
    scales: Mapping[str, int | None] = field(default_factory=dict)
    """What controllers of other kinds want, by uid; None for those that are gone."""


class Counts(NamedTuple):
    """What a budget wants."""

    expected: int
    desired: int
    unmanaged: Sequence[str] = ()


async def reconcile(key: Key | DisruptedPod, ctx: Context) -> float | None:
    """Count for one budget, or see to one pod that was to be disrupted."""
    if isinstance(key, DisruptedPod):
        pod = ctx.lister(PODS).get(key.key)
        await ctx.apply(plan_stale(pod, ctx.now()))
        return seconds_to_stale(pod, ctx.now())
    pdb = ctx.lister(PODDISRUPTIONBUDGETS).get(key)
    if pdb is None or is_deleting(pdb):
        return None
    found = ctx.lister(PODS).select(key.namespace, selector_of(pdb))
    pods = [item.obj for item in found]
    scales = await ask(others(pods), key.namespace, ctx) if needs_scale(pdb) else {}
    observed = Observed(pods, ctx.now(), scales)
    await ctx.apply(plan(pdb, observed, _finder(ctx)))
    return seconds_to_expiry(pdb, observed)


def needs_scale(pdb: Obj) -> bool:
    """Tell whether a budget is about a part of all pods."""
    least, most = (get(pdb, f"spec.{key}") for key in ("minAvailable", "maxUnavailable"))
    return most is not None or isinstance(least, str)


async def ask(references: Mapping[str, Obj], namespace: str, ctx: Context) -> dict[str, int | None]:
    """Return what controllers of any kind say of their scale; those without one are left out."""
    found: dict[str, int | None] = {}
    for uid, reference in references.items():
        resource = ctx.everything.scheme.by_kind(reference["apiVersion"], reference["kind"])
        if resource is None or resource.subresource("scale") is None:
            continue
        try:
            scale = await ctx.client.read(resource.path(namespace, reference["name"], "scale"))
        except NotFoundError:
            found[uid] = None
        else:
            same = get(scale, "metadata.uid") == uid
            found[uid] = int(get(scale, "spec.replicas", 0)) if same else None
    return found


def _finder(ctx: Context) -> Find:
    def find(resource: Any, uid: str) -> Obj | None:
        item = ctx.lister(resource).with_uid(uid)
        return None if item is None else item.obj

    return find


def plan(pdb: Obj, observed: Observed, find: Find) -> Iterator[Action]:
    """Write the status where it differs, and tell of what keeps the budget from its work."""
    if not observed.pods:
        yield Emit(pdb, "Normal", "NoPods", "No matching pods found")
    try:
        counts = count(pdb, observed, find)
    except ScaleError as error:
        text = f"Failed to calculate the number of expected pods: {error}"
        yield Emit(pdb, "Warning", "CalculateExpectedPodCountFailed", text)
        status = failed_status(pdb, str(error), observed.now)
    else:
        yield from _warnings(pdb, observed, counts)
        status = derive_status(pdb, observed, counts)
    if not same_status(pdb.get("status") or {}, status):
        yield update_status(PODDISRUPTIONBUDGETS, evolve(pdb, "status", status))


def count(pdb: Obj, observed: Observed, find: Find) -> Counts:
    """Return how many pods there should be and how many of them healthy.

    Raises ScaleError where a number has to be asked of a controller that has none.
    """
    least, most = (get(pdb, f"spec.{key}") for key in ("minAvailable", "maxUnavailable"))
    if most is None and least is None:
        return Counts(0, 0)
    if most is None and isinstance(least, int):
        return Counts(len(observed.pods), least)
    scale = scale_of(observed.pods, find, observed.scales)
    if most is not None:
        desired = max(scale.expected - intstr.scaled(most, scale.expected, round_up=True), 0)
    else:
        desired = intstr.scaled(least, scale.expected, round_up=True)
    return Counts(scale.expected, desired, scale.unmanaged)


def derive_status(pdb: Obj, observed: Observed, counts: Counts) -> dict[str, Any]:
    """Return the status: what is healthy beyond what has to be may go."""
    disrupted = still_expected(pdb, observed)
    healthy = sum(
        is_ready(pod) and not is_deleting(pod) and pod["metadata"]["name"] not in disrupted
        for pod in observed.pods
    )
    allowed = max(healthy - counts.desired, 0) if counts.expected else 0
    reason = "SufficientPods" if allowed else "InsufficientPods"
    status: dict[str, Any] = {
        "currentHealthy": healthy,
        "desiredHealthy": counts.desired,
        "expectedPods": counts.expected,
        "disruptionsAllowed": allowed,
        "observedGeneration": pdb["metadata"].get("generation", 0),
        "conditions": _conditions(pdb, reason, "", observed.now),
    }
    return {**status, "disruptedPods": disrupted} if disrupted else status


def failed_status(pdb: Obj, message: str, now: datetime) -> dict[str, Any]:
    """Return the status that allows nothing, because nothing is known."""
    conditions = _conditions(pdb, "SyncFailed", message, now)
    return {**(pdb.get("status") or {}), "disruptionsAllowed": 0, "conditions": conditions}


def _conditions(pdb: Obj, reason: str, message: str, now: datetime) -> Sequence[Obj]:
    new = {
        "type": ALLOWED,
        "status": "True" if reason == "SufficientPods" else "False",
        "reason": reason,
        "message": message,
        "observedGeneration": pdb["metadata"].get("generation", 0),
    }
    return with_condition(get(pdb, "status.conditions", ()), new, now)


def still_expected(pdb: Obj, observed: Observed) -> Mapping[str, str]:
    """Return the evicted pods that are there and whose time to go is not over."""
    noted: Mapping[str, str] = get(pdb, "status.disruptedPods", {})
    there = {pod["metadata"]["name"] for pod in observed.pods if not is_deleting(pod)}
    return {
        name: moment
        for name, moment in noted.items()
        if name in there and _left(moment, DELETION_SECONDS, observed.now) > 0
    }


def _left(moment: str, seconds: float, now: datetime) -> float:
    return seconds - (now - times.parse(moment)).total_seconds()


def _warnings(pdb: Obj, observed: Observed, counts: Counts) -> Iterator[Action]:
    expected = still_expected(pdb, observed)
    noted = get(pdb, "status.disruptedPods", {})
    name = f"{pdb['metadata']['namespace']}/{pdb['metadata']['name']}"
    for pod in observed.pods:
        own = pod["metadata"]["name"]
        if own in noted and own not in expected and not is_deleting(pod):
            text = f"Pod was expected by PDB {name} to be deleted but it wasn't"
            yield Emit(pod, "Warning", "NotDeleted", text)
    if counts.unmanaged:
        yield Emit(
            pdb,
            "Warning",
            "UnmanagedPods",
            "Pods selected by this PodDisruptionBudget (selector: "
            f"{selectors.shown(get(pdb, 'spec.selector'))}) were found to be unmanaged. As a "
            "result, the status of the PDB cannot be calculated correctly, which may result in "
            'undefined behavior. To account for these pods please set ".spec.minAvailable" field '
            "of the PDB to an integer value.",
        )


def seconds_to_expiry(pdb: Obj, observed: Observed) -> float | None:
    """Return when the next evicted pod that stays counts again, None where none is waited for."""
    moments = still_expected(pdb, observed).values()
    return min((_left(one, DELETION_SECONDS, observed.now) for one in moments), default=None)


def seconds_to_stale(pod: Obj | None, now: datetime) -> float | None:
    """Return when the condition of a pod that does not go is taken back; None where it stays."""
    target = None if pod is None else condition_of(pod, TARGET)
    if pod is None or target is None or is_deleting(pod) or is_finished(pod):
        return None
    if target.get("status") != "True" or target.get("reason") == "TerminationByKubelet":
        return None
    return max(_left(target["lastTransitionTime"], STALE_SECONDS, now), 0.0)


def plan_stale(pod: Obj | None, now: datetime) -> Iterator[Action]:
    """Take back the condition of a pod that was to be disrupted and was not."""
    if pod is None or seconds_to_stale(pod, now) != 0.0:
        return
    new = {"type": TARGET, "status": "False"}
    conditions = with_condition(get(pod, "status.conditions", ()), new, now)
    metadata = {"uid": uid_of(pod), "resourceVersion": pod["metadata"]["resourceVersion"]}
    patch = {"metadata": metadata, "status": {"conditions": conditions}}
    yield Patch(PODS, key_of(pod), patch, subresource="status", missing_ok=True)


def selector_of(pdb: Obj) -> LabelSelector:
    """Return which pods a budget means: all where its selector is empty, none where it has none."""
    return selectors.from_object(get(pdb, "spec.selector"))


def of_pod(old: Item | None, new: Item | None, ctx: Context) -> Iterator[Key | DisruptedPod]:
    """Look at the budgets that select a pod or did so, and at a pod that is to be disrupted."""
    items = [item for item in (old, new) if item is not None]
    for pdb in ctx.lister(PODDISRUPTIONBUDGETS).items(items[0].key.namespace):
        if any(selector_of(pdb.obj).matches(item.labels) for item in items):
            yield pdb.key
    if new is not None and b'"DisruptionTarget"' in new.data:
        yield DisruptedPod(new.key)


def of_scaled(old: Item | None, new: Item | None, ctx: Context) -> Iterator[Key]:
    """Look at the budgets of a namespace when a controller of pods in it has another scale."""
    item = new or old
    budgets = list(ctx.lister(PODDISRUPTIONBUDGETS).items(item.key.namespace)) if item else []
    if not budgets or _replicas(old) == _replicas(new):
        return
    for pdb in budgets:
        yield pdb.key


def _replicas(item: Item | None) -> int | None:
    return None if item is None else int(item.obj["spec"].get("replicas", 1))


CONTROLLER = Controller(
    name="disruption-controller",
    watches=PODDISRUPTIONBUDGETS,
    also=(Also(PODS, of_pod), *(Also(resource, of_scaled) for resource in SCALED)),
    reconcile=reconcile,
)

"""Horizontal pod autoscalers: the number of replicas follows metrics.

Every autoscaler is looked at when it is made or changed, and then once in a sync period; without
any, nothing happens. A look reads the scale of the target and the metrics, decides purely
(`decide`), writes the scale where it is to change, and then the status. What was recommended and
done lately is remembered between looks and forgotten with the autoscaler.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from minikube_py.api import quantity, selectors, times
from minikube_py.api.autoscaling import HORIZONTALPODAUTOSCALERS
from minikube_py.api.core import PODS
from minikube_py.api.errors import ConflictError, StatusError
from minikube_py.api.object import Key, Obj, evolve, get, is_deleting
from minikube_py.api.resource import Resource
from minikube_py.api.scheme import Scheme
from minikube_py.client.actions import Action, Emit, update_status
from minikube_py.client.controller import Context, Controller
from minikube_py.lib.tallies import Metric
from minikube_py.lib.tasks import together
from minikube_py.server.controllers.horizontalpodautoscaler_behavior import (
    MESSAGES,
    History,
    Moment,
    Range,
    step,
)
from minikube_py.server.controllers.horizontalpodautoscaler_metrics import MetricsReader
from minikube_py.server.controllers.horizontalpodautoscaler_proposals import (
    Proposed,
    Reading,
    highest,
    propose,
    read,
)
from minikube_py.server.controllers.horizontalpodautoscaler_replicas import Target, Tolerances
from minikube_py.server.controllers.status import condition, same_status, with_condition

TOLERANCE = 0.1
TRIES = 5
"""How often a scale that somebody else is changing is tried."""
ABLE, ACTIVE, LIMITED = "AbleToScale", "ScalingActive", "ScalingLimited"
GOT_SCALE = "the HPA controller was able to get the target's current scale"


class FailedError(Exception):
    """The target cannot be scaled; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What a look saw."""

    scale: Obj
    """Of the target."""
    pods: Sequence[Obj] = ()
    readings: Sequence[Reading] = ()
    refusal: "Refusal | None" = None
    """Why the metrics were not read."""
    history: History = History()
    now: datetime

    @property
    def replicas(self) -> int:
        """How many replicas are wanted now."""
        return int(get(self.scale, "spec.replicas", 0))


Ended = tuple[str, str]
"""What a look did (scale_up, scale_down, none), and the error (spec, internal, none)."""
_LABELS = (
    "The label 'action' should be either 'scale_down', 'scale_up', or 'none'. Also, the label "
    "'error' should be either 'spec', 'internal', or 'none'. Note that if both spec and internal "
    "errors happen during a reconciliation, the first one to occur is reported in `error` label."
)
RECONCILIATIONS = Metric(
    "horizontal_pod_autoscaler_controller_reconciliations_total",
    f"Number of reconciliations of HPA controller. {_LABELS}",
    ("action", "error"),
)
SECONDS = Metric(
    "horizontal_pod_autoscaler_controller_reconciliation_duration_seconds",
    f"The time(in seconds) that the HPA controller takes to reconcile once. {_LABELS}",
    ("action", "error"),
    tuple(0.001 * 2**n for n in range(15)),
)


class Refusal(NamedTuple):
    """What is wrong with the selector of the target."""

    event: str
    reason: str
    text: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What comes of a look."""

    replicas: int
    """Wanted from now on; the present number where nothing changes."""
    why: str = ""
    conditions: Sequence[Mapping[str, Any]] = ()
    statuses: Sequence[Mapping[str, Any]] | None = None
    events: Sequence[tuple[str, str]] = ()
    """(reason, message) of warnings."""
    history: History = History()
    failed: bool = False


@dataclass
class Memory:
    """What is remembered of one autoscaler between looks."""

    uid: str
    spec: Obj = field(default_factory=dict)
    due: float = 0.0
    history: History = History()
    selector: str = ""


async def reconcile(key: Key, ctx: Context) -> float | None:
    """Look at one autoscaler, where it is time."""
    hpa = ctx.lister(HORIZONTALPODAUTOSCALERS).get(key)
    if hpa is None or is_deleting(hpa):
        ctx.memory.pop(key, None)
        return None
    uid = hpa["metadata"]["uid"]
    memory: Memory = ctx.memory.get(key) or Memory(uid)
    if memory.uid != uid:
        memory = Memory(uid)
    ctx.memory[key] = memory
    now = ctx.clock.monotonic()
    if now < memory.due and memory.spec == hpa["spec"]:
        return memory.due - now  # our own status came back
    ended = await _look(hpa, memory, ctx)
    ctx.tallies.count(RECONCILIATIONS, *ended)
    ctx.tallies.observe(SECONDS, ctx.clock.monotonic() - now, *ended)
    period = ctx.settings.autoscaler_sync_seconds
    memory.spec, memory.due = hpa["spec"], now + period
    return period


async def _look(hpa: Obj, memory: Memory, ctx: Context) -> Ended:
    try:
        resource, scale = await read_scale(hpa, ctx)
    except FailedError as error:
        await ctx.apply(plan_without_scale(hpa, str(error), ctx.now()))
        return "none", "internal"
    memory.selector = str(get(scale, "status.selector", ""))
    observed = await observe(hpa, scale, memory, ctx)
    decision = decide(hpa, observed)
    memory.history = decision.history
    trouble = ""
    if decision.replicas != observed.replicas:
        trouble = await rescale(resource, scale, decision.replicas, ctx)
        if not trouble:
            behavior = get(hpa, "spec.behavior")
            now = observed.now.timestamp()
            memory.history = decision.history.with_step(
                now, observed.replicas, decision.replicas, behavior
            )
    await ctx.apply(plan(hpa, observed, decision, trouble))
    return ended_by(observed, decision, trouble)


def ended_by(observed: Observed, decision: Decision, trouble: str) -> Ended:
    """Return how a look is counted: what was done, and whose mistake kept it from being done."""
    if observed.refusal is not None:
        return "none", "spec"
    if trouble or decision.failed or decision.replicas == observed.replicas:
        return "none", "internal" if trouble or decision.failed else "none"
    return "scale_up" if decision.replicas > observed.replicas else "scale_down", "none"


async def read_scale(hpa: Obj, ctx: Context) -> tuple[Resource, Obj]:
    """Return the resource of the target and its scale; raises FailedError."""
    target, namespace = hpa["spec"]["scaleTargetRef"], hpa["metadata"]["namespace"]
    first = ""
    for resource in resources_of(target, ctx.everything.scheme):
        try:
            path = resource.path(namespace, target["name"], "scale")
            return resource, await ctx.client.read(path)
        except StatusError as error:
            first = first or str(error)
    if first:
        raise FailedError(first)
    group = target.get("apiVersion", "").rpartition("/")[0]
    where = f' in group "{group}"' if group else ' in version ""'
    raise FailedError(f'no matches for kind "{target["kind"]}"{where}')


def resources_of(target: Obj, scheme: Scheme) -> Iterator[Resource]:
    """Yield the resources of a target's kind, the version that it names first."""
    api_version = target.get("apiVersion", "")
    group = api_version.rpartition("/")[0]
    same = [r for r in scheme if (r.group, r.kind) == (group, target["kind"]) and r.served]
    yield from sorted(same, key=lambda resource: resource.api_version != api_version)


async def observe(hpa: Obj, scale: Obj, memory: Memory, ctx: Context) -> Observed:
    """Read what a decision needs; metrics only where they count."""
    now = ctx.now()
    history = memory.history
    current = int(get(scale, "spec.replicas", 0))
    if not history.recommended:
        history = History((Moment(now.timestamp(), current),))
    seen = Observed(scale=scale, history=history, now=now)
    if forced(hpa, current) is not None:
        return seen
    try:
        selector = selectors.parse(memory.selector)
    except ValueError as error:
        text = f"couldn't convert selector into a corresponding internal selector object: {error}"
        refusal = Refusal("InvalidSelector", "InvalidSelector", text, text)
        return Observed(scale=scale, history=history, now=now, refusal=refusal)
    namespace = hpa["metadata"]["namespace"]
    pods = [item.obj for item in ctx.lister(PODS).select(namespace, selector)]
    refusal_or_none = refuse(hpa, memory.selector, pods, ctx)
    if refusal_or_none is not None:
        return Observed(scale=scale, history=history, now=now, refusal=refusal_or_none)
    reader = MetricsReader(ctx.client, ctx.everything.scheme, namespace)
    specs = get(hpa, "spec.metrics") or ()
    outcomes = await together(read(spec, reader, memory.selector) for spec in specs)
    readings = [
        one if isinstance(one, Reading) else Reading(spec, error=str(one))
        for spec, one in zip(specs, outcomes, strict=True)
    ]
    return Observed(scale=scale, pods=pods, readings=readings, history=history, now=now)


def refuse(hpa: Obj, selector: str, pods: Sequence[Obj], ctx: Context) -> Refusal | None:
    """Return why the pods of a target cannot be this autoscaler's."""
    if not selector:
        missing = "the HPA target's scale is missing a selector"
        return Refusal("SelectorRequired", "InvalidSelector", "selector is required", missing)
    namespace, name = hpa["metadata"]["namespace"], hpa["metadata"]["name"]
    labels = [pod["metadata"].get("labels") or {} for pod in pods]
    rivals = [
        key
        for key, memory in ctx.memory.items()
        if key.namespace == namespace and (key.name == name or _selects(memory.selector, labels))
    ]
    if not pods or len(rivals) < 2:
        return None
    shown = " ".join(f"{{{key.name} {key.namespace}}}" for key in sorted(rivals))
    text = f"pods by selector {selector} are controlled by multiple HPAs: [{shown}]"
    return Refusal("AmbiguousSelector", "AmbiguousSelector", text, text)


def _selects(selector: str, labels: Sequence[Mapping[str, str]]) -> bool:
    try:
        parsed = selectors.parse(selector)
    except ValueError:
        return False
    return bool(selector) and any(parsed.matches(one) for one in labels)


async def rescale(resource: Resource, scale: Obj, replicas: int, ctx: Context) -> str:
    """Write the scale; return what went wrong, "" for nothing."""
    metadata = scale["metadata"]
    path = resource.path(metadata.get("namespace", ""), metadata["name"], "scale")
    for _ in range(TRIES - 1):
        wanted = evolve(scale, "spec.replicas", replicas)
        try:
            await ctx.client.update(resource, wanted, subresource="scale")
        except ConflictError:
            try:
                scale = await ctx.client.read(path)
            except StatusError as error:
                return str(error)
        except StatusError as error:
            return str(error)
        else:
            return ""
    return "the scale of the target changes all the time"


# --- what is decided ------------------------------------------------------------------------------


def forced(hpa: Obj, current: int) -> tuple[int, str] | None:
    """Return the number that the spec alone demands, and why; None where metrics decide."""
    least, most = bounds(hpa)
    if current == 0 and least != 0:
        return 0, ""
    if current > most:
        return most, "Current number of replicas above Spec.MaxReplicas"
    if current < least:
        return least, "Current number of replicas below Spec.MinReplicas"
    return None


def bounds(hpa: Obj) -> tuple[int, int]:
    """Return the lowest and the highest number of replicas."""
    return int(get(hpa, "spec.minReplicas", 1)), int(hpa["spec"]["maxReplicas"])


def tolerances(hpa: Obj) -> Tolerances:
    """Return how far metrics may be from their targets before anything changes."""

    def of(direction: str) -> float:
        text = get(hpa, f"spec.behavior.{direction}.tolerance")
        return TOLERANCE if text is None else quantity.parse(str(text)).nanos / 1e9

    return Tolerances(down=of("scaleDown"), up=of("scaleUp"))


def decide(hpa: Obj, observed: Observed) -> Decision:
    """Decide how many replicas there are to be: pure."""
    current = observed.replicas
    able = condition(ABLE, "True", "SucceededGetScale", GOT_SCALE)
    demanded = forced(hpa, current)
    if demanded is not None:
        replicas, why = demanded
        disabled = condition(
            ACTIVE,
            "False",
            "ScalingDisabled",
            "scaling is disabled since the replica count of the target is zero",
        )
        return Decision(
            replicas=replicas,
            why=why,
            conditions=(able,) if why else (able, disabled),
            statuses=[],
            history=observed.history,
        )
    if observed.refusal is not None:
        return _refused(observed, observed.refusal, able)
    return _by_metrics(hpa, observed, able)


def _refused(observed: Observed, refusal: Refusal, able: Mapping[str, Any]) -> Decision:
    return Decision(
        replicas=observed.replicas,
        conditions=(able, condition(ACTIVE, "False", refusal.reason, refusal.message)),
        events=(
            (refusal.event, refusal.text),
            ("FailedComputeMetricsReplicas", refusal.text),
        ),
        history=observed.history,
        failed=True,
    )


def _by_metrics(hpa: Obj, observed: Observed, able: Mapping[str, Any]) -> Decision:
    current = observed.replicas
    target = Target(
        replicas=current,
        status_replicas=int(get(observed.scale, "status.replicas", 0)),
        pods=observed.pods,
        tolerances=tolerances(hpa),
        now=observed.now.timestamp(),
    )
    best = highest([propose(reading, target) for reading in observed.readings], current)
    events = [(one.reason, one.error) for one in best.failures]
    if best.failed:
        first = best.failures[0] if best.failures else Proposed()
        text = f"the HPA was unable to compute the replica count: {first.error}"
        return Decision(
            replicas=current,
            conditions=(able, condition(ACTIVE, "False", first.reason, text)),
            statuses=best.statuses,
            events=(*events, ("FailedComputeMetricsReplicas", best.summary())),
            history=observed.history,
            failed=True,
        )
    why = ""
    if best.replicas > current:
        why = f"{best.name} above target"
    elif best.replicas < current:
        why = "All metrics below target"
    least, most = bounds(hpa)
    made = step(
        best.replicas,
        Range(current, least, most),
        get(hpa, "spec.behavior"),
        observed.history,
        observed.now.timestamp(),
    )
    found = f"the HPA was able to successfully calculate a replica count from {best.name}"
    return Decision(
        replicas=made.replicas,
        why=why,
        conditions=(
            condition(ABLE, "True", made.stabilized, MESSAGES[made.stabilized]),
            condition(ACTIVE, "True", "ValidMetricFound", found),
            condition(LIMITED, "True" if made.limited else "False", made.limit,
                      MESSAGES[made.limit]),
        ),
        statuses=best.statuses,
        events=events,
        history=made.history,
    )  # fmt: skip


# --- what is written ------------------------------------------------------------------------------


def plan(hpa: Obj, observed: Observed, decision: Decision, error: str) -> Iterator[Action]:
    """Tell what was done and write the status; `error` says why the scale was not written."""
    for reason, message in decision.events:
        yield Emit(hpa, "Warning", reason, message)
    conditions = list(decision.conditions)
    rescaled = decision.replicas != observed.replicas
    if rescaled and error:
        text = f"New size: {decision.replicas}; reason: {decision.why}; error: {error}"
        yield Emit(hpa, "Warning", "FailedRescale", text)
        message = f"the HPA controller was unable to update the target scale: {error}"
        conditions.append(condition(ABLE, "False", "FailedUpdateScale", message))
    elif rescaled:
        message = f"the HPA controller was able to update the target scale to {decision.replicas}"
        conditions.append(condition(ABLE, "True", "SucceededRescale", message))
        text = f"New size: {decision.replicas}; reason: {decision.why}"
        yield Emit(hpa, "Normal", "SuccessfulRescale", text)
    status = derive_status(hpa, observed, decision, conditions, written=not error)
    if not same_status(hpa.get("status") or {}, status):
        yield update_status(HORIZONTALPODAUTOSCALERS, evolve(hpa, "status", status))


def derive_status(
    hpa: Obj,
    observed: Observed,
    decision: Decision,
    conditions: Sequence[Mapping[str, Any]],
    *,
    written: bool,
) -> dict[str, Any]:
    """Return the status after a look."""
    desired = decision.replicas
    if decision.failed or not written:
        desired = int(get(hpa, "status.desiredReplicas", 0))
    status: dict[str, Any] = {
        "currentReplicas": observed.replicas,
        "desiredReplicas": desired,
        "currentMetrics": [dict(one) for one in decision.statuses or ()] or None,
        "conditions": _conditions(hpa, conditions, observed.now),
    }
    last = get(hpa, "status.lastScaleTime")
    if written and decision.replicas != observed.replicas:
        last = times.format_seconds(observed.now)
    return {**status, "lastScaleTime": last} if last else status


def plan_without_scale(hpa: Obj, error: str, now: datetime) -> Iterator[Action]:
    """Tell that the target has no scale that could be read."""
    yield Emit(hpa, "Warning", "FailedGetScale", error)
    text = f"the HPA controller was unable to get the target's current scale: {error}"
    made = _conditions(hpa, [condition(ABLE, "False", "FailedGetScale", text)], now)
    status = {**(hpa.get("status") or {}), "conditions": made}
    if not same_status(hpa.get("status") or {}, status):
        yield update_status(HORIZONTALPODAUTOSCALERS, evolve(hpa, "status", status))


def _conditions(
    hpa: Obj, changes: Sequence[Mapping[str, Any]], now: datetime
) -> Sequence[Mapping[str, Any]]:
    made: Sequence[Mapping[str, Any]] = get(hpa, "status.conditions") or ()
    for change in changes:
        made = with_condition(made, change, now)
    return made


CONTROLLER = Controller(
    name="horizontal-pod-autoscaler",
    watches=HORIZONTALPODAUTOSCALERS,
    reads=(PODS,),
    reconcile=reconcile,
)

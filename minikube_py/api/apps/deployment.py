"""Deployments: replica sets that replace each other at a measured pace."""

from collections.abc import Iterator, Sequence
from typing import Any

from minikube_py.api import intstr, selectors, strategy
from minikube_py.api.apps import workload
from minikube_py.api.apps.workload import SPEC, STATUS
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, get
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource, Subresource
from minikube_py.api.strategy import changed, with_absent, with_empty

ROLLING = "RollingUpdate"
RECREATE = "Recreate"
_SPEC = {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600}
_ROLLING = {"maxUnavailable": "25%", "maxSurge": "25%"}
_COUNTS = (
    "observedGeneration",
    "replicas",
    "updatedReplicas",
    "readyReplicas",
    "availableReplicas",
    "unavailableReplicas",
)


def default(deployment: Obj) -> Obj:
    """Fill in what the user left out."""
    deployment = with_absent(deployment, {"spec": {}, "status": {}})
    deployment = changed(deployment, "spec", _default_spec)
    return changed(deployment, "status", lambda status: strategy.without_empty(status, *_COUNTS))


def _default_spec(spec: Obj) -> Obj:
    spec = workload.default_template(with_absent(spec, {**_SPEC, "strategy": {}}))
    return changed(spec, "strategy", _default_strategy)


def _default_strategy(update: Obj) -> Obj:
    update = with_empty(update, {"type": ROLLING})
    if update["type"] != ROLLING:
        return update
    update = with_absent(update, {"rollingUpdate": {}})
    return changed(update, "rollingUpdate", lambda rolling: with_absent(rolling, _ROLLING))


def validate(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated deployment."""
    spec = new["spec"]
    yield from strategy.non_negative(spec, SPEC, "replicas")
    yield from workload.validate_selector(spec.get("selector"), "deployment")
    yield from workload.validate_template_labels(spec, detail="invalid label selector")
    if workload.compiles(spec.get("selector")):
        yield from workload.validate_template(spec, "ReplicaSet")
    yield from _validate_strategy(spec["strategy"], SPEC / "strategy")
    yield from strategy.non_negative(spec, SPEC, "minReadySeconds", "revisionHistoryLimit")
    yield from _validate_deadline(spec)
    if old is not None:
        yield from workload.validate_selector_kept(new, old)


def _validate_deadline(spec: Obj) -> Iterator[FieldError]:
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is None:
        return
    yield from strategy.non_negative(spec, SPEC, "progressDeadlineSeconds")
    if deadline <= (spec.get("minReadySeconds") or 0):
        yield (SPEC / "progressDeadlineSeconds").invalid(
            deadline, "must be greater than minReadySeconds"
        )


def _validate_strategy(update: Obj, field: Field) -> Iterator[FieldError]:
    rolling = update.get("rollingUpdate")
    if update["type"] == RECREATE:
        if rolling is not None:
            yield (field / "rollingUpdate").forbidden(
                f"may not be specified when strategy `type` is '{RECREATE}'"
            )
    elif update["type"] == ROLLING:
        yield from _validate_rolling(rolling or {}, field / "rollingUpdate")
    else:
        shown = {"Type": update["type"], "RollingUpdate": rolling}
        yield field.unsupported(shown, (RECREATE, ROLLING))


def _validate_rolling(rolling: Obj, field: Field) -> Iterator[FieldError]:
    unavailable, surge = rolling["maxUnavailable"], rolling["maxSurge"]
    yield from intstr.validate_positive(unavailable, field / "maxUnavailable")
    yield from intstr.validate_positive(surge, field / "maxSurge")
    if workload.int_or_percent(unavailable) == 0 and workload.int_or_percent(surge) == 0:
        yield (field / "maxUnavailable").invalid(unavailable, "may not be 0 when `maxSurge` is 0")
    yield from intstr.validate_percent_max(unavailable, field / "maxUnavailable")


def validate_status(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with an updated status."""
    status: Obj = new.get("status") or {}
    yield from strategy.non_negative(status, STATUS, *_COUNTS, "collisionCount")
    yield from workload.validate_not_above(
        status,
        "replicas",
        ("updatedReplicas", "readyReplicas", "availableReplicas"),
        "cannot be greater than status.replicas",
    )
    yield from workload.validate_not_above(
        status, "readyReplicas", ("availableReplicas",), "cannot be greater than readyReplicas"
    )
    yield from workload.validate_collision_count(new, old or {})


def cells(deployment: Obj) -> Sequence[Any]:
    """Return the cells of a deployment's row."""
    spec: Obj = deployment["spec"]
    status: Obj = deployment.get("status") or {}
    names, images = workload.template_cells(spec)
    return (
        deployment["metadata"]["name"],
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        Age(get(deployment, "metadata.creationTimestamp")),
        names,
        images,
        selectors.format_object(spec.get("selector")),
    )


DEPLOYMENTS = Resource(
    group="apps",
    kind="Deployment",
    plural="deployments",
    short_names=("deploy",),
    categories=("all",),
    schema="io.k8s.api.apps.v1.Deployment",
    subresources=(
        Subresource(name="scale", kind="Scale", group="autoscaling", version="v1"),
        Subresource(
            name="status",
            shares_object=True,
            prepare_for_update=strategy.updating_status("spec", metadata=("labels",)),
            validate=validate_status,
        ),
    ),
    columns=(
        NAME,
        Column("Ready"),
        Column("Up-to-date"),
        Column("Available"),
        AGE,
        Column("Containers", priority=1),
        Column("Images", priority=1),
        Column("Selector", priority=1),
    ),
    cells=cells,
    default=default,
    prepare_for_create=strategy.creating({}),
    prepare_for_update=strategy.updating("spec", "metadata.annotations"),
    validate=validate,
    warn=workload.warn,
)

"""Daemon sets: one pod on every node that fits."""

from collections.abc import Iterator, Sequence
from typing import Any

from minikube_py.api import intstr, printing, selectors, strategy
from minikube_py.api.apps import workload
from minikube_py.api.apps.workload import SPEC, STATUS
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, annotations_of, evolve, get
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource, Subresource
from minikube_py.api.strategy import changed, with_absent, with_empty

ROLLING = "RollingUpdate"
ON_DELETE = "OnDelete"
TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
"""Annotation that counts the changes of the template; upstream keeps it for old clients."""
_ROLLING = {"maxUnavailable": 1, "maxSurge": 0}
EMPTY_STATUS = {
    "currentNumberScheduled": 0,
    "numberMisscheduled": 0,
    "desiredNumberScheduled": 0,
    "numberReady": 0,
}
_COUNTS = (
    "observedGeneration",
    "updatedNumberScheduled",
    "numberAvailable",
    "numberUnavailable",
)


def default(ds: Obj) -> Obj:
    """Fill in what the user left out."""
    ds = with_absent(ds, {"spec": {}, "status": EMPTY_STATUS})
    if TEMPLATE_GENERATION not in annotations_of(ds):  # upstream keeps the count in a field
        ds = _with_template_generation(ds, 0)
    ds = changed(ds, "spec", _default_spec)
    return changed(ds, "status", _default_status)


def _default_spec(spec: Obj) -> Obj:
    spec = with_absent(spec, {"revisionHistoryLimit": 10, "updateStrategy": {}})
    return changed(workload.default_template(spec), "updateStrategy", _default_strategy)


def _default_strategy(update: Obj) -> Obj:
    update = with_empty(update, {"type": ROLLING})
    if update["type"] != ROLLING:
        return update
    update = with_absent(update, {"rollingUpdate": {}})
    return changed(update, "rollingUpdate", lambda rolling: with_absent(rolling, _ROLLING))


def _default_status(status: Obj) -> Obj:
    return with_absent(strategy.without_empty(status, *_COUNTS), EMPTY_STATUS)


def template_generation(ds: Obj) -> int:
    """Return how often the template changed, 0 where the annotation says nothing."""
    text = annotations_of(ds).get(TEMPLATE_GENERATION, "")
    return int(text) if text.isascii() and text.isdigit() else 0


def _with_template_generation(ds: Obj, count: int) -> Obj:
    return evolve(ds, ("metadata", "annotations", TEMPLATE_GENERATION), str(count))


def prepare_for_create(ds: Obj) -> Obj:
    """Start the counts of changes."""
    ds = strategy.creating(EMPTY_STATUS)(ds)
    return _with_template_generation(ds, max(template_generation(ds), 1))


def prepare_for_update(new: Obj, old: Obj) -> Obj:
    """Keep the status, count changes of the spec and those of the template apart."""
    new = strategy.updating("spec")(new, old)
    count = template_generation(old)
    if new["spec"].get("template") != old["spec"].get("template"):
        count += 1
    return _with_template_generation(new, count)


def prepare_status(new: Obj, old: Obj) -> Obj:
    """Keep the spec, of which upstream counts the number of templates as a part."""
    new = strategy.updating_status("spec")(new, old)
    return _with_template_generation(new, template_generation(old))


def validate(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated daemon set."""
    spec = new["spec"]
    if old is not None:
        yield from workload.validate_selector_kept(new, old)
    yield from selectors.validate(spec.get("selector"), SPEC / "selector")
    if workload.compiles(spec.get("selector")):
        yield from workload.validate_template_labels(spec, even_empty=True)
    if spec.get("selector") is not None and not any(spec["selector"].values()):
        yield (SPEC / "selector").invalid({}, "empty selector is invalid for daemonset")
    yield from workload.validate_template(spec, "DaemonSet")
    yield from strategy.non_negative(spec, SPEC, "minReadySeconds")
    yield from _validate_strategy(spec["updateStrategy"], SPEC / "updateStrategy")
    yield from strategy.non_negative(spec, SPEC, "revisionHistoryLimit")


def _validate_strategy(update: Obj, field: Field) -> Iterator[FieldError]:
    if update["type"] == ON_DELETE:
        return
    rolling = update.get("rollingUpdate")
    if update["type"] != ROLLING:
        shown = {"Type": update["type"], "RollingUpdate": rolling}
        yield field.unsupported(shown, (ROLLING, ON_DELETE))
        return
    yield from _validate_rolling(rolling or {}, field / "rollingUpdate")


def _validate_rolling(rolling: Obj, field: Field) -> Iterator[FieldError]:
    unavailable, surge = rolling["maxUnavailable"], rolling["maxSurge"]
    for check in (intstr.validate_positive, intstr.validate_percent_max):
        yield from check(unavailable, field / "maxUnavailable")
        yield from check(surge, field / "maxSurge")
    has_unavailable = workload.int_or_percent(unavailable) != 0
    has_surge = workload.int_or_percent(surge) != 0
    if has_unavailable and has_surge:
        yield (field / "maxSurge").invalid(surge, "may not be set when maxUnavailable is non-zero")
    elif not has_unavailable and not has_surge:
        yield (field / "maxUnavailable").required("cannot be 0 when maxSurge is 0")


def validate_status(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with an updated status."""
    status: Obj = new.get("status") or {}
    yield from strategy.non_negative(
        status,
        STATUS,
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        *_COUNTS,
        "collisionCount",
    )
    yield from workload.validate_collision_count(new, old or {})


def cells(ds: Obj) -> Sequence[Any]:
    """Return the cells of a daemon set's row."""
    spec: Obj = ds["spec"]
    status: Obj = ds.get("status") or {}
    names, images = workload.template_cells(spec)
    return (
        ds["metadata"]["name"],
        status.get("desiredNumberScheduled", 0),
        status.get("currentNumberScheduled", 0),
        status.get("numberReady", 0),
        status.get("updatedNumberScheduled", 0),
        status.get("numberAvailable", 0),
        printing.labels(get(spec, "template.spec.nodeSelector")),
        Age(get(ds, "metadata.creationTimestamp")),
        names,
        images,
        selectors.format_object(spec.get("selector")),
    )


DAEMONSETS = Resource(
    group="apps",
    kind="DaemonSet",
    plural="daemonsets",
    short_names=("ds",),
    categories=("all",),
    schema="io.k8s.api.apps.v1.DaemonSet",
    subresources=(
        Subresource(
            name="status",
            shares_object=True,
            prepare_for_update=prepare_status,
            validate=validate_status,
        ),
    ),
    columns=(
        NAME,
        Column("Desired", "integer"),
        Column("Current", "integer"),
        Column("Ready", "integer"),
        Column("Up-to-date", "integer"),
        Column("Available", "integer"),
        Column("Node Selector"),
        AGE,
        Column("Containers", priority=1),
        Column("Images", priority=1),
        Column("Selector", priority=1),
    ),
    cells=cells,
    default=default,
    prepare_for_create=prepare_for_create,
    prepare_for_update=prepare_for_update,
    validate=validate,
    warn=workload.warn,
)

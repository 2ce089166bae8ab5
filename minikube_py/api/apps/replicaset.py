"""Replica sets: so many pods of one template."""

from collections.abc import Iterator, Sequence
from typing import Any

from minikube_py.api import selectors, strategy
from minikube_py.api.apps import workload
from minikube_py.api.apps.workload import SPEC, STATUS
from minikube_py.api.fields import FieldError
from minikube_py.api.object import Obj, get
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource, Subresource
from minikube_py.api.strategy import changed, with_absent

EMPTY_STATUS = {"replicas": 0}
_COUNTS = (
    "fullyLabeledReplicas",
    "readyReplicas",
    "availableReplicas",
    "observedGeneration",
)


def default(rs: Obj) -> Obj:
    """Fill in what the user left out."""
    rs = with_absent(rs, {"spec": {}, "status": EMPTY_STATUS})
    rs = changed(rs, "spec", _default_spec)
    return changed(rs, "status", _default_status)


def _default_spec(spec: Obj) -> Obj:
    return workload.default_template(with_absent(spec, {"replicas": 1}))


def _default_status(status: Obj) -> Obj:
    return with_absent(strategy.without_empty(status, *_COUNTS), EMPTY_STATUS)


def validate(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated replica set."""
    spec = new["spec"]
    yield from strategy.non_negative(spec, SPEC, "replicas", "minReadySeconds")
    # Upstream says deployment here too.
    yield from workload.validate_selector(spec.get("selector"), "deployment")
    yield from workload.validate_template_labels(spec, detail="invalid label selector")
    if workload.compiles(spec.get("selector")):
        yield from workload.validate_template(spec, "ReplicaSet")
    if old is not None:
        yield from workload.validate_selector_kept(new, old)


def validate_status(new: Obj, _old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with an updated status."""
    status: Obj = new.get("status") or {}
    yield from strategy.non_negative(status, STATUS, "replicas", *_COUNTS)
    yield from workload.validate_not_above(
        status,
        "replicas",
        ("fullyLabeledReplicas", "readyReplicas", "availableReplicas"),
        "cannot be greater than status.replicas",
    )
    yield from workload.validate_not_above(
        status, "readyReplicas", ("availableReplicas",), "cannot be greater than readyReplicas"
    )


def cells(rs: Obj) -> Sequence[Any]:
    """Return the cells of a replica set's row."""
    spec: Obj = rs["spec"]
    status: Obj = rs.get("status") or {}
    names, images = workload.template_cells(spec)
    return (
        rs["metadata"]["name"],
        spec.get("replicas", 0),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        Age(get(rs, "metadata.creationTimestamp")),
        names,
        images,
        selectors.format_object(spec.get("selector")),
    )


REPLICASETS = Resource(
    group="apps",
    kind="ReplicaSet",
    plural="replicasets",
    short_names=("rs",),
    categories=("all",),
    schema="io.k8s.api.apps.v1.ReplicaSet",
    subresources=(
        Subresource(name="scale", kind="Scale", group="autoscaling", version="v1"),
        Subresource(
            name="status",
            shares_object=True,
            prepare_for_update=strategy.updating_status("spec"),
            validate=validate_status,
        ),
    ),
    columns=(
        NAME,
        Column("Desired", "integer"),
        Column("Current", "integer"),
        Column("Ready", "integer"),
        AGE,
        Column("Containers", priority=1),
        Column("Images", priority=1),
        Column("Selector", priority=1),
    ),
    cells=cells,
    default=default,
    prepare_for_create=strategy.creating(EMPTY_STATUS),
    prepare_for_update=strategy.updating("spec"),
    validate=validate,
    warn=workload.warn,
)

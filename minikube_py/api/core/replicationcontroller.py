"""Replication controllers: a number of equal pods, the ancestor of replica sets."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from minikube_py.api import printing, strategy
from minikube_py.api.core.pod_defaults import default_pod_template
from minikube_py.api.core.pod_prepare import prepare_for_update, with_spec_of
from minikube_py.api.core.pod_validation import validate_pod_template
from minikube_py.api.core.pod_warnings import warn_pod_template
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.metadata import NOT_NEGATIVE
from minikube_py.api.object import Obj, evolve, get
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource, Subresource

_SPEC: Final = Field("spec")
_STATUS: Final = Field("status")
_TEMPLATE: Final = _SPEC / "template"
_COUNTS: Final = ("fullyLabeledReplicas", "readyReplicas", "availableReplicas")


def default(controller: Obj) -> Obj:
    """Fill in what the user left out; the labels of the template are selector and labels."""
    spec: dict[str, Any] = dict(controller.get("spec") or {})
    template = spec.get("template")
    labels: Mapping[str, str] | None = get(template, "metadata.labels")
    if template is not None:
        spec["template"] = default_pod_template(template)
    if spec.get("replicas") is None:
        spec["replicas"] = 1
    if labels and not spec.get("selector"):
        spec["selector"] = labels
    status = controller.get("status") or {}
    if status.get("replicas") is None:
        status = {**status, "replicas": 0}
    controller = {**controller, "spec": spec, "status": status}
    if labels and not get(controller, "metadata.labels"):
        return evolve(controller, "metadata.labels", labels)
    return controller


def validate(controller: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated controller."""
    errors = tuple(_validate_spec(controller.get("spec") or {}))
    yield from errors
    if old is not None:  # upstream checks an update as a new one and as an update
        yield from errors


def _validate_spec(spec: Obj) -> Iterator[FieldError]:
    for key in ("minReadySeconds", "replicas"):
        count = spec.get(key) or 0
        if key == "replicas" and not spec.get("selector"):
            yield (_SPEC / "selector").required()
        if count < 0:
            yield (_SPEC / key).invalid(count, NOT_NEGATIVE)
    template = spec.get("template")
    if template is None:
        yield _TEMPLATE.required()
        return
    selector: Mapping[str, str] = spec.get("selector") or {}
    labels: Mapping[str, str] = get(template, "metadata.labels") or {}
    if not selector.items() <= labels.items():
        yield (_TEMPLATE / "metadata" / "labels").invalid(
            dict(sorted(labels.items())) or None,
            "`selector` does not match template `labels`",
        )
    yield from validate_pod_template(template, _TEMPLATE)
    policy = get(template, "spec.restartPolicy", "")
    if policy != "Always":
        yield (_TEMPLATE / "spec" / "restartPolicy").unsupported(policy, ("Always",))
    if get(template, "spec.activeDeadlineSeconds") is not None:
        yield (_TEMPLATE / "spec" / "activeDeadlineSeconds").forbidden(
            "activeDeadlineSeconds in ReplicationController is not Supported"
        )


def validate_status(controller: Obj, _old: Obj | None) -> Iterator[FieldError]:
    """Report counts that are negative or greater than what they are a part of."""
    status = controller.get("status") or {}
    yield from strategy.non_negative(status, _STATUS, "replicas", *_COUNTS, "observedGeneration")
    total = status.get("replicas") or 0
    for key in _COUNTS:
        if (count := status.get(key) or 0) > total:
            yield (_STATUS / key).invalid(count, "cannot be greater than status.replicas")
    available = status.get("availableReplicas") or 0
    if available > (status.get("readyReplicas") or 0):
        yield (_STATUS / "availableReplicas").invalid(
            available, "cannot be greater than readyReplicas"
        )


def warn(controller: Obj, old: Obj | None) -> Iterator[str]:
    """Yield what is odd about a template that is new or changed."""
    template = get(controller, "spec.template")
    if template is not None and (old is None or template != get(old, "spec.template")):
        yield from warn_pod_template(template, _TEMPLATE)


def cells(controller: Obj) -> Sequence[Any]:
    """Return the row of a controller."""
    metadata, spec = controller["metadata"], controller.get("spec") or {}
    status = controller.get("status") or {}
    return (
        metadata["name"],
        spec.get("replicas") or 0,
        status.get("replicas") or 0,
        status.get("readyReplicas") or 0,
        Age(metadata.get("creationTimestamp")),
        *printing.containers(spec.get("template") or {}),
        printing.labels(spec.get("selector")),
    )


REPLICATIONCONTROLLERS = Resource(
    kind="ReplicationController",
    plural="replicationcontrollers",
    short_names=("rc",),
    categories=("all",),
    schema="io.k8s.api.core.v1.ReplicationController",
    subresources=(
        Subresource(name="scale", kind="Scale", group="autoscaling", version="v1"),
        Subresource(
            name="status",
            shares_object=True,
            prepare_for_update=with_spec_of,
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
    prepare_for_create=strategy.creating({"replicas": 0}),
    prepare_for_update=prepare_for_update,
    validate=validate,
    warn=warn,
    metadata_checks=("create", "update"),
    default_garbage_collection="Orphan",
    selectable_fields={"status.replicas": lambda rc: str(get(rc, "status.replicas", 0))},
)

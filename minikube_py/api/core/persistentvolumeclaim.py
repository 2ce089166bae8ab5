"""Persistent volume claims: a request for storage."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from minikube_py.api import diff, names, printing, quantity
from minikube_py.api.core.claim_defaults import default_claim_spec, with_sources
from minikube_py.api.core.claim_validation import validate_claim_spec
from minikube_py.api.core.go_values import go_value
from minikube_py.api.core.persistentvolume import (
    STORAGE_CLASS,
    class_of,
    phase_of,
    short_modes,
    warn_class_annotation,
)
from minikube_py.api.core.pod_prepare import with_spec_of, with_status_of
from minikube_py.api.core.pod_warnings import warn_claim_spec
from minikube_py.api.core.resources import is_native, validate_amount, validate_basic
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, annotations_of, evolve, get
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource, Subresource

_SPEC: Final = Field("spec")
_STATUS: Final = Field("status")
_CLASS: Final = _SPEC / "volumeAttributesClassName"
_IMMUTABLE: Final = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName "
    "for bound claims"
)
_HAS_CLASS: Final = "is forbidden when status.currentVolumeAttributesClassName is not nil"
_RESIZE_STATUSES: Final = frozenset(
    {
        "ControllerResizeInProgress",
        "ControllerResizeInfeasible",
        "NodeResizePending",
        "NodeResizeInProgress",
        "NodeResizeInfeasible",
    }
)


def default(claim: Obj) -> Obj:
    """Fill in what the user left out."""
    status = claim.get("status") or {}
    if not status.get("phase"):
        status = {**status, "phase": "Pending"}
    return {**claim, "spec": default_claim_spec(claim.get("spec") or {}), "status": status}


def prepare_for_create(claim: Obj) -> Obj:
    """Give a new claim its first phase."""
    spec = with_sources(claim.get("spec") or {})
    return {**claim, "spec": spec, "status": {"phase": "Pending"}}


def prepare_for_update(new: Obj, old: Obj) -> Obj:
    """Keep the status."""
    spec = with_sources(new.get("spec") or {}, old.get("spec") or {})
    return {**with_status_of(new, old), "spec": spec}


def validate(claim: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated claim."""
    spec = claim.get("spec") or {}
    yield from validate_claim_spec(spec, _SPEC, old.get("spec") if old is not None else None)
    if old is not None:
        yield from _validate_changes(claim, old)


def _validate_changes(claim: Obj, old: Obj) -> Iterator[FieldError]:
    spec, before = claim.get("spec") or {}, old.get("spec") or {}
    if not _class_leaves_annotation(claim, old):
        yield from _validate_annotation(claim, old)
    after, was = _masked(claim, old)
    if after != was:
        name = "PersistentVolumeClaimSpec"
        shown = diff.unified(go_value(was, name), go_value(after, name))
        yield _SPEC.forbidden(f"{_IMMUTABLE}\n{shown}")
    yield from _validate_size(spec, before, get(old, "status.capacity.storage"))
    if spec.get("volumeMode") != before.get("volumeMode"):
        yield Field("volumeMode").immutable(spec.get("volumeMode"))
    new_class = spec.get("volumeAttributesClassName")
    has_class = get(old, "status.currentVolumeAttributesClassName") is not None
    if has_class and new_class != before.get("volumeAttributesClassName") and not new_class:
        to = "nil" if new_class is None else "empty string"
        yield _CLASS.forbidden(f"update to {to} {_HAS_CLASS}")


def _class_leaves_annotation(claim: Obj, old: Obj) -> bool:
    """Tell whether the update moves the class from the old annotation to the field."""
    before = annotations_of(old).get(STORAGE_CLASS)
    new_class = get(claim, "spec.storageClassName")
    return (
        before is not None
        and get(old, "spec.storageClassName") is None
        and new_class == before
        and annotations_of(claim).get(STORAGE_CLASS, before) == before
    )


def _validate_annotation(claim: Obj, old: Obj) -> Iterator[FieldError]:
    new = annotations_of(claim).get(STORAGE_CLASS) or ""
    if new != (annotations_of(old).get(STORAGE_CLASS) or ""):
        yield (Field("metadata.annotations") / STORAGE_CLASS).immutable(new)


def _masked(claim: Obj, old: Obj) -> tuple[Obj, Obj]:
    """Return the new and old spec without the changes that are allowed."""
    spec: dict[str, Any] = dict(claim.get("spec") or {})
    before: dict[str, Any] = dict(old.get("spec") or {})
    if not before.get("volumeName"):
        _copy(before, spec, "volumeName")
    new_class = spec.get("storageClassName")
    allowed = annotations_of(old).get(STORAGE_CLASS, new_class)
    if before.get("storageClassName") is None and new_class is not None and new_class == allowed:
        del spec["storageClassName"]
    if get(claim, "status.phase") == "Bound":
        _copy(spec, before, "volumeAttributesClassName")
        size = get(before, "resources.requests.storage")
        if get(spec, "resources.requests") is not None and size is not None:
            spec = evolve(spec, "resources.requests.storage", size)
    return spec, before


def _copy(to: dict[str, Any], source: Mapping[str, Any], key: str) -> None:
    to.pop(key, None)
    if key in source:
        to[key] = source[key]


def _validate_size(spec: Obj, old: Obj, capacity: str | None) -> Iterator[FieldError]:
    path = "resources.requests.storage"
    new, before = (quantity.parse(get(one, path) or "0") for one in (spec, old))
    if new < before and new <= quantity.parse(capacity or "0"):
        yield (_SPEC / path).forbidden("field can not be less than status.capacity")


def validate_status(claim: Obj, _old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with the status of a claim."""
    if not get(claim, "spec.accessModes"):
        yield Field("Spec.accessModes").required()
    status = claim.get("status") or {}
    for name, amount in (status.get("capacity") or {}).items():
        yield from validate_basic(amount, (_STATUS / "capacity")[name])
    path = _STATUS / "allocatedResourceStatuses"
    for name, value in (status.get("allocatedResourceStatuses") or {}).items():
        yield from _validate_resource(name, path)
        if value not in _RESIZE_STATUSES:
            yield path.unsupported(name, _RESIZE_STATUSES)
    path = _STATUS / "allocatedResources"
    for name, amount in (status.get("allocatedResources") or {}).items():
        errors = tuple(_validate_resource(name, path)) or tuple(validate_basic(amount, path[name]))
        yield from errors or validate_amount("storage", amount, path[name])


def _validate_resource(name: str, path: Field) -> Iterator[FieldError]:
    messages = names.qualified_name(name)
    for message in messages:
        yield path.invalid(name, message)
    if not messages and is_native(name) and name != "storage":
        yield path.unsupported(name, ("storage",))


def warn(claim: Obj, _old: Obj | None) -> Iterator[str]:
    """Tell of amounts of storage that are no whole bytes, and of the old annotation."""
    yield from warn_class_annotation(claim)
    yield from warn_claim_spec(claim.get("spec") or {}, _SPEC)


def cells(claim: Obj) -> Sequence[Any]:
    """Return the row of a claim."""
    metadata, spec, status = claim["metadata"], claim.get("spec") or {}, claim.get("status") or {}
    capacity = modes = ""
    if volume := spec.get("volumeName") or "":
        capacity = get(status, "capacity.storage") or "0"
        modes = short_modes(status.get("accessModes") or ())
    attributes, mode = spec.get("volumeAttributesClassName"), spec.get("volumeMode")
    return (
        metadata["name"],
        phase_of(claim),
        volume,
        capacity,
        modes,
        class_of(claim),
        printing.UNSET if attributes is None else attributes,
        Age(metadata.get("creationTimestamp")),
        printing.UNSET if mode is None else mode,
    )


PERSISTENTVOLUMECLAIMS = Resource(
    returns_deleted_object=True,
    kind="PersistentVolumeClaim",
    plural="persistentvolumeclaims",
    short_names=("pvc",),
    schema="io.k8s.api.core.v1.PersistentVolumeClaim",
    subresources=(
        Subresource(
            name="status",
            shares_object=True,
            prepare_for_update=with_spec_of,
            validate=validate_status,
        ),
    ),
    columns=(
        NAME,
        Column("Status"),
        Column("Volume"),
        Column("Capacity"),
        Column("Access Modes"),
        Column("StorageClass"),
        Column("VolumeAttributesClass"),
        AGE,
        Column("VolumeMode", priority=1),
    ),
    cells=cells,
    default=default,
    prepare_for_create=prepare_for_create,
    prepare_for_update=prepare_for_update,
    validate=validate,
    warn=warn,
    metadata_checks=("update", "create"),
)

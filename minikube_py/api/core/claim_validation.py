"""Checks of claims of storage: of the claim itself and of templates of claims."""

from collections.abc import Iterator, Sequence
from typing import Final

from minikube_py.api import names, selectors
from minikube_py.api.core.resources import validate_amount, validate_positive
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.metadata import validate_annotations, validate_labels
from minikube_py.api.object import Obj, get

ACCESS_MODES: Final = frozenset(
    {"ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"}
)
VOLUME_MODES: Final = frozenset({"Block", "Filesystem"})
_CLAIM: Final = "PersistentVolumeClaim"
_TEMPLATE_METADATA: Final = (
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "UID",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "ownerReferences",
    "finalizers",
    "managedFields",
)
"""Fields of metadata in Go's order, as upstream names them, that a template may not set."""


def validate_claim_template(template: Obj, path: Field) -> Iterator[FieldError]:
    """Report what is wrong with the template of a claim, inside a pod."""
    yield from validate_template_metadata(template.get("metadata") or {}, path / "metadata")
    yield from validate_claim_spec(template.get("spec") or {}, path / "spec")


def validate_template_metadata(metadata: Obj, at: Field) -> Iterator[FieldError]:
    """Report what is wrong with the metadata of a template, which is labels and annotations."""
    yield from validate_annotations(metadata.get("annotations") or {}, at / "annotations")
    yield from validate_labels(metadata.get("labels") or {}, at / "labels")
    for name in _TEMPLATE_METADATA:
        key = "uid" if name == "UID" else name
        if metadata.get(key):
            yield (at / f"{name[0].lower()}{name[1:]}").forbidden("cannot be set")


def validate_access_modes(modes: Sequence[str], path: Field) -> Iterator[FieldError]:
    """Report access modes that there are not, and the one that stands alone."""
    for mode in modes:
        if mode not in ACCESS_MODES:
            yield path.unsupported(mode, ACCESS_MODES)
    known = ACCESS_MODES.intersection(modes)
    if "ReadWriteOncePod" in known and len(known) > 1:
        yield path.forbidden("may not use ReadWriteOncePod with other access modes")


def validate_class_name(name: str | None, path: Field) -> Iterator[FieldError]:
    """Report the name of a class that is none; absent and empty are fine."""
    for message in names.dns1123_subdomain(name) if name else ():
        yield path.invalid(name, message)


def validate_claim_spec(spec: Obj, path: Field, old: Obj | None = None) -> Iterator[FieldError]:
    """Report what is wrong with the spec of a claim; `old` is the spec before an update."""
    modes = spec.get("accessModes") or ()
    if not modes:
        yield (path / "accessModes").required("at least 1 access mode is required")
    yield from selectors.validate(spec.get("selector"), path / "selector")
    yield from validate_access_modes(modes, path / "accessModes")
    yield from _validate_storage(spec, (path / "resources")["storage"])
    yield from validate_class_name(spec.get("storageClassName"), path / "storageClassName")
    mode = spec.get("volumeMode")
    if mode is not None and mode not in VOLUME_MODES:
        yield (path / "volumeMode").unsupported(mode, VOLUME_MODES)
    yield from _validate_sources(spec, path, old)
    yield from validate_class_name(
        spec.get("volumeAttributesClassName"), path / "volumeAttributesClassName"
    )


def _validate_storage(spec: Obj, path: Field) -> Iterator[FieldError]:
    amount = get(spec, "resources.requests.storage")
    if amount is None:
        yield path.required()
        return
    errors = tuple(validate_positive(amount, path))
    yield from errors
    if not errors:
        yield from validate_amount("storage", amount, path)


def _validate_sources(spec: Obj, path: Field, old: Obj | None) -> Iterator[FieldError]:
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    # An API group that got in before it was checked may stay.
    lenient = old is not None and bool(
        get(old, "dataSource.apiGroup") or get(old, "dataSourceRef.apiGroup")
    )
    if source is not None:
        yield from _validate_source(source, path / "dataSource", lenient=lenient)
    if reference is None:
        return
    yield from _validate_source(reference, path / "dataSourceRef", lenient=lenient)
    namespace = reference.get("namespace")
    for message in names.dns1123_label(namespace) if namespace else ():
        yield (path / "dataSourceRef" / "namespace").invalid(namespace, message)
    if source is None:
        return
    shown: dict[
        str, str
    ] = {}  # upstream prints a path here, which is a structure without exported fields
    if namespace:
        yield path.invalid(shown, "may not be specified when dataSourceRef.namespace is specified")
    elif any(source.get(k) != reference.get(k) for k in ("apiGroup", "kind", "name")):
        yield path.invalid(shown, "must match dataSourceRef")


def _validate_source(source: Obj, path: Field, *, lenient: bool) -> Iterator[FieldError]:
    kind, group = source.get("kind") or "", source.get("apiGroup") or ""
    if not source.get("name"):
        yield (path / "name").required()
    if not kind:
        yield (path / "kind").required()
    if not group and kind != _CLAIM:
        yield path.invalid(
            kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
        )
    if group and not lenient:
        for message in names.dns1123_subdomain(group):
            yield (path / "apiGroup").invalid(group, message)

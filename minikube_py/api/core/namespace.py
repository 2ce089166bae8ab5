"""Namespaces: a scope for names, removed with all it holds."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from minikube_py.api import names
from minikube_py.api.core.pod_prepare import with_spec_of, with_status_of
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.metadata import validate_finalizer_name
from minikube_py.api.object import Obj, evolve, get, is_deleting, labels_of
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource, Subresource

NAME_LABEL: Final = "kubernetes.io/metadata.name"
FINALIZER: Final = "kubernetes"


def default(namespace: Obj) -> Obj:
    """Fill in the label with the name, and the phase."""
    name = namespace["metadata"].get("name")
    labels = labels_of(namespace)
    if name and labels.get(NAME_LABEL) != name:
        namespace = evolve(namespace, "metadata.labels", {**labels, NAME_LABEL: name})
    if not get(namespace, "status.phase"):
        namespace = evolve(namespace, "status.phase", "Active")
    return namespace if "spec" in namespace else {**namespace, "spec": {}}


def prepare_for_create(namespace: Obj) -> Obj:
    """Make a new namespace active, and keep it from vanishing before what is in it."""
    # The label comes here too: a generated name is not known before.
    namespace = default(namespace)
    finalizers: Sequence[str] = get(namespace, "spec.finalizers") or ()
    if FINALIZER not in finalizers:
        namespace = evolve(namespace, "spec.finalizers", [*finalizers, FINALIZER])
    return {**namespace, "status": {"phase": "Active"}}


def prepare_for_update(new: Obj, old: Obj) -> Obj:
    """Keep status and finalizers, which have subresources of their own."""
    return with_status_of(with_spec_of(new, old), old)


def validate(namespace: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report finalizers that a new namespace may not have."""
    if old is None:
        for finalizer in get(namespace, "spec.finalizers") or ():
            yield from _validate_finalizer(finalizer, Field("spec.finalizers"))


def _validate_finalizer(finalizer: str, path: Field) -> Iterator[FieldError]:
    for message in names.qualified_name(finalizer):
        yield path.invalid(finalizer, message)
    yield from validate_finalizer_name(finalizer, path)


def validate_status(namespace: Obj, _old: Obj | None) -> Iterator[FieldError]:
    """Report a phase that does not go with the deletion time."""
    phase = get(namespace, "status.phase") or ""
    path = Field("status.Phase")
    if is_deleting(namespace):
        if phase != "Terminating":
            yield path.invalid(
                phase, "may only be 'Terminating' if `deletionTimestamp` is not empty"
            )
    elif phase != "Active":
        yield path.invalid(phase, "may only be 'Active' if `deletionTimestamp` is empty")


def validate_finalize(namespace: Obj, _old: Obj | None) -> Iterator[FieldError]:
    """Report finalizers that a namespace may not have."""
    for index, finalizer in enumerate(get(namespace, "spec.finalizers") or ()):
        yield from _validate_finalizer(finalizer, Field("spec.finalizers")[index])


def cells(namespace: Obj) -> Sequence[Any]:
    """Return name, phase and age."""
    metadata = namespace["metadata"]
    phase = get(namespace, "status.phase") or ""
    return metadata["name"], phase, Age(metadata.get("creationTimestamp"))


NAMESPACES = Resource(
    kind="Namespace",
    plural="namespaces",
    namespaced=False,
    short_names=("ns",),
    verbs=("create", "delete", "get", "list", "patch", "update", "watch"),
    schema="io.k8s.api.core.v1.Namespace",
    subresources=(
        Subresource(
            name="finalize",
            verbs=("update",),
            shares_object=True,
            prepare_for_update=with_status_of,
            validate=validate_finalize,
        ),
        Subresource(
            name="status",
            shares_object=True,
            prepare_for_update=with_spec_of,
            validate=validate_status,
        ),
    ),
    columns=(NAME, Column("Status"), AGE),
    cells=cells,
    default=default,
    prepare_for_create=prepare_for_create,
    prepare_for_update=prepare_for_update,
    validate=validate,
    validate_name=names.dns1123_label,
    metadata_checks=("create", "update"),
    selectable_fields={"status.phase": lambda ns: get(ns, "status.phase", "")},
)

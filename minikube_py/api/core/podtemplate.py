"""Pod templates: a template of pods that stands alone."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from minikube_py.api import printing
from minikube_py.api.core.pod_defaults import default_pod_template
from minikube_py.api.core.pod_validation import validate_pod_template
from minikube_py.api.core.pod_warnings import warn_pod_template
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, evolve, get
from minikube_py.api.resource import NAME, Column, Resource

_TEMPLATE: Final = Field("template")


def default(obj: Obj) -> Obj:
    """Fill in what the user left out of the template."""
    template: Obj = obj.get("template") or {}
    defaulted = default_pod_template(template)
    if defaulted is template and "template" in obj:
        return obj
    return {**obj, "template": defaulted}


def prepare_for_create(obj: Obj) -> Obj:
    """Set the first generation."""
    return evolve(obj, "metadata.generation", 1)


def prepare_for_update(new: Obj, old: Obj) -> Obj:
    """Raise the generation with a change of the template."""
    if new.get("template") == old.get("template"):
        return new
    return evolve(new, "metadata.generation", (get(old, "metadata.generation") or 0) + 1)


def validate(obj: Obj, _old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with the template."""
    yield from validate_pod_template(obj.get("template") or {}, _TEMPLATE)


def warn(obj: Obj, _old: Obj | None) -> Iterator[str]:
    """Yield what is odd about the template."""
    yield from warn_pod_template(obj.get("template") or {}, _TEMPLATE)


def cells(obj: Obj) -> Sequence[Any]:
    """Return name, containers, images and labels of the pods."""
    template: Obj = obj.get("template") or {}
    return (
        obj["metadata"]["name"],
        *printing.containers(template),
        printing.labels(get(template, "metadata.labels")),
    )


PODTEMPLATES = Resource(
    returns_deleted_object=True,
    kind="PodTemplate",
    plural="podtemplates",
    schema="io.k8s.api.core.v1.PodTemplate",
    columns=(NAME, Column("Containers"), Column("Images"), Column("Pod Labels")),
    cells=cells,
    default=default,
    prepare_for_create=prepare_for_create,
    prepare_for_update=prepare_for_update,
    validate=validate,
    warn=warn,
)

"""Controller revisions: the history of a StatefulSet or DaemonSet."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from minikube_py.api import strategy
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, controller_of, get
from minikube_py.api.printing import NONE
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource


def default(revision: Obj) -> Obj:
    """Fill in what is always shown."""
    return strategy.with_absent(revision, {"revision": 0})


def validate(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated revision; its data never change."""
    data, field = new.get("data"), Field("data")
    if data is None:
        yield field.required("data is mandatory")
    elif not isinstance(data, Mapping):
        yield field.required("data must be a valid JSON object")
    yield from strategy.non_negative(new, Field(), "revision")
    if old is not None:
        yield from strategy.immutable(data, old.get("data"), field)


def cells(revision: Obj) -> Sequence[Any]:
    """Return the cells of a revision's row."""
    owner = controller_of(revision)
    controller = NONE
    if owner is not None:
        group = owner["apiVersion"].rpartition("/")[0]
        kind = f"{owner['kind']}.{group}" if group else owner["kind"]
        controller = f"{kind.lower()}/{owner['name']}"
    return (
        revision["metadata"]["name"],
        controller,
        revision.get("revision", 0),
        Age(get(revision, "metadata.creationTimestamp")),
    )


CONTROLLERREVISIONS = Resource(
    group="apps",
    kind="ControllerRevision",
    plural="controllerrevisions",
    raw_paths=(("data",),),
    schema="io.k8s.api.apps.v1.ControllerRevision",
    columns=(
        NAME,
        Column("Controller"),
        Column("Revision"),
        AGE,
    ),
    cells=cells,
    default=default,
    validate=validate,
)

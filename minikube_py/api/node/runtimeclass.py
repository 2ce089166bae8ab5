"""Runtime classes: which handler of the node runs a pod."""

from collections.abc import Iterator, Sequence
from typing import Any

from minikube_py.api import names, strategy
from minikube_py.api.core.go_values import go_value
from minikube_py.api.core.pod_validation_scheduling import validate_tolerations
from minikube_py.api.core.pod_warnings import label_warning
from minikube_py.api.core.resources import validate_requirements
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.metadata import validate_labels
from minikube_py.api.object import Obj, get
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource

HANDLER = Field("handler")
SCHEDULING = Field("scheduling")


def default(rc: Obj) -> Obj:
    """Fill in what is always shown."""
    return strategy.with_absent(rc, {"handler": ""})


def validate(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated class; its handler never changes."""
    handler = new["handler"]
    if not handler:
        yield HANDLER.required()
    else:
        yield from (HANDLER.invalid(handler, text) for text in names.dns1123_label(handler))
    if new.get("overhead") is not None:
        amounts = get(new, "overhead.podFixed") or {}
        yield from validate_requirements({"limits": amounts}, Field("overhead"))
    if new.get("scheduling") is not None:
        yield from _validate_scheduling(new["scheduling"])
    if old is not None:
        yield from strategy.immutable(handler, old["handler"], HANDLER)


def warn(rc: Obj, _old: Obj | None) -> Iterator[str]:
    """Yield which labels of nodes have newer names."""
    for key in get(rc, "scheduling.nodeSelector") or ():
        if message := label_warning(key):
            yield f"scheduling.nodeSelector: {message}"


def _validate_scheduling(scheduling: Obj) -> Iterator[FieldError]:
    selector = scheduling.get("nodeSelector")
    if selector:
        yield from validate_labels(selector, SCHEDULING / "nodeSelector")
    tolerations = scheduling.get("tolerations") or ()
    yield from validate_tolerations(tolerations, SCHEDULING / "tolerations")
    seen: set[tuple[str, ...]] = set()
    for index, toleration in enumerate(tolerations):
        key = tuple(toleration.get(name, "") for name in ("key", "operator", "value", "effect"))
        if key in seen:
            yield (SCHEDULING / "tolerations")[index].duplicate(go_value(toleration, "Toleration"))
        seen.add(key)


def cells(rc: Obj) -> Sequence[Any]:
    """Return the cells of a runtime class' row."""
    return (
        rc["metadata"]["name"],
        rc["handler"],
        Age(get(rc, "metadata.creationTimestamp")),
    )


RUNTIMECLASSES = Resource(
    group="node.k8s.io",
    kind="RuntimeClass",
    plural="runtimeclasses",
    namespaced=False,
    schema="io.k8s.api.node.v1.RuntimeClass",
    columns=(NAME, Column("Handler"), AGE),
    cells=cells,
    default=default,
    validate=validate,
    warn=warn,
    allow_create_on_update=True,
    allow_unconditional_update=False,
)

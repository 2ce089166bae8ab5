"""Ingress classes: which controller serves an Ingress."""

from collections.abc import Iterator, Sequence
from typing import Any

from minikube_py.api import names, printing, strategy
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.networking import references
from minikube_py.api.object import Obj, get
from minikube_py.api.prefixed_paths import domain_prefixed_path
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource
from minikube_py.api.strategy import changed, with_absent

SPEC = Field("spec")
DEFAULT_ANNOTATION = "ingressclass.kubernetes.io/is-default-class"
CONTROLLER_MAX = 250
CLUSTER, NAMESPACE = "Cluster", "Namespace"


def default(ic: Obj) -> Obj:
    """Fill in what the user left out."""
    ic = with_absent(ic, {"spec": {}})
    return changed(ic, "spec", _default_spec)


def _default_spec(spec: Obj) -> Obj:
    return changed(spec, "parameters", lambda value: with_absent(value, {"scope": CLUSTER}))


def validate(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated class; its controller never changes."""
    spec = new["spec"]
    controller, field = spec.get("controller", ""), SPEC / "controller"
    if old is not None:
        yield from strategy.immutable(controller, old["spec"].get("controller"), field)
    if len(controller) > CONTROLLER_MAX:
        yield field.too_long(CONTROLLER_MAX)
    yield from domain_prefixed_path(controller, field)
    if spec.get("parameters") is not None:
        yield from _validate_parameters(spec["parameters"], SPEC / "parameters")


def _validate_parameters(parameters: Obj, field: Field) -> Iterator[FieldError]:
    yield from references.validate_local(parameters, field)
    scope, namespace = parameters["scope"], parameters.get("namespace")
    if scope not in {CLUSTER, NAMESPACE}:
        yield (field / "scope").unsupported(scope, {CLUSTER, NAMESPACE})
    if scope == NAMESPACE:
        if namespace is None:
            yield (field / "namespace").required("`parameters.scope` is set to 'Namespace'")
        for text in names.dns1123_label(namespace or "") if namespace is not None else ():
            yield (field / "namespace").invalid(namespace, text)
    if scope == CLUSTER and namespace is not None:
        yield (field / "namespace").forbidden("`parameters.scope` is set to 'Cluster'")


def cells(ic: Obj) -> Sequence[Any]:
    """Return the cells of a class' row."""
    parameters = get(ic, "spec.parameters")
    shown = printing.NONE
    if parameters is not None:
        group = parameters.get("apiGroup")
        kind = parameters["kind"] if group is None else f"{parameters['kind']}.{group}"
        shown = f"{kind}/{parameters['name']}"
    return (
        ic["metadata"]["name"],
        get(ic, "spec.controller", ""),
        shown,
        Age(get(ic, "metadata.creationTimestamp")),
    )


INGRESSCLASSES = Resource(
    group="networking.k8s.io",
    kind="IngressClass",
    plural="ingressclasses",
    namespaced=False,
    schema="io.k8s.api.networking.v1.IngressClass",
    columns=(NAME, Column("Controller"), Column("Parameters"), AGE),
    cells=cells,
    default=default,
    prepare_for_create=strategy.creating(),
    prepare_for_update=strategy.updating("spec", keep=()),
    validate=validate,
)

"""API services: which server answers for a group and version."""

import base64
from collections.abc import Iterator, Sequence
from typing import Any

from minikube_py.api import names, strategy
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, condition_of, get
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource, Subresource
from minikube_py.api.strategy import changed, with_absent

SPEC = Field("spec")
AVAILABLE = "Available"
GROUP_PRIORITY_MAX = 20_000
VERSION_PRIORITY_MAX = 1000
LOCAL = "Local"


def default(service: Obj) -> Obj:
    """Fill in what the user left out."""
    service = with_absent(service, {"spec": {}, "status": {}})
    return changed(service, "spec", _default_spec)


def _default_spec(spec: Obj) -> Obj:
    spec = with_absent(spec, {"groupPriorityMinimum": 0, "versionPriority": 0})
    return changed(spec, "service", lambda reference: with_absent(reference, {"port": 443}))


def validate(new: Obj, _old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated API service; its name is version.group."""
    spec, name = new["spec"], new["metadata"].get("name", "")
    group, version = spec.get("group", ""), spec.get("version", "")
    if name != f"{version}.{group}":
        yield (Field("metadata") / "name").invalid(name, 'must be `spec.version+"."+spec.group`')
    if group:
        yield from ((SPEC / "group").invalid(group, t) for t in names.dns1123_subdomain(group))
    yield from ((SPEC / "version").invalid(version, t) for t in names.dns1035_label(version))
    yield from _validate_priorities(spec)
    if spec.get("service") is None:
        if spec.get("caBundle"):
            yield (SPEC / "caBundle").invalid(
                f"{len(base64.b64decode(spec['caBundle']))} bytes",
                "local APIServices may not have a caBundle",
            )
        if spec.get("insecureSkipTLSVerify"):
            yield (SPEC / "insecureSkipTLSVerify").invalid(
                value=True, detail="local APIServices may not have insecureSkipTLSVerify"
            )
    else:
        yield from _validate_service(spec)


def _validate_priorities(spec: Obj) -> Iterator[FieldError]:
    for key, limit in (
        ("groupPriorityMinimum", GROUP_PRIORITY_MAX),
        ("versionPriority", VERSION_PRIORITY_MAX),
    ):
        if not 0 < spec[key] <= limit:
            yield (SPEC / key).invalid(spec[key], f"must be positive and less than {limit}")


def _validate_service(spec: Obj) -> Iterator[FieldError]:
    reference = spec["service"]
    for key in ("namespace", "name"):
        if not reference.get(key):
            yield (SPEC / "service" / key).required()
    for text in names.port_number(reference["port"]):
        yield (SPEC / "service" / "port").invalid(reference["port"], f"port is not valid: {text}")
    if spec.get("insecureSkipTLSVerify") and spec.get("caBundle"):
        yield (SPEC / "insecureSkipTLSVerify").invalid(
            value=True, detail="may not be true if caBundle is present"
        )


def cells(service: Obj) -> Sequence[Any]:
    """Return the cells of an API service's row."""
    reference = get(service, "spec.service")
    shown = LOCAL
    if reference is not None:
        shown = f"{reference.get('namespace', '')}/{reference.get('name', '')}"
    return (
        service["metadata"]["name"],
        shown,
        _available(service),
        Age(get(service, "metadata.creationTimestamp")),
    )


def _available(service: Obj) -> str:
    condition = condition_of(service, AVAILABLE)
    if condition is None:
        return "Unknown"
    status = str(condition.get("status", ""))
    return status if status == "True" else f"{status} ({condition.get('reason', '')})"


APISERVICES = Resource(
    group="apiregistration.k8s.io",
    kind="APIService",
    plural="apiservices",
    namespaced=False,
    categories=("api-extensions",),
    schema="io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService",
    subresources=(
        Subresource(
            name="status",
            shares_object=True,
            has_tables=False,
            prepare_for_update=strategy.updating_status(
                "spec", metadata=("labels", "annotations", "finalizers", "ownerReferences")
            ),
            validate=lambda _new, _old: (),
        ),
    ),
    columns=(NAME, Column("Service"), Column("Available"), AGE),
    cells=cells,
    default=default,
    prepare_for_create=strategy.creating({}, generation=False),
    prepare_for_update=strategy.updating(),
    validate=validate,
    validate_name=names.path_segment,
    allow_unconditional_update=False,
)

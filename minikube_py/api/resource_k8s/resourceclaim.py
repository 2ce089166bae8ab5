"""Resource claims: devices that a pod asks for."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from minikube_py.api import strategy
from minikube_py.api.core.go_values import go_value
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, get, is_deleting
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource, Subresource
from minikube_py.api.resource_k8s import requests
from minikube_py.api.resource_k8s.allocations import validate_status
from minikube_py.api.strategy import changed, with_absent

SPEC = Field("spec")
_RESULTS = "status.allocation.devices.results"


def default(claim: Obj) -> Obj:
    """Fill in what the user left out."""
    return changed(with_absent(claim, {"spec": {}, "status": {}}), "spec", default_spec)


def default_spec(spec: Obj) -> Obj:
    """Fill in what the user left out of a claim's spec."""
    return changed(with_absent(spec, {"devices": {}}), "devices", requests.default_devices)


def validate(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated claim; its spec never changes."""
    if old is None:
        yield from requests.validate_devices(new["spec"]["devices"], SPEC / "devices")
    elif new["spec"] != old["spec"]:
        yield SPEC.immutable(go_value(new["spec"], "ResourceClaimSpec"))


def validate_in_namespace(
    new: Obj, old: Obj | None, labels: Mapping[str, str]
) -> Iterator[FieldError]:
    """Report requests for admin access that the namespace does not allow; asked once each."""
    if old is None:
        wanted = get(new, "spec.devices.requests") or ()
        yield from requests.validate_admin_access(wanted, labels, SPEC / "devices" / "requests")
        return
    results, known = get(new, _RESULTS) or (), get(old, _RESULTS) or ()
    yield from requests.validate_admin_results(results, known, labels, Field(_RESULTS))


def cells(claim: Obj) -> Sequence[Any]:
    """Return the cells of a claim's row."""
    states = ["deleted"] if is_deleting(claim) else []
    if get(claim, "status.allocation") is None:
        states += [] if states else ["pending"]
    else:
        states.append("allocated")
        if get(claim, "status.reservedFor"):
            states.append("reserved")
    return (
        claim["metadata"]["name"],
        ",".join(states),
        Age(get(claim, "metadata.creationTimestamp")),
    )


RESOURCECLAIMS = Resource(
    group=requests.GROUP,
    kind="ResourceClaim",
    plural="resourceclaims",
    raw_paths=(
        ("spec", "devices", "config", "[]", "opaque", "parameters"),
        ("status", "allocation", "devices", "config", "[]", "opaque", "parameters"),
        ("status", "devices", "[]", "data"),
    ),
    schema="io.k8s.api.resource.v1.ResourceClaim",
    subresources=(
        Subresource(
            name="status",
            shares_object=True,
            prepare_for_update=strategy.updating_status("spec", metadata=strategy.RESET_METADATA),
            validate=validate_status,
        ),
    ),
    columns=(NAME, Column("State"), AGE),
    cells=cells,
    default=default,
    prepare_for_create=strategy.creating({}, generation=False),
    prepare_for_update=strategy.updating(),
    validate=validate,
    validate_in_namespace=validate_in_namespace,
    returns_deleted_object=True,
)

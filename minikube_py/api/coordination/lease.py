"""Leases: who holds a role, and since when."""

from collections.abc import Iterator, Sequence
from typing import Any

from minikube_py.api import strategy
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, get
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource

SPEC = Field("spec")
_ELECTION = ("strategy", "preferredHolder")
"""Fields of coordinated leader election, which is off by default."""


def default(lease: Obj) -> Obj:
    """Fill in what is always shown."""
    return strategy.with_absent(lease, {"spec": {}})


def _without_election(lease: Obj) -> Obj:
    spec: Obj = lease.get("spec") or {}
    if not any(key in spec for key in _ELECTION):
        return lease
    return {**lease, "spec": {key: spec[key] for key in spec if key not in _ELECTION}}


def prepare_for_update(new: Obj, _old: Obj) -> Obj:
    """Drop the fields that are off."""
    return _without_election(new)


def validate(new: Obj, _old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated lease."""
    spec: Obj = new.get("spec") or {}
    seconds = spec.get("leaseDurationSeconds")
    if seconds is not None and seconds <= 0:
        yield (SPEC / "leaseDurationSeconds").invalid(seconds, "must be greater than 0")
    yield from strategy.non_negative(spec, SPEC, "leaseTransitions")


def cells(lease: Obj) -> Sequence[Any]:
    """Return the cells of a lease's row."""
    return (
        lease["metadata"]["name"],
        get(lease, "spec.holderIdentity", ""),
        Age(get(lease, "metadata.creationTimestamp")),
    )


LEASES = Resource(
    group="coordination.k8s.io",
    kind="Lease",
    plural="leases",
    schema="io.k8s.api.coordination.v1.Lease",
    columns=(NAME, Column("Holder"), AGE),
    cells=cells,
    default=default,
    prepare_for_create=_without_election,
    prepare_for_update=prepare_for_update,
    validate=validate,
    allow_create_on_update=True,
    allow_unconditional_update=False,
)

"""Pod disruption budgets: how many pods may be evicted at a time."""

from collections.abc import Iterator, Sequence
from typing import Any

from minikube_py.api import intstr, selectors, strategy
from minikube_py.api.conditions import validate_conditions
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, get
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource, Subresource
from minikube_py.api.strategy import with_absent

SPEC = Field("spec")
STATUS = Field("status")
EMPTY_STATUS = {
    "disruptionsAllowed": 0,
    "currentHealthy": 0,
    "desiredHealthy": 0,
    "expectedPods": 0,
}
POLICIES = ("AlwaysAllow", "IfHealthyBudget")


def default(pdb: Obj) -> Obj:
    """Fill in what is always shown."""
    pdb = with_absent(pdb, {"spec": {}, "status": {}})
    return strategy.changed(pdb, "status", lambda status: with_absent(status, EMPTY_STATUS))


def validate(new: Obj, _old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated budget."""
    spec = new["spec"]
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    if least is not None and most is not None:
        yield SPEC.invalid(_shown(spec), "minAvailable and maxUnavailable cannot be both set")
    for key, value in (("minAvailable", least), ("maxUnavailable", most)):
        if value is not None:
            yield from intstr.validate_positive(value, SPEC / key)
            yield from intstr.validate_percent_max(value, SPEC / key)
    yield from selectors.validate(spec.get("selector"), SPEC / "selector")
    policy = spec.get("unhealthyPodEvictionPolicy")
    if policy is not None and policy not in POLICIES:
        yield (SPEC / "unhealthyPodEvictionPolicy").unsupported(policy, POLICIES)


def _shown(spec: Obj) -> Obj:
    return {
        "MinAvailable": spec.get("minAvailable"),
        "Selector": selectors.shown(spec.get("selector")),
        "MaxUnavailable": spec.get("maxUnavailable"),
        "UnhealthyPodEvictionPolicy": spec.get("unhealthyPodEvictionPolicy"),
    }


def validate_status(new: Obj, _old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with an updated status."""
    status = new["status"]
    yield from validate_conditions(status.get("conditions") or (), STATUS / "conditions")
    yield from strategy.non_negative(
        status, STATUS, "disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"
    )


def cells(pdb: Obj) -> Sequence[Any]:
    """Return the cells of a budget's row."""
    spec: Obj = pdb.get("spec") or {}
    return (
        pdb["metadata"]["name"],
        str(spec.get("minAvailable", "N/A")),
        str(spec.get("maxUnavailable", "N/A")),
        get(pdb, "status.disruptionsAllowed", 0),
        Age(get(pdb, "metadata.creationTimestamp")),
    )


PODDISRUPTIONBUDGETS = Resource(
    group="policy",
    kind="PodDisruptionBudget",
    plural="poddisruptionbudgets",
    short_names=("pdb",),
    schema="io.k8s.api.policy.v1.PodDisruptionBudget",
    subresources=(
        Subresource(
            name="status",
            shares_object=True,
            prepare_for_update=strategy.updating_status("spec"),
            validate=validate_status,
        ),
    ),
    columns=(
        NAME,
        Column("Min Available"),
        Column("Max Unavailable"),
        Column("Allowed Disruptions", "integer"),
        AGE,
    ),
    cells=cells,
    default=default,
    prepare_for_create=strategy.creating(EMPTY_STATUS),
    prepare_for_update=strategy.updating("spec"),
    validate=validate,
    allow_unconditional_update=False,
)

"""Service CIDRs: where ClusterIPs come from."""

from collections.abc import Iterator, Sequence
from typing import Any

from minikube_py.api import addresses, strategy
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, get
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource, Subresource

CIDRS = Field("spec") / "cidrs"
FINALIZER = "networking.k8s.io/service-cidr-finalizer"
_ONE_EACH = (
    "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
)


def default(sc: Obj) -> Obj:
    """Fill in what is always shown."""
    return strategy.with_absent(sc, {"spec": {}, "status": {}})


def validate(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated range; a second family may be added later."""
    cidrs = new["spec"].get("cidrs") or []
    if old is None:
        yield from _validate_cidrs(cidrs)
        return
    before = old["spec"].get("cidrs") or []
    if len(before) == 1 and len(cidrs) == 2:
        yield from _validate_cidrs(cidrs)
        if cidrs[0] != before[0]:
            yield CIDRS[0].immutable(cidrs[0])
    elif len(before) != len(cidrs):
        yield CIDRS.immutable(cidrs)
    else:
        for index, (now, then) in enumerate(zip(cidrs, before, strict=True)):
            if now != then:
                yield CIDRS[index].immutable(now)


def _validate_cidrs(cidrs: Sequence[str]) -> Iterator[FieldError]:
    if not cidrs:
        yield CIDRS.required("at least one CIDR required")
        return
    if len(cidrs) > 2:
        yield CIDRS.invalid({"CIDRs": cidrs}, "may only hold up to 2 values")
        return
    families = {addresses.family(cidr) for cidr in cidrs}
    if len(cidrs) == 2 and families != {"IPv4", "IPv6"}:
        yield CIDRS.invalid(cidrs, _ONE_EACH)
        return
    for index, cidr in enumerate(cidrs):
        yield from addresses.validate_cidr(CIDRS[index], cidr)


def cells(sc: Obj) -> Sequence[Any]:
    """Return the cells of a range's row."""
    return (
        sc["metadata"]["name"],
        ",".join(get(sc, "spec.cidrs") or ()),
        Age(get(sc, "metadata.creationTimestamp")),
    )


SERVICECIDRS = Resource(
    group="networking.k8s.io",
    kind="ServiceCIDR",
    plural="servicecidrs",
    namespaced=False,
    schema="io.k8s.api.networking.v1.ServiceCIDR",
    subresources=(
        Subresource(
            name="status",
            shares_object=True,
            prepare_for_update=strategy.updating_status("spec", metadata=strategy.RESET_METADATA),
            validate=lambda _new, _old: (),
        ),
    ),
    columns=(NAME, Column("CIDRs"), AGE),
    cells=cells,
    default=default,
    prepare_for_create=strategy.creating({}, generation=False),
    prepare_for_update=strategy.updating(),
    validate=validate,
)

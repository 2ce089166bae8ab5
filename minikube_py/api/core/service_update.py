"""What an update of a service may not change."""

from collections.abc import Iterator, Sequence
from typing import Final

from minikube_py.api import names
from minikube_py.api.core.service_spec import is_headless, needs_cluster_ip, needs_health_port
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj

_SPEC: Final = Field("spec")
_ADDRESSES: Final = _SPEC / "clusterIPs"
_FAMILIES: Final = _SPEC / "ipFamilies"
_CLASS: Final = _SPEC / "loadBalancerClass"
_CHANGED: Final = "may not change once set"
_NOT_RELEASED: Final = "must be set to 'SingleStack' when releasing the secondary"


def validate_changes(spec: Obj, old: Obj) -> Iterator[FieldError]:
    """Report changes that cannot be made to a service that exists."""
    if needs_cluster_ip(spec) and needs_cluster_ip(old):
        yield from _validate_addresses(spec, old)
        yield from _validate_families(spec, old)
    if spec.get("type") == "LoadBalancer" == old.get("type"):
        name = spec.get("loadBalancerClass")
        if name != old.get("loadBalancerClass"):
            yield _CLASS.invalid(name, _CHANGED)
    yield from validate_class(spec)
    number, before = spec.get("healthCheckNodePort") or 0, old.get("healthCheckNodePort") or 0
    if needs_health_port(spec) and needs_health_port(old) and number != before:
        yield (_SPEC / "healthCheckNodePort").forbidden("field is immutable")


def validate_class(spec: Obj) -> Iterator[FieldError]:
    """Report the class of a load balancer where there is none, or that is no name."""
    name = spec.get("loadBalancerClass")
    if name is None:
        return
    if spec.get("type") != "LoadBalancer":
        yield _CLASS.forbidden("may only be used when `type` is 'LoadBalancer'")
        return
    for message in names.qualified_name(name):
        yield _CLASS.invalid(name, message)


def _validate_addresses(spec: Obj, old: Obj) -> Iterator[FieldError]:
    if is_headless(spec) and is_headless(old):
        return
    addresses: Sequence[str] = spec.get("clusterIPs") or ()
    before: Sequence[str] = old.get("clusterIPs") or ()
    if len(addresses) == len(before):
        for index, (address, was) in enumerate(zip(addresses, before, strict=True)):
            if address != was:
                yield _ADDRESSES[index].invalid(addresses, _CHANGED)
        return
    if not addresses:
        yield _ADDRESSES[0].invalid(None, "primary clusterIP can not be unset")
    elif before and addresses[0] != before[0]:
        yield _ADDRESSES[0].invalid(addresses, _CHANGED)
    if len(before) > len(addresses) == 1:
        yield from _validate_release(spec, "clusterIP")


def _validate_families(spec: Obj, old: Obj) -> Iterator[FieldError]:
    if is_headless(spec) or is_headless(old):
        return
    families: Sequence[str] = spec.get("ipFamilies") or ()
    before: Sequence[str] = old.get("ipFamilies") or ()
    if len(families) == len(before):
        for family, was in zip(families, before, strict=True):
            if family != was:
                yield _FAMILIES[0].invalid(families, _CHANGED)
        return
    if families and before and families[0] != before[0]:
        yield _FAMILIES[0].invalid(spec.get("clusterIPs"), _CHANGED)
    if len(before) > len(families) == 1:
        yield from _validate_release(spec, "ipFamily")


def _validate_release(spec: Obj, what: str) -> Iterator[FieldError]:
    policy = spec.get("ipFamilyPolicy")
    if policy != "SingleStack":
        yield (_SPEC / "ipFamilyPolicy").invalid(policy, f"{_NOT_RELEASED} {what}")

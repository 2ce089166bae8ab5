"""The IP families of a service: what follows from its addresses and from what the cluster has.

This runs before addresses are allocated (upstream's `registry/core/service/storage/alloc.go`),
by whoever allocates them; it knows which families the cluster has.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from minikube_py.api.addresses import family
from minikube_py.api.core.service_spec import HEADLESS, needs_cluster_ip
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj

SINGLE, DUAL, PREFER_DUAL = "SingleStack", "RequireDualStack", "PreferDualStack"
_SPEC: Final = Field("spec")
_POLICY: Final = _SPEC / "ipFamilyPolicy"
_OTHER: Final = {"IPv4": "IPv6", "IPv6": "IPv4"}


def with_families(
    service: Obj, old: Obj | None, configured: Sequence[str]
) -> tuple[Obj, Sequence[FieldError]]:
    """Return the service with its families and their policy, and what speaks against them.

    `configured` are the families of the cluster, the default first. The service has been checked
    and prepared; where there are errors it is returned as it was.
    """
    spec, before = service.get("spec") or {}, (old or {}).get("spec")
    if not needs_cluster_ip(spec) or _is_kept(spec, before):
        return service, ()
    policy = spec.get("ipFamilyPolicy") or _inferred_policy(spec, before)
    addresses = [ip for ip in spec.get("clusterIPs") or () if ip != HEADLESS]
    families = list(spec.get("ipFamilies") or ())
    errors = [
        *_reductions(spec, before, policy),
        *_surpluses(spec, policy),
        *_unknown_addresses(spec, addresses[len(families) :], len(families), configured),
    ]
    if errors:
        return service, errors
    families += [family(ip) for ip in addresses[len(families) :]]
    if _is_open(spec):
        families = families or [configured[0]]
        if len(families) == 1 and policy != SINGLE:
            families.append(_OTHER[families[0]])
        return _with(service, policy, families), ()
    errors = [*_unknown_families(policy, families, configured)]
    if errors:
        return service, errors
    families = families or [configured[0]]
    if policy != SINGLE and len(families) == 1 and len(configured) == 2:
        families.append(_OTHER[families[0]])
    return _with(service, policy, families), ()


def _with(service: Obj, policy: str, families: Sequence[str]) -> Obj:
    spec: dict[str, Any] = {**service["spec"], "ipFamilyPolicy": policy, "ipFamilies": families}
    return {**service, "spec": spec}


def _is_open(spec: Obj) -> bool:
    """Tell whether somebody else makes the endpoints, so that every family may be there."""
    return spec.get("clusterIP") == HEADLESS and not spec.get("selector")


def _is_kept(spec: Obj, old: Obj | None) -> bool:
    """Tell whether nothing was said that would make one family two, or two one."""
    if old is None or spec.get("ipFamilyPolicy") != PREFER_DUAL:
        return False
    if old.get("ipFamilyPolicy", PREFER_DUAL) != PREFER_DUAL:
        return False
    keys = ("type", "clusterIP", "clusterIPs", "ipFamilies")
    return all((spec.get(key) or None) == (old.get(key) or None) for key in keys)


def _inferred_policy(spec: Obj, old: Obj | None) -> str:
    if old is not None and old.get("ipFamilyPolicy"):
        return str(old["ipFamilyPolicy"])
    return DUAL if _is_open(spec) else SINGLE


def _reductions(spec: Obj, old: Obj | None, policy: str) -> Iterator[FieldError]:
    if old is None or policy == SINGLE:
        return
    kinds = (("clusterIPs", "cluster IP"), ("ipFamilies", "IP family"))
    for key, what in kinds:
        count = len(spec.get(key) or ())
        if count and count < len(old.get(key) or ()):
            yield _POLICY.invalid(policy, f"must be 'SingleStack' to release the secondary {what}")


def _surpluses(spec: Obj, policy: str) -> Iterator[FieldError]:
    if policy != SINGLE:
        return
    for key, what in (("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families")):
        if len(spec.get(key) or ()) == 2:
            yield _POLICY.invalid(
                policy,
                "must be 'RequireDualStack' or 'PreferDualStack' "
                f"when multiple {what} are specified",
            )


def _unknown_addresses(
    spec: Obj, addresses: Sequence[str], start: int, configured: Sequence[str]
) -> Iterator[FieldError]:
    for index, address in enumerate(addresses, start):
        if (found := family(address)) not in configured:
            yield (_SPEC / "clusterIPs")[index].invalid(
                spec.get("clusterIPs"), f"{found} is not configured on this cluster"
            )


def _unknown_families(
    policy: str, families: Sequence[str], configured: Sequence[str]
) -> Iterator[FieldError]:
    if policy == DUAL and len(configured) < 2:
        yield _POLICY.invalid(policy, "this cluster is not configured for dual-stack services")
    for index, name in enumerate(families):
        if name not in configured:
            yield (_SPEC / "ipFamilies")[index].invalid(name, "not configured on this cluster")

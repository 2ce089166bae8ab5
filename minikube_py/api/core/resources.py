"""Names and amounts of resources: what containers may ask for, and what quotas may count.

The lists of names are those of upstream's `pkg/apis/core/helper`.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from minikube_py.api import names, quantity
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.metadata import NOT_NEGATIVE
from minikube_py.api.object import Obj

NOT_INTEGER: Final = "must be an integer"
NOT_POSITIVE: Final = "must be greater than zero"
HUGE_PAGES: Final = "hugepages-"

_COMPUTE: Final = frozenset({"cpu", "memory"})
_CONTAINER: Final = frozenset({"cpu", "memory", "ephemeral-storage"})
_COUNTED: Final = frozenset(
    {
        "pods",
        "resourcequotas",
        "services",
        "replicationcontrollers",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "services.nodeports",
        "services.loadbalancers",
    }
)
_QUOTA: Final = (
    _CONTAINER
    | _COUNTED
    | {"requests.storage"}
    | {f"{kind}.{name}" for kind in ("requests", "limits") for name in _CONTAINER}
)
_STANDARD: Final = _QUOTA | {"storage"}
_POD_LEVEL: Final = ("cpu", HUGE_PAGES, "memory")

Names = Callable[[str, Field], Iterator[FieldError]]
"""Reports a name that does not belong into a list of resources."""


def is_huge_page(name: str) -> bool:
    """Tell whether the resource is huge pages of some size."""
    return name.startswith(HUGE_PAGES)


def is_quota_name(name: str) -> bool:
    """Tell whether a quota knows the resource without a domain."""
    return name in _QUOTA or name.startswith((HUGE_PAGES, f"requests.{HUGE_PAGES}"))


def is_native(name: str) -> bool:
    """Tell whether the resource is Kubernetes' own."""
    return "/" not in name or "kubernetes.io/" in name


def is_extended(name: str) -> bool:
    """Tell whether the resource is somebody else's: a device, a licence."""
    if is_native(name) or name.startswith("requests."):
        return False
    return not names.qualified_name(f"requests.{name}")


def is_overcommit_allowed(name: str) -> bool:
    """Tell whether requests may be lower than limits."""
    return is_native(name) and not is_huge_page(name)


def is_integer(name: str) -> bool:
    """Tell whether the resource is counted in whole pieces."""
    return name in _COUNTED or is_extended(name)


def validate_name(name: str, path: Field) -> Iterator[FieldError]:
    """Report a name of a resource that is neither known nor has a domain."""
    messages = names.qualified_name(name)
    for message in messages:
        yield path.invalid(name, message)
    if messages or "/" in name or name in _STANDARD:
        return
    if not name.startswith((HUGE_PAGES, f"requests.{HUGE_PAGES}")):
        yield path.invalid(name, "must be a standard resource type or fully qualified")


def validate_container_name(name: str, path: Field) -> Iterator[FieldError]:
    """Report a resource that a container cannot ask for."""
    if name in _CONTAINER:
        return
    yield from validate_name(name, path)
    if "/" not in name:
        if not is_huge_page(name):
            yield path.invalid(name, "must be a standard resource for containers")
    elif not is_native(name) and not is_extended(name):
        yield path.invalid(name, "doesn't follow extended resource name standard")


def validate_pod_name(name: str, path: Field) -> Iterator[FieldError]:
    """Report a resource that cannot be asked for at the level of the pod."""
    errors = tuple(validate_name(name, path))
    yield from errors
    if not errors and name not in _COMPUTE and not is_huge_page(name):
        yield path.unsupported(name, _POD_LEVEL)


def validate_quota_name(name: str, path: Field) -> Iterator[FieldError]:
    """Report a resource that a quota cannot count."""
    yield from validate_name(name, path)
    if "/" not in name and not is_quota_name(name):
        yield path.invalid(name, "must be a standard resource for quota")


def validate_amount(name: str, amount: str, path: Field) -> Iterator[FieldError]:
    """Report an amount that is negative, or broken where pieces are counted."""
    parsed = quantity.parse(amount)
    if parsed.nanos < 0:
        yield path.invalid(str(parsed), NOT_NEGATIVE)
    if name not in _CONTAINER and is_integer(name) and parsed.milli_value() % 1000:
        yield path.invalid(str(parsed), NOT_INTEGER)


def validate_positive(amount: str, path: Field) -> Iterator[FieldError]:
    """Report an amount that is not above zero."""
    parsed = quantity.parse(amount)
    if parsed.nanos <= 0:
        yield path.invalid(str(parsed), NOT_POSITIVE)


def validate_basic(amount: str, path: Field) -> Iterable[FieldError]:
    """Report a negative amount, as fields that upstream checks least do."""
    value = quantity.value(amount)
    if value < 0:
        yield path.invalid(value, "must be a valid resource quantity")


def validate_requirements(
    requirements: Obj,
    path: Field,
    *,
    check_name: Names = validate_container_name,
    claims: Collection[str] = (),
    allow_indivisible: bool = False,
) -> Iterator[FieldError]:
    """Report what is wrong with requests and limits.

    `claims` are the names of the pod's resource claims; `allow_indivisible` lets stand what older
    objects say of huge pages.
    """
    limits: Mapping[str, str] = requirements.get("limits") or {}
    requests: Mapping[str, str] = requirements.get("requests") or {}
    for name, amount in limits.items():
        if name not in _COMPUTE or quantity.parse(amount).nanos < 0:
            yield from _validate_entry(name, amount, path / "limits", check_name, allow_indivisible)
    for name, amount in requests.items():
        if name not in _COMPUTE or name in limits or quantity.parse(amount).nanos < 0:
            at = path / "requests"
            yield from _validate_listed(name, amount, at[name], check_name)
            yield from _validate_request(name, amount, limits.get(name), path)
            if is_huge_page(name) and not allow_indivisible:
                yield from _validate_huge_page(name, amount, at[name])
    asked = limits.keys() | requests.keys()
    if _COMPUTE.isdisjoint(asked) and any(map(is_huge_page, asked)):
        yield path.forbidden("HugePages require cpu or memory")
    if requirements.get("claims"):
        yield from _validate_claims(requirements["claims"], claims, path / "claims")


def _validate_entry(
    name: str,
    amount: str,
    path: Field,
    check_name: Names,
    allow_indivisible: bool,  # noqa: FBT001 -- private
) -> Iterator[FieldError]:
    yield from _validate_listed(name, amount, path[name], check_name)
    if is_huge_page(name) and not allow_indivisible:
        yield from _validate_huge_page(name, amount, path[name])


def _validate_listed(
    name: str, amount: str, path: Field, check_name: Names
) -> Iterator[FieldError]:
    yield from check_name(name, path)
    yield from validate_amount(name, amount, path)


def _validate_request(
    name: str, amount: str, limit: str | None, path: Field
) -> Iterator[FieldError]:
    overcommit = name in _CONTAINER or is_overcommit_allowed(name)
    if limit is None:
        if not overcommit:
            yield (path / "limits").required("Limit must be set for non overcommitable resources")
        return
    if amount == limit:
        return
    asked, most = quantity.parse(amount), quantity.parse(limit)
    if asked != most and not overcommit:
        yield (path / "requests").invalid(str(asked), f"must be equal to {name} limit of {most}")
    elif asked > most:
        yield (path / "requests").invalid(
            str(asked), f"must be less than or equal to {name} limit of {most}"
        )


def _validate_huge_page(name: str, amount: str, path: Field) -> Iterator[FieldError]:
    if not is_divisible(name, amount):
        yield path.invalid(
            str(quantity.parse(amount)),
            f"{quantity.parse(amount)} is not positive integer multiple of {name}",
        )


def is_divisible(name: str, amount: str) -> bool:
    """Tell whether an amount is whole pages of the size that the name tells."""
    try:
        size = quantity.parse(name.removeprefix(HUGE_PAGES)).value()
    except ValueError:
        return False
    asked = quantity.value(amount)
    return size > 0 and asked >= size and asked % size == 0


def _validate_claims(
    claims: Sequence[Obj], known: Collection[str], path: Field
) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, claim in enumerate(claims):
        name = claim.get("name") or ""
        if not name:
            yield path[index].required()
            continue
        yield from _validate_claim_unique(claim, seen, path[index])
        if name not in known:
            shown = f": {', '.join(sorted(known))}" if known else " which is empty"
            yield path[index].not_found(
                name, f"must be one of the names in pod.spec.resourceClaims{shown}"
            )


def _validate_claim_unique(claim: Obj, seen: set[str], path: Field) -> Iterator[FieldError]:
    name = claim["name"]
    if name in seen:
        yield path.duplicate(name)
        return
    key = name
    if request := claim.get("request"):
        for message in names.dns1123_label(request):
            yield (path / "request").invalid(request, message)
        key = f"{name}/{request}"
    if key in seen:
        yield path.duplicate(key)
    elif not request:
        for other in seen:
            if other.startswith(f"{name}/"):
                yield path.duplicate(name)
    seen.add(key)

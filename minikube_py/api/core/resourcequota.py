"""Resource quotas: how much a namespace may use."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from minikube_py.api.core.go_values import go_value
from minikube_py.api.core.pod_prepare import with_spec_of, with_status_of
from minikube_py.api.core.resources import is_quota_name, validate_amount, validate_quota_name
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, get
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource, Subresource

_SPEC: Final = Field("spec")
_STATUS: Final = Field("status")
_SCOPES: Final = _SPEC / "scopes"
_EXPRESSIONS: Final = _SPEC / "scopeSelector" / "matchExpressions"
_PODS: Final = frozenset({"pods"})
_PODS_AND_COMPUTE: Final = _PODS | {
    f"{prefix}{name}" for prefix in ("", "requests.", "limits.") for name in ("cpu", "memory")
}
_CLAIMS: Final = frozenset({"persistentvolumeclaims", "requests.storage"})
_RESOURCES: Final = {
    "Terminating": _PODS_AND_COMPUTE,
    "NotTerminating": _PODS_AND_COMPUTE,
    "BestEffort": _PODS,
    "NotBestEffort": _PODS_AND_COMPUTE,
    "PriorityClass": _PODS_AND_COMPUTE,
    "CrossNamespacePodAffinity": _PODS_AND_COMPUTE,
    "VolumeAttributesClass": _CLAIMS,
}
"""The scopes, and of which resources each can count a part."""
_ONLY_EXISTS: Final = frozenset(_RESOURCES) - {"PriorityClass", "VolumeAttributesClass"}
_CONFLICTS: Final = (
    frozenset({"BestEffort", "NotBestEffort"}),
    frozenset({"Terminating", "NotTerminating"}),
)
_NO_SCOPE: Final = "unsupported scope"
_NOT_FOR_RESOURCE: Final = "unsupported scope applied to resource"
_CONFLICTING: Final = "conflicting scopes"


def default(quota: Obj) -> Obj:
    """Write what is always there."""
    return {**quota, "spec": quota.get("spec") or {}, "status": quota.get("status") or {}}


def prepare_for_create(quota: Obj) -> Obj:
    """Drop the status: the quota controller counts."""
    return {**quota, "status": {}}


def validate(quota: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated quota."""
    spec = quota.get("spec") or {}
    hard: Mapping[str, str] = spec.get("hard") or {}
    yield from _validate_amounts(hard, _SPEC / "hard")
    counted = [name for name in sorted(hard) if is_quota_name(name)]
    scopes: Sequence[str] = spec.get("scopes") or ()
    yield from _validate_scopes(scopes, counted)
    if (selector := spec.get("scopeSelector")) is not None:
        yield from _validate_selector(selector, scopes, counted)
    if old is not None and set(scopes) != set(get(old, "spec.scopes") or ()):
        yield _SCOPES.immutable(scopes or None)


def _validate_amounts(amounts: Mapping[str, str], path: Field) -> Iterator[FieldError]:
    for name, amount in amounts.items():
        yield from validate_quota_name(name, path[name])
        yield from validate_amount(name, amount, path[name])


def _validate_scopes(scopes: Sequence[str], counted: Sequence[str]) -> Iterator[FieldError]:
    for scope in scopes:
        if scope not in _RESOURCES:
            yield _SCOPES.invalid(scopes, _NO_SCOPE)
        for _ in _uncountable(scope, counted):
            yield _SCOPES.invalid(scopes, _NOT_FOR_RESOURCE)
    for pair in _CONFLICTS:
        if pair.issubset(scopes):
            yield _SCOPES.invalid(scopes, _CONFLICTING)


def _uncountable(scope: str, counted: Sequence[str]) -> Iterator[str]:
    if (known := _RESOURCES.get(scope)) is not None:
        yield from (name for name in counted if name not in known)


def _validate_selector(
    selector: Obj, scopes: Sequence[str], counted: Sequence[str]
) -> Iterator[FieldError]:
    requirements: Sequence[Obj] = selector.get("matchExpressions") or ()
    for requirement in requirements:
        scope = requirement.get("scopeName") or ""
        if scope not in _RESOURCES:
            yield (_EXPRESSIONS / "scopeName").invalid(scope, _NO_SCOPE)
        for _ in _uncountable(scope, counted):
            yield _EXPRESSIONS.invalid(go_value(selector, "ScopeSelector"), _NOT_FOR_RESOURCE)
        yield from _validate_requirement(requirement, scope)
    named = {requirement.get("scopeName") for requirement in requirements}
    for pair in _CONFLICTS:
        if pair <= named:
            yield _EXPRESSIONS.invalid(scopes or None, _CONFLICTING)


def _validate_requirement(requirement: Obj, scope: str) -> Iterator[FieldError]:
    operator, values = requirement.get("operator") or "", requirement.get("values") or ()
    path = _EXPRESSIONS / "operator"
    if scope in _ONLY_EXISTS and operator != "Exists":
        yield path.invalid(
            operator,
            "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, "
            "ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, "
            "ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity",
        )
    match operator:
        case "In" | "NotIn":
            if not values:
                yield (_EXPRESSIONS / "values").required(
                    "must be at least one value when `operator` is 'In' or 'NotIn' "
                    "for scope selector"
                )
        case "Exists" | "DoesNotExist":
            if values:
                yield (_EXPRESSIONS / "values").invalid(
                    values,
                    "must be no value when `operator` is 'Exist' or 'DoesNotExist' "
                    "for scope selector",
                )
        case _:
            yield path.invalid(operator, "not a valid selector operator")


def validate_status(quota: Obj, _old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with what was counted."""
    for key in ("hard", "used"):
        yield from _validate_amounts(get(quota, f"status.{key}") or {}, _STATUS / key)


def cells(quota: Obj) -> Sequence[Any]:
    """Return name, what is requested, what it is limited to, and age."""
    hard: Mapping[str, str] = get(quota, "status.hard") or {}
    used: Mapping[str, str] = get(quota, "status.used") or {}
    shown = {name: f"{name}: {used.get(name, '0')}/{hard[name]}" for name in sorted(hard)}
    metadata = quota["metadata"]
    return (
        metadata["name"],
        ", ".join(text for name, text in shown.items() if not name.startswith("limits.")),
        ", ".join(text for name, text in shown.items() if name.startswith("limits.")),
        Age(metadata.get("creationTimestamp")),
    )


RESOURCEQUOTAS = Resource(
    returns_deleted_object=True,
    kind="ResourceQuota",
    plural="resourcequotas",
    short_names=("quota",),
    schema="io.k8s.api.core.v1.ResourceQuota",
    subresources=(
        Subresource(
            name="status",
            shares_object=True,
            prepare_for_update=with_spec_of,
            validate=validate_status,
        ),
    ),
    columns=(NAME, Column("Request"), Column("Limit"), AGE),
    cells=cells,
    default=default,
    prepare_for_create=prepare_for_create,
    prepare_for_update=with_status_of,
    validate=validate,
)

"""Validating admission policies: rules for requests, written in CEL."""

from collections.abc import Iterator, Sequence
from typing import Any

from minikube_py.api import names, strategy
from minikube_py.api.admissionregistration import matching, policies
from minikube_py.api.admissionregistration.policies import SPEC
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj
from minikube_py.api.resource import AGE, NAME, Column, Resource, Subresource

REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized")
_SOMETHING = "validations or auditAnnotations must contain at least one item"


def default(policy: Obj) -> Obj:
    """Fill in what the user left out."""
    return strategy.with_absent(policies.default_policy(policy), {"status": {}})


def validate(new: Obj, _old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated policy."""
    spec = new["spec"]
    yield from policies.validate_policy(spec)
    validations, annotations = spec.get("validations") or (), spec.get("auditAnnotations") or ()
    if not validations and not annotations:
        yield (SPEC / "validations").required(_SOMETHING)
        yield (SPEC / "auditAnnotations").required(_SOMETHING)
    for index, rule in enumerate(validations):
        yield from _validate_rule(rule, (SPEC / "validations")[index])
    if len(annotations) > policies.ANNOTATIONS_MAX:
        yield (SPEC / "auditAnnotations").too_many(len(annotations), policies.ANNOTATIONS_MAX)
    yield from _validate_annotations(annotations, new["metadata"].get("name", ""))


def _validate_rule(rule: Obj, field: Field) -> Iterator[FieldError]:
    if not rule.get("expression", "").strip():
        yield (field / "expression").required("expression is not specified")
    message, reason = rule.get("message"), rule.get("reason")
    if message and not message.strip():
        yield (field / "message").invalid(message, "must be non-empty if specified")
    elif message and "\n" in message.strip():
        yield (field / "message").invalid(message, "must not contain line breaks")
    if reason is not None and reason not in REASONS[:3]:
        yield (field / "reason").unsupported(reason, REASONS[:3])


def _validate_annotations(annotations: Sequence[Obj], policy: str) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, annotation in enumerate(annotations):
        key, field = annotation.get("key", ""), (SPEC / "auditAnnotations")[index]
        full = f"{policy}/{key}"
        yield from ((field / "key").invalid(full, text) for text in names.qualified_name(full))
        if not annotation.get("valueExpression", "").strip():
            yield (field / "valueExpression").required("valueExpression is not specified")
        if key in seen:
            yield (field / "key").duplicate(key)
        seen.add(key)


def cells(policy: Obj) -> Sequence[Any]:
    """Return the cells of a policy's row."""
    return policies.policy_cells(policy, "validations")


VALIDATINGADMISSIONPOLICIES = Resource(
    group=matching.GROUP,
    kind="ValidatingAdmissionPolicy",
    plural="validatingadmissionpolicies",
    namespaced=False,
    categories=("api-extensions",),
    schema="io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicy",
    subresources=(
        Subresource(
            name="status",
            shares_object=True,
            prepare_for_update=strategy.updating_status("spec", metadata=strategy.RESET_METADATA),
            validate=lambda _new, _old: (),
        ),
    ),
    columns=(NAME, Column("Validations", "integer"), Column("ParamKind"), AGE),
    cells=cells,
    default=default,
    prepare_for_create=strategy.creating({}),
    prepare_for_update=strategy.updating("spec"),
    validate=validate,
    allow_unconditional_update=False,
)

"""Validating admission policies: rules for requests, written in CEL."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from minikube_py.api import jsonpath, names, strategy
from minikube_py.api.admissionregistration import expressions, matching, policies
from minikube_py.api.admissionregistration.expressions import Composition, ExpressionError
from minikube_py.api.admissionregistration.policies import SPEC
from minikube_py.api.conditions import validate_conditions
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, get
from minikube_py.api.resource import AGE, NAME, Column, Resource, Subresource

REASONS = frozenset({"Forbidden", "Invalid", "RequestEntityTooLarge"})
_SOMETHING = "validations or auditAnnotations must contain at least one item"
VALUE_BYTES_MAX = 5 * 1024
"""Of a valueExpression: half of what an annotation may hold, since the text often grows."""
_LINE_BREAKS = re.compile(r"[\n\r]")


def default(policy: Obj) -> Obj:
    """Fill in what the user left out."""
    return strategy.with_absent(policies.default_policy(policy), {"status": {}})


def validate(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated policy."""
    spec = new["spec"]
    composition = Composition(params=spec.get("paramKind") is not None)
    yield from policies.validate_policy(spec, composition, old and old["spec"])
    validations, annotations = spec.get("validations") or (), spec.get("auditAnnotations") or ()
    if not validations and not annotations:
        yield (SPEC / "validations").required(_SOMETHING)
        yield (SPEC / "auditAnnotations").required(_SOMETHING)
    for index, rule in enumerate(validations):
        yield from _validate_rule(rule, composition, (SPEC / "validations")[index])
    if len(annotations) > policies.ANNOTATIONS_MAX:
        shown = [
            {"Key": each.get("key", ""), "ValueExpression": each.get("valueExpression", "")}
            for each in annotations
        ]
        limit = policies.ANNOTATIONS_MAX
        yield (SPEC / "auditAnnotations").invalid(
            shown, f"must not have more than {limit} auditAnnotations"
        )
    yield from _validate_annotations(annotations, composition, new["metadata"].get("name", ""))


def _validate_rule(rule: Obj, composition: Composition, field: Field) -> Iterator[FieldError]:
    text, given = rule.get("expression", ""), rule.get("messageExpression", "")
    if not text.strip():
        yield (field / "expression").required("expression is not specified")
    else:
        known = composition.variables()
        yield from expressions.problems(text, known, expressions.CONDITION, field / "expression")
    where = field / "messageExpression"
    if given.strip():
        known = composition.variables(authorizer=False)
        yield from expressions.problems(given, known, expressions.MESSAGE, where)
    elif given:
        yield where.invalid(given, "must be non-empty if specified")
    message, reason = rule.get("message"), rule.get("reason")
    if message and not message.strip():
        yield (field / "message").invalid(message, "must be non-empty if specified")
    elif message and _LINE_BREAKS.search(message.strip()):
        yield (field / "message").invalid(message, "must not contain line breaks")
    if reason is not None and reason not in REASONS:
        yield (field / "reason").unsupported(reason, REASONS)


def _validate_annotations(
    annotations: Sequence[Obj], composition: Composition, policy: str
) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, annotation in enumerate(annotations):
        key, field = annotation.get("key", ""), (SPEC / "auditAnnotations")[index]
        full = f"{policy}/{key}"
        if policy:
            yield from ((field / "key").invalid(full, text) for text in names.qualified_name(full))
        else:
            yield (field / "key").invalid(key, "requires metadata.name be non-empty")
        yield from _validate_value(
            annotation.get("valueExpression", ""), composition, field / "valueExpression"
        )
        if key in seen:
            yield (field / "key").duplicate(key)
        seen.add(key)


def _validate_value(text: str, composition: Composition, field: Field) -> Iterator[FieldError]:
    trimmed = text.strip()
    if not trimmed:
        yield field.required("valueExpression is not specified")
    elif len(trimmed.encode()) > VALUE_BYTES_MAX:
        yield field.required(f"must not exceed {VALUE_BYTES_MAX} bytes in length")
    else:
        try:
            expressions.compiled(trimmed, composition.variables(), expressions.ANNOTATION)
        except ExpressionError as error:
            yield field.invalid(text, str(error))


def validate_status(new: Obj, _old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a status."""
    status, field = new.get("status") or {}, Field("status")
    warnings = get(status, "typeChecking.expressionWarnings") or ()
    for index, warning in enumerate(warnings):
        where = (field / "typeChecking" / "expressionWarnings")[index]
        if not warning.get("warning"):
            yield (where / "warning").required()
        reference = (warning.get("fieldRef") or "").strip()
        if not reference:
            yield (where / "fieldRef").required()
        else:
            yield from _validate_path(reference, where / "fieldRef")
    yield from validate_conditions(status.get("conditions") or (), field / "conditions")


def _validate_path(path: str, field: Field) -> Iterator[FieldError]:
    try:
        jsonpath.compiled(path)
    except ValueError as error:
        yield field.invalid(path, f"invalid JSONPath: {error}")


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
            validate=validate_status,
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

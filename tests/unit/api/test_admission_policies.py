"""What policies and bindings may say: field by field, in upstream's words."""

from typing import Any

import pytest

from minikube_py.api.kinds import BUILTIN
from tests.frozen import freeze

KINDS = {
    kind.plural: kind
    for kind in BUILTIN
    if (kind.group, kind.version) == ("admissionregistration.k8s.io", "v1")
}
RULE = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
MATCHING = {"matchConstraints": {"resourceRules": [RULE]}}
VALIDATING = {**MATCHING, "validations": [{"expression": "true"}]}
PATCH = "[JSONPatch{op: 'add', path: '/a', value: 1}]"
MUTATING = {
    **MATCHING,
    "reinvocationPolicy": "Never",
    "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": PATCH}}],
}
BINDING = {"policyName": "p", "validationActions": ["Deny"]}
OPERANDS = (
    "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT,"
    " STRING, BYTES, IDENTIFIER}"
)


def errors(plural: str, spec: Any) -> list[str]:
    kind = KINDS[plural]
    identity = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": "p"}}
    obj = kind.default(freeze({**identity, "spec": spec}))
    causes = [error.cause() for error in kind.validate(obj, None)]
    return [f"{cause['field']}: {cause['message']}" for cause in causes]


def refused(text: str, column: int, why: str) -> str:
    pointer = "." * (column - 1) + "^"
    return (
        f'Invalid value: "{text}": compilation failed: ERROR: <input>:1:{column}: {why}\n'
        f" | {text}\n | {pointer}"
    )


def rule(expression: str, **more: str) -> Any:
    return {"validations": [{"expression": expression, **more}]}


@pytest.mark.parametrize(
    ("plural", "spec"),
    [
        ("validatingadmissionpolicies", VALIDATING),
        ("mutatingadmissionpolicies", MUTATING),
        ("validatingadmissionpolicybindings", BINDING),
    ],
)
def test_a_good_one_is_taken(plural: str, spec: Any) -> None:
    assert errors(plural, spec) == []


@pytest.mark.parametrize(
    ("more", "found"),
    [
        (
            {"validations": []},
            [
                f"spec.{each}: Required value: validations or auditAnnotations must contain at "
                "least one item"
                for each in ("validations", "auditAnnotations")
            ],
        ),
        (
            rule(" "),
            ["spec.validations[0].expression: Required value: expression is not specified"],
        ),
        (
            rule("object.x +"),
            [
                "spec.validations[0].expression: "
                + refused(
                    "object.x +",
                    11,
                    f"Syntax error: mismatched input '<EOF>' expecting {OPERANDS}",
                )
            ],
        ),
        (
            rule("params.x == 1"),
            [
                "spec.validations[0].expression: "
                + refused("params.x == 1", 1, "undeclared reference to 'params' (in container '')")
            ],
        ),
        (
            rule("'a'"),
            [
                (
                    "spec.validations[0].expression: "
                    "Invalid value: \"'a'\": must evaluate to bool but got string"
                )
            ],
        ),
        (
            rule("true", messageExpression="1"),
            [
                (
                    'spec.validations[0].messageExpression: Invalid value: "1": must evaluate to '
                    "string but got int"
                )
            ],
        ),
        (
            rule("true", reason="Nope"),
            [
                (
                    'spec.validations[0].reason: Unsupported value: "Nope": supported values: '
                    '"Forbidden", "Invalid", "RequestEntityTooLarge"'
                )
            ],
        ),
        (
            {"paramKind": {"apiVersion": "a/b/c", "kind": ""}},
            [
                (
                    'spec.paramKind.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion '
                    "string: a/b/c"
                ),
                "spec.paramKind.kind: Required value",
            ],
        ),
        (
            {"variables": [{"name": "1x", "expression": "true"}]},
            ['spec.variables[0].name: Invalid value: "1x": must be a valid CEL identifier'],
        ),
        (
            {"matchConditions": [{"name": "x", "expression": each} for each in ("true", "1")]},
            [
                (
                    'spec.matchConditions[1].expression: Invalid value: "1": must evaluate to bool '
                    "but got int"
                ),
                'spec.matchConditions[1].name: Duplicate value: "x"',
            ],
        ),
        (
            {"auditAnnotations": [{"key": "ok", "valueExpression": "1"}]},
            [
                (
                    'spec.auditAnnotations[0].valueExpression: Invalid value: "1": must evaluate '
                    "to one of [string null_type] but got int"
                )
            ],
        ),
    ],
)
def test_what_a_validating_policy_may_not_say(more: Any, found: list[str]) -> None:
    assert errors("validatingadmissionpolicies", {**VALIDATING, **more}) == found


@pytest.mark.parametrize(
    ("more", "found"),
    [
        (
            {"mutations": []},
            "spec.mutations: Required value: mutations must contain at least one item",
        ),
        (
            {"reinvocationPolicy": "X"},
            (
                'spec.reinvocationPolicy: Unsupported value: "X": supported values: "IfNeeded", '
                '"Never"'
            ),
        ),
        (
            {"mutations": [{"patchType": "JSONPatch"}]},
            (
                "spec.mutations[0].jsonPatch: Required value: must be specified when patchType is "
                "JSONPatch"
            ),
        ),
        (
            {"mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": "Object{}"}}]},
            (
                'spec.mutations[0].jsonPatch.expression: Invalid value: "Object{}": must evaluate '
                "to list(JSONPatch) but got Object"
            ),
        ),
    ],
)
def test_what_a_mutating_policy_may_not_say(more: Any, found: str) -> None:
    assert errors("mutatingadmissionpolicies", {**MUTATING, **more}) == [found]


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ({"policyName": ""}, ["spec.policyName: Required value"]),
        (
            {"validationActions": []},
            ["spec.validationActions: Required value: at least one validation action is required"],
        ),
        (
            {"validationActions": ["Warn", "Warn", "No"]},
            [
                'spec.validationActions[1]: Duplicate value: "Warn"',
                (
                    'spec.validationActions[2]: Unsupported value: "No": supported values: '
                    '"Audit", "Deny", "Warn"'
                ),
            ],
        ),
        (
            {"paramRef": {"name": "a", "selector": {}, "parameterNotFoundAction": "Deny"}},
            [
                "spec.paramRef.name: Forbidden: name and selector are mutually exclusive",
                "spec.paramRef.selector: Forbidden: name and selector are mutually exclusive",
            ],
        ),
        (
            {"paramRef": {"parameterNotFoundAction": "X"}},
            [
                "spec.paramRef: Required value: one of name or selector must be specified",
                (
                    'spec.paramRef.parameterNotFoundAction: Unsupported value: "X": supported '
                    'values: "Deny", "Allow"'
                ),
            ],
        ),
    ],
)
def test_what_a_binding_may_not_say(more: Any, found: list[str]) -> None:
    assert errors("validatingadmissionpolicybindings", {**BINDING, **more}) == found

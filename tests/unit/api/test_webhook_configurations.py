"""What may stand in a webhook configuration."""

from typing import Any

import pytest

from minikube_py.api.admissionregistration import (
    MUTATINGWEBHOOKCONFIGURATIONS,
    VALIDATINGWEBHOOKCONFIGURATIONS,
)
from minikube_py.api.object import Obj

RULE = {
    "operations": ["CREATE"],
    "apiGroups": [""],
    "apiVersions": ["v1"],
    "resources": ["pods"],
}
HOOK = {
    "name": "one.example.com",
    "clientConfig": {"url": "https://example.com/path"},
    "rules": [RULE],
    "sideEffects": "None",
    "admissionReviewVersions": ["v1"],
}


def errors(*hooks: Any, old: Any = None, mutating: bool = True) -> list[str]:
    kind = MUTATINGWEBHOOKCONFIGURATIONS if mutating else VALIDATINGWEBHOOKCONFIGURATIONS

    def configuration(webhooks: Any) -> Obj:
        return kind.default({"metadata": {"name": "c"}, "webhooks": list(webhooks)})

    before = None if old is None else configuration(old)
    return [str(error) for error in kind.validate(configuration(hooks), before)]


def hook(**changes: Any) -> dict[str, Any]:
    return {**HOOK, **changes}


def service(**changes: Any) -> dict[str, Any]:
    return {"clientConfig": {"service": {"name": "n", "namespace": "s", **changes}}}


def test_a_sound_configuration_is_taken() -> None:
    assert errors(HOOK, hook(name="two.example.com", **service(path="/a/b/", port=8443))) == []
    assert errors(HOOK, mutating=False) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"name": ""}, "webhooks[0].name: Required value"),
        ({"name": "a.b"}, "should be a domain with at least three segments separated by dots"),
        ({"name": "A.b.c"}, "webhooks[0].name: Invalid value"),
        ({"sideEffects": None}, "must specify one of None, NoneOnDryRun"),
        ({"sideEffects": "Some"}, 'Unsupported value: "Some"'),
        ({"timeoutSeconds": 0}, "the timeout value must be between 1 and 30 seconds"),
        ({"timeoutSeconds": 31}, "the timeout value must be between 1 and 30 seconds"),
        ({"failurePolicy": "Maybe"}, 'webhooks[0].failurePolicy: Unsupported value: "Maybe"'),
        ({"matchPolicy": "Maybe"}, 'webhooks[0].matchPolicy: Unsupported value: "Maybe"'),
        ({"reinvocationPolicy": "Maybe"}, 'reinvocationPolicy: Unsupported value: "Maybe"'),
        ({"admissionReviewVersions": []}, "must specify one of v1, v1beta1"),
        ({"admissionReviewVersions": ["v3"]}, "must include at least one of v1, v1beta1"),
        ({"admissionReviewVersions": ["v1", "v1"]}, "duplicate version"),
        ({"clientConfig": {}}, "exactly one of url or service is required"),
        ({"clientConfig": {"url": "http://a"}}, "'https' is the only allowed URL scheme"),
        ({"clientConfig": {"url": "https:///path"}}, "host must be specified"),
        ({"clientConfig": {"url": "https://a:b@c"}}, "user information is not permitted"),
        ({"clientConfig": {"url": "https://a/#b"}}, "fragments are not permitted"),
        ({"clientConfig": {"url": "https://a/?b=c"}}, "query parameters are not permitted"),
        (service(name=""), "clientConfig.service.name: Required value"),
        (service(namespace=""), "clientConfig.service.namespace: Required value"),
        (service(port=0), "port is not valid: must be between 1 and 65535, inclusive"),
        (service(path="a"), "must start with a '/'"),
        (service(path="//"), "segment[0] may not be empty"),
        (service(path="/a//b"), "segment[1] may not be empty"),
        (service(path="/A"), "segment[0]: a lowercase RFC 1123 subdomain"),
        ({"rules": [{**RULE, "operations": []}]}, "rules[0].operations: Required value"),
        (
            {"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "X"}]}},
            "not a valid selector operator",
        ),
        (
            {"matchConditions": [{"name": "a", "expression": "object."}]},
            "compilation failed: ERROR: <input>",
        ),
        (
            {"matchConditions": [{"name": "a", "expression": "'text'"}]},
            "must evaluate to bool",
        ),
        (
            {"matchConditions": [{"name": "a", "expression": "params.x"}]},
            "undeclared reference to 'params'",
        ),
        ({"matchConditions": [{"name": "", "expression": "true"}]}, "name: Required value"),
        (
            {"matchConditions": [{"name": "a", "expression": "true"}] * 2},
            "webhooks[0].matchConditions[1].name: Duplicate value",
        ),
        (
            {"matchConditions": [{"name": f"n{n}", "expression": "true"} for n in range(65)]},
            "must have at most 64 items",
        ),
    ],
)
def test_what_is_wrong_with_a_webhook_is_told(changes: dict[str, Any], expected: str) -> None:
    found = errors(hook(**changes))
    assert found
    assert any(expected in text for text in found), found


def test_names_are_unique_in_a_configuration() -> None:
    assert errors(HOOK, HOOK) == ['webhooks[1].name: Duplicate value: "one.example.com"']
    assert all("Duplicate" not in text for text in errors(hook(name=""), hook(name="")))


def test_conditions_that_stay_as_they_were_are_not_compiled_again() -> None:
    odd = hook(matchConditions=[{"name": "a", "expression": "object."}])
    assert errors(odd, old=[odd]) == []
    assert errors(odd, old=[HOOK])
    assert errors(odd, HOOK, old=[odd])

"""What policies are told of their expressions."""

from typing import Any

import pytest

from minikube_py.api.object import get
from minikube_py.client.actions import Update
from minikube_py.server.controllers.validating_admission_policy_status import plan
from tests.frozen import freeze


def policy(*validations: Any, **spec: Any) -> Any:
    rule = {
        "apiGroups": ["apps"],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["deployments", "deployments/scale", "nothings"],
    }
    return freeze(
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": "p", "generation": 2},
            "spec": {
                "matchConstraints": {"resourceRules": [rule]},
                "validations": list(validations),
                **spec,
            },
            "status": {"observedGeneration": 1},
        }
    )


def status(obj: Any, *definitions: Any) -> Any:
    (action,) = plan(obj, definitions)
    assert isinstance(action, Update)
    assert action.subresource == "status"
    return action.obj["status"]


def test_a_policy_without_mistakes_has_been_looked_at() -> None:
    sound = policy({"expression": "object.spec.replicas < 5 && has(object.metadata.labels)"})
    assert status(sound) == {"observedGeneration": 2, "typeChecking": {}}


def test_a_field_that_the_kind_has_not_is_told() -> None:
    found = status(policy({"expression": "object.spec.replicaz > 1"}))
    assert found["typeChecking"]["expressionWarnings"] == [
        {
            "fieldRef": "spec.validations[0].expression",
            "warning": "apps/v1, Kind=Deployment: ERROR: <input>:1:12: undefined field 'replicaz'\n"
            " | object.spec.replicaz > 1\n | ...........^\n",
        }
    ]


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("object.spec.replicas == 'a'", "found no matching overload for '_==_'"),
        ("object.spec.template.spec.containers.all(c, c.image > 1)", "no matching overload"),
        ("params.x > 1", "undeclared reference to 'params'"),
        ("variables.count == 'x'", "found no matching overload"),
    ],
)
def test_types_are_known_to_the_last_field(expression: str, text: str) -> None:
    variables = [{"name": "count", "expression": "object.spec.replicas"}]
    found = status(policy({"expression": expression}, variables=variables))
    (warning,) = found["typeChecking"]["expressionWarnings"]
    assert text in warning["warning"]


def test_messages_are_looked_at_too() -> None:
    rule = {"expression": "true", "messageExpression": "object.nope"}
    (warning,) = status(policy(rule))["typeChecking"]["expressionWarnings"]
    assert warning["fieldRef"] == "spec.validations[0].messageExpression"


def test_a_wildcard_tells_no_kind() -> None:
    rule = {"apiGroups": ["*"], "apiVersions": ["v1"], "resources": ["pods"]}
    wild = policy({"expression": "object.nope"}, matchConstraints={"resourceRules": [rule]})
    assert status(wild)["typeChecking"] == {}


def test_custom_kinds_and_params_are_known() -> None:
    schema = {"type": "object", "properties": {"max": {"type": "integer"}}}
    crd = freeze(
        {
            "metadata": {"name": "limits.example.com"},
            "spec": {
                "group": "example.com",
                "scope": "Namespaced",
                "names": {"kind": "Limit", "plural": "limits"},
                "versions": [
                    {
                        "name": "v1",
                        "served": True,
                        "storage": True,
                        "schema": {"openAPIV3Schema": schema},
                    }
                ],
            },
            "status": {"acceptedNames": {"kind": "Limit", "plural": "limits"}},
        }
    )
    kind = {"apiVersion": "example.com/v1", "kind": "Limit"}
    good = policy({"expression": "object.spec.replicas < params.max"}, paramKind=kind)
    assert status(good, crd)["typeChecking"] == {}
    bad = policy({"expression": "params.maximum > 1"}, paramKind=kind)
    assert "undefined field 'maximum'" in str(get(status(bad, crd), "typeChecking"))


def test_a_generation_is_looked_at_once() -> None:
    assert list(plan({**policy(), "status": {"observedGeneration": 2}}, ())) == []

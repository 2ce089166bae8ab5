"""Admission policies as the conformance suite tries them: on deployments."""

from typing import Any

import pytest

from tests.integration.conformance.api import Api

ADMISSION = "/apis/admissionregistration.k8s.io/v1"
DEPLOYMENTS = "/apis/apps/v1/namespaces/n/deployments"
CONSTRAINTS: dict[str, Any] = {
    "resourceRules": [
        {
            "apiGroups": ["apps"],
            "apiVersions": ["v1"],
            "operations": ["CREATE", "UPDATE"],
            "resources": ["deployments"],
        }
    ],
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "n"}},
}


def deployment(name: str, replicas: int = 1) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": "i"}]},
            },
        },
    }


async def install(api: Api, kind: str, spec: Any, **binding: Any) -> None:
    """Make a policy and its binding; `kind` is validating or mutating."""
    spec = {"matchConstraints": CONSTRAINTS, **spec}
    await api.create(
        f"{ADMISSION}/{kind}admissionpolicies", {"metadata": {"name": "p"}, **spec_of(spec)}
    )
    await api.create(
        f"{ADMISSION}/{kind}admissionpolicybindings",
        {"metadata": {"name": "b"}, **spec_of({"policyName": "p", **binding})},
    )


def spec_of(spec: Any) -> dict[str, Any]:
    return {"spec": spec}


async def refused(api: Api, body: Any) -> str:
    answer = await api.call("POST", DEPLOYMENTS, body)
    assert answer.status == 422, answer.raw
    return str(answer.body["message"])


@pytest.mark.usefixtures("space")
@pytest.mark.conformance("ValidatingAdmissionPolicy should validate against a Deployment")
async def test_a_deployment_is_validated(api: Api) -> None:
    rule = {
        "expression": "object.spec.replicas > 1",
        "messageExpression": "'wants replicas > 1, got ' + string(object.spec.replicas)",
    }
    await install(api, "validating", {"validations": [rule]}, validationActions=["Deny"])
    denied = await refused(api, deployment("one"))
    assert denied == (
        "deployments.apps \"one\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' "
        "denied request: wants replicas > 1, got 1"
    )
    await api.create(DEPLOYMENTS, deployment("two", 2))
    status = await api.until(
        f"{ADMISSION}/validatingadmissionpolicies/p",
        lambda policy: policy["status"].get("observedGeneration") == 1,
    )
    assert status["status"]["typeChecking"] == {}


@pytest.mark.usefixtures("space")
@pytest.mark.conformance("ValidatingAdmissionPolicy should allow expressions to refer variables.")
async def test_expressions_refer_to_variables(api: Api) -> None:
    spec = {
        "variables": [
            {"name": "replicas", "expression": "object.spec.replicas"},
            {"name": "oddReplicas", "expression": "variables.replicas % 2 == 1"},
        ],
        "validations": [
            {"expression": "variables.replicas > 1"},
            {"expression": "variables.oddReplicas"},
        ],
    }
    await install(api, "validating", spec, validationActions=["Deny"])
    assert "failed expression: variables.replicas > 1" in await refused(api, deployment("one"))
    assert "failed expression: variables.oddReplicas" in await refused(api, deployment("two", 2))
    await api.create(DEPLOYMENTS, deployment("three", 3))


@pytest.mark.usefixtures("space")
@pytest.mark.conformance("MutatingAdmissionPolicy should mutate a Deployment")
async def test_a_deployment_is_mutated(api: Api) -> None:
    text = "Object{spec: Object.spec{replicas: object.spec.replicas + 1}}"
    mutation = {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": text}}
    await install(api, "mutating", {"mutations": [mutation], "reinvocationPolicy": "Never"})
    made = await api.create(DEPLOYMENTS, deployment("d", 2))
    assert made["spec"]["replicas"] == 3


@pytest.mark.usefixtures("space")
@pytest.mark.conformance("MutatingAdmissionPolicy should mutate a Deployment with annotations")
async def test_a_deployment_gets_annotations(api: Api) -> None:
    text = (
        "Object{metadata: Object.metadata{annotations: {'by': 'policy ' + object.metadata.name}}}"
    )
    mutation = {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": text}}
    await install(api, "mutating", {"mutations": [mutation], "reinvocationPolicy": "Never"})
    made = await api.create(DEPLOYMENTS, deployment("d"))
    assert made["metadata"]["annotations"] == {"by": "policy d"}


@pytest.mark.usefixtures("space")
async def test_a_policy_is_told_what_it_gets_wrong(api: Api) -> None:
    rule = {"expression": "object.spec.replicaz > 1"}
    await install(api, "validating", {"validations": [rule]}, validationActions=["Warn"])

    def is_told(policy: Any) -> bool:
        return "expressionWarnings" in policy["status"].get("typeChecking", {})

    policy = await api.until(f"{ADMISSION}/validatingadmissionpolicies/p", is_told)
    (warning,) = policy["status"]["typeChecking"]["expressionWarnings"]
    assert warning["fieldRef"] == "spec.validations[0].expression"
    assert "undefined field 'replicaz'" in warning["warning"]

"""Who may write policies with params: only those who may read the params."""

from typing import Any

import pytest

from tests.integration.conftest import Answer, Server

ADMISSION = "/apis/admissionregistration.k8s.io/v1"
ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
CONFIGMAPS = {"apiVersion": "v1", "kind": "ConfigMap"}
ANN = "&{ann  [system:authenticated] map[]}"
NAMED = {"name": "params", "namespace": "default", "parameterNotFoundAction": "Deny"}
CHOSEN = {"selector": {}, "namespace": "default", "parameterNotFoundAction": "Deny"}
KINDS = pytest.mark.parametrize("kind", ["validating", "mutating"])


async def allow(server: Server, name: str, *rules: tuple[str, str, str]) -> None:
    """Let ann do (group, resource, verb)."""
    listed = [
        {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
        for group, resource, verb in rules
    ]
    role = {"metadata": {"name": name}, "rules": listed}
    assert (await server.call("POST", ROLES, role)).status == 201
    binding = {
        "metadata": {"name": name},
        "subjects": [{"kind": "User", "name": "ann", "apiGroup": "rbac.authorization.k8s.io"}],
        "roleRef": {"kind": "ClusterRole", "name": name, "apiGroup": "rbac.authorization.k8s.io"},
    }
    assert (await server.call("POST", BINDINGS, binding)).status == 201


@pytest.fixture
async def cluster(server: Server) -> Server:
    """A server that lets ann write policies."""
    await allow(server, "policies", ("admissionregistration.k8s.io", "*", "*"))
    return server


def policy(kind: str, params: Any = None) -> dict[str, Any]:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
    spec: dict[str, Any] = {
        "matchConstraints": {"resourceRules": [{**rule, "operations": ["CREATE"]}]},
    }
    if params:
        spec["paramKind"] = params
    if kind == "validating":
        return {
            "metadata": {"name": "p"},
            "spec": {**spec, "validations": [{"expression": "true"}]},
        }
    text = "Object{}"
    change = {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": text}}
    more = {"mutations": [change], "reinvocationPolicy": "Never"}
    return {"metadata": {"name": "p"}, "spec": {**spec, **more}}


def binding(kind: str, reference: Any) -> dict[str, Any]:
    spec: dict[str, Any] = {"policyName": "p"}
    if reference:
        spec["paramRef"] = reference
    if kind == "validating":
        spec["validationActions"] = ["Deny"]
    return {"metadata": {"name": "b"}, "spec": spec}


def refused(answer: Answer, field: str, text: str) -> None:
    assert (answer.status, answer.body["reason"]) == (422, "Invalid")
    causes = answer.body["details"]["causes"]
    assert [(cause["reason"], cause["field"]) for cause in causes] == [
        ("FieldValueForbidden", field)
    ]
    assert causes[0]["message"] == f"Forbidden: user {ANN} {text}"


async def write(server: Server, kind: str, what: str, body: Any, *, again: bool = False) -> Answer:
    path = f"{ADMISSION}/{kind}admission{what}"
    if again:
        path += f"/{body['metadata']['name']}"
        found = await server.call("GET", path)
        body = {**body, "metadata": found.body["metadata"]}
    method = "PUT" if again else "POST"
    return await server.call(method, path, body, impersonate_user="ann")


@KINDS
async def test_a_policy_needs_access_to_its_kind_of_params(cluster: Server, kind: str) -> None:
    text = (
        'must have "get" permission on all objects of the referenced paramKind '
        "(kind=ConfigMap, apiVersion=v1)"
    )
    made = await write(cluster, kind, "policies", policy(kind, CONFIGMAPS))
    refused(made, "spec.paramKind", text)
    assert (await write(cluster, kind, "policies", policy(kind))).status == 201
    changed = await write(cluster, kind, "policies", policy(kind, CONFIGMAPS), again=True)
    refused(changed, "spec.paramKind", text)
    await allow(cluster, "params", ("", "configmaps", "get"))
    changed = await write(cluster, kind, "policies", policy(kind, CONFIGMAPS), again=True)
    assert changed.status == 200


@KINDS
@pytest.mark.parametrize(("verb", "reference"), [("get", NAMED), ("list", CHOSEN)])
async def test_a_binding_needs_access_to_its_params(
    cluster: Server, kind: str, verb: str, reference: Any
) -> None:
    path = f"{ADMISSION}/{kind}admissionpolicies"
    assert (await cluster.call("POST", path, policy(kind, CONFIGMAPS))).status == 201
    made = await write(cluster, kind, "policybindings", binding(kind, reference))
    text = f'does not have "{verb}" permission on the object referenced by paramRef'
    refused(made, "spec.paramRef", text)
    await allow(cluster, "params", ("", "configmaps", verb))
    made = await write(cluster, kind, "policybindings", binding(kind, reference))
    assert made.status == 201


@pytest.mark.parametrize(
    ("params", "doubt"),
    [
        (None, "unable to get policy p"),
        ({"apiVersion": "x.example.com/v1", "kind": "X"}, "unable to resolve paramKind &{%s X}"),
    ],
)
async def test_what_is_not_known_needs_access_to_everything(
    cluster: Server, params: Any, doubt: str
) -> None:
    if params:
        path = f"{ADMISSION}/validatingadmissionpolicies"
        assert (await cluster.call("POST", path, policy("validating", params))).status == 201
        doubt %= params["apiVersion"]
    made = await write(cluster, "validating", "policybindings", binding("validating", NAMED))
    (cause,) = made.body["details"]["causes"]
    assert cause["message"] == (
        f"Forbidden: {doubt} to determine minimum required permissions and user {ANN} does not "
        'have "get" permission for all groups, versions and resources'
    )
    await allow(cluster, "everything", ("*", "*", "get"))
    made = await write(cluster, "validating", "policybindings", binding("validating", NAMED))
    assert made.status == 201

"""Kinds of which the conformance suite asks that every operation works."""

from typing import Any, NamedTuple

import pytest

from minikube_py.api.object import evolve
from tests.integration.conformance.api import Api, Watcher
from tests.integration.conftest import Answer
from tests.integration.patience import eventually

ADMISSION = "/apis/admissionregistration.k8s.io/v1"
FLOWCONTROL = "/apis/flowcontrol.apiserver.k8s.io/v1"
CONSTRAINTS = {
    "resourceRules": [
        {
            "apiGroups": ["apps"],
            "apiVersions": ["v1"],
            "operations": ["CREATE"],
            "resources": ["deployments"],
        }
    ]
}
MUTATION = {
    "patchType": "ApplyConfiguration",
    "applyConfiguration": {"expression": "Object{spec: Object.spec{replicas: 1}}"},
}


class Kind(NamedTuple):
    """A kind, a spec that it accepts, and a change of it."""

    group: str
    plural: str
    spec: dict[str, Any]
    change: dict[str, Any]
    has_status: bool = False

    @property
    def path(self) -> str:
        return f"{self.group}/{self.plural}"


KINDS = (
    Kind(
        FLOWCONTROL,
        "flowschemas",
        {"priorityLevelConfiguration": {"name": "global-default"}, "matchingPrecedence": 10000},
        {"matchingPrecedence": 9999},
        has_status=True,
    ),
    Kind(
        FLOWCONTROL,
        "prioritylevelconfigurations",
        {
            "type": "Limited",
            "limited": {
                "nominalConcurrencyShares": 2,
                "limitResponse": {"type": "Reject"},
            },
        },
        {"limited": {"nominalConcurrencyShares": 4}},
        has_status=True,
    ),
    Kind(
        ADMISSION,
        "validatingadmissionpolicies",
        {"matchConstraints": CONSTRAINTS, "validations": [{"expression": "true"}]},
        {"failurePolicy": "Ignore"},
        has_status=True,
    ),
    Kind(
        ADMISSION,
        "validatingadmissionpolicybindings",
        {"policyName": "none", "validationActions": ["Deny"]},
        {"validationActions": ["Warn"]},
    ),
    Kind(
        ADMISSION,
        "mutatingadmissionpolicies",
        {
            "matchConstraints": CONSTRAINTS,
            "reinvocationPolicy": "Never",
            "mutations": [MUTATION],
        },
        {"failurePolicy": "Ignore"},
    ),
    Kind(
        ADMISSION,
        "mutatingadmissionpolicybindings",
        {"policyName": "none"},
        {"policyName": "other"},
    ),
)


@pytest.mark.conformance(
    "API priority and fairness should support FlowSchema API operations",
    "API priority and fairness should support PriorityLevelConfiguration API operations",
    "ValidatingAdmissionPolicy should support ValidatingAdmissionPolicy API operations",
    "ValidatingAdmissionPolicy should support ValidatingAdmissionPolicyBinding API operations",
    "MutatingAdmissionPolicy should support MutatingAdmissionPolicy API operations",
    "MutatingAdmissionPolicy should support MutatingAdmissionPolicyBinding API operations",
)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.plural)
async def test_a_kind_supports_all_operations(api: Api, kind: Kind) -> None:
    _, _, group, version = kind.group.split("/")
    found = {g["name"]: g["versions"] for g in (await api.get("/apis"))["groups"]}
    assert {"groupVersion": f"{group}/{version}", "version": version} in found[group]
    shown = (await api.get(kind.group))["resources"]
    resources = {resource["name"]: resource["verbs"] for resource in shown}
    verbs = {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}
    assert set(resources[kind.plural]) == verbs
    if kind.has_status:
        assert set(resources[f"{kind.plural}/status"]) == {"get", "patch", "update"}

    selection = "e2e=yes"
    listing = f"{kind.path}?labelSelector={selection}"
    async with api.watch(kind.path, labelSelector=selection) as watcher:
        for name in "abc":
            metadata = {"name": name, "labels": {"e2e": "yes"}}
            await api.create(kind.path, {"metadata": metadata, "spec": kind.spec})
        await until(watcher, "ADDED", "a", "b", "c")
        assert await api.names(listing) == ["a", "b", "c"]

        one = f"{kind.path}/a"
        patched = await api.patch(one, {"metadata": {"annotations": {"patched": "1"}}})
        assert patched["metadata"]["annotations"] == {"patched": "1"}
        await until(watcher, "MODIFIED", "a")
        changed = await api.patch(one, {"spec": kind.change})
        assert changed["metadata"]["generation"] == 2
        updated = await updated_with(api, one, {"updated": "1"})
        assert updated["metadata"]["annotations"] == {"patched": "1", "updated": "1"}
        await until(watcher, "MODIFIED", "a")

        if kind.has_status:
            await write_status(api, one)
        await api.delete(one)
        await until(watcher, "DELETED", "a")
    assert (await api.call("GET", one)).status == 404
    await api.delete(listing)
    assert await api.names(listing) == []


async def until(watcher: Watcher, kind: str, *names: str) -> None:
    """Wait for events; a controller may write the status in between."""
    waiting = set(names)
    while waiting:
        event = await watcher.next()
        if event.type == kind:
            waiting.discard(event.object["metadata"]["name"])
        else:
            assert event.type == "MODIFIED"


async def updated_with(api: Api, path: str, annotations: dict[str, str]) -> Any:
    """Replace an object by itself with more annotations; try again where another was faster."""

    async def update() -> Answer:
        found = await api.get(path)
        more = {**found["metadata"]["annotations"], **annotations}
        return await api.call("PUT", path, evolve(found, "metadata.annotations", more))

    answer = await eventually(update, lambda answer: answer.status != 409)
    assert answer.status == 200, answer.raw
    return answer.body


async def write_status(api: Api, one: str) -> None:
    condition = {
        "type": "E2E",
        "status": "True",
        "reason": "Tested",
        "message": "set",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    body = {"status": {"conditions": [condition]}}
    patched = await api.patch(f"{one}/status", body)
    assert "set" in {c.get("message") for c in patched["status"]["conditions"]}
    assert "status" in await api.get(f"{one}/status")

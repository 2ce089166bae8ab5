"""Admission webhooks over real HTTPS: a server that asks, a service on loopback that answers."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from tests.integration.conftest import Answer, Server, running
from tests.webhook_server import WebhookServer, allow, deny, patch, webhook_server

ADMISSION = "/apis/admissionregistration.k8s.io/v1"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
WIDGETS = "/apis/stable.example.com/v1/namespaces/default/widgets"


@pytest.fixture
async def far(server: Server, tmp_path: Path) -> AsyncIterator[WebhookServer]:
    async with webhook_server(tmp_path, server.app.bootstrap.cluster_ca) as running:
        yield running


def rule(*resources: str, **more: Any) -> dict[str, Any]:
    return {
        "operations": ["CREATE", "UPDATE"],
        "apiGroups": ["*"],
        "apiVersions": ["*"],
        "resources": list(resources),
        **more,
    }


def hook(far: WebhookServer, path: str, *rules: Any, **more: Any) -> dict[str, Any]:
    return {
        "name": "hook.example.com",
        "clientConfig": far.client(path),
        "rules": list(rules) or [rule("configmaps")],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1", "v1beta1"],
        "timeoutSeconds": 30,
        **more,
    }


async def register(server: Server, kind: str, name: str, *hooks: Any, **labels: str) -> Answer:
    """Register webhooks; `kind` is mutating or validating."""
    document = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": f"{kind.capitalize()}WebhookConfiguration",
        "metadata": {"name": name, "labels": labels},
        "webhooks": list(hooks),
    }
    answer = await server.call("POST", f"{ADMISSION}/{kind}webhookconfigurations", document)
    assert answer.status == 201, answer.body
    return answer


async def make(server: Server, name: str, data: Any = None, query: str = "") -> Answer:
    body = {"metadata": {"name": name}, "data": data or {"a": "b"}}
    return await server.call("POST", CONFIGMAPS + query, body)


def denied(answer: Answer, message: str, code: int = 400) -> None:
    expected = f'admission webhook "hook.example.com" denied the request: {message}'
    assert (answer.status, answer.body["message"]) == (code, expected)


def setting(key: str) -> Any:
    return patch({"op": "add", "path": f"/data/{key}", "value": "yes"})


def pod(name: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {
            "containers": [{"name": "c", "image": "i"}],
            "automountServiceAccountToken": False,
        },
    }


@pytest.fixture
async def service_account(server: Server) -> None:
    body = {"metadata": {"name": "default"}}
    await server.call("POST", "/api/v1/namespaces/default/serviceaccounts", body)


# --- configurations -------------------------------------------------------------------------------


@pytest.mark.conformance("AdmissionWebhook should include webhook resources in discovery documents")
async def test_webhook_resources_are_discovered(server: Server) -> None:
    groups = (await server.call("GET", "/apis")).body["groups"]
    group = next(g for g in groups if g["name"] == "admissionregistration.k8s.io")
    assert {"groupVersion": "admissionregistration.k8s.io/v1", "version": "v1"} in group["versions"]
    listed = (await server.call("GET", "/apis/admissionregistration.k8s.io")).body["versions"]
    assert any(version["version"] == "v1" for version in listed)
    names = {r["name"] for r in (await server.call("GET", ADMISSION)).body["resources"]}
    assert {"mutatingwebhookconfigurations", "validatingwebhookconfigurations"} <= names


@pytest.mark.conformance(
    "AdmissionWebhook should be able to create and update mutating...",
    "AdmissionWebhook should be able to create and update validating...",
)
@pytest.mark.parametrize("kind", ["mutating", "validating"])
async def test_match_conditions_are_stored_and_changed(
    server: Server, far: WebhookServer, kind: str
) -> None:
    first = [{"name": "first", "expression": "request.namespace != 'kube-system'"}]
    answer = await register(server, kind, "c", hook(far, "/a", matchConditions=first))
    assert answer.body["webhooks"][0]["matchConditions"] == first
    second = [
        *first,
        {"name": "second", "expression": "object.metadata.name != 'skip'"},
    ]
    answer.body["webhooks"][0]["matchConditions"] = second
    path = f"{ADMISSION}/{kind}webhookconfigurations/c"
    assert (await server.call("PUT", path, answer.body)).status == 200
    found = (await server.call("GET", path)).body
    assert found["webhooks"][0]["matchConditions"] == second
    assert found["metadata"]["generation"] == 2


@pytest.mark.conformance(
    "AdmissionWebhook should reject mutating webhook configurations...",
    "AdmissionWebhook should reject validating webhook configurations...",
)
@pytest.mark.parametrize("kind", ["mutating", "validating"])
async def test_conditions_that_do_not_compile_are_refused(
    server: Server, far: WebhookServer, kind: str
) -> None:
    conditions = [{"name": "one", "expression": "... [] bad expression"}]
    document = {
        "metadata": {"name": "c"},
        "webhooks": [hook(far, "/a", matchConditions=conditions)],
    }
    path = f"{ADMISSION}/{kind}webhookconfigurations"
    answer = await server.call("POST", path, document)
    assert answer.status == 422
    assert "compilation failed" in answer.body["message"]


@pytest.mark.conformance("AdmissionWebhook listing mutating webhooks should work")
async def test_ten_mutating_webhooks_are_listed_and_removed_together(
    server: Server, far: WebhookServer
) -> None:
    far.replies["/a"] = setting("mutated")
    for number in range(10):
        await register(server, "mutating", f"c{number}", hook(far, "/a"), set="ten")
    path = f"{ADMISSION}/mutatingwebhookconfigurations?labelSelector=set%3Dten"
    assert len((await server.call("GET", path)).body["items"]) == 10
    assert (await make(server, "one")).body["data"]["mutated"] == "yes"
    assert (await server.call("DELETE", path)).status == 200
    assert (await server.call("GET", path)).body["items"] == []
    assert "mutated" not in (await make(server, "two")).body["data"]


@pytest.mark.conformance("AdmissionWebhook listing validating webhooks should work")
async def test_ten_validating_webhooks_are_listed_and_removed_together(
    server: Server, far: WebhookServer
) -> None:
    far.replies["/a"] = deny("no")
    for number in range(10):
        await register(server, "validating", f"c{number}", hook(far, "/a"), set="ten")
    path = f"{ADMISSION}/validatingwebhookconfigurations?labelSelector=set%3Dten"
    assert len((await server.call("GET", path)).body["items"]) == 10
    denied(await make(server, "one"), "no")
    assert (await server.call("DELETE", path)).status == 200
    assert (await server.call("GET", path)).body["items"] == []
    assert (await make(server, "one")).status == 201


async def exclude_creates(server: Server, kind: str) -> None:
    path = f"{ADMISSION}/{kind}webhookconfigurations/c"
    found = (await server.call("GET", path)).body
    found["webhooks"][0]["rules"][0]["operations"] = ["UPDATE"]
    assert (await server.call("PUT", path, found)).status == 200


async def include_creates(server: Server, kind: str) -> None:
    path = f"{ADMISSION}/{kind}webhookconfigurations/c"
    change = [{"op": "replace", "path": "/webhooks/0/rules/0/operations", "value": ["CREATE"]}]
    answer = await server.call("PATCH", path, change, content_type="application/json-patch+json")
    assert answer.status == 200


@pytest.mark.conformance("AdmissionWebhook patching/updating a mutating webhook should work")
async def test_a_mutating_webhook_follows_its_rules_as_they_change(
    server: Server, far: WebhookServer
) -> None:
    far.replies["/a"] = setting("mutated")
    await register(server, "mutating", "c", hook(far, "/a"))
    await exclude_creates(server, "mutating")
    assert "mutated" not in (await make(server, "one")).body["data"]
    await include_creates(server, "mutating")
    assert (await make(server, "two")).body["data"]["mutated"] == "yes"


@pytest.mark.conformance("AdmissionWebhook patching/updating a validating webhook should work")
async def test_a_validating_webhook_follows_its_rules_as_they_change(
    server: Server, far: WebhookServer
) -> None:
    far.replies["/a"] = deny("no")
    await register(server, "validating", "c", hook(far, "/a"))
    await exclude_creates(server, "validating")
    assert (await make(server, "one")).status == 201
    await include_creates(server, "validating")
    denied(await make(server, "two"), "no")


@pytest.mark.conformance("AdmissionWebhook should not be able to mutate or prevent deletion...")
async def test_webhook_configurations_are_exempt_from_webhooks(
    server: Server, far: WebhookServer
) -> None:
    far.replies["/deny"] = deny("no")
    far.replies["/label"] = patch({"op": "add", "path": "/metadata/labels", "value": {"m": "y"}})
    everything = rule("*/*", operations=["*"])
    await register(server, "validating", "deny", hook(far, "/deny", everything))
    await register(server, "mutating", "label", hook(far, "/label", everything))
    made = await register(server, "mutating", "other", hook(far, "/a"))
    assert "m" not in made.body["metadata"].get("labels", {})
    for kind, name in (("mutating", "other"), ("validating", "deny"), ("mutating", "label")):
        path = f"{ADMISSION}/{kind}webhookconfigurations/{name}"
        assert (await server.call("DELETE", path)).status == 200
    assert far.asked == []


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.conformance("AdmissionWebhook should be able to deny pod and configmap creation")
@pytest.mark.usefixtures("service_account")
async def test_pods_and_config_maps_are_refused(server: Server, far: WebhookServer) -> None:
    def judge(request: dict[str, Any]) -> dict[str, Any]:
        bad = (request["object"].get("data") or {}).get("webhook-e2e-test") == "webhook-disallow"
        bad = bad or request["object"]["metadata"].get("labels", {}).get("bad") == "yes"
        why = {"message": "the object contains unwanted things", "reason": "because"}
        return {"allowed": not bad, "status": why}

    far.replies["/judge"], far.replies["/hang"] = judge, far.hang
    selector = {"matchExpressions": [{"key": "skip", "operator": "NotIn", "values": ["yes"]}]}
    await register(
        server,
        "validating",
        "c",
        hook(far, "/judge", rule("pods", "configmaps"), namespaceSelector=selector),
    )
    await register(
        server,
        "validating",
        "slow",
        hook(
            far,
            "/hang",
            rule("pods"),
            timeoutSeconds=1,
            objectSelector={"matchLabels": {"hang": "yes"}},
        ),
    )
    bad = {"metadata": {"name": "bad", "labels": {"bad": "yes"}}, "spec": pod("x")["spec"]}
    denied(await server.call("POST", PODS, bad), "the object contains unwanted things")
    hanging = {"metadata": {"name": "hang", "labels": {"hang": "yes"}}, "spec": pod("x")["spec"]}
    answer = await server.call("POST", PODS, hanging)
    assert answer.status == 500
    assert "context deadline exceeded" in answer.body["message"]
    assert (await server.call("GET", f"{PODS}/hang")).status == 404

    unwanted = {"webhook-e2e-test": "webhook-disallow"}
    denied(await make(server, "one", unwanted), "the object contains unwanted things")
    assert (await make(server, "one")).status == 201
    for content_type in ("application/merge-patch+json", "application/strategic-merge-patch+json"):
        change = {"data": unwanted}
        answer = await server.call("PATCH", f"{CONFIGMAPS}/one", change, content_type=content_type)
        denied(answer, "the object contains unwanted things")
    found = (await server.call("GET", f"{CONFIGMAPS}/one")).body
    answer = await server.call("PUT", f"{CONFIGMAPS}/one", {**found, "data": unwanted})
    denied(answer, "the object contains unwanted things")

    spared = {"metadata": {"name": "spared", "labels": {"skip": "yes"}}}
    await server.call("POST", "/api/v1/namespaces", spared)
    body = {"metadata": {"name": "one"}, "data": unwanted}
    path = "/api/v1/namespaces/spared/configmaps"
    assert (await server.call("POST", path, body)).status == 201


@pytest.mark.conformance("AdmissionWebhook should be able to deny attaching pod")
@pytest.mark.usefixtures("service_account")
async def test_attaching_to_a_pod_is_refused(server: Server, far: WebhookServer) -> None:
    far.replies["/a"] = deny("attaching to pod 'to-be-attached-pod' is not allowed")
    await register(
        server, "validating", "c", hook(far, "/a", rule("pods/attach", operations=["CONNECT"]))
    )
    assert (await server.call("POST", PODS, pod("p"))).status == 201
    path = f"{PODS}/p/attach?stdin=true&stdout=1&container=c"
    denied(await server.call("POST", path), "attaching to pod 'to-be-attached-pod' is not allowed")
    (request,) = far.requests("/a")
    assert request["operation"] == "CONNECT"
    assert request["kind"] == {"group": "", "version": "v1", "kind": "PodAttachOptions"}
    assert (request["subResource"], request["name"]) == ("attach", "p")
    assert request["object"] == {
        "kind": "PodAttachOptions",
        "apiVersion": "v1",
        "stdin": True,
        "stdout": True,
        "container": "c",
    }
    assert request["options"] is None


@pytest.mark.conformance(
    "AdmissionWebhook should unconditionally reject operations on fail closed webhook"
)
async def test_a_webhook_that_cannot_be_trusted_refuses_all(
    server: Server, far: WebhookServer
) -> None:
    untrusted = hook(far, "/a")
    del untrusted["clientConfig"]["caBundle"]
    await register(server, "validating", "c", untrusted)
    answer = await make(server, "one")
    assert answer.status == 500
    assert answer.body["reason"] == "InternalError"
    assert answer.body["message"] == (
        'Internal error occurred: failed calling webhook "hook.example.com": failed to call '
        f'webhook: Post "https://127.0.0.1:{far.port}/a?timeout=30s": tls: failed to verify '
        "certificate: x509: certificate signed by unknown authority"
    )
    assert far.asked == []


@pytest.mark.conformance("AdmissionWebhook should honor timeout")
async def test_a_slow_webhook_has_the_time_that_it_says(server: Server, far: WebhookServer) -> None:
    async def slow(_request: Any) -> Any:
        await asyncio.sleep(1.5)
        return {"allowed": True}

    far.replies["/slow"] = slow
    path = f"{ADMISSION}/validatingwebhookconfigurations/c"
    expected = (
        (1, "Fail", 500, "context deadline exceeded"),
        (1, "Ignore", 201, ""),
        (30, "Fail", 201, ""),
        (None, "Fail", 201, ""),
    )
    for number, (seconds, policy, status, text) in enumerate(expected):
        slowed = hook(far, "/slow", failurePolicy=policy, timeoutSeconds=seconds)
        if seconds is None:
            del slowed["timeoutSeconds"]
        await register(server, "validating", "c", slowed)
        answer = await make(server, f"c{number}")
        assert answer.status == status, answer.body
        assert text in answer.body.get("message", "")
        await server.call("DELETE", path)
    assert [h["query"] for h in far.headers] == [
        "timeout=1s",
        "timeout=1s",
        "timeout=30s",
        "timeout=10s",
    ]


async def test_deletes_are_seen_with_what_they_would_remove(
    server: Server, far: WebhookServer
) -> None:
    far.replies["/a"] = deny("keep it", reason="Forbidden", code=403)
    await make(server, "one")
    await register(
        server, "validating", "c", hook(far, "/a", rule("configmaps", operations=["DELETE"]))
    )
    for path in (f"{CONFIGMAPS}/one", CONFIGMAPS):
        answer = await server.call("DELETE", path, {"propagationPolicy": "Background"})
        denied(answer, "keep it", 403)
        assert answer.body["reason"] == "Forbidden"
    assert (await server.call("GET", f"{CONFIGMAPS}/one")).status == 200
    request = far.asked[0][1]
    assert request["object"] is None
    assert request["oldObject"]["data"] == {"a": "b"}
    assert request["options"] == {
        "kind": "DeleteOptions",
        "apiVersion": "meta.k8s.io/v1",
        "propagationPolicy": "Background",
    }


async def test_a_new_object_has_no_generated_name_for_webhooks(
    server: Server, far: WebhookServer
) -> None:
    far.replies["/a"] = allow
    await register(server, "validating", "v", hook(far, "/a"))
    await register(server, "mutating", "m", hook(far, "/a"))
    body = {"metadata": {"generateName": "some-"}}
    answer = await server.call("POST", f"{CONFIGMAPS}?fieldManager=me", body)
    assert answer.body["metadata"]["name"].startswith("some-")
    before, after = far.requests("/a")
    assert "name" not in before
    assert not {"name", "uid", "creationTimestamp"} & set(before["object"]["metadata"])
    assert before["options"] == {
        "kind": "CreateOptions",
        "apiVersion": "meta.k8s.io/v1",
        "fieldManager": "me",
    }
    assert after["object"]["metadata"]["name"] == answer.body["metadata"]["name"]


# --- changes --------------------------------------------------------------------------------------


@pytest.mark.conformance("AdmissionWebhook should mutate configmap")
async def test_a_second_webhook_sees_what_the_first_added(
    server: Server, far: WebhookServer
) -> None:
    def first(request: dict[str, Any]) -> Any:
        reply = setting("stage-1") if "start" in request["object"]["data"] else allow
        return reply(request)

    def second(request: dict[str, Any]) -> Any:
        reply = setting("stage-2") if "stage-1" in request["object"]["data"] else allow
        return reply(request)

    far.replies["/first"], far.replies["/second"] = first, second
    other = {**hook(far, "/second"), "name": "second.example.com"}
    await register(server, "mutating", "c", hook(far, "/first"), other)
    answer = await make(server, "one", {"start": "yes"})
    assert answer.body["data"] == {"start": "yes", "stage-1": "yes", "stage-2": "yes"}
    assert (await make(server, "two")).body["data"] == {"a": "b"}


@pytest.mark.conformance("AdmissionWebhook should mutate everything except 'skip-me' configmaps")
async def test_a_condition_spares_an_object_by_its_name(server: Server, far: WebhookServer) -> None:
    far.replies["/a"] = setting("mutated")
    conditions = [{"name": "skip-me", "expression": "object.metadata.name != 'skip-me'"}]
    await register(server, "mutating", "c", hook(far, "/a", matchConditions=conditions))
    assert (await make(server, "skip-me")).body["data"] == {"a": "b"}
    assert (await make(server, "other")).body["data"] == {"a": "b", "mutated": "yes"}


@pytest.mark.conformance("AdmissionWebhook should mutate pod and apply defaults after mutation")
@pytest.mark.usefixtures("service_account")
async def test_what_a_webhook_adds_gets_its_defaults(server: Server, far: WebhookServer) -> None:
    inits = [{"name": "init", "image": "i", "resources": {}}]
    far.replies["/a"] = patch({"op": "add", "path": "/spec/initContainers", "value": inits})
    await register(server, "mutating", "c", hook(far, "/a", rule("pods")))
    answer = await server.call("POST", PODS, pod("p"))
    assert answer.status == 201, answer.body
    (init,) = answer.body["spec"]["initContainers"]
    assert (init["name"], init["terminationMessagePolicy"]) == ("init", "File")


async def test_a_webhook_after_the_change_makes_others_look_again(
    server: Server, far: WebhookServer
) -> None:
    def count(request: dict[str, Any]) -> Any:
        return {"allowed": True, "warnings": [f"sees {len(request['object']['data'])}"]}

    far.replies["/count"], far.replies["/a"] = count, setting("mutated")
    again = {"reinvocationPolicy": "IfNeeded"}
    last = {**hook(far, "/a", **again), "name": "last.example.com"}
    await register(server, "mutating", "c", hook(far, "/count", **again), last)
    answer = await make(server, "one")
    assert answer.status == 201
    warnings = answer.headers.getall("Warning")
    assert warnings == ['299 - "sees 1"', '299 - "sees 2"']


async def test_who_owns_the_fields_stays_as_the_writer_asked(
    server: Server, far: WebhookServer
) -> None:
    far.replies["/a"] = patch(
        {"op": "add", "path": "/data/mutated", "value": "yes"},
        {"op": "replace", "path": "/metadata/managedFields/0/operation", "value": "Guess"},
    )
    await register(server, "mutating", "c", hook(far, "/a"))
    answer = await make(server, "one", query="?fieldManager=me")
    (entry,) = answer.body["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"]) == ("me", "Update")
    assert entry["fieldsV1"] == {"f:data": {".": {}, "f:a": {}}}
    (warning,) = answer.headers.getall("Warning")
    assert "managedFields was in an invalid state after admission" in warning


async def test_a_webhook_may_not_move_an_object(server: Server, far: WebhookServer) -> None:
    far.replies["/a"] = patch(
        {"op": "replace", "path": "/metadata/namespace", "value": "kube-system"}
    )
    await register(server, "mutating", "c", hook(far, "/a"))
    answer = await make(server, "one")
    assert answer.status == 400
    assert "does not match the namespace sent on the request" in answer.body["message"]


async def test_a_scale_is_seen_and_changed_as_a_scale(server: Server, far: WebhookServer) -> None:
    body = {
        "metadata": {"name": "d"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "c", "image": "i"}]},
            },
        },
    }
    path = "/apis/apps/v1/namespaces/default/deployments"
    await server.call("POST", path, body)
    far.replies["/a"] = patch({"op": "replace", "path": "/spec/replicas", "value": 5})
    await register(server, "mutating", "c", hook(far, "/a", rule("deployments/scale")))
    change = {"spec": {"replicas": 3}}
    answer = await server.call(
        "PATCH", f"{path}/d/scale", change, content_type="application/merge-patch+json"
    )
    assert answer.status == 200, answer.body
    assert answer.body["spec"]["replicas"] == 5
    (request,) = far.requests("/a")
    assert request["kind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    assert request["object"]["spec"] == {"replicas": 3}
    assert request["oldObject"]["spec"] == {"replicas": 1}
    assert request["options"]["kind"] == "PatchOptions"
    assert (await server.call("GET", f"{path}/d")).body["spec"]["replicas"] == 5


async def test_a_dry_run_is_told_to_webhooks_and_refused_by_those_with_effects(
    server: Server, far: WebhookServer
) -> None:
    far.replies["/a"] = allow
    await register(server, "validating", "c", hook(far, "/a", sideEffects="NoneOnDryRun"))
    assert (await make(server, "one", query="?dryRun=All")).status == 201
    (request,) = far.requests("/a")
    assert request["dryRun"] is True
    assert request["options"]["dryRun"] == ["All"]
    assert (await server.call("GET", f"{CONFIGMAPS}/one")).status == 404


# --- custom resources -----------------------------------------------------------------------------


def definition(*versions: str, stored: str = "v1", **schema: Any) -> dict[str, Any]:
    root = schema or {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "metadata": {"name": "widgets.stable.example.com"},
        "spec": {
            "group": "stable.example.com",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [
                {
                    "name": name,
                    "served": True,
                    "storage": name == stored,
                    "schema": {"openAPIV3Schema": root},
                }
                for name in versions
            ],
        },
    }


async def established(server: Server, document: dict[str, Any], *paths: str) -> None:
    answer = await server.call("POST", DEFINITIONS, document)
    assert answer.status == 201, answer.body
    await served(server, *(paths or (WIDGETS,)))


async def served(server: Server, *paths: str) -> None:
    """Ask until the paths are there; a minute is more than any machine needs."""
    async with asyncio.timeout(60):
        for path in paths:
            while (await server.call("GET", path)).status != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


def widget(name: str, **data: Any) -> dict[str, Any]:
    return {
        "apiVersion": "stable.example.com/v1",
        "kind": "Widget",
        "metadata": {"name": name},
        "data": data,
    }


@pytest.mark.conformance("AdmissionWebhook should deny crd creation")
async def test_a_definition_is_refused(server: Server, far: WebhookServer) -> None:
    far.replies["/a"] = deny("the crd contains unwanted label")
    crds = rule("customresourcedefinitions", apiGroups=["apiextensions.k8s.io"], apiVersions=["*"])
    await register(server, "validating", "c", hook(far, "/a", crds))
    answer = await server.call("POST", DEFINITIONS, definition("v1"))
    denied(answer, "the crd contains unwanted label")
    assert (await server.call("GET", f"{DEFINITIONS}/widgets.stable.example.com")).status == 404


@pytest.mark.conformance(
    "AdmissionWebhook should be able to deny custom resource creation, update and deletion"
)
async def test_custom_resources_are_refused(server: Server, far: WebhookServer) -> None:
    def judge(request: dict[str, Any]) -> Any:
        states = (request["object"], request["oldObject"])
        wanted = request["oldObject"] if request["operation"] == "DELETE" else request["object"]
        assert any(states)
        bad = (wanted.get("data") or {}).get("webhook-e2e-test") == "webhook-disallow"
        return {"allowed": not bad, "status": {"message": "unwanted data"}}

    await established(server, definition("v1"))
    far.replies["/a"] = judge
    everything = rule("widgets", operations=["CREATE", "UPDATE", "DELETE"])
    await register(server, "validating", "c", hook(far, "/a", everything))
    bad = {"webhook-e2e-test": "webhook-disallow"}
    denied(await server.call("POST", WIDGETS, widget("one", **bad)), "unwanted data")
    assert (await server.call("POST", WIDGETS, widget("one"))).status == 201
    merge = "application/merge-patch+json"
    answer = await server.call("PATCH", f"{WIDGETS}/one", {"data": bad}, content_type=merge)
    denied(answer, "unwanted data")

    path = f"{ADMISSION}/validatingwebhookconfigurations/c"
    found = (await server.call("GET", path)).body
    await server.call("DELETE", path)
    answer = await server.call("PATCH", f"{WIDGETS}/one", {"data": bad}, content_type=merge)
    assert answer.status == 200
    for key in ("uid", "resourceVersion"):
        del found["metadata"][key]
    await server.call("POST", f"{ADMISSION}/validatingwebhookconfigurations", found)
    denied(await server.call("DELETE", f"{WIDGETS}/one"), "unwanted data")
    fixed = {"data": {"webhook-e2e-test": None}}
    answer = await server.call("PATCH", f"{WIDGETS}/one", fixed, content_type=merge)
    assert answer.status == 200
    assert (await server.call("DELETE", f"{WIDGETS}/one")).status == 200


@pytest.mark.conformance("AdmissionWebhook should mutate custom resource")
async def test_a_custom_resource_is_changed(server: Server, far: WebhookServer) -> None:
    await established(server, definition("v1"))
    far.replies["/a"] = setting("mutated")
    await register(server, "mutating", "c", hook(far, "/a", rule("widgets")))
    answer = await server.call("POST", WIDGETS, widget("one", start="yes"))
    assert answer.body["data"] == {"start": "yes", "mutated": "yes"}


@pytest.mark.conformance("AdmissionWebhook should mutate custom resource with pruning")
async def test_what_the_schema_does_not_have_is_pruned_after_the_change(
    server: Server, far: WebhookServer
) -> None:
    data = {
        "type": "object",
        "properties": {"start": {"type": "string"}, "one": {"type": "string"}},
    }
    schema = {"type": "object", "properties": {"data": data}}
    await established(server, definition("v1", **schema))
    far.replies["/one"], far.replies["/two"] = setting("one"), setting("two")
    other = {**hook(far, "/two", rule("widgets")), "name": "two.example.com"}
    await register(server, "mutating", "c", hook(far, "/one", rule("widgets")), other)
    answer = await server.call("POST", WIDGETS, widget("w", start="yes"))
    assert answer.body["data"] == {"start": "yes", "one": "yes"}


@pytest.mark.conformance(
    "AdmissionWebhook should mutate custom resource with different stored version"
)
async def test_a_custom_resource_of_another_stored_version_is_changed(
    server: Server, far: WebhookServer
) -> None:
    second = WIDGETS.replace("/v1/", "/v2/")
    await established(server, definition("v1", "v2"), WIDGETS, second)
    far.replies["/a"] = setting("mutated")
    only_first = rule("widgets", apiVersions=["v1"])
    await register(server, "mutating", "c", hook(far, "/a", only_first))
    assert (await server.call("POST", WIDGETS, widget("one", start="yes"))).status == 201
    versions = definition("v1", "v2", stored="v2")["spec"]["versions"]
    merge = "application/merge-patch+json"
    name = "widgets.stable.example.com"
    change = {"spec": {"versions": versions}}
    answer = await server.call("PATCH", f"{DEFINITIONS}/{name}", change, content_type=merge)
    assert answer.status == 200, answer.body
    answer = await server.call(
        "PATCH", f"{second}/one", {"data": {"other": "v"}}, content_type=merge
    )
    assert answer.status == 200, answer.body
    assert answer.body["apiVersion"] == "stable.example.com/v2"
    assert answer.body["data"] == {"start": "yes", "other": "v", "mutated": "yes"}
    request = far.requests("/a")[-1]
    assert request["object"]["apiVersion"] == "stable.example.com/v1"
    assert request["requestResource"]["version"] == "v2"


# --- services, and far ends that misbehave --------------------------------------------------------


async def service(server: Server, **spec: Any) -> None:
    body = {"metadata": {"name": "hook"}, "spec": spec}
    answer = await server.call("POST", "/api/v1/namespaces/default/services", body)
    assert answer.status == 201, answer.body


def reference(far: WebhookServer, name: str = "hook", port: int = 0) -> dict[str, Any]:
    where = {"namespace": "default", "name": name, "path": "/a", "port": port or far.port}
    return {"service": where, "caBundle": far.bundle}


async def test_a_service_is_asked_under_its_own_name(server: Server, far: WebhookServer) -> None:
    far.replies["/a"] = deny("no")
    await service(server, type="ExternalName", externalName="localhost")
    await register(server, "validating", "c", hook(far, "/a", clientConfig=reference(far)))
    denied(await make(server, "one"), "no")
    assert far.headers[0]["Host"] == f"hook.default.svc:{far.port}"


async def test_a_service_that_is_not_there_cannot_be_asked(
    server: Server, far: WebhookServer
) -> None:
    await register(
        server, "validating", "c", hook(far, "/a", clientConfig=reference(far, port=443))
    )
    said = 'failed to call webhook: Post "https://hook.default.svc:443/a?timeout=30s": '
    assert said + 'service "hook" not found' in (await make(server, "one")).body["message"]
    await service(server, type="ExternalName", externalName="localhost")
    wrong = hook(far, "/a", clientConfig=reference(far, port=1))
    await register(server, "validating", "b", wrong)
    message = (await make(server, "one")).body["message"]
    assert "connect: connection refused" in message


async def test_a_certificate_for_another_name_is_not_taken(
    server: Server, far: WebhookServer
) -> None:
    body = {
        "metadata": {"name": "other"},
        "spec": {"type": "ExternalName", "externalName": "localhost"},
    }
    await server.call("POST", "/api/v1/namespaces/default/services", body)
    await register(server, "validating", "c", hook(far, "/a", clientConfig=reference(far, "other")))
    message = (await make(server, "one")).body["message"]
    assert (
        "x509: certificate is not valid for any names, but wanted to match other.default.svc"
        in (message)
    )


def _giant(_request: Any) -> web.Response:
    return web.Response(body=b" " * (64 << 20), content_type="application/json")


def _answer(body: bytes, status: int = 200, kind: str = "application/json") -> Any:
    return lambda _request: web.Response(body=body, status=status, content_type=kind)


MISBEHAVIOUR = {
    "closed": (lambda _request: None, ": EOF"),
    "giant": (_giant, "the answer is longer than"),
    "empty": (_answer(b""), "json parse error: unexpected end of JSON input"),
    "text": (_answer(b"hello"), "invalid character 'h' looking for beginning of value"),
    "half": (_answer(b'{"kind": "Admis'), "couldn't get version/kind; json parse error"),
    "list": (_answer(b"[1]"), "cannot unmarshal array"),
    "deep": (_answer(b"[" * 100_000), "json parse error"),
    "redirect": (
        lambda _request: web.Response(status=302, headers={"Location": "https://127.0.0.1:1/"}),
        "the server responded with the status code 302 but did not return more details",
    ),
    "missing": (
        _answer(b"404 page not found", 404, "text/plain"),
        "the server could not find the requested resource",
    ),
    "broken": (
        _answer(b"oops", 500, "text/plain"),
        'an error on the server ("oops") has prevented the request from succeeding',
    ),
    "status": (
        _answer(orjson.dumps({"kind": "Status", "message": "not today"}), 503),
        "failed to call webhook: not today",
    ),
    "binary": (_answer(b"\xff\xfe\x00"), "json parse error"),
}


@pytest.mark.parametrize("sort", MISBEHAVIOUR)
async def test_an_answer_that_is_none_fails_the_request_and_nothing_else(
    server: Server, far: WebhookServer, sort: str
) -> None:
    reply, text = MISBEHAVIOUR[sort]
    far.replies["/a"] = reply
    await register(server, "validating", "c", hook(far, "/a"))
    answer = await make(server, "one")
    assert answer.status == 500
    assert text in answer.body["message"]
    far.replies["/a"] = allow
    assert (await make(server, "two")).status == 201


HEAD = b"HTTP/1.1 200 OK\r\n"


async def endlessly(writer: asyncio.StreamWriter, start: bytes, more: bytes) -> None:
    """Write without an end, slowly, until nobody listens any more."""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        writer.write(start)
        while not writer.is_closing():
            writer.write(more)
            await writer.drain()
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("start", "more", "text"),
    [
        (HEAD + b"Content-Length: 99999\r\n\r\n", b" ", "context deadline exceeded"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n", "context deadline exceeded"),
        (HEAD, b"x-a: b\r\n", "context deadline exceeded"),
        (HEAD + b"x-a: ", b"b" * 1000, "malformed HTTP response"),
        (b"\x00\x01\x02 what is this\r\n\r\n", b"\x00", "malformed HTTP response"),
        (HEAD + b"Content-Length: -1\r\n\r\n", b" ", "malformed HTTP response"),
    ],
)
async def test_what_answers_without_an_end_is_given_up(
    server: Server, far: WebhookServer, start: bytes, more: bytes, text: str
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await endlessly(writer, start, more)
        writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=far.context)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        config = {"url": f"https://127.0.0.1:{port}/", "caBundle": far.bundle}
        slow = hook(far, "/a", clientConfig=config, timeoutSeconds=1)
        await register(server, "validating", "c", slow)
        refused = await make(server, "one")
    assert refused.status == 500
    assert text in refused.body["message"]


async def test_what_speaks_no_tls_is_told(server: Server, far: WebhookServer) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    listener = await asyncio.start_server(plain, "127.0.0.1", 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        config = {"url": f"https://127.0.0.1:{port}/", "caBundle": far.bundle}
        await register(server, "validating", "c", hook(far, "/a", clientConfig=config))
        message = (await make(server, "one")).body["message"]
    assert "tls: first record does not look like a TLS handshake" in message


async def test_calls_share_their_connections(server: Server, far: WebhookServer) -> None:
    far.replies["/a"] = allow
    await register(server, "validating", "c", hook(far, "/a"))
    for number in range(10):
        assert (await make(server, f"c{number}")).status == 201
    assert len(far.asked) == 10
    assert len(far.connections) == 1


async def test_old_reviews_are_asked_and_answered(server: Server, far: WebhookServer) -> None:
    far.replies["/a"] = lambda _request: {
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1beta1",
        "response": {"allowed": False, "status": {"message": "old"}},
    }
    await register(server, "validating", "c", hook(far, "/a", admissionReviewVersions=["v1beta1"]))
    denied(await make(server, "one"), "old")


async def test_a_server_starts_although_a_webhook_in_the_cluster_cannot_answer(
    restartable: Callable[[], contextlib.AbstractAsyncContextManager[Server]],
) -> None:
    roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
    async with restartable() as server:
        assert (await server.call("DELETE", f"{roles}/view")).status == 200
        place = {"service": {"name": "nobody", "namespace": "default"}}
        everything = rule("*/*", operations=["*"])
        unreachable = {
            "name": "hook.example.com",
            "clientConfig": place,
            "rules": [everything],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }
        await register(server, "validating", "v", unreachable)
        await register(server, "mutating", "m", unreachable)
    async with restartable() as server:
        assert (await server.call("GET", f"{roles}/view")).status == 200
        answer = await make(server, "one")
        assert answer.status == 500
        assert 'service "nobody" not found' in answer.body["message"]


@pytest.mark.parametrize("level", ["Metadata", "Request"])
async def test_what_webhooks_say_and_change_is_in_the_audit_log(tmp_path: Path, level: str) -> None:
    policy = tmp_path / "policy.json"
    rules = [{"level": level}]
    head = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy"}
    policy.write_bytes(orjson.dumps({**head, "rules": rules}))
    log = tmp_path / "audit.log"
    options = {"audit_policy_file": str(policy), "audit_log_path": str(log)}
    async with (
        running(tmp_path / "data", audit_log_mode="blocking", **options) as server,
        webhook_server(tmp_path, server.app.bootstrap.cluster_ca) as far,
    ):
        said = {"allowed": True, "auditAnnotations": {"checked": "yes"}}
        far.replies["/say"], far.replies["/change"] = lambda _request: said, setting("mutated")
        far.replies["/fail"] = lambda _request: {"kind": "Other"}
        await register(server, "mutating", "m", hook(far, "/change"))
        failing = {**hook(far, "/fail", failurePolicy="Ignore"), "name": "fail.example.com"}
        await register(server, "validating", "v", hook(far, "/say"), failing)
        answer = await make(server, "one")
        assert answer.status == 201
    events = [orjson.loads(line) for line in log.read_bytes().splitlines()]
    identifier = answer.headers["Audit-ID"]
    done = (e for e in events if e["auditID"] == identifier and e["stage"] == "ResponseComplete")
    noted = next(done)["annotations"]
    assert noted["hook.example.com/checked"] == "yes"
    key = "mutation.webhook.admission.k8s.io/round_0_index_0"
    assert orjson.loads(noted[key]) == {
        "configuration": "m",
        "webhook": "hook.example.com",
        "mutated": True,
    }
    failed = "failed-open.validating.webhook.admission.k8s.io/round_0_index_1"
    assert noted[failed] == "fail.example.com"
    assert ("patch.webhook.admission.k8s.io/round_0_index_0" in noted) is (level == "Request")

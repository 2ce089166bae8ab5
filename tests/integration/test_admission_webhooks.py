"""Admission webhooks over real HTTPS: a server that asks, a service on loopback that answers."""

import asyncio
from typing import Any

import pytest

from tests.integration.conftest import Server
from tests.integration.webhook_admission import (
    ADMISSION,
    CONFIGMAPS,
    PODS,
    denied,
    hook,
    make,
    register,
    rule,
    setting,
)
from tests.webhook_server import WebhookServer, allow, deny, patch


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

"""Admission webhooks and custom resources."""

import asyncio
from typing import Any

import pytest

from tests.integration.conftest import Server
from tests.integration.webhook_admission import (
    ADMISSION,
    DEFINITIONS,
    WIDGETS,
    denied,
    hook,
    register,
    rule,
    setting,
)
from tests.webhook_server import WebhookServer, deny


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

"""Custom resources in versions that a webhook converts, over real HTTPS."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.integration.conftest import Server
from tests.integration.webhook_conversion import (
    DEFINITION,
    GROUP,
    MERGE,
    convert,
    defined,
    definition,
    first,
    is_second,
    path,
    second,
    store_second,
    until,
    version,
)
from tests.webhook_server import WebhookServer, patch, webhook_server


@pytest.fixture
async def far(server: Server, tmp_path: Path) -> AsyncIterator[WebhookServer]:
    async with webhook_server(tmp_path, server.app.bootstrap.cluster_ca) as running:
        running.replies["/convert"] = convert
        yield running


@pytest.mark.conformance(
    "CustomResourceConversionWebhook should be able to convert from CR v1 to CR v2"
)
async def test_an_object_is_read_in_the_other_version(server: Server, far: WebhookServer) -> None:
    await defined(server, definition(far))
    made = await server.call("POST", path("v1"), first("one"))
    assert made.status == 201, made.body
    assert made.body["hostPort"] == "localhost:80"
    found = await server.call("GET", path("v2", "one"))
    assert is_second(found.body, "localhost", "80")
    for key in ("uid", "resourceVersion", "creationTimestamp", "generation"):
        assert found.body["metadata"][key] == made.body["metadata"][key]
    assert (await server.call("GET", path("v1", "one"))).body == made.body


@pytest.mark.conformance(
    "CustomResourceConversionWebhook should be able to convert a non homogeneous list of CRs"
)
async def test_a_list_of_objects_of_several_versions_is_shown_in_one(
    server: Server, far: WebhookServer
) -> None:
    await defined(server, definition(far))
    await server.call("POST", path("v1"), first("one", "a:1"))
    await store_second(server)
    made = await server.call("POST", path("v2"), second("two", "b", "2"))
    assert made.status == 201, made.body
    for _ in range(2):
        items = (await server.call("GET", path("v2"))).body["items"]
        assert [i["metadata"]["name"] for i in items] == ["one", "two"]
        assert is_second(items[0], "a", "1")
        assert is_second(items[1], "b", "2")
        items = (await server.call("GET", path("v1"))).body["items"]
        assert [i["hostPort"] for i in items] == ["a:1", "b:2"]


async def test_an_object_is_changed_in_either_version(server: Server, far: WebhookServer) -> None:
    await defined(server, definition(far))
    made = await server.call("POST", path("v2"), second("one", "a", "1"))
    assert is_second(made.body, "a", "1")
    assert (await server.call("GET", path("v1", "one"))).body["hostPort"] == "a:1"
    change = {"port": "2"}
    answer = await server.call("PATCH", path("v2", "one"), change, content_type=MERGE)
    assert is_second(answer.body, "a", "2")
    assert answer.body["metadata"]["generation"] == 2
    whole = (await server.call("GET", path("v1", "one"))).body
    assert whole["hostPort"] == "a:2"
    answer = await server.call("PUT", path("v1", "one"), {**whole, "hostPort": "b:3"})
    assert answer.body["hostPort"] == "b:3"
    assert is_second((await server.call("GET", path("v2", "one"))).body, "b", "3")
    answer = await server.call("DELETE", path("v2", "one"))
    assert answer.status == 200
    assert (await server.call("GET", path("v1", "one"))).status == 404
    assert (await server.call("GET", path("v2"))).body["items"] == []


async def events(server: Server, query: str, count: int, version_: str = "v2") -> list[Any]:
    found: list[Any] = []
    async with server.session.get(f"{server.url}{path(version_)}?watch=1&{query}") as response:
        assert response.status == 200, await response.text()
        async with asyncio.timeout(60):
            while len(found) < count:
                found.append(orjson.loads(await response.content.readline()))
    return found


async def test_a_watch_shows_what_happens_in_its_version(
    server: Server, far: WebhookServer
) -> None:
    await defined(server, definition(far))
    listed = (await server.call("GET", path("v2"))).body
    revision = listed["metadata"]["resourceVersion"]
    watching = asyncio.ensure_future(events(server, f"resourceVersion={revision}", 3))
    await server.call("POST", path("v1"), first("one", "a:1"))
    await server.call("PATCH", path("v1", "one"), {"hostPort": "b:2"}, content_type=MERGE)
    deleted = await server.call("DELETE", path("v1", "one"))
    assert deleted.status == 200
    added, modified, gone = await watching
    assert [e["type"] for e in (added, modified, gone)] == ["ADDED", "MODIFIED", "DELETED"]
    assert is_second(added["object"], "a", "1")
    assert is_second(modified["object"], "b", "2")
    assert is_second(gone["object"], "b", "2")
    again = await events(server, f"resourceVersion={revision}", 3)
    assert [e["object"] for e in again] == [e["object"] for e in (added, modified, gone)]


async def test_a_watch_that_waits_is_told_of_later_changes(
    server: Server, far: WebhookServer
) -> None:
    await defined(server, definition(far))
    async with server.session.get(f"{server.url}{path('v2')}?watch=1") as response:
        assert response.status == 200
        for number in range(3):
            await server.call("POST", path("v1"), first(f"n{number}", f"a:{number}"))
            async with asyncio.timeout(60):
                event = orjson.loads(await response.content.readline())
            assert is_second(event["object"], "a", str(number))


async def test_objects_are_selected_by_the_fields_of_the_version_that_is_asked(
    server: Server, far: WebhookServer
) -> None:
    await defined(server, definition(far))
    for number in range(3):
        await server.call("POST", path("v1"), first(f"n{number}", f"host{number % 2}:80"))
    first_ones = await server.call("GET", f"{path('v1')}?fieldSelector=hostPort%3Dhost0:80")
    second_ones = await server.call("GET", f"{path('v2')}?fieldSelector=host%3Dhost0,port%3D80")
    for answer in (first_ones, second_ones):
        assert [i["metadata"]["name"] for i in answer.body["items"]] == ["n0", "n2"]
    found = await events(server, "fieldSelector=host%3Dhost1", 1)
    assert found[0]["object"]["metadata"]["name"] == "n1"
    pages = await server.call("GET", f"{path('v2')}?limit=2")
    more = f"{path('v2')}?limit=2&continue={pages.body['metadata']['continue']}"
    await server.call("POST", path("v1"), first("later"))
    rest = await server.call("GET", more)
    assert [is_second(i, i["host"], "80") for i in rest.body["items"]] == [True]
    assert [i["metadata"]["name"] for i in rest.body["items"]] == ["n2"]


async def rewritten(server: Server, where: str) -> Any:
    """Write an object as it is until that brings it to the version that is stored now."""
    whole = found = (await server.call("GET", where)).body
    async with asyncio.timeout(60):
        while found["metadata"]["resourceVersion"] == whole["metadata"]["resourceVersion"]:
            await asyncio.sleep(0.01)
            found = (await server.call("PUT", where, whole)).body
    return found


@pytest.mark.parametrize("strategy", ["None", "Webhook"])
async def test_objects_migrate_when_they_are_written(
    server: Server, far: WebhookServer, strategy: str
) -> None:
    document = definition(far)
    if strategy == "None":
        document["spec"]["conversion"] = {"strategy": "None"}
    await defined(server, document)
    made = (await server.call("POST", path("v1"), first("one"))).body
    again = (await server.call("PUT", path("v1", "one"), made)).body
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    await store_second(server)
    migrated = await rewritten(server, path("v2", "one"))
    again = (await server.call("PUT", path("v2", "one"), migrated)).body
    assert again["metadata"]["resourceVersion"] == migrated["metadata"]["resourceVersion"]
    asked = len(far.asked)
    assert (await server.call("GET", path("v2", "one"))).body == migrated
    assert len(far.asked) == asked

    change = {"status": {"storedVersions": ["v2"]}}
    answer = await server.call("PATCH", f"{DEFINITION}/status", change, content_type=MERGE)
    assert answer.status == 200, answer.body
    gone = {"spec": {"versions": [version("v2", "host", "port", stored="v2")]}}
    answer = await server.call("PATCH", DEFINITION, gone, content_type=MERGE)
    assert answer.status == 200, answer.body
    await until(server, path("v1"), lambda answer: answer.status == 404)
    assert (await server.call("GET", path("v2", "one"))).status == 200


async def test_a_version_in_which_objects_are_stored_cannot_be_removed(
    server: Server, far: WebhookServer
) -> None:
    await defined(server, definition(far))
    await store_second(server)
    gone = {"spec": {"versions": [version("v2", "host", "port", stored="v2")]}}
    answer = await server.call("PATCH", DEFINITION, gone, content_type=MERGE)
    assert answer.status == 422
    assert "status.storedVersions[0]" in answer.body["message"]


# --- admission ------------------------------------------------------------------------------------

REGISTRATION = "/apis/admissionregistration.k8s.io/v1"
FIRST_ONLY = {
    "operations": ["*"],
    "apiGroups": [GROUP],
    "apiVersions": ["v1"],
    "resources": ["endpoints"],
}


async def test_admission_webhooks_see_and_change_objects_in_the_version_that_they_name(
    server: Server, far: WebhookServer
) -> None:
    await defined(server, definition(far, stored="v2"))
    far.replies["/change"] = patch({"op": "replace", "path": "/hostPort", "value": "changed:1"})
    webhook = {
        "name": "hook.example.com",
        "clientConfig": far.client("/change"),
        "rules": [FIRST_ONLY],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    body = {"metadata": {"name": "c"}, "webhooks": [webhook]}
    answer = await server.call("POST", f"{REGISTRATION}/mutatingwebhookconfigurations", body)
    assert answer.status == 201, answer.body
    made = await server.call("POST", path("v2"), second("one", "a", "2"))
    assert is_second(made.body, "changed", "1")
    (asked,) = far.requests("/change")
    assert asked["object"]["hostPort"] == "a:2"
    assert (asked["kind"]["version"], asked["requestKind"]["version"]) == ("v1", "v2")
    changed = await server.call("PATCH", path("v2", "one"), {"port": "3"}, content_type=MERGE)
    assert is_second(changed.body, "changed", "1")
    assert far.requests("/change")[-1]["oldObject"]["hostPort"] == "changed:1"


async def test_policies_see_objects_in_the_version_that_they_name(
    server: Server, far: WebhookServer
) -> None:
    await defined(server, definition(far, stored="v2"))
    policy = {
        "metadata": {"name": "p"},
        "spec": {
            "matchConstraints": {"resourceRules": [FIRST_ONLY]},
            "validations": [{"expression": "object.hostPort != 'bad:1'", "message": "bad port"}],
        },
    }
    binding = {
        "metadata": {"name": "b"},
        "spec": {"policyName": "p", "validationActions": ["Deny"]},
    }
    for plural, body in (("ies", policy), ("ybindings", binding)):
        where = f"{REGISTRATION}/validatingadmissionpolic{plural}"
        answer = await server.call("POST", where, body)
        assert answer.status == 201, answer.body
    refused = await server.call("POST", path("v2"), second("one", "bad", "1"))
    assert refused.status == 422
    assert refused.body["message"].endswith("denied request: bad port")
    assert (await server.call("POST", path("v2"), second("one", "good", "1"))).status == 201

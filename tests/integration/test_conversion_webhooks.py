"""Custom resources in versions that a webhook converts, over real HTTPS."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.integration.conftest import Answer, Server
from tests.webhook_server import WebhookServer, patch, webhook_server

GROUP = "stable.example.com"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
DEFINITION = f"{DEFINITIONS}/endpoints.{GROUP}"
MERGE = "application/merge-patch+json"


def path(version: str, name: str = "", namespace: str = "default") -> str:
    base = f"/apis/{GROUP}/{version}/namespaces/{namespace}/endpoints"
    return f"{base}/{name}" if name else base


@pytest.fixture
async def far(server: Server, tmp_path: Path) -> AsyncIterator[WebhookServer]:
    async with webhook_server(tmp_path, server.app.bootstrap.cluster_ca) as running:
        running.replies["/convert"] = convert
        yield running


def converted(obj: dict[str, Any], api_version: str) -> dict[str, Any]:
    """Turn `hostPort: host:port` of v1 into `host` and `port` of v2, and back."""
    kept = {key: value for key, value in obj.items() if key not in ("host", "port", "hostPort")}
    kept["apiVersion"] = api_version
    if api_version.endswith("/v2"):
        host, _, port = obj.get("hostPort", ":").partition(":")
        return {**kept, "host": host, "port": port}
    return {**kept, "hostPort": f"{obj.get('host', '')}:{obj.get('port', '')}"}


def convert(request: dict[str, Any]) -> dict[str, Any]:
    wanted = request["desiredAPIVersion"]
    objects = [converted(obj, wanted) for obj in request["objects"]]
    return {"convertedObjects": objects, "result": {"status": "Success"}}


def version(name: str, *fields: str, stored: str) -> dict[str, Any]:
    properties = {field: {"type": "string"} for field in fields}
    return {
        "name": name,
        "served": True,
        "storage": name == stored,
        "selectableFields": [{"jsonPath": f".{field}"} for field in fields],
        "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}},
    }


def versions(stored: str) -> list[dict[str, Any]]:
    return [
        version("v1", "hostPort", stored=stored),
        version("v2", "host", "port", stored=stored),
    ]


def definition(far: WebhookServer, stored: str = "v1", **webhook: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": f"endpoints.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"plural": "endpoints", "kind": "Endpoint"},
            "versions": versions(stored),
            "conversion": {
                "strategy": "Webhook",
                "webhook": {
                    "clientConfig": far.client("/convert"),
                    "conversionReviewVersions": ["v1", "v1beta1"],
                    **webhook,
                },
            },
        },
    }


async def defined(server: Server, document: dict[str, Any]) -> None:
    answer = await server.call("POST", DEFINITIONS, document)
    assert answer.status == 201, answer.body
    await served(server)


async def until(server: Server, where: str, done: Callable[[Answer], bool]) -> None:
    """Ask until the answer is as it should be; a minute is more than any machine needs."""
    async with asyncio.timeout(60):
        while not done(await server.call("GET", where)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def served(server: Server) -> None:
    """Ask until both versions are there."""
    for name in ("v1", "v2"):
        await until(server, path(name), lambda answer: answer.status != 404)


def first(name: str, host_port: str = "localhost:80", **meta: Any) -> dict[str, Any]:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "Endpoint",
        "metadata": {"name": name, **meta},
        "hostPort": host_port,
    }


def second(name: str, host: str = "localhost", port: str = "80") -> dict[str, Any]:
    meta = {"name": name}
    return {
        "apiVersion": f"{GROUP}/v2",
        "kind": "Endpoint",
        "metadata": meta,
        "host": host,
        "port": port,
    }


def is_second(obj: dict[str, Any], host: str, port: str) -> bool:
    assert obj["apiVersion"] == f"{GROUP}/v2"
    return (obj["host"], obj["port"]) == (host, port) and "hostPort" not in obj


async def store_second(server: Server) -> None:
    """Make v2 the stored version, and wait until that is so."""
    change = {"spec": {"versions": versions("v2")}}
    answer = await server.call("PATCH", DEFINITION, change, content_type=MERGE)
    assert answer.status == 200, answer.body

    def is_done(crd: Answer) -> bool:
        return bool(crd.body["status"]["storedVersions"] == ["v1", "v2"])

    await until(server, DEFINITION, is_done)


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


# --- far ends that misbehave ----------------------------------------------------------------------

WHAT = f"conversion webhook for {GROUP}/v1, Kind=Endpoint"


def refuse(answer: Answer, text: str) -> None:
    assert answer.status == 500
    assert text in answer.body["message"], answer.body
    assert "reason" not in answer.body


async def test_a_webhook_that_fails_leaves_the_stored_version_usable(
    server: Server, far: WebhookServer
) -> None:
    await defined(server, definition(far))
    await server.call("POST", path("v1"), first("one"))
    far.replies["/convert"] = lambda _request: {
        "result": {"status": "Failure", "message": "in distress"}
    }
    text = f"{WHAT} failed: in distress"
    for answer in (
        await server.call("GET", path("v2", "one")),
        await server.call("GET", path("v2")),
        await server.call("GET", f"{path('v2')}?watch=1"),
        await server.call("PATCH", path("v2", "one"), {"port": "1"}, content_type=MERGE),
    ):
        refuse(answer, text)
    assert (await server.call("GET", path("v1", "one"))).status == 200
    assert len((await server.call("GET", path("v1"))).body["items"]) == 1
    assert (await server.call("POST", path("v1"), first("two"))).status == 201
    far.replies["/convert"] = convert
    assert len((await server.call("GET", path("v2"))).body["items"]) == 2


async def test_watches_end_where_a_change_cannot_be_converted(
    server: Server, far: WebhookServer
) -> None:
    await defined(server, definition(far))
    async with server.session.get(f"{server.url}{path('v2')}?watch=1") as response:
        far.replies["/convert"] = lambda _request: {"result": {"status": "Failure"}}
        await server.call("POST", path("v1"), first("one"))
        async with asyncio.timeout(60):
            assert await response.content.read() == b""
    refuse(
        await server.call("GET", path("v2")),
        f"{WHAT} failed: response.result.status was 'Failure', not 'Success'",
    )


def answering(change: Any) -> Any:
    def reply(request: dict[str, Any]) -> dict[str, Any]:
        answer = convert(request)
        answer["convertedObjects"] = [change(obj) for obj in answer["convertedObjects"]]
        return answer

    return reply


def with_metadata(**changes: Any) -> Any:
    return answering(lambda obj: {**obj, "metadata": {**obj["metadata"], **changes}})


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (lambda _request: {"kind": "Other", "apiVersion": "v1"}, "expected webhook response of"),
        (
            lambda _request: {
                "kind": "ConversionReview",
                "apiVersion": "apiextensions.k8s.io/v1",
            },
            "no response provided",
        ),
        (lambda _request: {"uid": "other"}, "expected response.uid="),
        (
            lambda _request: {"result": {"status": "Success"}, "convertedObjects": []},
            f"{WHAT} returned 0 objects, expected 1",
        ),
        (
            answering(lambda obj: {**obj, "apiVersion": f"{GROUP}/v1"}),
            f"invalid groupVersion (expected {GROUP}/v2, received {GROUP}/v1)",
        ),
        (answering(lambda obj: {**obj, "kind": "X"}), "must have the same kind: Endpoint != X"),
        (answering(lambda _obj: "text"), "returned invalid object: it is no object"),
        (with_metadata(name="other"), "must have the same name: one != other"),
        (with_metadata(uid="other"), "must have the same UID: "),
        (with_metadata(namespace="other"), "must have the same namespace: default != other"),
        (with_metadata(labels="text"), "invalid metadata.labels of type string"),
        (with_metadata(labels={"a": 1}), "metadata.labels[a] must be a string"),
        (with_metadata(labels={"a b": "c"}), "returned invalid metadata: metadata.labels"),
    ],
)
async def test_an_answer_that_is_no_conversion_is_refused(
    server: Server, far: WebhookServer, reply: Any, text: str
) -> None:
    await defined(server, definition(far))
    await server.call("POST", path("v1"), first("one"))
    far.replies["/convert"] = reply
    refuse(await server.call("GET", path("v2", "one")), text)
    refuse(await server.call("GET", path("v2")), text)


async def test_only_labels_and_annotations_of_the_metadata_may_change(
    server: Server, far: WebhookServer
) -> None:
    await defined(server, definition(far))
    made = await server.call("POST", path("v1"), first("one", labels={"a": "b"}))
    far.replies["/convert"] = with_metadata(
        labels={"c": "d"}, annotations={"e": "f"}, finalizers=["x/y"], generation=7
    )
    meta = (await server.call("GET", path("v2", "one"))).body["metadata"]
    assert (meta["labels"], meta["annotations"]) == ({"c": "d"}, {"e": "f"})
    assert "finalizers" not in meta
    assert meta["generation"] == made.body["metadata"]["generation"]


async def test_what_the_schema_does_not_have_is_pruned_after_the_conversion(
    server: Server, far: WebhookServer
) -> None:
    await defined(server, definition(far))
    await server.call("POST", path("v1"), first("one"))
    far.replies["/convert"] = answering(lambda obj: {**obj, "extra": "field"})
    assert "extra" not in (await server.call("GET", path("v2", "one"))).body


async def test_many_objects_are_converted_in_several_requests(
    server: Server, far: WebhookServer
) -> None:
    await defined(server, definition(far))
    for number in range(450):
        await server.call("POST", path("v1"), first(f"n{number:03}", f"a:{number}"))
    far.asked.clear()
    items = (await server.call("GET", path("v2"))).body["items"]
    assert [item["port"] for item in items] == [str(number) for number in range(450)]
    assert [len(request["objects"]) for _, request in far.asked] == [200, 200, 50]
    far.asked.clear()
    assert len((await server.call("GET", path("v2"))).body["items"]) == 450
    assert far.asked == []


async def test_old_reviews_are_understood(server: Server, far: WebhookServer) -> None:
    await defined(server, definition(far, conversionReviewVersions=["v3", "v1beta1"]))

    def old(request: dict[str, Any]) -> dict[str, Any]:
        return {
            "kind": "ConversionReview",
            "apiVersion": "apiextensions.k8s.io/v1beta1",
            "response": convert(request),
        }

    far.replies["/convert"] = old
    await server.call("POST", path("v1"), first("one", "a:1"))
    assert is_second((await server.call("GET", path("v2", "one"))).body, "a", "1")


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

"""Conversion webhooks that fail, and answers that are no conversion."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Answer, Server
from tests.integration.webhook_conversion import (
    GROUP,
    MERGE,
    convert,
    defined,
    definition,
    first,
    is_second,
    path,
)
from tests.webhook_server import WebhookServer, webhook_server


@pytest.fixture
async def far(server: Server, tmp_path: Path) -> AsyncIterator[WebhookServer]:
    async with webhook_server(tmp_path, server.app.bootstrap.cluster_ca) as running:
        running.replies["/convert"] = convert
        yield running


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

"""Events of both groups: what happens to an object is written, read, changed and thrown away."""

from typing import Any

import pytest

from tests.integration.conftest import Server

NAMESPACE = "default"
CORE = f"/api/v1/namespaces/{NAMESPACE}/events"
NEW = f"/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events"
STRATEGIC = "application/strategic-merge-patch+json"
SERIES = {"count": 2, "lastObservedTime": "2026-11-22T12:00:00.000001Z"}


def core_event(name: str, **labels: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": labels},
        "involvedObject": {"namespace": NAMESPACE},
        "reason": "Test",
        "message": "This is a test",
        "type": "Normal",
    }


def new_event(name: str, **labels: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": labels},
        "regarding": {"namespace": NAMESPACE},
        "eventTime": "2026-11-22T12:00:00.000001Z",
        "note": f"This is {name}",
        "type": "Normal",
        "reason": "Test",
        "action": "Do",
        "reportingController": "test-controller",
        "reportingInstance": "test-node",
    }


async def names(server: Server, path: str, selector: str) -> list[str]:
    answer = await server.call("GET", f"{path}?labelSelector={selector}")
    return [item["metadata"]["name"] for item in answer.body["items"]]


@pytest.mark.conformance("Events should manage the lifecycle of an event")
async def test_an_event_is_made_listed_patched_updated_and_deleted(server: Server) -> None:
    created = await server.call("POST", CORE, core_event("one", kind="test"))
    assert created.status == 201
    assert await names(server, "/api/v1/events", "kind=test") == ["one"]
    patch = {"message": "This is a test event - patched"}
    await server.call("PATCH", f"{CORE}/one", patch, content_type=STRATEGIC)
    fetched = (await server.call("GET", f"{CORE}/one")).body
    assert fetched["message"] == patch["message"]
    await server.call("PUT", f"{CORE}/one", {**fetched, "series": SERIES})
    assert (await server.call("GET", f"{CORE}/one")).body["series"] == SERIES
    assert (await server.call("DELETE", f"{CORE}/one")).status == 200
    assert await names(server, "/api/v1/events", "kind=test") == []


@pytest.mark.conformance("Events should delete a collection of events")
async def test_events_of_a_label_are_deleted_together(server: Server) -> None:
    for name in ("one", "two", "three"):
        await server.call("POST", CORE, core_event(name, kind="set"))
    await server.call("POST", CORE, core_event("other", kind="kept"))
    assert len(await names(server, CORE, "kind=set")) == 3
    assert (await server.call("DELETE", f"{CORE}?labelSelector=kind%3Dset")).status == 200
    assert await names(server, CORE, "kind=set") == []
    assert await names(server, CORE, "kind") == ["other"]


@pytest.mark.conformance(
    "Events API should ensure that an event can be fetched, patched, deleted, and listed"
)
async def test_an_event_of_the_newer_group_lives_as_long(server: Server) -> None:
    created = await server.call("POST", NEW, new_event("one", kind="test"))
    assert created.status == 201, created.body
    for path in ("/apis/events.k8s.io/v1/events", NEW):
        assert await names(server, path, "kind=test") == ["one"]
    by_field = f"{NEW}?fieldSelector=reason%3DTest,reportingController%3Dtest-controller"
    assert len((await server.call("GET", by_field)).body["items"]) == 1
    refused = await server.call("PATCH", f"{NEW}/one", {"note": "x"}, content_type=STRATEGIC)
    assert refused.status == 422  # of an event of this group, nothing but its series may change
    await server.call("PATCH", f"{NEW}/one", {"series": SERIES}, content_type=STRATEGIC)
    fetched = (await server.call("GET", f"{NEW}/one")).body
    assert fetched["series"] == SERIES
    more = {**SERIES, "count": 100}
    await server.call("PUT", f"{NEW}/one", {**fetched, "series": more})
    assert (await server.call("GET", f"{NEW}/one")).body["series"] == more
    old = (await server.call("GET", f"{CORE}/one")).body
    assert (old["message"], old["series"]) == ("This is one", more)
    assert (await server.call("DELETE", f"{NEW}/one")).status == 200
    assert await names(server, "/apis/events.k8s.io/v1/events", "kind=test") == []


@pytest.mark.conformance("Events API should delete a collection of events")
async def test_events_of_the_newer_group_are_deleted_together(server: Server) -> None:
    for name in ("one", "two", "three"):
        await server.call("POST", NEW, new_event(name, kind="set"))
    assert len(await names(server, NEW, "kind=set")) == 3
    assert (await server.call("DELETE", f"{NEW}?labelSelector=kind%3Dset")).status == 200
    assert await names(server, NEW, "kind=set") == []

"""Options of reads, as clients write them and as the facts of the reference have them."""

import json
from pathlib import Path

import aiohttp
import pytest

from tests.integration.conftest import Server
from tests.integration.patience import eventually

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
FACTS = Path(__file__).parents[3] / "shared/reference/facts/field-selectors.json"


async def test_every_kind_has_the_field_selectors_of_the_reference(server: Server) -> None:
    facts = json.loads(FACTS.read_text())
    wrong = []
    for path, supported in facts["supported"].items():
        for field in facts["tried"]:
            answer = await server.call("GET", f"{path}?limit=1&fieldSelector={field}%3Dx")
            if (answer.status == 200) != (field in supported):
                wrong.append((path, field, answer.status))
    assert not wrong


async def names(server: Server, query: str) -> list[str]:
    answer = await server.call("GET", f"{CONFIGMAPS}?{query}")
    return [item["metadata"]["name"] for item in answer.body["items"]]


async def test_a_limit_with_a_revision_is_a_page_of_that_revision(server: Server) -> None:
    first = (await server.call("POST", CONFIGMAPS, {"metadata": {"name": "a"}})).body
    await server.call("POST", CONFIGMAPS, {"metadata": {"name": "b"}})
    revision = first["metadata"]["resourceVersion"]
    assert await names(server, f"limit=5&resourceVersion={revision}") == ["a"]
    assert await names(server, f"resourceVersion={revision}") == ["a", "b"]
    assert await names(server, "limit=1&resourceVersion=0") == ["a", "b"]


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("limit=", 400, 'strconv.ParseInt: parsing "": invalid syntax'),
        ("limit=1_0", 400, 'strconv.ParseInt: parsing "1_0": invalid syntax'),
        (
            "limit=99999999999999999999",
            400,
            'strconv.ParseInt: parsing "99999999999999999999": value out of range',
        ),
        ("watch=0", 200, None),
        ("watch=False", 200, None),
    ],
)
async def test_parameters_are_read_as_go_reads_them(
    server: Server, query: str, status: int, message: str | None
) -> None:
    answer = await server.call("GET", f"{CONFIGMAPS}?{query}")
    assert (answer.status, answer.body.get("message")) == (status, message)


async def test_one_object_is_read_at_a_revision_that_has_been_reached(server: Server) -> None:
    path = "/api/v1/namespaces/default?resourceVersion="
    assert (await server.call("GET", path + "1")).status == 200
    late = await server.call("GET", path + "99999999")
    assert (late.status, late.body["reason"]) == (504, "Timeout")
    bad = await server.call("GET", path + "abc")
    assert bad.status == 500
    assert bad.body["message"].startswith('resourceVersion: Invalid value: "abc"')


async def test_a_body_that_is_no_delete_options_deletes_nothing(server: Server) -> None:
    await server.call("POST", CONFIGMAPS, {"metadata": {"name": "a"}})
    answer = await server.call("DELETE", f"{CONFIGMAPS}/a", {"kind": "Pod", "apiVersion": "v1"})
    assert answer.status == 400
    assert (await server.call("GET", f"{CONFIGMAPS}/a")).status == 200


async def test_a_watch_over_a_web_socket_sends_a_message_for_each_event(server: Server) -> None:
    await server.call("POST", CONFIGMAPS, {"metadata": {"name": "a"}})
    query = "watch=true&fieldSelector=metadata.name%3Da"
    async with server.session.ws_connect(f"{server.url}{CONFIGMAPS}?{query}") as socket:
        first = await socket.receive_json(timeout=30)
        assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "a")
        await server.call("DELETE", f"{CONFIGMAPS}/a")
        assert (await socket.receive_json(timeout=30))["type"] == "DELETED"


async def test_a_watch_over_a_web_socket_ends_with_its_time_and_its_client(server: Server) -> None:
    url = f"{server.url}{CONFIGMAPS}?watch=true&labelSelector=none%3Dx"
    async with server.session.ws_connect(f"{url}&timeoutSeconds=1") as socket:
        assert (await socket.receive(timeout=30)).type is aiohttp.WSMsgType.CLOSE
    async with server.session.ws_connect(url, protocols=("one.example",)) as socket:
        assert socket.protocol == "one.example"

    async def watchers() -> int:
        return len(server.app.watches)

    await eventually(watchers, lambda count: count == 0)

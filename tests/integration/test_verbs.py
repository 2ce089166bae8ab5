"""The verbs over HTTP, on a real socket and a real datastore."""

import asyncio

import orjson
import pytest

from minikube_py.api.core import CONFIGMAPS
from tests.integration.conftest import Server

PATH = "/api/v1/namespaces/default/configmaps"


def configmap(name: str, **data: str) -> dict[str, object]:
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name}, "data": data}


async def test_an_object_is_created_read_changed_and_deleted(server: Server) -> None:
    created = await server.call("POST", PATH, configmap("a", x="1"))
    assert created.status == 201
    metadata = created.body["metadata"]
    assert metadata["uid"]
    assert metadata["creationTimestamp"]
    assert (await server.call("GET", f"{PATH}/a")).body == created.body

    changed = await server.call("PUT", f"{PATH}/a", configmap("a", x="2"))
    assert changed.status == 200
    assert changed.body["data"] == {"x": "2"}
    assert int(changed.body["metadata"]["resourceVersion"]) > int(metadata["resourceVersion"])
    assert changed.body["metadata"]["uid"] == metadata["uid"]

    gone = await server.call("DELETE", f"{PATH}/a")
    assert (gone.status, gone.body["status"]) == (200, "Success")
    assert (await server.call("GET", f"{PATH}/a")).status == 404


async def test_a_second_object_of_a_name_is_refused(server: Server) -> None:
    await server.call("POST", PATH, configmap("a"))
    answer = await server.call("POST", PATH, configmap("a"))
    assert answer.status == 409
    assert answer.body["reason"] == "AlreadyExists"
    assert answer.body["message"] == 'configmaps "a" already exists'


async def test_a_stale_writer_gets_a_conflict_and_nothing_is_lost(server: Server) -> None:
    stale = (await server.call("POST", PATH, configmap("a", x="1"))).body
    await server.call("PUT", f"{PATH}/a", configmap("a", x="2"))
    answer = await server.call("PUT", f"{PATH}/a", {**stale, "data": {"x": "3"}})
    assert answer.status == 409
    assert answer.body["reason"] == "Conflict"
    assert (await server.call("GET", f"{PATH}/a")).body["data"] == {"x": "2"}


async def test_concurrent_patches_all_take_effect(server: Server) -> None:
    await server.call("POST", PATH, configmap("a"))
    answers = await asyncio.gather(
        *(
            server.call(
                "PATCH",
                f"{PATH}/a",
                {"data": {f"k{n}": "v"}},
                content_type="application/merge-patch+json",
            )
            for n in range(20)
        )
    )
    assert {answer.status for answer in answers} == {200}
    assert len((await server.call("GET", f"{PATH}/a")).body["data"]) == 20


@pytest.mark.parametrize(
    ("content_type", "patch"),
    [
        ("application/json-patch+json", [{"op": "add", "path": "/data/y", "value": "2"}]),
        ("application/merge-patch+json", {"data": {"y": "2"}}),
        ("application/strategic-merge-patch+json", {"data": {"y": "2"}}),
    ],
)
async def test_each_kind_of_patch_changes_a_part(
    server: Server, content_type: str, patch: object
) -> None:
    await server.call("POST", PATH, configmap("a", x="1"))
    answer = await server.call("PATCH", f"{PATH}/a", patch, content_type=content_type)
    assert answer.status == 200
    assert answer.body["data"] == {"x": "1", "y": "2"}


async def test_generated_names_carry_their_prefix(server: Server) -> None:
    body = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"generateName": "job-"}}
    names = {(await server.call("POST", PATH, body)).body["metadata"]["name"] for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("job-") and len(name) == 9 for name in names)


async def test_a_list_in_pages_shows_one_moment(server: Server) -> None:
    for n in range(7):
        await server.call("POST", PATH, configmap(f"c{n}", keep="1"))
    first = (await server.call("GET", f"{PATH}?limit=3&labelSelector=!none")).body
    await server.call("DELETE", f"{PATH}/c5")
    token = first["metadata"]["continue"]
    second = (await server.call("GET", f"{PATH}?limit=10&continue={token}")).body
    names = [item["metadata"]["name"] for item in first["items"] + second["items"]]
    assert [name for name in names if name.startswith("c")] == [f"c{n}" for n in range(7)]
    assert first["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]
    assert "kind" not in first["items"][0]


async def test_a_watch_from_a_revision_has_no_gap(server: Server) -> None:
    since = (await server.call("GET", PATH)).body["metadata"]["resourceVersion"]
    await server.call("POST", PATH, configmap("a", x="1"))
    url = f"{server.url}{PATH}?watch=1&resourceVersion={since}&timeoutSeconds=5"
    async with server.session.get(url) as stream:
        await server.call("PUT", f"{PATH}/a", configmap("a", x="2"))
        await server.call("DELETE", f"{PATH}/a")
        events = [orjson.loads(await stream.content.readline()) for _ in range(3)]
    assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "DELETED"]
    revisions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert revisions == sorted(revisions)


async def test_an_object_that_leaves_the_selection_is_deleted_for_the_watcher(
    server: Server,
) -> None:
    labelled = {**configmap("a"), "metadata": {"name": "a", "labels": {"app": "x"}}}
    since = (await server.call("GET", PATH)).body["metadata"]["resourceVersion"]
    url = f"{server.url}{PATH}?watch=1&resourceVersion={since}&labelSelector=app%3Dx"
    async with server.session.get(url) as stream:
        await server.call("POST", PATH, labelled)
        await server.call("PUT", f"{PATH}/a", configmap("a"))
        events = [orjson.loads(await stream.content.readline()) for _ in range(2)]
    assert [event["type"] for event in events] == ["ADDED", "DELETED"]


async def test_a_streaming_list_ends_with_a_bookmark(server: Server) -> None:
    await server.call("POST", PATH, configmap("a"))
    query = "watch=1&sendInitialEvents=true&allowWatchBookmarks=true"
    url = f"{server.url}{PATH}?{query}&resourceVersionMatch=NotOlderThan"
    async with server.session.get(url) as stream:
        first = orjson.loads(await stream.content.readline())
        last = orjson.loads(await stream.content.readline())
    assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "a")
    assert last["type"] == "BOOKMARK"
    assert last["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_a_finalizer_holds_an_object_until_it_is_removed(server: Server) -> None:
    held = {**configmap("a"), "metadata": {"name": "a", "finalizers": ["example.com/hold"]}}
    await server.call("POST", PATH, held)
    marked = await server.call("DELETE", f"{PATH}/a")
    assert marked.body["metadata"]["deletionTimestamp"]
    freed = await server.call(
        "PATCH",
        f"{PATH}/a",
        {"metadata": {"finalizers": None}},
        content_type="application/merge-patch+json",
    )
    assert freed.status == 200
    assert (await server.call("GET", f"{PATH}/a")).status == 404


async def test_a_dry_run_writes_nothing(server: Server) -> None:
    answer = await server.call("POST", f"{PATH}?dryRun=All", configmap("a"))
    assert answer.status == 201
    assert (await server.call("GET", f"{PATH}/a")).status == 404


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"a: &a [*a, *a]", "application/yaml", 400),
        (b"x", "text/html", 415),
        (b"k8s\x00junk", "application/vnd.kubernetes.protobuf", 400),
        (b'{"kind":"ConfigMap","apiVersion":"v1","data":{"a":1}}', "application/json", 400),
        (
            b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"A!"}}',
            "application/json",
            422,
        ),
        (b"x" * (3 * 1024 * 1024 + 1), "application/json", 413),
    ],
)
async def test_a_bad_body_is_refused_with_its_reason(
    server: Server, body: bytes, content_type: str, status: int
) -> None:
    answer = await server.call("POST", PATH, body, content_type=content_type)
    assert answer.status == status, answer.raw[:300]
    assert answer.body["kind"] == "Status"
    assert answer.body["message"]


async def test_unknown_fields_are_warned_of_and_strictly_refused(server: Server) -> None:
    body = {**configmap("a"), "dta": {}}
    warned = await server.call("POST", PATH, body)
    assert warned.headers["Warning"] == '299 - "unknown field \\"dta\\""'
    refused = await server.call("POST", f"{PATH}?fieldValidation=Strict", body)
    assert refused.status == 400
    assert 'unknown field "dta"' in refused.body["message"]


async def test_the_client_in_process_sees_the_same(server: Server) -> None:
    await server.client.create(
        CONFIGMAPS, {**configmap("a", x="1"), "metadata": {"name": "a", "namespace": "default"}}
    )
    over_http = (await server.call("GET", f"{PATH}/a")).body
    assert await server.client.get(CONFIGMAPS, "a", "default") == over_http


async def test_everything_is_there_after_a_restart(restartable) -> None:
    async with restartable() as server:
        created = (await server.call("POST", PATH, configmap("a", x="1"))).body
    async with restartable() as server:
        assert (await server.call("GET", f"{PATH}/a")).body == created
        later = (await server.call("POST", PATH, configmap("b"))).body
        assert int(later["metadata"]["resourceVersion"]) > int(
            created["metadata"]["resourceVersion"]
        )


async def test_a_new_object_has_no_revision_yet(server: Server) -> None:
    body = configmap("a")
    body["metadata"] = {"name": "a", "resourceVersion": "5"}
    answer = await server.call("POST", PATH, body)
    assert (answer.status, "reason" in answer.body) == (500, False)
    assert answer.body["message"] == "resourceVersion should not be set on objects to be created"
    assert (await server.call("POST", f"{PATH}?dryRun=All", body)).status == 201


async def test_a_namespace_of_what_is_in_none_is_dropped(server: Server) -> None:
    body = {"metadata": {"name": "a", "namespace": "b"}, "rules": []}
    path = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
    answer = await server.call("POST", path, body)
    assert (answer.status, "namespace" in answer.body["metadata"]) == (201, False)


@pytest.mark.parametrize(
    ("version", "kind", "why"),
    [
        ("v1", "Pod", "converting (v1.Pod) to (core.ConfigMap): unknown conversion"),
        ("v1", "Foo", ('no kind "Foo" is registered for version "v1" in scheme '
                      '"pkg/api/legacyscheme/scheme.go:30"')),
        ("v2", "ConfigMap", ('no kind "ConfigMap" is registered for version "v2" in scheme '
                            '"pkg/api/legacyscheme/scheme.go:30"')),
    ],
)  # fmt: skip
async def test_a_body_of_another_kind_is_refused(
    server: Server, version: str, kind: str, why: str
) -> None:
    body = {"apiVersion": version, "kind": kind, "metadata": {"name": "a"}}
    answer = await server.call("POST", PATH, body)
    assert answer.status == 400
    assert answer.body["message"] == (
        f'{kind} in version "{version}" cannot be handled as a ConfigMap: {why}'
    )


async def test_a_patch_makes_no_other_kind(server: Server) -> None:
    await server.call("POST", PATH, configmap("a"))
    merge = {"content_type": "application/merge-patch+json"}
    answer = await server.call("PATCH", f"{PATH}/a", {"kind": "Foo"}, **merge)
    assert answer.status == 422
    assert 'no kind "Foo" is registered for version "v1"' in answer.body["message"]


async def test_what_a_patch_says_twice_is_told(server: Server) -> None:
    await server.call("POST", PATH, configmap("a"))
    merge = {"content_type": "application/merge-patch+json"}
    answer = await server.call("PATCH", f"{PATH}/a", b'{"data":{"k":"1","k":"2"}}', **merge)
    assert answer.headers.getall("Warning") == ['299 - "duplicate field \\"data.k\\""']
    operations = b'[{"op":"add","path":"/data/q","value":"1","value":"2","more":1}]'
    of_json = {"content_type": "application/json-patch+json"}
    answer = await server.call("PATCH", f"{PATH}/a", operations, **of_json)
    assert answer.headers.getall("Warning") == [
        '299 - "json patch duplicate field \\"[0].value\\""',
        '299 - "json patch unknown field \\"[0].more\\""',
    ]
    strict = await server.call(
        "PATCH", f"{PATH}/a?fieldValidation=Strict", b'{"data":{"k":"1","k":"2"}}', **merge
    )
    assert strict.status == 422
    assert 'strict decoding error: duplicate field "data.k"' in strict.body["message"]


async def test_equal_keys_of_a_body_are_merged(server: Server) -> None:
    body = b'{"metadata":{"name":"a"},"data":{"k":"1"},"data":{"j":"2"}}'
    answer = await server.call("POST", PATH, body)
    assert answer.body["data"] == {"k": "1", "j": "2"}


@pytest.mark.parametrize(("name", "status"), [("a%25b", 400), ("%00", 404)])
async def test_a_name_that_is_none_is_told(server: Server, name: str, status: int) -> None:
    answer = await server.call("GET", f"{PATH}/{name}")
    assert answer.status == status

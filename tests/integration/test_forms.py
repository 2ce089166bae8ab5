"""Forms of answers and owners of fields, over HTTP."""

import orjson
import pytest

from minikube_py.api import protobuf, yaml
from tests.integration.conftest import Server

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
PROTOBUF = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf"
APPLY = "application/apply-patch+yaml"


def deployment(name: str, **spec: object) -> dict[str, object]:
    labels = {"app": name}
    pod = {"containers": [{"name": "c", "image": "registry.example/app:1"}]}
    template = {"metadata": {"labels": labels}, "spec": pod}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": labels}, "template": template, **spec},
    }


async def test_who_applies_a_scale_owns_the_replicas_of_the_parent(server: Server) -> None:
    await server.call("POST", DEPLOYMENTS, deployment("d"))
    scale = {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {"name": "d"},
        "spec": {"replicas": 4},
    }
    query = "fieldManager=scaler"
    path = f"{DEPLOYMENTS}/d/scale"
    refused = await server.call("PATCH", f"{path}?{query}", scale, content_type=APPLY)
    assert (refused.status, refused.body["reason"]) == (409, "Conflict")
    forced = await server.call("PATCH", f"{path}?{query}&force=true", scale, content_type=APPLY)
    assert (forced.status, forced.body["spec"]) == (200, {"replicas": 4})
    parent = (await server.call("GET", f"{DEPLOYMENTS}/d")).body
    entries = {entry["manager"]: entry for entry in parent["metadata"]["managedFields"]}
    assert parent["spec"]["replicas"] == 4
    assert entries["scaler"]["subresource"] == "scale"
    assert entries["scaler"]["apiVersion"] == "apps/v1"
    assert entries["scaler"]["fieldsV1"] == {"f:spec": {"f:replicas": {}}}
    wrong = {**scale, "apiVersion": "apps/v1"}
    answer = await server.call("PATCH", f"{path}?{query}", wrong, content_type=APPLY)
    assert answer.body["message"] == "invalid object type: apps/v1, Kind=Scale"


async def fill(server: Server, count: int, size: int) -> None:
    for number in range(count):
        body = {"metadata": {"name": f"c{number:03}"}, "data": {"k": "x" * size}}
        assert (await server.call("POST", CONFIGMAPS, body)).status == 201


@pytest.mark.parametrize(
    ("count", "size", "encoding"),
    [(1, 200_000, "gzip"), (1, 1_000, ""), (70, 100, "gzip")],
)
async def test_big_answers_are_compressed_for_who_takes_gzip(
    server: Server, count: int, size: int, encoding: str
) -> None:
    await fill(server, count, size)
    answer = await server.call("GET", CONFIGMAPS, accept_encoding="gzip")
    assert answer.headers.get("Content-Encoding", "") == encoding
    names = [item["metadata"]["name"] for item in answer.body["items"]]
    assert names == [f"c{number:03}" for number in range(count)]
    plain = await server.call("GET", CONFIGMAPS, accept_encoding="identity")
    assert "Content-Encoding" not in plain.headers
    assert plain.body == answer.body


@pytest.mark.parametrize("view", ["Table", "PartialObjectMetadataList"])
async def test_a_long_view_of_a_list_is_the_same_as_its_pages(server: Server, view: str) -> None:
    await fill(server, 70, 10)
    accept = f"application/json;as={view};g=meta.k8s.io;v=v1"
    whole = (await server.call("GET", CONFIGMAPS, accept=accept)).body
    page = (await server.call("GET", f"{CONFIGMAPS}?limit=40", accept=accept)).body
    token = page["metadata"]["continue"]
    rest = await server.call("GET", f"{CONFIGMAPS}?limit=40&continue={token}", accept=accept)
    member = "rows" if view == "Table" else "items"
    assert len(whole[member]) == 70
    assert strip(whole[member]) == strip([*page[member], *rest.body[member]])
    assert {**whole, member: [], "metadata": {}} == {**page, member: [], "metadata": {}}


async def test_a_long_list_has_no_view_of_one_object(server: Server) -> None:
    await fill(server, 70, 10)
    accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    assert (await server.call("GET", CONFIGMAPS, accept=accept)).status == 406


def strip(rows: list[dict[str, object]]) -> list[object]:
    """Return what does not depend on the second in which it was asked for."""
    return [row.get("object", row) for row in rows]


async def test_partial_objects_travel_as_protobuf_too(server: Server) -> None:
    await fill(server, 1, 10)
    accept = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    answer = await server.call("GET", f"{CONFIGMAPS}/c000", accept=accept)
    assert answer.status == 200
    assert protobuf.decode(answer.raw)["kind"] == "PartialObjectMetadata"
    assert protobuf.decode(answer.raw)["metadata"]["name"] == "c000"


@pytest.mark.parametrize("path", ["/api", "/apis", "/apis/apps", "/apis/apps/v1", "/api/v1"])
async def test_discovery_comes_in_every_form(server: Server, path: str) -> None:
    plain = (await server.call("GET", path, accept="application/json")).body
    as_yaml = await server.call("GET", path, accept="application/yaml")
    packed = await server.call("GET", path, accept="application/vnd.kubernetes.protobuf")
    pretty = await server.call("GET", f"{path}?pretty=true")
    assert yaml.load(as_yaml.raw) == plain
    assert protobuf.decode(packed.raw)["kind"] == plain["kind"]
    assert pretty.raw.startswith(b"{\n  ")
    assert pretty.body == plain
    assert (await server.call("GET", path, accept="text/html")).status == 406


@pytest.mark.parametrize("path", ["/openapi/v2", "/openapi/v3/apis/policy/v1"])
async def test_openapi_is_sent_once_to_who_keeps_it(server: Server, path: str) -> None:
    first = await server.call("GET", path)
    assert first.status == 200
    again = await server.call("GET", path, if_none_match=first.headers["ETag"])
    assert (again.status, again.raw) == (304, b"")


async def test_the_index_of_openapi_names_documents_by_their_hash(server: Server) -> None:
    index = orjson.loads((await server.call("GET", "/openapi/v3")).raw)
    url = index["paths"]["apis/policy/v1"]["serverRelativeURL"]
    kept = await server.call("GET", url)
    assert (kept.status, kept.headers["Cache-Control"]) == (200, "public, immutable")
    old = url.partition("?")[0] + "?hash=OLD"
    moved = await server.session.get(server.url + old, allow_redirects=False)
    assert (moved.status, moved.headers["Location"]) == (301, url)


async def test_aggregated_discovery_is_tagged(server: Server) -> None:
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    first = await server.call("GET", "/apis", accept=accept)
    assert first.headers["Content-Type"] == accept
    again = await server.call("GET", "/apis", accept=accept, if_none_match=first.headers["ETag"])
    assert again.status == 304


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
async def test_resources_know_no_method_beyond_their_verbs(server: Server, method: str) -> None:
    assert (await server.call(method, CONFIGMAPS)).status == 405
    assert (await server.call(method, "/apis")).status == 200


async def test_no_answer_names_the_program_that_made_it(server: Server) -> None:
    for path in ("/version", "/api/v1/namespaces", "/nothing/here", "/healthz", "/metrics"):
        answer = await server.call("GET", path)
        assert "Server" not in answer.headers, path


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("application/com.github.proto-openapi.spec.v3@v1.0+protobuf, application/json", PROTOBUF),
        ("application/com.github.proto-openapi.spec.v3.v1.0+protobuf", PROTOBUF),
        (
            "application/com.github.proto-openapi.spec.v3@v1.0+protobuf; q=0.5, application/json",
            "application/json",
        ),
        ("*/*", "application/json"),
    ],
)
async def test_openapi_v3_comes_in_the_form_that_is_asked_for(
    server: Server, accept: str, content_type: str
) -> None:
    path = "/openapi/v3/apis/policy/v1"
    answer = await server.call("GET", path, Accept=accept)
    assert (answer.status, answer.headers["Content-Type"]) == (200, content_type)
    refused = await server.call("GET", path, Accept="application/test")
    assert refused.status == 406

"""Custom kinds in a whole control plane: they come, are used, survive a restart, and go."""

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from minikube_py.api import protobuf
from tests.integration.conftest import Answer, Server, running

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
GROUP = "stable.example.com"
TABS = f"/apis/{GROUP}/v1/namespaces/default/crontabs"
SPEC = {
    "type": "object",
    "required": ["image"],
    "properties": {
        "image": {"type": "string", "pattern": "^[a-z]+$"},
        "replicas": {"type": "integer", "minimum": 0, "maximum": 9, "default": 1},
        "size": {"x-kubernetes-int-or-string": True},
        "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}
STATUS = {"type": "object", "properties": {"replicas": {"type": "integer"}}}


def version(name: str = "v1", *, storage: bool = True, **fields: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"spec": SPEC, "status": STATUS}}
    made = {"name": name, "served": True, "storage": storage, "schema": {"openAPIV3Schema": schema}}
    return {**made, **fields}


def crd(*versions: dict[str, Any], plural: str = "crontabs", **names: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": "CronTab", "shortNames": ["ct"], **names},
            "versions": list(versions or (version(),)),
        },
    }


def tab(name: str = "a", spec: Any = None, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "CronTab",
        "metadata": {"name": name, **metadata},
        "spec": {"image": "nginx"} if spec is None else spec,
    }


async def until(server: Server, path: str, status: int) -> Answer:
    """Ask until the answer has that status; the test's own time limit bounds it."""
    while (answer := await server.call("GET", path)).status != status:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    return answer


async def defined(server: Server, body: dict[str, Any] | None = None) -> None:
    made = await server.call("POST", CRDS, body or crd())
    assert made.status == 201, made.raw
    await until(server, TABS, 200)


async def test_an_object_of_a_custom_kind_is_defaulted_pruned_and_found(server: Server) -> None:
    await defined(server)
    spec = {"image": "nginx", "bogus": 1, "size": "5%", "any": {"x": [1]}}
    made = await server.call("POST", TABS, tab(spec=spec))
    assert made.status == 201
    assert made.body["spec"] == {
        "image": "nginx", "replicas": 1, "size": "5%", "any": {"x": [1]},
    }  # fmt: skip
    assert made.body["metadata"]["generation"] == 1
    assert 'unknown field \\"spec.bogus\\"' in made.headers["Warning"]
    listed = await server.call("GET", f"/apis/{GROUP}/v1/crontabs")
    assert listed.body["kind"] == "CronTabList"
    assert listed.body["items"] == [made.body]


async def test_a_value_that_breaks_the_schema_is_refused_with_its_path(server: Server) -> None:
    await defined(server)
    refused = await server.call("POST", TABS, tab(spec={"image": "A", "replicas": 12}))
    assert refused.status == 422
    fields = [cause["field"] for cause in refused.body["details"]["causes"]]
    assert sorted(fields) == ["spec.image", "spec.replicas"]
    strict = await server.call("POST", f"{TABS}?fieldValidation=Strict", tab(spec={"x": 1}))
    assert strict.status == 400


async def test_a_definition_with_a_schema_that_is_not_structural_is_refused(
    server: Server,
) -> None:
    broken = version(schema={"openAPIV3Schema": {"type": "object", "properties": {"x": {}}}})
    refused = await server.call("POST", CRDS, crd(broken))
    assert refused.status == 422
    assert "must not be empty for specified object fields" in refused.body["message"]


async def test_status_and_scale_write_their_own_part_only(server: Server) -> None:
    subresources = {
        "status": {},
        "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
    }
    await defined(server, crd(version(subresources=subresources)))
    made = await server.call("POST", TABS, {**tab(), "status": {"replicas": 5}})
    assert "status" not in made.body
    merge = {"content_type": "application/merge-patch+json"}
    patch = {"spec": {"replicas": 9}, "status": {"replicas": 3}}
    shown = await server.call("PATCH", f"{TABS}/a/status", patch, **merge)
    assert (shown.body["spec"]["replicas"], shown.body["status"]) == (1, {"replicas": 3})
    scaled = await server.call("PATCH", f"{TABS}/a/scale", {"spec": {"replicas": 4}}, **merge)
    assert (scaled.body["spec"], scaled.body["status"]) == ({"replicas": 4}, {"replicas": 3})
    assert (await server.call("GET", f"{TABS}/a")).body["metadata"]["generation"] == 2


async def test_a_later_version_shows_the_same_objects_and_becomes_the_stored_one(
    server: Server,
) -> None:
    await defined(server)
    await server.call("POST", TABS, tab())
    later = crd(version(storage=False), version("v2"))
    current = (await server.call("GET", f"{CRDS}/crontabs.{GROUP}")).body
    body = {**current, "spec": {**current["spec"], "versions": later["spec"]["versions"]}}
    updated = await server.call("PUT", f"{CRDS}/crontabs.{GROUP}", body)
    assert updated.body["status"]["storedVersions"] == ["v1", "v2"]
    seen = await until(server, TABS.replace("/v1/", "/v2/") + "/a", 200)
    assert seen.body["apiVersion"] == f"{GROUP}/v2"
    assert (await server.call("GET", f"{TABS}/a")).body["apiVersion"] == f"{GROUP}/v1"


async def test_printer_columns_and_selectable_fields_come_from_the_definition(
    server: Server,
) -> None:
    columns = [{"name": "Image", "type": "string", "jsonPath": ".spec.image"}]
    chosen = [{"jsonPath": ".spec.image"}]
    await defined(server, crd(version(additionalPrinterColumns=columns, selectableFields=chosen)))
    await server.call("POST", TABS, tab())
    await server.call("POST", TABS, tab("b", {"image": "redis"}))
    accept = "application/json;as=Table;g=meta.k8s.io;v=v1"
    table = await server.call("GET", f"{TABS}?fieldSelector=spec.image%3Dredis", accept=accept)
    assert [row["cells"] for row in table.body["rows"]] == [["b", "redis"]]
    assert [column["name"] for column in table.body["columnDefinitions"]] == ["Name", "Image"]


async def test_who_takes_protobuf_and_json_gets_custom_objects_in_json(server: Server) -> None:
    await defined(server, crd(version(subresources={"status": {}})))
    accept = "application/vnd.kubernetes.protobuf,application/json"
    made = await server.call("POST", TABS, tab(), accept=accept)
    assert (made.status, made.body["kind"]) == (201, "CronTab")
    for path in (f"{TABS}/a", f"{TABS}/a/status"):
        assert (await server.call("GET", path, accept=accept)).body["kind"] == "CronTab"
    watched = await server.call("GET", f"{TABS}?watch=1&timeoutSeconds=1", accept=accept)
    assert orjson.loads(watched.raw)["object"]["metadata"]["name"] == "a"
    removed = await server.call("DELETE", TABS, accept=accept)
    assert (removed.status, len(removed.body["items"])) == (200, 1)
    missing = await server.call("GET", f"{TABS}/a", accept=accept)
    assert protobuf.decode(missing.raw)["reason"] == "NotFound"  # a Status has a message
    alone = await server.call("GET", TABS, accept="application/vnd.kubernetes.protobuf")
    assert alone.status == 406


async def test_discovery_and_openapi_show_a_custom_kind(server: Server) -> None:
    await defined(server)
    (entry,) = (await server.call("GET", f"/apis/{GROUP}/v1")).body["resources"]
    assert (entry["kind"], entry["shortNames"]) == ("CronTab", ["ct"])
    document = (await server.call("GET", f"/openapi/v3/apis/{GROUP}/v1")).body
    published = document["components"]["schemas"]["com.example.stable.v1.CronTab"]
    assert published["properties"]["spec"]["required"] == ["image"]
    assert (await server.call("GET", "/openapi/v2")).body["definitions"][
        "com.example.stable.v1.CronTabList"
    ]


async def test_a_kind_that_is_taken_is_not_accepted(server: Server) -> None:
    await defined(server)
    await server.call("POST", CRDS, crd(plural="others"))
    while True:
        other = (await server.call("GET", f"{CRDS}/others.{GROUP}")).body
        if other["status"]["conditions"]:
            break
        await asyncio.sleep(0.01)
    states = {c["type"]: c["status"] for c in other["status"]["conditions"]}
    assert states == {"NamesAccepted": "False", "Established": "False"}
    assert (await server.call("GET", f"/apis/{GROUP}/v1/others")).status == 404
    await server.call("DELETE", f"{CRDS}/crontabs.{GROUP}")
    await until(server, f"/apis/{GROUP}/v1/others", 200)


async def test_deleting_a_definition_deletes_its_objects_first(server: Server) -> None:
    await defined(server)
    await server.call("POST", TABS, tab(finalizers=["example.com/wait"]))
    await server.call("POST", TABS, tab("b"))
    await server.call("DELETE", f"{CRDS}/crontabs.{GROUP}")
    await until(server, f"{TABS}/b", 404)
    refused = await server.call("POST", TABS, tab("c"))
    assert refused.status == 405
    assert (await server.call("GET", f"{CRDS}/crontabs.{GROUP}")).status == 200
    merge = {"content_type": "application/merge-patch+json"}
    await server.call("PATCH", f"{TABS}/a", {"metadata": {"finalizers": None}}, **merge)
    await until(server, f"{CRDS}/crontabs.{GROUP}", 404)
    await until(server, TABS, 404)
    await defined(server)
    assert (await server.call("GET", TABS)).body["items"] == []


@pytest.mark.parametrize(("depth", "status"), [(150, 201), (250, 400), (900, 400)])
async def test_an_object_that_is_too_deep_is_refused(
    server: Server, depth: int, status: int
) -> None:
    free = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    await defined(server, crd(version(schema=free)))
    body = orjson.dumps(tab()).replace(b'"nginx"', b'{"a":' * depth + b"1" + b"}" * depth)
    assert (await server.call("POST", TABS, body)).status == status
    apply = {"content_type": "application/apply-patch+yaml"}
    path = f"{TABS}/a?fieldManager=me"
    expected = 200 if status == 201 else 400
    assert (await server.call("PATCH", path, body, **apply)).status == expected


async def test_custom_objects_survive_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path) as first:
        await defined(first)
        made = await first.call("POST", TABS, tab())
    async with running(tmp_path) as second:
        again = await second.call("GET", f"{TABS}/a")
        assert again.body == made.body


async def test_a_namespace_and_an_owner_take_custom_objects_with_them(tmp_path: Path) -> None:
    async with running(tmp_path, disable_controller_manager=False) as server:
        await defined(server)
        await server.call("POST", "/api/v1/namespaces", {"metadata": {"name": "gone"}})
        there = TABS.replace("default", "gone")
        assert (await server.call("POST", there, tab())).status == 201
        await server.call("DELETE", "/api/v1/namespaces/gone")
        await until(server, "/api/v1/namespaces/gone", 404)
        assert (await server.call("GET", there)).body["items"] == []
        owner = await server.call("POST", TABS, tab("owner"))
        reference = {
            "apiVersion": f"{GROUP}/v1", "kind": "CronTab", "name": "owner",
            "uid": owner.body["metadata"]["uid"],
        }  # fmt: skip
        await server.call("POST", TABS, tab("owned", ownerReferences=[reference]))
        await server.call("DELETE", f"{TABS}/owner")
        await until(server, f"{TABS}/owned", 404)

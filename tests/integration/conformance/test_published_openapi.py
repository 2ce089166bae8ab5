"""What is published of custom kinds: in /openapi/v2 and v3, to kubectl's validation and explain."""

from typing import Any

import pytest

from minikube_py.api import openapi_protobuf
from tests.integration.conformance.api import Api
from tests.integration.test_custom_kinds import CRDS

KEEPING = {"x-kubernetes-preserve-unknown-fields": True}
TEXT = {"type": "string"}
BARS = {
    "type": "array",
    "description": "List of Bars and their specs.",
    "items": {
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {**TEXT, "description": "Name of Bar."},
            "age": {**TEXT, "description": "Age of Bar."},
            "feeling": {**TEXT, "enum": ["Great", "Down"]},
            "bazs": {"type": "array", "items": TEXT, "description": "List of Bazs."},
        },
    },
}
VALIDATING = {
    "type": "object",
    "description": "Foo CRD for Testing",
    "properties": {
        "spec": {
            "type": "object",
            "description": "Specification of Foo",
            "properties": {"bars": BARS},
        },
        "status": {"type": "object", "properties": {"bars": BARS}},
    },
}


def definition(
    group: str, kind: str, *versions: str, schema: Any, unserved: tuple[str, ...] = ()
) -> dict[str, Any]:
    plural = f"{kind.lower()}s"
    return {
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind},
            "versions": [
                {
                    "name": version,
                    "served": version not in unserved,
                    "storage": n == 0,
                    "schema": {"openAPIV3Schema": schema},
                }
                for n, version in enumerate(versions)
            ],
        },
    }


async def published(api: Api) -> set[str]:
    """Return the names of the definitions in /openapi/v2."""
    return set((await api.get("/openapi/v2"))["definitions"])


async def v2(api: Api, name: str) -> Any:
    """Return a definition of /openapi/v2."""
    return (await api.get("/openapi/v2"))["definitions"][name]


async def until_published(api: Api, *names: str, gone: tuple[str, ...] = ()) -> None:
    """Wait until definitions are there, and others not; /openapi/v3 says the same."""
    await api.until(
        "/openapi/v2",
        lambda found: (
            set(names) <= set(found["definitions"]) and not set(gone) & set(found["definitions"])
        ),
    )
    for name, is_there in [*((n, True) for n in names), *((n, False) for n in gone)]:
        group, version, _ = name_parts(name)
        path = f"/openapi/v3/apis/{group}/{version}"
        answer = await api.call("GET", path)
        schemas = answer.body["components"]["schemas"] if answer.status == 200 else {}
        assert (name in schemas) is is_there


def name_parts(name: str) -> tuple[str, str, str]:
    """Return group, version and kind of a definition's name: `com.example.v1.Foo`."""
    reverse, version, kind = name.rsplit(".", 2)
    return ".".join(reversed(reverse.split("."))), version, kind


def obj(group: str, kind: str, **fields: Any) -> dict[str, Any]:
    return {"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": "o"}, **fields}


async def accepts(api: Api, body: dict[str, Any]) -> None:
    """Let kubectl create, change and delete an object, validation and all."""
    for verb in ("create", "delete", "apply"):
        status, _, said = await api.kubectl(verb, "-f", "-", stdin=body)
        assert status == 0, said
    changed = {**body, "metadata": {**body["metadata"], "labels": {"changed": "yes"}}}
    for verb in ("apply", "delete"):
        status, _, said = await api.kubectl(verb, "-f", "-", stdin=changed)
        assert status == 0, said


async def refuses(api: Api, body: dict[str, Any], why: str) -> None:
    for verb in ("create", "apply"):
        status, _, said = await api.kubectl(verb, "-f", "-", stdin=body)
        assert status != 0
        assert why in said


async def explained(api: Api, *arguments: str) -> str:
    status, shown, said = await api.kubectl("explain", *arguments)
    assert status == 0, said
    return shown


@pytest.mark.conformance("CustomResourcePublishOpenAPI works for CRD with validation schema")
async def test_a_schema_validates_and_explains(api: Api) -> None:
    await api.create(CRDS, definition("foo.example.com", "Foo", "v1", schema=VALIDATING))
    await until_published(api, "com.example.foo.v1.Foo")
    assert (await api.call("GET", "/openapi/v2", accept=openapi_protobuf.MEDIA_TYPE)).status == 200
    bar = {"name": "test-bar", "age": "1", "bazs": ["a"], "feeling": "Great"}
    await accepts(api, obj("foo.example.com", "Foo", spec={"bars": [bar]}))
    unknown = obj("foo.example.com", "Foo", spec={"bars": [bar], "foo": True})
    await refuses(api, unknown, 'unknown field "spec.foo"')
    lacking = obj("foo.example.com", "Foo", spec={"bars": [{"age": "10"}]})
    await refuses(api, lacking, "spec.bars[0].name: Required value")
    wrong = obj("foo.example.com", "Foo", spec={"bars": [{**bar, "feeling": "NotGreat"}]})
    await refuses(api, wrong, 'Unsupported value: "NotGreat"')
    shown = await explained(api, "foos")
    assert "KIND:       Foo" in shown
    assert "Foo CRD for Testing" in shown
    assert "Specification of Foo" in shown
    assert "List of Bars and their specs." in await explained(api, "foos.spec")
    deep = await explained(api, "foos.spec.bars")
    assert "name\t<string> -required-" in deep
    assert "List of Bazs." in deep
    recursive = await explained(api, "foos.spec", "--recursive")
    assert "bazs\t<[]string>" in recursive
    status, _, said = await api.kubectl("explain", "foos.spec.bars2")
    assert status != 0
    assert 'field "bars2" does not exist' in said


@pytest.mark.conformance("CustomResourcePublishOpenAPI works for CRD without validation schema")
async def test_a_kind_without_a_schema_takes_anything(api: Api) -> None:
    schema = {"type": "object", **KEEPING}
    await api.create(CRDS, definition("empty.example.com", "Empty", "v1", schema=schema))
    await until_published(api, "com.example.empty.v1.Empty")
    assert await v2(api, "com.example.empty.v1.Empty") == {
        "type": "object",
        "x-kubernetes-group-version-kind": [
            {"group": "empty.example.com", "version": "v1", "kind": "Empty"}
        ],
    }
    await accepts(api, obj("empty.example.com", "Empty", a={"b": [{"c": "d"}]}))
    assert "DESCRIPTION:\n    <empty>" in await explained(api, "emptys")


@pytest.mark.conformance(
    "CustomResourcePublishOpenAPI works for CRD preserving unknown fields at..."
)
async def test_unknown_fields_are_kept_at_the_root(api: Api) -> None:
    schema = {"type": "object", **KEEPING, "properties": {"spec": {"type": "object"}}}
    await api.create(CRDS, definition("root.example.com", "Root", "v1", schema=schema))
    await until_published(api, "com.example.root.v1.Root")
    await accepts(api, obj("root.example.com", "Root", a={"b": 1}))
    assert "KIND:       Root" in await explained(api, "roots")


@pytest.mark.conformance(
    "CustomResourcePublishOpenAPI works for CRD preserving unknown fields in..."
)
async def test_unknown_fields_are_kept_in_a_part(api: Api) -> None:
    spec = {"type": "object", "description": "Specification of Waldo", **KEEPING}
    status = {"type": "object", "description": "Status of Waldo", "properties": {"bars": BARS}}
    schema = {"type": "object", "properties": {"spec": spec, "status": status}}
    await api.create(CRDS, definition("part.example.com", "Waldo", "v1", schema=schema))
    await until_published(api, "com.example.part.v1.Waldo")
    await accepts(api, obj("part.example.com", "Waldo", spec={"a": None, "b": [{"c": "d"}]}))
    shown = await explained(api, "waldos")
    assert "Specification of Waldo" in shown
    kept = await v2(api, "com.example.part.v1.Waldo")
    assert kept["properties"]["spec"]["x-kubernetes-preserve-unknown-fields"] is True


@pytest.mark.conformance(
    "CustomResourcePublishOpenAPI works for multiple CRDs of different groups",
    "CustomResourcePublishOpenAPI works for multiple CRDs of same group but different versions",
    "CustomResourcePublishOpenAPI works for multiple CRDs of same group and version but...",
)
async def test_many_kinds_are_published(api: Api) -> None:
    for made in (
        definition("one.example.com", "Foo", "v1", schema=VALIDATING),
        definition("two.example.com", "Waldo", "v1beta1", schema={"type": "object", **KEEPING}),
        definition("one.example.com", "Bar", "v1", schema=VALIDATING),
        definition("three.example.com", "Foo", "v2", "v3", schema=VALIDATING),
    ):
        await api.create(CRDS, made)
    await until_published(
        api,
        "com.example.one.v1.Foo",
        "com.example.two.v1beta1.Waldo",
        "com.example.one.v1.Bar",
        "com.example.three.v2.Foo",
        "com.example.three.v3.Foo",
    )


@pytest.mark.conformance("CustomResourcePublishOpenAPI updates the published spec when one...")
async def test_a_renamed_version_is_published_anew(api: Api) -> None:
    made = definition("r.example.com", "Foo", "v2", "v3", schema=VALIDATING)
    await api.create(CRDS, made)
    await until_published(api, "com.example.r.v2.Foo", "com.example.r.v3.Foo")
    renamed = [{"op": "test", "path": "/spec/versions/1/name", "value": "v3"},
               {"op": "replace", "path": "/spec/versions/1/name", "value": "v4"}]  # fmt: skip
    path = f"{CRDS}/foos.r.example.com"
    await api.patch(path, renamed, "application/json-patch+json")
    await until_published(
        api, "com.example.r.v2.Foo", "com.example.r.v4.Foo", gone=("com.example.r.v3.Foo",)
    )


@pytest.mark.conformance("CustomResourcePublishOpenAPI removes definition from spec when one...")
async def test_a_version_that_is_no_longer_served_is_not_published(api: Api) -> None:
    made = definition("s.example.com", "Foo", "v5", "v6alpha1", schema=VALIDATING)
    await api.create(CRDS, made)
    await until_published(api, "com.example.s.v5.Foo", "com.example.s.v6alpha1.Foo")
    stopped = [{"op": "replace", "path": "/spec/versions/1/served", "value": False}]
    path = f"{CRDS}/foos.s.example.com"
    await api.patch(path, stopped, "application/json-patch+json")
    await until_published(api, "com.example.s.v5.Foo", gone=("com.example.s.v6alpha1.Foo",))
    assert "com.example.s.v6alpha1.Foo" not in await published(api)

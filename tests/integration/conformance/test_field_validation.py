"""Fields that nobody knows and fields that stand twice, in typed and in custom objects."""

from typing import Any

import orjson
import pytest

from tests.integration.conformance.api import Api
from tests.integration.test_custom_kinds import CRDS, GROUP, TABS, crd, version

STRICT = "?fieldValidation=Strict"
APPLY = f"{STRICT}&fieldManager=checks"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
KEEPING = {"x-kubernetes-preserve-unknown-fields": True}
PORTS = {
    "type": "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["containerPort", "protocol"],
    "items": {
        "type": "object",
        "required": ["containerPort", "protocol"],
        "properties": {
            "containerPort": {"type": "integer"},
            "hostPort": {"type": "integer"},
            "protocol": {"type": "string"},
        },
    },
}
SPEC = {"type": "object", "properties": {"knownField1": {"type": "string"}, "ports": PORTS}}
EMBEDDED = {"type": "object", "x-kubernetes-embedded-resource": True, **KEEPING}
SPEC_TEXT = '"spec":{"knownField1":"val1","ports":[{"containerPort":8080,"protocol":"TCP"}]%s}'
DEPLOYMENT = (
    '{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"%s},'
    '"spec":{"replicas":0%s,"selector":{"matchLabels":{"a":"b"}},"template":{'
    '"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"%s}]}}}}'
)


async def defined(api: Api, *, schema: Any) -> None:
    await api.create(CRDS, crd(version(schema={"openAPIV3Schema": {"type": "object", **schema}})))
    await api.until(TABS)


def tab(name: str, spec: str, metadata: str = "") -> bytes:
    head = f'"apiVersion":"{GROUP}/v1","kind":"CronTab","metadata":{{"name":"{name}"{metadata}}}'
    return f"{{{head},{spec}}}".encode()


async def both(api: Api, body: bytes, *, path: str = TABS) -> tuple[int, int, str]:
    """Create and apply a body strictly; return both codes and what was said to the first."""
    created = await api.call("POST", path + STRICT, body)
    name = orjson.loads(body)["metadata"]["name"]
    content_type = "application/apply-patch+yaml"
    url = f"{path}/{name}{APPLY}&force=true"
    applied = await api.call("PATCH", url, body, content_type=content_type)
    return created.status, applied.status, str(created.body.get("message", ""))


@pytest.mark.conformance("FieldValidation should detect unknown and duplicate fields of a typed...")
async def test_a_typed_object_has_each_of_its_fields_once(api: Api) -> None:
    body = DEPLOYMENT % ("", ',"unknown":1,"paused":true,"paused":false', ',"image":"j"')
    refused = await api.call("POST", DEPLOYMENTS + STRICT, body.encode())
    assert refused.status == 400
    said = refused.body["message"]
    assert (
        'strict decoding error: unknown field "spec.unknown"' in said or "duplicate field" in said
    )
    for wrong in (
        'unknown field "spec.unknown"',
        'duplicate field "spec.paused"',
        'duplicate field "spec.template.spec.containers[0].image"',
    ):
        assert wrong in said
    made = await api.call("POST", f"{DEPLOYMENTS}?fieldValidation=Warn", body.encode())
    assert made.status == 201
    assert len(made.headers.getall("Warning")) == 3
    again = await api.call("PUT", f"{DEPLOYMENTS}/d{STRICT}", body.encode())
    assert again.status == 400


@pytest.mark.conformance("FieldValidation should detect unknown metadata fields of a typed object")
async def test_a_typed_object_has_no_unknown_metadata(api: Api) -> None:
    body = (DEPLOYMENT % (',"unknownMeta":"x"', "", "")).encode()
    created, applied, said = await both(api, body, path=DEPLOYMENTS)
    assert (created, applied) == (400, 500)
    assert 'unknown field "metadata.unknownMeta"' in said


@pytest.mark.conformance(
    "FieldValidation should create/apply a valid CR for CRD with validation..."
)
async def test_a_valid_custom_object_is_taken(api: Api) -> None:
    await defined(api, schema={"properties": {"spec": SPEC}})
    assert (await both(api, tab("a", SPEC_TEXT % "")))[:2] == (201, 200)


@pytest.mark.conformance("FieldValidation should create/apply a CR with unknown fields for CRD...")
async def test_a_custom_object_without_a_schema_has_any_fields(api: Api) -> None:
    await defined(api, schema=KEEPING)
    assert (await both(api, tab("a", SPEC_TEXT % ',"unknownField":"x"')))[:2] == (201, 200)


@pytest.mark.conformance(
    "FieldValidation should create/apply an invalid CR with extra properties..."
)
async def test_a_custom_object_has_no_unknown_fields(api: Api) -> None:
    await defined(api, schema={"properties": {"spec": SPEC}})
    created, applied, said = await both(api, tab("a", SPEC_TEXT % ',"unknownField":"x"'))
    assert created == 400
    assert applied in (400, 500)
    assert 'unknown field "spec.unknownField"' in said


@pytest.mark.conformance(
    "FieldValidation should detect duplicates in a CR when preserving unknown..."
)
async def test_a_custom_object_that_keeps_all_has_each_field_once(api: Api) -> None:
    await defined(api, schema={"properties": {"spec": {**SPEC, **KEEPING}}})
    text = SPEC_TEXT % ',"unknownField":1,"unknownField":2,"knownField1":"val2"'
    refused = await api.call("POST", TABS + STRICT, tab("a", text))
    assert refused.status == 400
    assert 'duplicate field "spec.unknownField"' in refused.body["message"]
    assert 'duplicate field "spec.knownField1"' in refused.body["message"]


@pytest.mark.conformance(
    "FieldValidation should detect unknown metadata fields in both the root..."
)
async def test_metadata_is_known_in_the_object_and_in_objects_within(api: Api) -> None:
    await defined(api, schema={"properties": {"spec": {**SPEC, **KEEPING}, "embedded": EMBEDDED}})
    within = (
        '"embedded":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"e","unknownSubMeta":"x"}}'
    )
    spec = f"{SPEC_TEXT % ''},{within}"
    created, _, said = await both(api, tab("a", spec, ',"unknownMeta":"x"'))
    assert created == 400
    assert 'unknown field "metadata.unknownMeta"' in said
    assert 'unknown field "embedded.metadata.unknownSubMeta"' in said

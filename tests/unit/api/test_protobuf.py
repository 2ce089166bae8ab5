"""Kubernetes protobuf: the table against upstream's numbers, and objects there and back."""

import base64
import json
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api import protobuf, schema
from minikube_py.api.raw_text import RawText
from minikube_py.api.schema_check import check
from minikube_py.api.schema_complete import complete

SHARED = Path(__file__).resolve().parents[4] / "shared"
FACTS = SHARED / "reference/facts/defaults.json"


def reference_name(name):
    """Return how the reference writes a message: by its protobuf package."""
    return re.sub(r"^io\.k8s\.", "k8s.io.", name).replace("-", "_")


def test_the_numbers_and_types_are_upstreams():
    path = SHARED / "reference/wire/kubernetes-protobuf.json"
    reference = json.loads(path.read_text())["messages"]
    different = []
    for name, line in schema.read_lines("protobuf.bin").items():
        if name.endswith(".version.Info"):
            continue  # never sent in this form
        fields = {
            number: [
                number,
                *[re.sub(r"io\.k8s\.[\w.-]+", lambda m: reference_name(m[0]), w) for w in words],
            ]
            for number, *words in json.loads(line).values()
        }
        expected = {spec[0]: spec for spec in reference[reference_name(name)].values()}
        if {n: [w for w in s if w != "inline"] for n, s in fields.items()} != expected:
            different.append(name)
    assert different == []


def stored_objects():
    text = FACTS.read_text()
    text = text.replace('"<time>"', '"2026-01-02T03:04:05Z"')
    text = text.replace('"<microtime>"', '"2026-01-02T03:04:05.000006Z"')
    for name, case in json.loads(re.sub(r"<\w+:\d+>", "1", text)).items():
        yield pytest.param(case["output"], id=name)


def type_of(obj):
    for name in schema.builtin():
        for gvk in schema.builtin().definition(name).get("x-kubernetes-group-version-kind", ()):
            version = f"{gvk['group']}/{gvk['version']}".lstrip("/")
            if (version, gvk["kind"]) == (obj["apiVersion"], obj["kind"]):
                return schema.type_of(name)
    raise AssertionError(obj["kind"])


@pytest.mark.parametrize("stored", list(stored_objects()))
def test_an_object_of_any_kind_survives_the_way_there_and_back(stored):
    kind = type_of(stored)
    back = complete(kind, check(kind, protobuf.decode(protobuf.encode(stored))).obj)
    # Nested objects do not say their kind in this form; defaults fill it in.
    for claim in back.get("spec", {}).get("volumeClaimTemplates", ()):
        claim.update(kind="PersistentVolumeClaim", apiVersion="v1")
    assert back == stored


def recorded_bodies():
    for scenario in yaml.safe_load((SHARED / "wire/scenarios/protobuf.public.yaml").read_text()):
        for number, step in enumerate(scenario["steps"]):
            if "b64" in step and not str(step["b64"]).startswith("!"):
                yield pytest.param(step["b64"], id=f"{scenario['id']}-{number}")


@pytest.mark.parametrize("body", list(recorded_bodies()))
def test_recorded_bodies_are_objects_of_their_kind(body):
    data = base64.b64decode(body)
    document = protobuf.decode(data)
    assert check(type_of(document), document).unknown == []
    assert protobuf.decode(protobuf.encode(document)) == document


def test_fields_of_embedded_structs_stand_in_their_parent():
    probe = {"exec": {"command": ["true"]}, "periodSeconds": 3}
    volume = {"name": "v", "configMap": {"name": "c", "optional": False}}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a"},
        "spec": {"containers": [{"name": "c", "livenessProbe": probe}], "volumes": [volume]},
    }
    assert protobuf.decode(protobuf.encode(pod)) == pod


def test_a_schema_of_a_custom_resource_keeps_its_unions_and_raw_values():
    props = {
        "type": "object",
        "properties": {
            "any": {"default": {"a": [1, None, "x"]}, "enum": ["a", 1, None]},
            "map": {"additionalProperties": False},
            "list": {"items": {"type": "string"}},
        },
        "additionalProperties": {"type": "integer"},
    }
    version = {"name": "v1", "schema": {"openAPIV3Schema": props}}
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {},
        "spec": {"versions": [version]},
    }
    assert protobuf.decode(protobuf.encode(crd)) == crd


@given(st.dictionaries(st.text(min_size=1), st.text()), st.dictionaries(st.text(), st.binary()))
def test_texts_and_bytes_of_any_content_survive(labels, data):
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"labels": labels} if labels else {},
    }
    if data:
        secret["data"] = {key: base64.b64encode(value).decode() for key, value in data.items()}
    assert protobuf.decode(protobuf.encode(secret)) == secret


@given(st.binary())
def test_broken_bytes_are_refused_with_a_reason_and_nothing_else_happens(tail):
    try:
        document = protobuf.decode(protobuf.MAGIC + tail)
    except ValueError as error:
        document = {"kind": str(error)}
    assert document["kind"]


@pytest.mark.parametrize("body", [b"", b"{}", protobuf.MAGIC])
def test_what_is_no_envelope_is_refused(body):
    with pytest.raises(ValueError, match=r"registered|protobuf message"):
        protobuf.decode(body)


def test_a_watch_frame_tells_its_length_and_holds_an_envelope():
    frame = protobuf.watch_frame("ADDED", {"apiVersion": "v1", "kind": "Secret", "metadata": {}})
    assert int.from_bytes(frame[:4]) == len(frame) - 4
    assert frame[4:11] == b"\n\x05ADDED"
    assert protobuf.MAGIC in frame


def test_the_text_of_a_value_that_go_wrote_stays():
    data = RawText({"a": "&", "b": 1}, '{"a":"\\u0026","b":1}')
    revision = {"kind": "ControllerRevision", "apiVersion": "apps/v1", "metadata": {"name": "r"}}
    sent = protobuf.encode({**revision, "data": data, "revision": 1})
    assert data.text.encode() in sent
    read = protobuf.decode(sent)["data"]
    assert (read, read["a"]) == (data, "&")
    plain = protobuf.decode(protobuf.encode({**revision, "data": dict(data), "revision": 1}))
    assert type(plain["data"]) is dict


@pytest.mark.conformance("Pod InPlace Resize Container resize pod via the replace endpoint...")
def test_sets_of_fields_are_sent_with_their_keys_in_order():
    # A typed client keeps their text; one that reads maps from JSON has put it in order.
    keyed = {"f:name": {}, ".": {}, "f:image": {}}
    fields = {"f:spec": {"f:b": {}, "f:a": {'k:{"name":"c"}': keyed}}, "f:metadata": {}}
    entry = {"manager": "m", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": fields}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "managedFields": [entry]}}
    sent = protobuf.encode(pod)
    assert json.dumps(fields, sort_keys=True, separators=(",", ":")).encode() in sent
    assert protobuf.decode(sent) == pod

"""OpenAPI documents against upstream's own, as far as versions are on by default."""

import json
import re
from pathlib import Path

import orjson
import pytest

from minikube_py.api import openapi, openapi_protobuf
from minikube_py.api.kinds import BUILTIN
from minikube_py.api.scheme import Scheme
from minikube_py.lib.protowire import Codec

SHARED = Path(__file__).resolve().parents[4] / "shared"
SCHEME = Scheme(BUILTIN)
METHODS = ("get", "put", "post", "delete", "patch", "options", "head")
OFF = re.compile(
    r"/v\d+(alpha|beta)\d+/|internal\.apiserver|storagemigration|/logs/|/\.well-known|/openid"
)


@pytest.fixture(scope="module")
def reference():
    return json.loads((SHARED / "reference/openapi/swagger-v2.json").read_text())


@pytest.fixture(scope="module")
def served():
    return orjson.loads(openapi.document(SCHEME, "/openapi/v2"))


def parameters(document, listed):
    names = []
    for parameter in listed:
        ref = parameter.get("$ref", "").rpartition("/")[2]
        names.append((document["parameters"][ref] if ref else parameter)["name"])
    return sorted(names)


def reduced(document, item):
    """Return what matters of a path: ids, actions, kinds, names of parameters, answers."""
    out = {"": parameters(document, item.get("parameters", []))}
    for method in METHODS:
        if method not in item:
            continue
        operation = item[method]
        answers = {code: a.get("schema") for code, a in operation["responses"].items()}
        out[method] = (
            operation["operationId"],
            operation.get("x-kubernetes-action"),
            operation.get("x-kubernetes-group-version-kind"),
            parameters(document, operation.get("parameters", [])),
            answers,
        )
    return out


def test_the_paths_and_operations_are_upstreams(reference, served):
    expected = {
        p: reduced(reference, i) for p, i in reference["paths"].items() if not OFF.search(p)
    }
    shown = {path: reduced(served, item) for path, item in served["paths"].items()}
    assert sorted(shown) == sorted(expected)
    assert [path for path in shown if shown[path] != expected[path]] == []


def test_the_definitions_are_upstreams(reference, served):
    expected = reference["definitions"]
    unlike = {n for n, d in served["definitions"].items() if d != expected[n]}
    # The package lacks the descriptions of these two.
    assert {name.rpartition(".")[2] for name in unlike} == {"IntOrString", "Quantity"}


def without_descriptions(value):
    if isinstance(value, dict):
        return {
            key: without_descriptions(inner)
            for key, inner in value.items()
            if not (key == "description" and isinstance(inner, str))
        }
    return [without_descriptions(v) for v in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("step", "path"), [(0, "/openapi/v3/api/v1"), (1, "/openapi/v3/apis/policy/v1")]
)
def test_the_schemas_of_v3_are_the_recorded_ones(step, path):
    golden = json.loads((SHARED / "wire/golden/discovery.public.json").read_text())
    recorded = golden["scenarios"]["discovery-openapi-v3-schema-2"]["steps"][step]["body"]
    schemas = orjson.loads(openapi.document(SCHEME, path))["components"]["schemas"]
    shown = {name: without_descriptions(schemas[name]) for name in recorded}
    assert shown == recorded


def test_every_reference_of_every_document_leads_somewhere():
    index = orjson.loads(openapi.document(SCHEME, "/openapi/v3"))
    for entry in index["paths"].values():
        path = entry["serverRelativeURL"].partition("?")[0]
        data = openapi.document(SCHEME, path)
        schemas = orjson.loads(data)["components"]["schemas"]
        referred = set(re.findall(rb'"#/components/schemas/([^"]+)"', data))
        assert {name.decode() for name in referred} <= set(schemas)


def test_the_index_gives_each_document_a_hash_that_follows_its_content():
    def hashes(scheme):
        paths = orjson.loads(openapi.document(scheme, "/openapi/v3"))["paths"]
        return {name: entry["serverRelativeURL"] for name, entry in paths.items()}

    before = hashes(SCHEME)
    assert re.fullmatch(r"/openapi/v3/apis/apps/v1\?hash=[0-9A-F]{128}", before["apis/apps/v1"])
    fewer = [r for r in BUILTIN if r.plural != "statefulsets"]
    after = hashes(Scheme(fewer))
    assert {name for name in before if before[name] != after[name]} == {"apis/apps/v1"}


@pytest.mark.parametrize("path", ["/openapi/v3/nosuch", "/openapi/v3/apis/apps/v9", "/openapi/v1"])
def test_what_is_not_served_has_no_document(path):
    assert openapi.document(SCHEME, path) is None


def test_shared_parameters_have_upstreams_names(reference, served):
    path = "/api/v1/namespaces/{namespace}/configmaps/{name}"
    for method in ("delete", "patch", "put"):
        shown = served["paths"][path][method]["parameters"]
        expected = reference["paths"][path][method]["parameters"]
        names = {parameter["$ref"] for parameter in shown if "$ref" in parameter}
        assert names == {parameter["$ref"] for parameter in expected if "$ref" in parameter}
        assert {name.rpartition("/")[2] for name in names} <= set(served["parameters"])


def test_the_binary_form_of_v2_says_the_same(served):
    data = openapi.document(SCHEME, "/openapi/v2#protobuf")
    document = Codec(openapi_protobuf.MESSAGES).decode("Document", data)
    assert {entry["name"] for entry in document["paths"]["path"]} == set(served["paths"])
    pod = next(
        entry["value"]
        for entry in document["definitions"]["entries"]
        if entry["name"] == "io.k8s.api.core.v1.Pod"
    )
    extensions = {
        entry["name"]: orjson.loads(entry["value"]["yaml"]) for entry in pod["extensions"]
    }
    expected = served["definitions"]["io.k8s.api.core.v1.Pod"]
    gvk = "x-kubernetes-group-version-kind"
    assert extensions == {gvk: expected[gvk]}
    shown = {entry["name"]: entry["value"] for entry in pod["properties"]["entries"]}
    assert shown["spec"] == expected["properties"]["spec"]
    assert shown["kind"]["type"] == {"value": ["string"]}


def test_a_patch_tells_in_place_that_it_knows_field_validation(served):
    # kubectl looks for the parameter in the operation and follows no reference.
    path = "/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
    inline = [p.get("name") for p in served["paths"][path]["patch"]["parameters"]]
    assert "fieldValidation" in inline

"""OpenAPI v2 in gnostic's messages: nothing of the JSON form gets lost on the way."""

import orjson

from minikube_py.api import openapi, openapi_protobuf
from minikube_py.api.kinds import BUILTIN
from minikube_py.api.scheme import Scheme
from minikube_py.lib.protowire import Codec

JSON = openapi.document(Scheme(BUILTIN), "/openapi/v2") or b""
PACKED = Codec(openapi_protobuf.MESSAGES).decode("Document", openapi_protobuf.encode(JSON))
DOCUMENT = orjson.loads(JSON)


def test_every_definition_and_path_is_there_in_order() -> None:
    assert [d["name"] for d in PACKED["definitions"]["named"]] == list(DOCUMENT["definitions"])
    assert [p["name"] for p in PACKED["paths"]["path"]] == list(DOCUMENT["paths"])


def test_extensions_keep_their_values() -> None:
    name = "io.k8s.api.core.v1.Pod"
    pod = next(d["value"] for d in PACKED["definitions"]["named"] if d["name"] == name)
    found = {e["name"]: orjson.loads(e["value"]["yaml"]) for e in pod["extensions"]}
    key = "x-kubernetes-group-version-kind"
    assert found[key] == DOCUMENT["definitions"][name][key]


def test_a_patch_tells_that_it_knows_field_validation() -> None:
    path = "/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
    item = next(p["value"] for p in PACKED["paths"]["path"] if p["name"] == path)
    names = [
        parameter["parameter"]["other"]["query"]["name"]
        for parameter in item["patch"]["parameters"]
        if "other" in parameter["parameter"]
    ]
    assert "fieldValidation" in names

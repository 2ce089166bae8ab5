"""What a definition may say: each row is a part of it, and the fields that are refused."""

from typing import Any

import pytest

from minikube_py.api.apiextensions import CUSTOMRESOURCEDEFINITIONS as CRDS
from minikube_py.api.object import Obj
from tests.frozen import freeze

ROOT: Obj = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
VALIDATION = "spec.validation.openAPIV3Schema"


def crd(name: str = "foos.example.com", **spec: Any) -> Obj:
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": ROOT}}
    whole = {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "foos", "kind": "Foo"},
        "versions": [version],
        **spec,
    }
    made = CRDS.default(freeze({"metadata": {"name": name}, "spec": whole}))
    return freeze(CRDS.prepare_for_create(freeze(made)))


def refused(new: Obj, old: Obj | None = None) -> list[tuple[str, str]]:
    return [(error.field, error.text.partition(":")[0]) for error in CRDS.validate(new, old)]


def versioned(schema: Obj = ROOT, **more: Any) -> list[Obj]:
    known = {"served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return [{"name": "v1", **known, **more}]


def below(**schema: Any) -> list[Obj]:
    return versioned({"type": "object", "properties": {"a": schema}})


A = f"{VALIDATION}.properties[a]"
ITEMS = {"type": "object", "properties": {"k": {"type": "string"}}}


@pytest.mark.parametrize(
    ("versions", "errors"),
    [
        (versioned(), []),
        (below(type="string"), []),
        (below(), [(f"{A}.type", "Required value")]),
        (below(type="array"), [(f"{A}.items", "Required value")]),
        (below(type="null"), [(f"{A}.type", "Unsupported value"), (f"{A}.type", "Forbidden")]),
        (below(type="string", id="x"), [(f"{A}.id", "Forbidden")]),
        (below(type="string", **{"$ref": "#/x"}), [(f"{A}.$ref", "Forbidden")]),
        (below(type="string", pattern="("), [(f"{A}.pattern", "Invalid value")]),
        (below(type="integer", default="x"), [(f"{A}.default", "Invalid value")]),
        (below(type="string", **{"x-kubernetes-int-or-string": True}), []),
        (below(**{"x-kubernetes-int-or-string": True,
                  "x-kubernetes-preserve-unknown-fields": True}),
         [(f"{A}.x-kubernetes-preserve-unknown-fields", "Invalid value")]),
        (below(**{"x-kubernetes-int-or-string": True,
                  "anyOf": [{"type": "integer"}, {"type": "string"}]}), []),
        (below(type="object", anyOf=[{"nullable": True, "description": "x"}]),
         [(f"{A}.anyOf[0].description", "Forbidden"), (f"{A}.anyOf[0].nullable", "Forbidden")]),
        (below(type="object", allOf=[{"properties": {"x": {"minimum": 1}}}]),
         [(f"{A}.properties[x]", "Required value")]),
        (below(type="object", oneOf=[{"properties": {"metadata": {}}}],
               properties={"metadata": {"type": "object"}}),
         [(f"{A}.oneOf[0].properties[metadata]", "Forbidden")]),
        (below(type="object", **{"x-kubernetes-embedded-resource": True}),
         [(f"{A}.properties", "Required value")]),
        (below(type="object", **{"x-kubernetes-map-type": "x"}),
         [(f"{A}.x-kubernetes-map-type", "Unsupported value")]),
        (below(type="string", **{"x-kubernetes-list-type": "set"}),
         [(f"{A}.type", "Invalid value")]),
        (below(type="array", items=ITEMS, **{"x-kubernetes-list-type": "set"}),
         [(f"{A}.items.x-kubernetes-map-type", "Invalid value")]),
        (below(type="array", items=ITEMS, **{"x-kubernetes-list-map-keys": ["k"]}),
         [(f"{A}.x-kubernetes-list-type", "Required value")]),
        (below(type="array", items=ITEMS, **{"x-kubernetes-list-type": "map",
                                            "x-kubernetes-list-map-keys": ["k", "z", "k"]}),
         [(f"{A}.x-kubernetes-list-map-keys[1]", "Invalid value"),
          (f"{A}.x-kubernetes-list-map-keys[2]", "Invalid value"),
          (f"{A}.items.properties[k].default", "Required value"),
          (f"{A}.items.properties[k].default", "Required value")]),
        (versioned({"type": "object", "additionalProperties": True}),
         [(f"{VALIDATION}.additionalProperties", "Forbidden")]),
        (versioned({"type": "object", "nullable": True}),
         [(f"{VALIDATION}.nullable", "Forbidden")]),
        (versioned({"type": "object", "properties": {"kind": {"type": "integer"}}}),
         [(f"{VALIDATION}.properties[kind].type", "Invalid value")]),
        (versioned({"type": "object", "properties": {"metadata": {
            "type": "object", "properties": {"name": {"type": "string"}}}}}), []),
        (versioned({"type": "object", "properties": {"metadata": {
            "type": "object", "properties": {"labels": {"type": "object"}}}}}),
         [(f"{VALIDATION}.properties[metadata]", "Forbidden")]),
        (versioned({"type": "object", "properties": {"kind": {"type": "string", "default": "x"}}}),
         [(f"{VALIDATION}.properties[kind].default", "Forbidden")]),
        ([{"name": "v1", "served": True, "storage": True}],
         [("spec.versions[0].schema.openAPIV3Schema", "Required value")]),
        ([*versioned(), {**versioned({"type": "string"})[0], "name": "v2", "storage": False}],
         [("spec.versions[1].schema.openAPIV3Schema.type", "Invalid value")]),
    ],
)  # fmt: skip
def test_a_schema_is_structural(versions: list[Obj], errors: list[tuple[str, str]]) -> None:
    assert refused(crd(versions=versions)) == errors


SCALE = {"specReplicasPath": ".spec.r", "statusReplicasPath": ".status.r"}
CLIENT = {"service": {"name": "n", "namespace": "n"}}


@pytest.mark.parametrize(
    ("spec", "errors"),
    [
        ({"group": "local", "names": {"plural": "foos", "kind": "Foo"}},
         [("metadata.name", "Invalid value"), ("spec.group", "Invalid value")]),
        ({"scope": ""}, [("spec.scope", "Required value")]),
        ({"scope": "Node"}, [("spec.scope", "Unsupported value")]),
        ({"names": {"plural": "foos", "kind": "Foo", "listKind": "Foo", "shortNames": ["F"],
                    "categories": ["a_b"]}},
         [("spec.names.shortNames[0]", "Invalid value"), ("spec.names.listKind", "Invalid value"),
          ("spec.names.categories[0]", "Invalid value")]),
        ({"versions": [*versioned(), *versioned()]},
         [("spec.versions", "Invalid value"), ("spec.versions", "Invalid value")]),
        ({"versions": versioned(deprecationWarning="x")},
         [("spec.versions[0].deprecationWarning", "Invalid value")]),
        ({"versions": versioned(deprecated=True, deprecationWarning="\n" + "x" * 300)},
         [("spec.versions[0].deprecationWarning", "Invalid value"),
          ("spec.versions[0].deprecationWarning", "Invalid value")]),
        ({"versions": versioned(subresources={"scale": SCALE})}, []),
        ({"versions": versioned(subresources={"scale": {"specReplicasPath": ".status.x",
                                                        "labelSelectorPath": "x"}})},
         [("spec.subresources.scale.specReplicasPath", "Invalid value"),
          ("spec.subresources.scale.statusReplicasPath", "Required value"),
          ("spec.subresources.scale.labelSelectorPath", "Invalid value")]),
        ({"versions": versioned(additionalPrinterColumns=[
            {"name": "", "type": "x", "format": "y", "jsonPath": "z"}, {"name": "n"}])},
         [("spec.additionalPrinterColumns[0].name", "Required value"),
          ("spec.additionalPrinterColumns[0].type", "Invalid value"),
          ("spec.additionalPrinterColumns[0].format", "Invalid value"),
          ("spec.additionalPrinterColumns[0].JSONPath", "Invalid value"),
          ("spec.additionalPrinterColumns[1].type", "Required value"),
          ("spec.additionalPrinterColumns[1].JSONPath", "Required value")]),
        ({"versions": [{**below(type="string")[0], "selectableFields": [
            {"jsonPath": ".a"}, {"jsonPath": ".a"}, {"jsonPath": ".b"}, {}]}]},
         [("spec.selectableFields[1]", "Duplicate value"),
          ("spec.selectableFields[2].jsonPath", "Invalid value"),
          ("spec.selectableFields[3].jsonPath", "Required value")]),
        ({"conversion": {"strategy": "X"}}, [("spec.conversion.strategy", "Unsupported value")]),
        ({"conversion": {"strategy": "Webhook"}},
         [("spec.conversion.webhookClientConfig", "Required value"),
          ("spec.conversion.conversionReviewVersions", "Required value")]),
        ({"conversion": {"strategy": "None", "webhook": {"clientConfig": CLIENT}}},
         [("spec.conversion.webhookClientConfig", "Forbidden")]),
        ({"preserveUnknownFields": True}, [("spec.preserveUnknownFields", "Invalid value")]),
    ],
)  # fmt: skip
def test_a_definition_is_complete(spec: Obj, errors: list[tuple[str, str]]) -> None:
    assert refused(crd(**spec)) == errors


def test_the_name_is_made_of_plural_and_group() -> None:
    assert refused(crd("bars.example.com")) == [("metadata.name", "Invalid value")]


@pytest.mark.parametrize(
    ("approval", "reason"),
    [
        ("https://github.com/kubernetes/kubernetes/pull/1", None),
        ("unapproved, an experiment", None),
        ("", "Required value"),
        ("me", "Invalid value"),
    ],
)
def test_groups_of_kubernetes_need_an_approval(approval: str, reason: str | None) -> None:
    new = crd("foos.sig.k8s.io", group="sig.k8s.io")
    annotated = {**new["metadata"], "annotations": {"api-approved.kubernetes.io": approval}}
    wanted = [("metadata.annotations[api-approved.kubernetes.io]", reason)] if reason else []
    assert refused({**new, "metadata": annotated}) == wanted
    assert refused({**new, "metadata": annotated}, {**new, "metadata": annotated}) == []


def test_an_established_kind_keeps_its_names() -> None:
    old = crd()
    known = {**old["status"], "conditions": [{"type": "Established", "status": "True"}]}
    changed = crd(scope="Cluster", names={"plural": "foos", "kind": "Bar"})
    assert refused(changed, old) == []
    assert refused({**changed, "status": known}, {**old, "status": known}) == [
        ("spec.scope", "Invalid value"),
        ("spec.names.kind", "Invalid value"),
    ]


def test_a_version_that_is_stored_stays_defined() -> None:
    new = crd()
    stored = {**new["status"], "storedVersions": ["v1", "v1beta1"]}
    assert refused({**new, "status": stored}, new) == [
        ("status.storedVersions[1]", "Invalid value")
    ]


@pytest.mark.parametrize(
    ("more", "beginning", "end"),
    [
        ({"required": ["spec"], "description": "d"}, None, None),
        (
            {"x-kubernetes-map-type": "atomic"},
            'spec.validation.openAPIV3Schema: Invalid value: {"ID":"","Schema":"","Ref":null,',
            "XPreserveUnknownFields XValidations] fields are allowed at the root",
        ),
        (
            {"minProperties": 1},
            "spec.validation.openAPIV3Schema: Invalid value: ",
            "fields are allowed at the root of the schema if the status subresource is enabled",
        ),
    ],
)
def test_with_a_status_of_its_own_a_root_says_nothing_that_matters_to_the_status(
    more: Obj, beginning: str | None, end: str | None
) -> None:
    root = {"type": "object", "properties": {"a": {"type": "string"}}, **more}
    alone = crd(versions=versioned(root))
    assert not any("the root of" in str(error) for error in CRDS.validate(alone, None))
    found = list(CRDS.validate(crd(versions=versioned(root, subresources={"status": {}})), None))
    if beginning is None or end is None:
        assert found == []
    else:
        assert str(found[0]).startswith(beginning)
        assert end in str(found[0])

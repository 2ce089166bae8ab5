"""The built-in kinds against what a v1.36 server's discovery, tables and selectors show."""

import json
from pathlib import Path
from typing import Any

import pytest

from minikube_py.api.kinds import BUILTIN
from minikube_py.api.resource import Resource

REFERENCE = Path(__file__).parents[4] / "shared" / "reference"
GROUPS = [resource for resource in BUILTIN if resource.group]


def ids(resource: Resource) -> str:
    return f"{resource.api_version}/{resource.plural}"


def load(name: str) -> Any:
    return json.loads((REFERENCE / name).read_text())


def discovered(resource: Resource) -> list[dict[str, Any]]:
    listing = load(f"discovery/apis__{resource.group}__{resource.version}.json")
    return [r for r in listing["resources"] if r["name"].split("/")[0] == resource.plural]


@pytest.mark.parametrize("resource", GROUPS, ids=ids)
def test_a_kind_says_of_itself_what_discovery_says(resource: Resource) -> None:
    own = {
        "name": resource.plural,
        "singularName": resource.singular_name,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        own["shortNames"] = list(resource.short_names)
    if resource.categories:
        own["categories"] = list(resource.categories)
    entries = discovered(resource)
    entries[0].pop("storageVersionHash", None)
    assert own == entries[0]


@pytest.mark.parametrize("resource", GROUPS, ids=ids)
def test_subresources_are_those_of_discovery(resource: Resource) -> None:
    own = []
    for sub in sorted(resource.subresources, key=lambda sub: sub.name):
        entry: dict[str, Any] = {
            "name": f"{resource.plural}/{sub.name}",
            "singularName": "",
            "namespaced": resource.namespaced,
            "kind": sub.kind or resource.kind,
            "verbs": list(sub.verbs),
        }
        if sub.group:
            entry |= {"group": sub.group, "version": sub.version}
        own.append(entry)
    assert own == discovered(resource)[1:]


def test_nothing_that_a_default_server_serves_is_missing() -> None:
    versions = {resource.api_version for resource in GROUPS}
    for version in versions:
        listing = load(f"discovery/apis__{version.replace('/', '__')}.json")
        served = {r["name"] for r in listing["resources"] if "/" not in r["name"]}
        assert served == {r.plural for r in GROUPS if r.api_version == version}


@pytest.mark.parametrize("resource", GROUPS, ids=ids)
def test_columns_are_those_of_the_printers(resource: Resource) -> None:
    columns = load("facts/table-columns.json").get(
        f"/apis/{resource.api_version}/{resource.plural}"
    )
    if columns is None:
        assert resource.verbs == ("create",)
        return
    own = [
        {"name": c.name, "type": c.type, "format": c.format, "priority": c.priority}
        for c in resource.columns
    ]
    assert own == columns


@pytest.mark.parametrize("resource", GROUPS, ids=ids)
def test_field_selectors_are_those_of_the_reference(resource: Resource) -> None:
    facts = load("facts/field-selectors.json")
    known = set(facts["supported"].get(f"/apis/{resource.api_version}/{resource.plural}", ()))
    own = set(resource.selectable_fields) & set(facts["tried"])
    assert own == known - {"metadata.name", "metadata.namespace"}


def test_every_schema_is_a_type_of_the_specification() -> None:
    definitions = load("openapi/swagger-v2.json")["definitions"]
    for resource in BUILTIN:
        kinds = definitions[resource.schema]["x-kubernetes-group-version-kind"]
        wanted = {"group": resource.group, "version": resource.version, "kind": resource.kind}
        assert wanted in kinds

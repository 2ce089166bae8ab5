"""The core kinds against the recorded discovery document and the recorded table columns."""

import json
from pathlib import Path
from typing import Any

import pytest

from minikube_py.api.core import RESOURCES
from minikube_py.api.resource import Resource

REFERENCE = Path(__file__).parents[5] / "shared" / "reference"
BY_PLURAL = {resource.plural: resource for resource in RESOURCES}


def load(path: str) -> Any:
    return json.loads((REFERENCE / path).read_bytes())


DISCOVERY = load("discovery/api__v1.json")["resources"]
FIELDS = load("facts/field-selectors.json")["supported"]
COLUMNS = load("facts/table-columns.json")


def described(resource: Resource) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "kind": resource.kind,
        "name": resource.plural,
        "namespaced": resource.namespaced,
        "singularName": resource.singular_name,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    return entry


@pytest.mark.parametrize("recorded", DISCOVERY, ids=lambda entry: entry["name"])
def test_discovery_describes_the_kind_as_recorded(recorded: dict[str, Any]) -> None:
    plural, _, sub = recorded["name"].partition("/")
    resource = BY_PLURAL[plural]
    if not sub:
        recorded = {k: v for k, v in recorded.items() if k != "storageVersionHash"}
        assert described(resource) == recorded
        return
    subresource = resource.subresource(sub)
    assert subresource is not None
    assert (subresource.kind or resource.kind) == recorded["kind"]
    assert list(subresource.verbs) == recorded["verbs"]
    assert (subresource.group, subresource.version) == (
        recorded.get("group"),
        recorded.get("version"),
    )


def test_no_subresource_is_served_beyond_the_recorded_ones() -> None:
    ours = {f"{r.plural}/{s.name}" for r in RESOURCES for s in r.subresources}
    assert ours == {entry["name"] for entry in DISCOVERY if "/" in entry["name"]}


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda r: r.plural)
def test_the_columns_are_the_recorded_ones(resource: Resource) -> None:
    recorded = COLUMNS.get(f"/api/v1/{resource.plural}")
    if recorded is None:
        assert resource.verbs == ("create",)
        return
    ours = [
        {"name": c.name, "type": c.type, "format": c.format, "priority": c.priority}
        for c in resource.columns
    ]
    assert ours == recorded


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda r: r.plural)
def test_the_field_selectors_are_the_recorded_ones(resource: Resource) -> None:
    recorded = FIELDS.get(f"/api/v1/{resource.plural}", [])
    always = {"metadata.name", "metadata.namespace"}
    assert set(resource.selectable_fields) == set(recorded) - always

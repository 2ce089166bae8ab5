"""Tables: rows and cells of what `kubectl get` prints."""

from datetime import UTC, datetime

import pytest

from minikube_py.api import table
from minikube_py.api.kinds import BUILTIN
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
THINGS = Resource(
    kind="Thing",
    plural="things",
    columns=(NAME, Column("Size", "integer", description="how big"), AGE),
    cells=lambda obj: (obj["metadata"]["name"], obj["size"], Age(obj["metadata"].get("made"))),
    row_conditions=lambda obj: ({"type": "Completed"},) if obj["size"] == 0 else (),
)


def thing(size=3, **metadata):
    return {
        "kind": "Thing",
        "metadata": {"name": "a", "made": "2026-01-02T03:00:00Z", **metadata},
        "size": size,
    }


def test_a_row_has_the_cells_of_its_kind_and_the_metadata_of_its_object():
    shown = table.table(THINGS, [thing()], NOW, metadata={"resourceVersion": "7"})
    assert shown["metadata"] == {"resourceVersion": "7"}
    assert [column["name"] for column in shown["columnDefinitions"]] == ["Name", "Size", "Age"]
    assert shown["columnDefinitions"][1] == {
        "name": "Size",
        "type": "integer",
        "format": "",
        "description": "how big",
        "priority": 0,
    }
    (row,) = shown["rows"]
    assert row["cells"] == ["a", 3, "4m5s"]
    assert row["object"] == {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": thing()["metadata"],
    }
    assert "conditions" not in row


@pytest.mark.parametrize(("include", "shown"), [("None", None), ("Object", thing())])
def test_the_client_chooses_what_comes_with_a_row(include, shown):
    (row,) = table.table(THINGS, [thing()], NOW, include_object=include)["rows"]
    assert row["object"] == shown


def test_a_row_carries_the_conditions_of_its_object():
    (row,) = table.table(THINGS, [thing(size=0)], NOW)["rows"]
    assert row["conditions"] == [{"type": "Completed"}]


def test_later_events_of_a_watch_leave_the_columns_out():
    assert table.table(THINGS, [thing()], NOW, columns=False)["columnDefinitions"] is None


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (Age(None), "<unknown>"),
        (Age("2026-01-02T03:04:05Z"), "0s"),
        (Age("2026-01-02T03:03:55Z", "3 (", " ago)"), "3 (10s ago)"),
        (Age("2025-12-29T23:00:00Z"), "3d4h"),
    ],
)
def test_an_age_is_told_as_kubectl_tells_it(cell, text):
    shown = Resource(kind="Aged", plural="ageds", columns=(AGE,), cells=lambda _obj: (cell,))
    assert table.table(shown, [thing()], NOW)["rows"][0]["cells"] == [text]


def test_a_kind_without_printers_prints_name_and_age():
    plain = Resource(kind="Plain", plural="plains")
    obj = {"metadata": {"name": "p", "creationTimestamp": "2026-01-02T03:04:00Z"}}
    assert table.table(plain, [obj], NOW)["rows"][0]["cells"] == ["p", "5s"]
    assert table.table(plain, [], NOW)["rows"] == []


def test_no_rows_are_null_where_upstream_has_no_printer_of_its_own():
    columns = (Column("Name"), Column("Created At", "date"))
    plain = Resource(kind="Plain", plural="plains", columns=columns)
    assert table.table(plain, [], NOW)["rows"] is None


@pytest.mark.parametrize(
    "resource", [r for r in BUILTIN if "watch" in r.verbs], ids=lambda r: r.plural
)
def test_a_bookmark_of_any_kind_has_cells(resource):
    cells = table.blank_cells(resource, {"metadata": {"resourceVersion": "5"}})
    assert len(cells) >= len(resource.columns)  # upstream prints an age of IP addresses as well
    assert None not in cells

"""Tables: what `kubectl get` shows, made on the server from a kind's columns and cells.

`meta.k8s.io/v1` Table and PartialObjectMetadata, as upstream's `registry/rest/table.go` and the
printers of each kind. Ages are rendered here, since only the request knows what time it is.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from minikube_py.api import times
from minikube_py.api.field_walks import zero
from minikube_py.api.object import Obj
from minikube_py.api.printing import UNKNOWN, human_duration
from minikube_py.api.resource import Age, Column, Resource

API_VERSION = "meta.k8s.io/v1"
ZERO_TIME = "0001-01-01T00:00:00Z"
_DESCRIPTIONS = {
    "Name": "Name must be unique within a namespace.",
    "Age": "CreationTimestamp is the time at which the object was created.",
}


def table(
    resource: Resource,
    objects: Sequence[Obj],
    now: datetime,
    *,
    include_object: str = "Metadata",
    metadata: Obj | None = None,
    columns: bool = True,
) -> dict[str, Any]:
    """Return the Table of these objects.

    `include_object` is None, Metadata or Object. Later events of a watch leave `columns` out.
    """
    shown = objects
    if resource.row_order is not None and len(objects) > 1:  # one row, as of a bookmark, has none
        shown = sorted(objects, key=resource.row_order)
    rows = [_row(resource, obj, now, include_object) for obj in shown]
    # Upstream's converter for kinds without a printer of their own begins with no list at all.
    generic = (
        any(column.name == "Created At" for column in resource.columns) and not resource.custom
    )
    return {
        "kind": "Table",
        "apiVersion": API_VERSION,
        "metadata": dict(metadata or {}),
        "columnDefinitions": [_definition(c) for c in resource.columns] if columns else None,
        "rows": None if generic and not rows else rows,
    }


def _definition(column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "type": column.type,
        "format": column.format,
        "description": column.description or _DESCRIPTIONS.get(column.name, ""),
        "priority": column.priority,
    }


def _row(resource: Resource, obj: Obj, now: datetime, include_object: str) -> dict[str, Any]:
    cells = resource.cells(obj) if resource.cells is not None else name_and_age(obj)
    row: dict[str, Any] = {"cells": [_cell(cell, now) for cell in cells]}
    match include_object:
        case "Metadata":
            row["object"] = partial(obj)
        case "Object":
            row["object"] = obj
        case _:
            row["object"] = None
    if resource.row_conditions is not None and (conditions := resource.row_conditions(obj)):
        row["conditions"] = list(conditions)
    return row


def _cell(cell: Any, now: datetime) -> Any:
    if not isinstance(cell, Age):
        return cell
    return f"{cell.before}{age(cell.timestamp, now)}{cell.after}"


def age(timestamp: str | None, now: datetime) -> str:
    """Return how long ago a time was: `5m12s`, `3d4h`; `<unknown>` where there is none."""
    if not timestamp:
        return UNKNOWN
    return human_duration((now - times.parse(timestamp)).total_seconds())


def name_and_age(obj: Obj) -> Sequence[Any]:
    """Return the cells of a kind that has no printer of its own."""
    return (obj["metadata"].get("name", ""), Age(obj["metadata"].get("creationTimestamp")))


def blank_cells(resource: Resource, obj: Obj) -> Sequence[Any]:
    """Return the cells of an object that has nothing but metadata, as a bookmark has it."""
    blank = {} if resource.type is None else zero(resource.type)
    metadata = {"name": "", "namespace": "", **obj["metadata"]}
    show = resource.cells or name_and_age
    cells = show({**blank, **obj, "metadata": metadata})
    return [ZERO_TIME if cell is None and not resource.custom else cell for cell in cells]


def partial(obj: Obj) -> dict[str, Any]:
    """Return the PartialObjectMetadata of an object."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": API_VERSION,
        "metadata": obj["metadata"],
    }

"""CSI nodes: the storage drivers of a node."""

from collections.abc import Iterator, Sequence
from typing import Any

from minikube_py.api import names, strategy
from minikube_py.api.core.go_values import go_value
from minikube_py.api.core.volume_sources import validate_csi_driver_name
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, get
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource

DRIVERS = Field("spec") / "drivers"
NODE_ID_MAX = 256


def validate(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated node; a driver changes by leaving only."""
    drivers: Sequence[Obj] = get(new, "spec.drivers") or ()
    yield from _validate_drivers(drivers)
    if old is None:
        return
    before = {driver.get("name", ""): driver for driver in get(old, "spec.drivers") or ()}
    for driver in drivers:
        known = before.get(driver.get("name", ""))
        if known is not None and _fixed(known) != _fixed(driver):
            yield Field("CSINodeDriver").immutable(go_value(driver, "CSINodeDriver"))


def _fixed(driver: Obj) -> Obj:
    """Return what stays; null and an empty list, as clients send topologyKeys back, are nothing."""
    return {key: value for key, value in driver.items() if key != "allocatable" and value}


def _validate_drivers(drivers: Sequence[Obj]) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, driver in enumerate(drivers):
        field, name = DRIVERS[index], driver.get("name", "")
        yield from validate_csi_driver_name(name, field / "name")
        yield from _validate_node_id(driver.get("nodeID", ""), field / "nodeID")
        yield from strategy.non_negative(
            driver.get("allocatable") or {}, field / "allocatable", "count"
        )
        if name in seen:
            yield (field / "name").duplicate(name)
        seen.add(name)
        yield from _validate_keys(driver.get("topologyKeys") or (), field / "topologyKeys")


def _validate_node_id(node_id: str, field: Field) -> Iterator[FieldError]:
    if not node_id:
        yield field.required(node_id)
    if len(node_id) > NODE_ID_MAX:
        yield field.invalid(node_id, f"must be {NODE_ID_MAX} characters or less")


def _validate_keys(keys: Sequence[str], field: Field) -> Iterator[FieldError]:
    seen: set[str] = set()
    for key in keys:
        if not key:
            yield field.required(key)
        if key in seen:
            yield field.duplicate(key)
        seen.add(key)
        yield from (field.invalid(key, text) for text in names.qualified_name(key))


def cells(csinode: Obj) -> Sequence[Any]:
    """Return the cells of a node's row."""
    return (
        csinode["metadata"]["name"],
        len(get(csinode, "spec.drivers") or ()),
        Age(get(csinode, "metadata.creationTimestamp")),
    )


CSINODES = Resource(
    group="storage.k8s.io",
    kind="CSINode",
    plural="csinodes",
    namespaced=False,
    schema="io.k8s.api.storage.v1.CSINode",
    columns=(NAME, Column("Drivers", "integer"), AGE),
    cells=cells,
    validate=validate,
    allow_unconditional_update=False,
    returns_deleted_object=True,
)

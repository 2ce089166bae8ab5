"""Volume attributes classes: parameters of a volume that may change."""

from collections.abc import Iterator, Sequence
from typing import Any

from minikube_py.api import strategy
from minikube_py.api.core.volume_sources import validate_csi_driver_name
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, get
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource
from minikube_py.api.storage.parameters import validate_parameters

DRIVER, PARAMETERS = Field("driverName"), Field("parameters")


def default(vac: Obj) -> Obj:
    """Fill in what is always shown."""
    return strategy.with_absent(vac, {"driverName": ""})


def validate(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated class; driver and parameters never change."""
    yield from validate_csi_driver_name(new["driverName"], DRIVER)
    yield from validate_parameters(new.get("parameters") or {}, PARAMETERS, needed=True)
    if old is None:
        return
    if new["driverName"] != old["driverName"]:
        yield DRIVER.forbidden("updates to driverName are forbidden.")
    if (new.get("parameters") or {}) != (old.get("parameters") or {}):
        yield PARAMETERS.forbidden("updates to parameters are forbidden.")


def cells(vac: Obj) -> Sequence[Any]:
    """Return the cells of a class' row."""
    return (
        vac["metadata"]["name"],
        vac["driverName"],
        Age(get(vac, "metadata.creationTimestamp")),
    )


VOLUMEATTRIBUTESCLASSES = Resource(
    group="storage.k8s.io",
    kind="VolumeAttributesClass",
    plural="volumeattributesclasses",
    namespaced=False,
    short_names=("vac",),
    schema="io.k8s.api.storage.v1.VolumeAttributesClass",
    columns=(NAME, Column("DriverName"), AGE),
    cells=cells,
    default=default,
    validate=validate,
    returns_deleted_object=True,
)

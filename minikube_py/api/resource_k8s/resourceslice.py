"""Resource slices: the devices that a driver offers."""

from collections.abc import Iterator, Sequence
from typing import Any

from minikube_py.api import names, strategy
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, get
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource
from minikube_py.api.resource_k8s import requests
from minikube_py.api.strategy import changed, with_absent

SPEC = Field("spec")
DEVICES_MAX = 128
_PLACES = ("nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection")
_ONE_PLACE = (
    "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
)


def default(piece: Obj) -> Obj:
    """Fill in what is always shown."""
    piece = with_absent(piece, {"spec": {}})
    return changed(piece, "spec", lambda spec: with_absent(spec, {"driver": "", "pool": {}}))


def validate(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated slice; whose and where it is never changes."""
    spec = new["spec"]
    yield from requests.validate_driver(spec["driver"], SPEC / "driver")
    yield from _validate_pool(spec["pool"], SPEC / "pool")
    yield from _validate_place(spec)
    yield from _validate_devices(spec.get("devices") or (), SPEC / "devices")
    if old is None:
        return
    for path in ("driver", "nodeName", "pool.name"):
        value = get(spec, path)
        if value != get(old, f"spec.{path}"):
            yield (SPEC / path).immutable(value)


def _validate_pool(pool: Obj, field: Field) -> Iterator[FieldError]:
    name = pool.get("name", "")
    if not name:
        yield (field / "name").required()
    else:
        if len(name) > names.SUBDOMAIN_MAX:
            yield (field / "name").too_long(names.SUBDOMAIN_MAX)
        for part in name.split("/"):
            for text in names.dns1123_subdomain(part):
                yield (field / "name").invalid(part, text)
    if (pool.get("resourceSliceCount") or 0) <= 0:
        yield (field / "resourceSliceCount").invalid(
            pool.get("resourceSliceCount") or 0, "must be greater than zero"
        )
    yield from strategy.non_negative(pool, field, "generation")


def _validate_place(spec: Obj) -> Iterator[FieldError]:
    given = [key for key in _PLACES if spec.get(key)]
    name = spec.get("nodeName")
    if name is not None:
        if not name:
            yield (SPEC / "nodeName").invalid(
                name, "must be either unset or set to a non-empty string"
            )
        else:
            for text in names.dns1123_subdomain(name):
                yield (SPEC / "nodeName").invalid(name, text)
    if not given:
        yield SPEC.required(_ONE_PLACE)
    elif len(given) > 1:
        shown = f"{{{', '.join(f'`{key}`' for key in given)}}}"
        yield SPEC.invalid(shown, f"{_ONE_PLACE}, but multiple fields are set")


def _validate_devices(devices: Sequence[Obj], field: Field) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, device in enumerate(devices):
        name = device.get("name", "")
        if not name:
            yield (field[index] / "name").required()
        else:
            for text in names.dns1123_label(name):
                yield (field[index] / "name").invalid(name, text)
        if name in seen:
            yield field[index].duplicate(name)
        seen.add(name)
    if len(devices) > DEVICES_MAX:
        yield field.too_many(len(devices), DEVICES_MAX)


def cells(piece: Obj) -> Sequence[Any]:
    """Return the cells of a slice's row."""
    spec: Obj = piece["spec"]
    return (
        piece["metadata"]["name"],
        spec.get("nodeName", ""),
        spec.get("driver", ""),
        get(spec, "pool.name", ""),
        Age(get(piece, "metadata.creationTimestamp")),
    )


RESOURCESLICES = Resource(
    group=requests.GROUP,
    kind="ResourceSlice",
    plural="resourceslices",
    namespaced=False,
    schema="io.k8s.api.resource.v1.ResourceSlice",
    columns=(NAME, Column("Node"), Column("Driver"), Column("Pool"), AGE),
    cells=cells,
    default=default,
    prepare_for_create=strategy.creating(),
    prepare_for_update=strategy.updating("spec", keep=()),
    validate=validate,
    returns_deleted_object=True,
    selectable_fields={
        "spec.driver": lambda piece: get(piece, "spec.driver", ""),
        "spec.nodeName": lambda piece: get(piece, "spec.nodeName", ""),
    },
)

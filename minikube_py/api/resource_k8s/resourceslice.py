"""Resource slices: the devices that a driver offers."""

from collections.abc import Iterator, Sequence
from typing import Any

from minikube_py.api import strategy
from minikube_py.api.core.go_values import go_value
from minikube_py.api.core.pod_validation_scheduling import validate_node_selector
from minikube_py.api.core.volume_sources import validate_csi_driver_name
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, get
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource
from minikube_py.api.resource_k8s import devices, requests
from minikube_py.api.strategy import changed, with_absent

SPEC = Field("spec")
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
    spec, before = new["spec"], get(old, "spec", {})
    yield from validate_csi_driver_name(spec["driver"], SPEC / "driver")
    yield from _validate_pool(spec["pool"], SPEC / "pool")
    for path in ("pool.name", "driver", "nodeName") if old is not None else ():
        value = get(spec, path)
        if value != get(before, path):
            yield (SPEC / path).immutable(value)
    yield from _validate_place(spec)
    if spec.get("sharedCounters") and spec.get("devices"):
        yield SPEC.invalid("", "only one of `sharedCounters` or `devices` is allowed")
    yield from devices.validate_devices(spec, before, SPEC / "devices")
    yield from devices.validate_counter_sets(
        spec.get("sharedCounters") or (), SPEC / "sharedCounters"
    )


def _validate_pool(pool: Obj, field: Field) -> Iterator[FieldError]:
    yield from devices.validate_pool_name(pool.get("name", ""), field / "name")
    count, generation = pool.get("resourceSliceCount") or 0, pool.get("generation") or 0
    if count <= 0:
        yield (field / "resourceSliceCount").invalid(count, "must be greater than zero")
    if generation < 0:
        yield (field / "generation").invalid(generation, "must be greater than or equal to zero")


def _validate_place(spec: Obj) -> Iterator[FieldError]:
    yield from devices.validate_node_name(
        spec, SPEC, "must be either unset or set to a non-empty string"
    )
    if spec.get("nodeSelector") is not None:
        yield from _validate_selector(spec["nodeSelector"], SPEC / "nodeSelector")
    yield from devices.validate_flag(spec, "allNodes", SPEC)
    yield from devices.validate_flag(spec, "perDeviceNodeSelection", SPEC)
    given = devices.places(spec, _PLACES)
    if not given:
        yield SPEC.required(_ONE_PLACE)
    elif len(given) > 1:
        yield SPEC.invalid(
            devices.shown_places(given), f"{_ONE_PLACE}, but multiple fields are set"
        )


def _validate_selector(selector: Obj, field: Field) -> Iterator[FieldError]:
    yield from validate_node_selector(selector, field)
    terms = selector.get("nodeSelectorTerms")
    if len(terms or ()) != 1:
        shown = go_value({"nodeSelectorTerms": terms}, "NodeSelector")
        yield (field / "nodeSelectorTerms").invalid(
            shown and shown["NodeSelectorTerms"], "must have exactly one node selector term"
        )


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

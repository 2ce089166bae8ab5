"""What a scheduler allocated to a claim, and what drivers tell of those devices."""

import re
from collections.abc import Iterator, Sequence

from minikube_py.api import addresses
from minikube_py.api.conditions import validate_conditions
from minikube_py.api.core.pod_validation_scheduling import validate_node_selector
from minikube_py.api.core.volume_sources import validate_csi_driver_name
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, get, is_deleting
from minikube_py.api.resource_k8s import requests
from minikube_py.api.resource_k8s.devices import validate_binding, validate_pool_name

STATUS = Field("status")
RESERVED_MAX = 256
"""Consumers that may share one claim."""
RESULTS_MAX = 32
CONDITIONS_MAX = 8
DATA_BYTES_MAX = 10 * 1024
INTERFACE_NAME_MAX = 256
HARDWARE_ADDRESS_MAX = 128
ADDRESSES_MAX = 16
SOURCES = ("FromClaim", "FromClass")
DEVICES_MAX = 1 << 31
"""Upstream puts no limit on what drivers report."""
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_NOT_NORMAL = (
    "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with "
    "lowercase hexadecimal characters"
)


def validate_status(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with an updated status: an allocation comes and goes as a whole."""
    status, before = new.get("status") or {}, get(old, "status", {})
    allocation, known = status.get("allocation"), before.get("allocation")
    reserved: Sequence[Obj] = status.get("reservedFor") or ()
    field = STATUS / "reservedFor"
    yield from requests.validate_set(
        reserved, RESERVED_MAX, field, _validate_consumer, lambda one: one.get("uid", "")
    )
    allocated = {_identity(one) for one in get(allocation, "devices.results") or ()}
    yield from requests.validate_set(
        status.get("devices") or (),
        DEVICES_MAX,
        STATUS / "devices",
        lambda device, place: _validate_device(device, allocated, place),
        _identity,
    )
    if reserved and allocation is None:
        yield field.forbidden("may not be specified when `allocated` is not set")
    elif is_deleting(new) and any(one not in (before.get("reservedFor") or ()) for one in reserved):
        yield field.forbidden(
            "new entries may not be added while `deallocationRequested` or `deletionTimestamp` "
            "are set"
        )
    if known is None and allocation is not None:
        names = requests.request_names(get(new, "spec.devices.requests") or ())
        yield from _validate_allocation(allocation, names, STATUS / "allocation")
    elif known is not None and allocation is not None and allocation != known:
        yield (STATUS / "allocation").immutable(allocation)


def _identity(device: Obj) -> tuple[str, ...]:
    """Return what tells one allocated device from another."""
    return tuple(device.get(key) or "" for key in ("driver", "pool", "device", "shareID"))


def _validate_consumer(consumer: Obj, field: Field) -> Iterator[FieldError]:
    for key in ("resource", "name", "uid"):
        if not consumer.get(key):
            yield (field / key).required()


def _validate_allocation(
    allocation: Obj, names: frozenset[str], field: Field
) -> Iterator[FieldError]:
    devices: Obj = allocation.get("devices") or {}
    yield from requests.validate_list(
        devices.get("results") or (),
        RESULTS_MAX,
        field / "devices" / "results",
        lambda result, place: _validate_result(result, names, place),
    )
    yield from requests.validate_list(
        devices.get("config") or (),
        2 * requests.CONFIGS_MAX,  # those of the class and of the claim
        field / "devices" / "config",
        lambda config, place: _validate_config(config, names, place),
    )
    if allocation.get("nodeSelector") is not None:
        yield from validate_node_selector(allocation["nodeSelector"], field / "nodeSelector")


def _validate_result(result: Obj, names: frozenset[str], field: Field) -> Iterator[FieldError]:
    yield from requests.validate_reference(result.get("request", ""), names, field / "request")
    yield from requests.validate_driver(result.get("driver", ""), field / "driver")
    yield from validate_pool_name(result.get("pool", ""), field / "pool")
    yield from requests.validate_label(result.get("device", ""), field / "device")
    yield from validate_binding(result, field)
    yield from requests.validate_tolerations(result.get("tolerations") or (), field / "tolerations")
    yield from _validate_share(result, field)


def _validate_share(device: Obj, field: Field) -> Iterator[FieldError]:
    share = device.get("shareID")
    if share is not None and not _UUID.fullmatch(share):
        yield (field / "shareID").invalid(share, _NOT_NORMAL)


def _validate_config(config: Obj, names: frozenset[str], field: Field) -> Iterator[FieldError]:
    source = config.get("source", "")
    if not source:
        yield (field / "source").required()
    elif source not in SOURCES:
        yield (field / "source").unsupported(source, SOURCES)
    yield from requests.validate_claim_config(config, names, field)


def _validate_device(
    device: Obj, allocated: set[tuple[str, ...]], field: Field
) -> Iterator[FieldError]:
    yield from validate_csi_driver_name(device.get("driver", ""), field / "driver")
    yield from validate_pool_name(device.get("pool", ""), field / "pool")
    yield from requests.validate_label(device.get("device", ""), field / "device")
    yield from _validate_share(device, field)
    if _identity(device) not in allocated:
        shown: dict[str, Obj] = {"Driver": {}, "Pool": {}, "Device": {}, "ShareID": {}}
        yield field.invalid(shown, "must be an allocated device in the claim")
    conditions = device.get("conditions") or ()
    if len(conditions) > CONDITIONS_MAX:
        yield (field / "conditions").too_many(len(conditions), CONDITIONS_MAX)
    yield from validate_conditions(conditions, field / "conditions")
    if device.get("data") is not None:
        yield from requests.validate_raw(device["data"], field / "data", DATA_BYTES_MAX)
    yield from _validate_network(device.get("networkData") or {}, field / "networkData")


def _validate_network(data: Obj, field: Field) -> Iterator[FieldError]:
    for key, limit in (
        ("interfaceName", INTERFACE_NAME_MAX),
        ("hardwareAddress", HARDWARE_ADDRESS_MAX),
    ):
        if len(data.get(key, "").encode()) > limit:
            yield (field / key).too_long(limit)
    yield from requests.validate_set(
        data.get("ips") or (), ADDRESSES_MAX, field / "ips", addresses.validate_interface
    )

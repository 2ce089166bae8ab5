"""The kinds that quotas count by more than their number, and the short names of others."""

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Final

from minikube_py.api import quantity
from minikube_py.api.core.quota import (
    ONE,
    Amounts,
    Change,
    Evaluator,
    added,
    amounts,
    count_evaluator,
    count_name,
    selects,
)
from minikube_py.api.core.quota_pods import POD_EVALUATOR
from minikube_py.api.object import Obj, annotations_of, get
from minikube_py.api.quantity import NANO, ZERO, Quantity

ALIASED: Final = ("configmaps", "resourcequotas", "replicationcontrollers", "secrets")
"""Kinds that quotas count by their bare plural too: older than `count/`."""
STORAGE_CLASS_BETA: Final = "volume.beta.kubernetes.io/storage-class"
DEVICES_MAX: Final = 32
"""How many devices one claim is given at most; what `All` may come to."""
_CLASS: Final = ".storageclass.storage.k8s.io/"
_CLAIMED: Final = ("persistentvolumeclaims", "requests.storage")
_DEVICES: Final = ".deviceclass.resource.k8s.io/devices"
_SERVICES: Final = frozenset(
    {"count/services", "services", "services.nodeports", "services.loadbalancers"}
)


@lru_cache(maxsize=1024)
def evaluator_of(group_resource: str) -> Evaluator:
    """Return how the objects of a kind count; `group_resource` is as in `deployments.apps`."""
    special = _SPECIAL.get(group_resource)
    return special if special is not None else count_evaluator(group_resource)


# Services


def _service_usage(service: Obj, _now: datetime) -> Amounts:
    kind = get(service, "spec.type", "ClusterIP")
    ports = get(service, "spec.ports", ())
    node_ports = 0
    if kind == "NodePort":
        node_ports = len(ports)
    elif kind == "LoadBalancer":
        # Node ports are not allocated yet: it is the intent that counts.
        allocates = get(service, "spec.allocateLoadBalancerNodePorts", default=True)
        node_ports = len(ports) if allocates else sum(bool(p.get("nodePort")) for p in ports)
    return {
        "count/services": ONE,
        "services": ONE,
        "services.nodeports": quantity.of(node_ports),
        "services.loadbalancers": ONE if kind == "LoadBalancer" else ZERO,
    }


def _is_whole_write(change: Change) -> bool:
    return not change.subresource


# Persistent volume claims


def _counts_claims(name: str) -> bool:
    if name in (*_CLAIMED, "count/persistentvolumeclaims"):
        return True
    return name.endswith(tuple(f"{_CLASS}{resource}" for resource in _CLAIMED))


def _claim_usage(claim: Obj, _now: datetime) -> Amounts:
    used: dict[str, Quantity] = {"count/persistentvolumeclaims": ONE, "persistentvolumeclaims": ONE}
    storage = _claimed_storage(claim)
    if storage is not None:
        used["requests.storage"] = storage
    storage_class = annotations_of(claim).get(STORAGE_CLASS_BETA)
    if storage_class is None:
        storage_class = get(claim, "spec.storageClassName", "")
    if storage_class:
        used |= {f"{storage_class}{_CLASS}{name}": used[name] for name in _CLAIMED if name in used}
    return used


def _claimed_storage(claim: Obj) -> Quantity | None:
    """Return what is asked for or was given already, whichever is more, in whole bytes."""
    asked = amounts(get(claim, "spec.resources.requests")).get("storage")
    if asked is None:
        return None
    given = amounts(get(claim, "status.allocatedResources")).get("storage", ZERO)
    most = max(asked, given)
    return most if most.nanos % NANO == 0 else quantity.of(most.value(), most.format)


def attribute_classes(claim: Obj) -> set[str]:
    """Return the volume attributes classes that a claim has, wants or is on its way to."""
    paths = (
        "spec.volumeAttributesClassName",
        "status.currentVolumeAttributesClassName",
        "status.modifyVolumeStatus.targetVolumeAttributesClassName",
    )
    return {get(claim, path, "") for path in paths} - {""}


def _claim_in_scope(requirement: Obj, claim: Obj) -> bool:
    if requirement["scopeName"] != "VolumeAttributesClass":
        return False
    return selects(requirement, attribute_classes(claim))


def _handles_claim(change: Change) -> bool:
    return change.subresource == "" or (
        change.subresource == "status" and change.operation == "UPDATE"
    )


# Resource claims


def _counts_devices(name: str) -> bool:
    return name == count_name("resourceclaims.resource.k8s.io") or name.endswith(_DEVICES)


def _device_usage(claim: Obj, _now: datetime) -> Amounts:
    used: dict[str, Quantity] = {count_name("resourceclaims.resource.k8s.io"): ONE}
    for request in get(claim, "spec.devices.requests", ()):
        options = request.get("firstAvailable") or [request.get("exactly") or {}]
        worst: dict[str, int] = {}
        for option in options:
            name = f"{option.get('deviceClassName', '')}{_DEVICES}"
            worst[name] = max(worst.get(name, 0), _devices(option))
        used = added(used, {name: quantity.of(count) for name, count in worst.items()})
    return used


def _devices(option: Obj) -> int:
    """Return how many devices an option may come to."""
    mode = option.get("allocationMode", "ExactCount")
    if mode == "ExactCount":
        return int(option.get("count", 1))
    return DEVICES_MAX if mode == "All" else 0


_SPECIAL: Final[Mapping[str, Evaluator]] = {
    "pods": POD_EVALUATOR,
    "services": Evaluator(
        counts=_SERVICES.__contains__, usage=_service_usage, handles=_is_whole_write
    ),
    "persistentvolumeclaims": Evaluator(
        counts=_counts_claims,
        usage=_claim_usage,
        in_scope=_claim_in_scope,
        handles=_handles_claim,
    ),
    "resourceclaims.resource.k8s.io": Evaluator(
        counts=_counts_devices, usage=_device_usage, handles=_is_whole_write
    ),
    **{name: count_evaluator(name, alias=name) for name in ALIASED},
}

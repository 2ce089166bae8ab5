"""Extended resources of pods that devices stand for: which class, and the claim that asks for them.

A container asks for `example.com/gpu: 2` as ever. Where a device class says that its devices are
that resource, and the node has none of it otherwise, the scheduler makes a claim for the pod. All
of it is pure. Upstream: KEP-5004, `extendeddynamicresources.go`.
"""

import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from minikube_py.api import quantity
from minikube_py.api.core.pod_resources import is_sidecar
from minikube_py.api.core.resources import is_extended
from minikube_py.api.object import Obj, annotations_of, controller_of, get, uid_of
from minikube_py.api.resource_k8s.pod_claims import EXTENDED_CLAIM

CLASS_PREFIX: Final = "deviceclass.resource.kubernetes.io/"
"""A resource with this and the name of a class means devices of that class."""
IN_MEMORY: Final = "<extended-resources>"
"""The name of a claim that is not written yet; no object can have it."""
Mapped = dict[str, str]
"""One entry of what a pod's status says: containerName, resourceName, requestName."""


def may_be_devices(name: str) -> bool:
    """Tell whether a resource could be one that devices stand for."""
    return name.startswith(CLASS_PREFIX) or is_extended(name)


@dataclass(frozen=True)
class Need:
    """What a container needs of one resource."""

    container: str
    index: int
    """Its place among init containers and containers together."""
    request: str
    """The name of its request."""
    count: int
    early: bool
    """Whether it ends before the containers start: what those will have is free until then."""


def needs_of(pod: Obj, resource: str) -> Iterator[Need]:
    """Yield what the containers of a pod need of a resource."""
    early = get(pod, "spec.initContainers", ())
    for index, container in enumerate((*early, *get(pod, "spec.containers", ()))):
        asked: Mapping[str, str] = get(container, "resources.requests", {})
        count = quantity.value(asked[resource]) if resource in asked else 0
        if count:
            request = f"container-{index}-request-{sorted(asked).index(resource)}"
            ends = index < len(early) and not is_sidecar(container)
            yield Need(container["name"], index, request, count, ends)


def requests_of(pod: Obj, classes: Mapping[str, str]) -> tuple[list[Obj], list[Mapped]]:
    """Return the requests for all resources of `classes`, and which container has which of them."""
    requests: list[Obj] = []
    mapped: list[Mapped] = []
    for resource in sorted(classes):
        needs = list(needs_of(pod, resource))
        lasting = [need for need in needs if not need.early]
        for need in lasting:
            requests.append(_request(need.request, classes[resource], need.count))
            mapped.append(_entry(need, resource, need.request))
        early = [_early(need, lasting) for need in needs if need.early]
        most = max(early, key=lambda one: one.extra, default=None)
        if most is not None and most.extra:
            requests.append(_request(most.need.request, classes[resource], most.extra))
        for one in early:
            own = [most.need.request] if most is not None and one.extra else []
            names = [*(need.request for need in one.shared), *own]
            mapped += (_entry(one.need, resource, name) for name in names)
    return sorted(requests, key=lambda one: str(one["name"])), mapped


@dataclass(frozen=True)
class _Early:
    """A container that ends early: whose devices it takes meanwhile, and how many more it needs."""

    need: Need
    shared: Sequence[Need]
    extra: int


def _early(need: Need, lasting: Sequence[Need]) -> _Early:
    shared: list[Need] = []
    left = need.count
    for later in lasting:
        if later.index > need.index and left > 0:
            shared.append(later)
            left -= later.count
    return _Early(need, shared, max(left, 0))


def _request(name: str, device_class: str, count: int) -> Obj:
    exactly = {"deviceClassName": device_class, "allocationMode": "ExactCount", "count": count}
    return {"name": name, "exactly": exactly}


def _entry(need: Need, resource: str, request: str) -> Mapped:
    return {"containerName": need.container, "resourceName": resource, "requestName": request}


def new_claim(pod: Obj, requests: Sequence[Obj]) -> dict[str, Any]:
    """Return the claim of a pod as it is before it is written; its uid is nobody else's."""
    name = pod["metadata"]["name"]
    owner = {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid_of(pod)}
    metadata = {
        "name": IN_MEMORY,
        "uid": str(uuid.uuid4()),
        "generateName": f"{name}-extended-resources-",
        "namespace": pod["metadata"]["namespace"],
        "annotations": {EXTENDED_CLAIM: "true"},
        "ownerReferences": [{**owner, "controller": True}],
    }
    kind = {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim"}
    return {**kind, "metadata": metadata, "spec": {"devices": {"requests": list(requests)}}}


def to_write(claim: Obj) -> dict[str, Any]:
    """Return what is to be created of a claim that is only in memory."""
    left = {key: value for key, value in claim["metadata"].items() if key not in ("name", "uid")}
    return {**claim, "metadata": left}


def is_made_for(pod: Obj, claim: Obj) -> bool:
    """Tell whether a claim stands for the extended resources of this pod."""
    owner = controller_of(claim)
    mine = owner is not None and owner.get("uid") == uid_of(pod)
    return mine and annotations_of(claim).get(EXTENDED_CLAIM) == "true"


def missing_on(allocatable: Mapping[str, int], classes: Collection[str]) -> tuple[str, ...]:
    """Return the resources that devices have to provide on a node: it has none of them itself."""
    return tuple(name for name in classes if not allocatable.get(name))

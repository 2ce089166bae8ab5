"""What a pod asks for as a whole, and the class of service that follows from it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from minikube_py.api import quantity
from minikube_py.api.core.resources import is_huge_page
from minikube_py.api.object import Obj, condition_of, get
from minikube_py.api.quantity import ZERO, Quantity

Amounts = Mapping[str, Quantity]
_COMPUTE: Final = ("cpu", "memory")
_INIT_STATUSES: Final = "initContainerStatuses"


def is_sidecar(container: Obj) -> bool:
    """Tell whether an init container keeps running beside the regular ones."""
    return container.get("restartPolicy") == "Always"


def amounts_of(container: Obj, key: str) -> dict[str, Quantity]:
    """Return the `requests` or `limits` of a container, parsed."""
    return parsed((container.get("resources") or {}).get(key))


def parsed(listed: Mapping[str, str] | None) -> dict[str, Quantity]:
    """Return a list of amounts, which may be absent, parsed."""
    return {name: quantity.parse(amount) for name, amount in (listed or {}).items()}


def added(left: Amounts, right: Amounts) -> dict[str, Quantity]:
    """Return the sum of two lists of amounts."""
    more = (name for name in right if name not in left)
    return {name: _plus(left.get(name), right.get(name)) for name in (*left, *more)}


def _plus(left: Quantity | None, right: Quantity | None) -> Quantity:
    return (
        (left or ZERO) + right if left is not None and right is not None else left or right or ZERO
    )


def highest(left: Amounts, right: Amounts) -> dict[str, Quantity]:
    """Return the greater of two amounts, by resource."""
    most = dict(left)
    for name, amount in right.items():
        if name not in most or amount > most[name]:
            most[name] = amount
    return most


def aggregate(spec: Obj, key: str) -> dict[str, Quantity]:
    """Return what the containers of a pod need together of `requests` or `limits`."""
    return aggregate_by(spec, lambda container: amounts_of(container, key))


def aggregate_by(spec: Obj, needs: Callable[[Obj], dict[str, Quantity]]) -> dict[str, Quantity]:
    """Return what the containers of a pod need together, where each needs what `needs` says.

    Regular containers and sidecars run at the same time; an init container runs alone with the
    sidecars that were started before it.
    """
    total: dict[str, Quantity] = {}
    for container in spec.get("containers") or ():
        total = added(total, needs(container))
    sidecars: dict[str, Quantity] = {}
    peak: dict[str, Quantity] = {}
    for container in spec.get("initContainers") or ():
        amounts = needs(container)
        if is_sidecar(container):
            total = added(total, amounts)
            sidecars = added(sidecars, amounts)
            amounts = sidecars
        else:
            amounts = added(amounts, sidecars)
        peak = highest(peak, amounts)
    return highest(total, peak)


def held_amounts(pod: Obj, key: str) -> Callable[[Obj], dict[str, Quantity]]:
    """Return how much of `requests` or `limits` each container of a pod counts for by now.

    While a resize is under way that is the most of what it asks for, has been promised and has;
    where the node can never give what it asks for, only the latter two (upstream's
    UseStatusResources).
    """
    lists = [get(pod, f"status.{name}", ()) for name in ("containerStatuses", _INIT_STATUSES)]
    known: Mapping[str, Obj] = {one["name"]: one for found in lists for one in found}
    if not known:
        return lambda container: amounts_of(container, key)
    infeasible = get(condition_of(pod, "PodResizePending"), "reason") == "Infeasible"

    def of(container: Obj) -> dict[str, Quantity]:
        asked = amounts_of(container, key)
        status = known.get(container["name"])
        if status is None or status.get("resources") is None:
            return asked
        has = amounts_of(status, key)
        if key == "requests":
            has = highest(has, parsed(status.get("allocatedResources")))
        return has if infeasible else highest(asked, has)

    return of


def default_pod_resources(spec: Obj) -> Obj:
    """Return a pod's spec with the requests and limits at pod level that follow from the others.

    Only where the pod has `resources` of its own (upstream's `defaultPodRequests`).
    """
    resources = spec.get("resources")
    if not resources:
        return spec
    limits = _default_limits(spec, resources)
    requests = _default_requests(spec, resources, limits)
    changed = {key: value for key, value in (("limits", limits), ("requests", requests)) if value}
    if all(resources.get(key) == value for key, value in changed.items()):
        return spec
    return {**spec, "resources": {**resources, **changed}}


def _default_limits(spec: Obj, resources: Obj) -> dict[str, str]:
    limits: dict[str, str] = dict(resources.get("limits") or {})
    if limits or resources.get("requests"):
        for name, amount in aggregate(spec, "limits").items():
            if is_huge_page(name):
                limits.setdefault(name, str(amount))
    return limits


def _default_requests(spec: Obj, resources: Obj, limits: Mapping[str, str]) -> dict[str, str]:
    requests: dict[str, str] = dict(resources.get("requests") or {})
    if limits:
        for name, amount in aggregate(spec, "requests").items():
            if name in _COMPUTE:
                requests.setdefault(name, str(amount))
        for name, limit in limits.items():
            requests.setdefault(name, limit)
    return requests


def qos_class(spec: Obj) -> str:
    """Return the class of service: Guaranteed, Burstable or BestEffort."""
    resources = spec.get("resources") or {}
    if resources.get("requests") or resources.get("limits"):
        return _class_of([{"resources": resources}])
    return _class_of([*(spec.get("containers") or ()), *(spec.get("initContainers") or ())])


def _class_of(containers: Sequence[Obj]) -> str:
    requests = _positive(containers, "requests")
    limits = _positive(containers, "limits")
    if not requests and not limits:
        return "BestEffort"
    guaranteed = requests == limits and all(_has_both(container) for container in containers)
    return "Guaranteed" if guaranteed else "Burstable"


def _positive(containers: Sequence[Obj], key: str) -> dict[str, int]:
    """Return how much CPU and memory they need together, in nanos."""
    total: dict[str, int] = {}
    for container in containers:
        listed: Mapping[str, str] = (container.get("resources") or {}).get(key) or {}
        for name in _COMPUTE:
            if name in listed and (nanos := quantity.parse(listed[name]).nanos) > 0:
                total[name] = total.get(name, 0) + nanos
    return total


def _has_both(container: Obj) -> bool:
    limits = amounts_of(container, "limits")
    return all(limits.get(name, ZERO) > ZERO for name in _COMPUTE)


def visit_containers(spec: Obj) -> Iterator[tuple[str, int, Obj]]:
    """Yield each container with the list it stands in and its place there."""
    for key in ("initContainers", "containers", "ephemeralContainers"):
        for index, container in enumerate(spec.get(key) or ()):
            yield key, index, container

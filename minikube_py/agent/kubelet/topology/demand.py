"""What containers ask for that has a place in the machine, container by container or by pod. Pure.

Only whole processors and the memory of Guaranteed pods are given exclusively.
"""

from collections.abc import Callable, Mapping

from minikube_py.agent.kubelet.pod import Spec, specs_of
from minikube_py.agent.kubelet.qos import qos_class
from minikube_py.agent.kubelet.resources import Amounts, amounts
from minikube_py.api.object import Obj, get

Demand = Mapping[str, int]
"""Amounts of resources, in their base units."""


def cpus(pod: Obj, container: Obj) -> int:
    """Return how many processors a container is to have for itself; 0 for none."""
    if qos_class(pod) != "Guaranteed" or get(pod, "spec.resources"):
        return 0
    milli = _requests(container).get("cpu")
    if milli is None or milli.milli_value() % 1000:
        return 0
    return milli.value()


def memory(pod: Obj, container: Obj) -> dict[str, int]:
    """Return the bytes of memory and huge pages that a container is to have in its own nodes."""
    if qos_class(pod) != "Guaranteed" or get(pod, "spec.resources"):
        return {}
    return {
        name: amount.value()
        for name, amount in _requests(container).items()
        if (name == "memory" or name.startswith("hugepages-")) and amount
    }


def _requests(container: Obj) -> Amounts:
    resources = container.get("resources") or {}
    return {**amounts(resources.get("limits")), **amounts(resources.get("requests"))}


def of_pod(pod: Obj, of: Callable[[Spec], Demand]) -> dict[str, int]:
    """Return what a whole pod asks for at the same time.

    Init containers run one after the other, beside the sidecars before them.
    """
    sidecars: dict[str, int] = {}
    most: dict[str, int] = {}
    for spec in specs_of(pod, "initContainers"):
        if spec.is_sidecar:
            sidecars = _plus(sidecars, of(spec))
        else:
            most = _highest(most, _plus(sidecars, of(spec)))
    total = sidecars
    for spec in specs_of(pod, "containers"):
        total = _plus(total, of(spec))
    return _highest(most, total)


def _plus(one: Demand, other: Demand) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in one.keys() | other.keys()}


def _highest(one: Demand, other: Demand) -> dict[str, int]:
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in one.keys() | other.keys()}

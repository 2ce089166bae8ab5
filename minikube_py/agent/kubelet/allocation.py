"""What a pod has been given of the resources that it asks for: pure.

What a pod asks for stands in its spec, and a running pod may ask for something else (subresource
`resize`). The node gives it as a whole or not at all; until then the pod is run with what it was
given before. The rules, reasons and messages are those of the kubelet's allocation manager.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from minikube_py.agent.kubelet.admit import short_of
from minikube_py.agent.kubelet.container_status import Failure
from minikube_py.agent.kubelet.pod import Spec, specs_of
from minikube_py.agent.kubelet.resources import amounts, pod_amounts
from minikube_py.api import quantity
from minikube_py.api.object import Obj, evolve, get
from minikube_py.api.quantity import ZERO

Allocation = Mapping[str, Obj]
"""The `resources` of each container that can be resized, by name, and of the pod as POD."""
POD = ""
RESIZED = ("cpu", "memory")
INFEASIBLE, DEFERRED = "Infeasible", "Deferred"


def resizable(pod: Obj) -> Iterator[Spec]:
    """Yield the containers whose resources may change while they run: regular ones, sidecars."""
    yield from (spec for spec in specs_of(pod, "initContainers") if spec.is_sidecar)
    yield from specs_of(pod, "containers")


def asked(pod: Obj) -> Allocation:
    """Return what the pod asks for."""
    found = {spec.name: spec.container.get("resources") or {} for spec in resizable(pod)}
    whole = get(pod, "spec.resources")
    return found | {POD: whole} if whole else found


def with_allocation(pod: Obj, allocation: Allocation) -> Obj:
    """Return the pod as if it asked for what it has been given."""
    if asked(pod) == allocation:
        return pod
    if whole := allocation.get(POD):
        pod = evolve(pod, "spec.resources", whole)
    for kind in ("initContainers", "containers"):
        if get(pod, f"spec.{kind}"):
            containers = [_given(spec, allocation) for spec in specs_of(pod, kind)]
            pod = evolve(pod, f"spec.{kind}", containers)
    return pod


def _given(spec: Spec, allocation: Allocation) -> Obj:
    if spec.is_init or spec.name not in allocation:
        return spec.container
    return {**spec.container, "resources": allocation[spec.name]}


def refusal(pod: Obj, others: Iterable[Obj], allocatable: Mapping[str, str]) -> Failure | None:
    """Return why a pod cannot have what it asks for, or None; `others` run on the node too.

    Infeasible is what the node could never give, Deferred what others hold now.
    """
    wanted = pod_amounts(pod, "requests")
    for name in reversed(RESIZED):
        amount, total = wanted.get(name, ZERO), quantity.parse(allocatable.get(name, "0"))
        if amount > total:
            numbers = [a.milli_value() if name == "cpu" else a.value() for a in (amount, total)]
            return Failure(
                INFEASIBLE,
                f"Node didn't have enough capacity: {name},"
                f" requested: {numbers[0]}, capacity: {numbers[1]}",
            )
    short = short_of(pod, list(others), allocatable)
    return None if short is None else Failure(DEFERRED, short.message)


def changed(old: Obj, new: Obj) -> list[str]:
    """Return which of cpu and memory two `resources` differ in."""
    lists = [(amounts(old.get(which)), amounts(new.get(which))) for which in ("requests", "limits")]
    return [name for name in RESIZED if any(a.get(name) != b.get(name) for a, b in lists)]


def needs_restart(container: Obj, old: Obj) -> bool:
    """Tell whether a container must start anew to have its resources, by its resizePolicy."""
    policies = {
        entry.get("resourceName"): entry.get("restartPolicy")
        for entry in container.get("resizePolicy") or ()
    }
    names = changed(old, container.get("resources") or {})
    return any(policies.get(name) == "RestartContainer" for name in names)


def summary(pod: Obj, error: str = "") -> str:
    """Return what events of a resize say of the pod: JSON, keys as Go writes them."""
    found: dict[str, Any] = {}
    for kind in ("initContainers", "containers"):
        specs = [spec for spec in resizable(pod) if spec.kind == kind]
        if specs:
            found[kind] = [
                {"name": spec.name, "resources": _sorted(spec.container.get("resources") or {})}
                for spec in specs
            ]
    found["generation"] = pod["metadata"].get("generation", 0)
    if error:
        found["error"] = error
    return orjson.dumps(found).decode()


def _sorted(resources: Obj) -> dict[str, Any]:
    kinds = [kind for kind in ("limits", "requests") if resources.get(kind)]
    return {kind: dict(sorted(resources[kind].items())) for kind in kinds}

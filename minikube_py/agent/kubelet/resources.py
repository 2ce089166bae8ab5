"""What a pod asks for and may use, in the units of the kernel's controllers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from minikube_py.agent.kubelet.pod import Spec, specs_of
from minikube_py.agent.kubelet.qos import oom_score
from minikube_py.agent.kubelet.swap import NO_SWAP, Swap
from minikube_py.api import quantity
from minikube_py.api.object import Obj, get
from minikube_py.api.quantity import ZERO, Quantity

Amounts = dict[str, Quantity]
SHARES_PER_CPU = 1024
SHARES_MIN, SHARES_MAX = 2, 262144
PERIOD_MICROS = 100_000
QUOTA_MICROS_MIN = 1000
"""The kernel refuses less."""


@dataclass(frozen=True)
class Limits:
    """Limits of a group of processes; None means none."""

    cpu_shares: int = SHARES_MIN
    cpu_quota_micros: int | None = None
    memory_bytes: int | None = None
    pids: int | None = None


def amounts(resources: Mapping[str, Any] | None) -> Amounts:
    """Parse a map of resources."""
    return {name: quantity.parse(str(text)) for name, text in (resources or {}).items()}


def _plus(one: Amounts, other: Amounts) -> Amounts:
    names = one.keys() | other.keys()
    return {name: one.get(name, ZERO) + other.get(name, ZERO) for name in names}


def _highest(one: Amounts, other: Amounts) -> Amounts:
    names = one.keys() | other.keys()
    return {name: max(one.get(name, ZERO), other.get(name, ZERO)) for name in names}


def pod_amounts(pod: Obj, which: str) -> Amounts:
    """Return the requests or limits of a whole pod.

    The regular containers and sidecars together, or the init container that needs most beside the
    sidecars before it, whichever is more; what stands at pod level goes before; then the overhead.
    """
    regular: Amounts = {}
    for spec in specs_of(pod, "containers"):
        regular = _plus(regular, _of(spec, which))
    sidecars: Amounts = {}
    most: Amounts = {}
    for spec in specs_of(pod, "initContainers"):
        if spec.is_sidecar:
            sidecars = _plus(sidecars, _of(spec, which))
            most = _highest(most, sidecars)
        else:
            most = _highest(most, _plus(sidecars, _of(spec, which)))
    total = _highest(_plus(regular, sidecars), most)
    total |= amounts(get(pod, f"spec.resources.{which}"))
    overhead = amounts(get(pod, "spec.overhead"))
    if which == "limits":
        overhead = {name: amount for name, amount in overhead.items() if name in total}
    return _plus(total, overhead)


def _of(spec: Spec, which: str) -> Amounts:
    return amounts(get(spec.container, f"resources.{which}"))


def cpu_shares(milli: int) -> int:
    """Return the weight of so many thousandths of a processor."""
    return min(max(milli * SHARES_PER_CPU // 1000, SHARES_MIN), SHARES_MAX)


def cpu_quota(milli: int) -> int:
    """Return the microseconds that may be used in each period; 0 where there is no limit."""
    return max(milli * PERIOD_MICROS // 1000, QUOTA_MICROS_MIN) if milli else 0


def pod_limits(pod: Obj) -> Limits:
    """Return the limits of the pod's own group.

    A limit holds for the pod only where every container has one, or it stands at pod level.
    """
    requests, limits = pod_amounts(pod, "requests"), pod_amounts(pod, "limits")
    specs = [*specs_of(pod, "containers"), *specs_of(pod, "initContainers")]
    milli = {
        name: limits[name].milli_value()
        for name in ("cpu", "memory")
        if name in limits and _is_limited(pod, specs, name)
    }
    request = requests.get("cpu") or limits.get("cpu", ZERO)
    return Limits(
        cpu_shares=cpu_shares(request.milli_value()),
        cpu_quota_micros=cpu_quota(milli["cpu"]) if milli.get("cpu") else None,
        memory_bytes=milli["memory"] // 1000 if milli.get("memory") else None,
    )


def _is_limited(pod: Obj, specs: Iterable[Spec], name: str) -> bool:
    if get(pod, ("spec", "resources", "limits", name)):
        return True
    return all(_of(spec, "limits").get(name) for spec in specs)


def container_resources(
    pod: Obj, container: Obj, memory_bytes: int, *, unified: bool, swap: Swap = NO_SWAP
) -> dict[str, Any]:
    """Return the LinuxContainerResources of a container on a node with so much memory."""
    resources = container.get("resources") or {}
    limits, requests = amounts(resources.get("limits")), amounts(resources.get("requests"))
    cpu_limit = limits.get("cpu", ZERO).milli_value()
    cpu_request = requests.get("cpu", ZERO).milli_value() or cpu_limit
    found: dict[str, Any] = {
        "cpu_shares": cpu_shares(cpu_request),
        "cpu_period": PERIOD_MICROS,
        "cpu_quota": cpu_quota(cpu_limit),
        "memory_limit_in_bytes": limits.get("memory", ZERO).value(),
        "oom_score_adj": oom_score(pod, container, memory_bytes),
    }
    if unified:
        # One process over the limit ends the container as a whole, as it does under v1's policy.
        found["unified"] = {"memory.oom.group": "1"}
    more = swap.resources(pod, container, memory_bytes)
    if "unified" in more:
        more = {"unified": {**found.get("unified", {}), **more["unified"]}}
    return found | more

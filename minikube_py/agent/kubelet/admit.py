"""Whether a pod may run on this node at all: pure; reasons and messages are the kubelet's.

The scheduler asks most of this as well, but a pod may be bound by hand, and two pods may have been
bound before either was seen here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from minikube_py.agent.kubelet.container_status import Failure
from minikube_py.agent.kubelet.pod import Spec, all_specs, specs_of
from minikube_py.agent.kubelet.qos import is_critical, qos_class
from minikube_py.agent.kubelet.resources import pod_amounts
from minikube_py.agent.kubelet.sysctls import forbidden
from minikube_py.api import quantity
from minikube_py.api.core.resources import is_extended
from minikube_py.api.object import Obj, get, labels_of
from minikube_py.api.quantity import ZERO
from minikube_py.api.taints import tolerated, tolerations_of

PRESSURES = {
    "MemoryPressure": "node.kubernetes.io/memory-pressure",
    "DiskPressure": "node.kubernetes.io/disk-pressure",
    "PIDPressure": "node.kubernetes.io/pid-pressure",
}
"""Conditions of a node that is short of something -> the taints that they become."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a node lets pods have beside resources."""

    unsafe_sysctls: Sequence[str] = ()
    """Patterns, in their normal form."""
    apparmor: bool = False
    """Whether the kernel has AppArmor."""
    strict_groups: bool = True
    """Whether the runtime can leave out the groups of images; old ones do not tell."""


def admit(
    pod: Obj,
    others: Iterable[Obj],
    allocatable: Mapping[str, str],
    node: Obj,
    rules: Rules = Rules(),
) -> Failure | None:
    """Return why the pod is refused, or None; `others` are the pods that run here already."""
    others = list(others)
    for check in (_sysctls, _apparmor, _groups):
        if failure := check(pod, rules):
            return failure
    if failure := _pressure(pod, node):
        return failure
    selector = get(pod, "spec.nodeSelector") or {}
    if any(labels_of(node).get(key) != value for key, value in selector.items()):
        return Failure("NodeAffinity", "Pod was rejected: Predicate NodeAffinity failed")
    if _ports(pod) & {port for other in others for port in _ports(other)}:
        return Failure("NodePorts", "Pod was rejected: Predicate NodePorts failed")
    short = short_of(pod, others, allocatable)
    return short and Failure(short.reason, f"Pod was rejected: {short.message}")


def _sysctls(pod: Obj, rules: Rules) -> Failure | None:
    why = forbidden(pod, rules.unsafe_sysctls)
    return None if why is None else Failure("SysctlForbidden", f"Pod was rejected: {why}")


def _apparmor(pod: Obj, rules: Rules) -> Failure | None:
    if rules.apparmor:
        return None
    contexts = [get(pod, "spec.securityContext"), *(_context(spec) for spec in all_specs(pod))]
    types = {get(one, "appArmorProfile.type", "Unconfined") for one in contexts}
    if types == {"Unconfined"}:
        return None
    told = "Pod was rejected: Cannot enforce AppArmor: AppArmor is not enabled on the host"
    return Failure("AppArmor", told)


def _context(spec: Spec) -> Obj | None:
    found: Obj | None = spec.container.get("securityContext")
    return found


def _groups(pod: Obj, rules: Rules) -> Failure | None:
    policy = get(pod, "spec.securityContext.supplementalGroupsPolicy")
    if policy != "Strict" or rules.strict_groups:
        return None
    return Failure(
        "SupplementalGroupsPolicyNotSupported",
        "Pod was rejected: SupplementalGroupsPolicy=Strict is not supported in this node",
    )


def _pressure(pod: Obj, node: Obj) -> Failure | None:
    """Refuse what a node that is short of something would have to end again."""
    pressed = [
        one["type"]
        for one in get(node, "status.conditions") or ()
        if one["type"] in PRESSURES and one.get("status") == "True"
    ]
    if not pressed or is_critical(pod):
        return None
    if pressed == ["MemoryPressure"]:
        taint = {"key": PRESSURES["MemoryPressure"], "effect": "NoSchedule"}
        if qos_class(pod) != "BestEffort" or tolerated(taint, tolerations_of(pod)):
            return None
    told = f"Pod was rejected: The node had condition: [{' '.join(pressed)}]. "
    return Failure("Evicted", told)


def _ports(pod: Obj) -> set[tuple[str, str, int]]:
    return {
        (port.get("hostIP") or "0.0.0.0", port.get("protocol") or "TCP", port["hostPort"])
        for spec in specs_of(pod, "containers")
        for port in spec.container.get("ports") or ()
        if port.get("hostPort")
    }


def short_of(pod: Obj, others: list[Obj], allocatable: Mapping[str, str]) -> Failure | None:
    """Return what the node has too little of for the pod beside the others, or None."""
    limit = quantity.value(allocatable.get("pods", "110"))
    if len(others) + 1 > limit:
        return _short("pods", 1, len(others), limit)
    for name, wanted in sorted(pod_amounts(pod, "requests").items()):
        if not wanted:
            continue
        if name not in allocatable and is_extended(name):
            continue  # nobody has told the node of it yet: the scheduler knew better
        total = quantity.parse(allocatable.get(name, "0"))
        used = sum((pod_amounts(p, "requests").get(name, ZERO) for p in others), ZERO)
        if used + wanted > total:
            amounts = [
                a.milli_value() if name == "cpu" else a.value() for a in (wanted, used, total)
            ]
            return _short(name, *amounts)
    return None


def _short(name: str, requested: int, used: int, total: int) -> Failure:
    return Failure(
        f"OutOf{name}",
        f"Node didn't have enough resource: {name},"
        f" requested: {requested}, used: {used}, capacity: {total}",
    )

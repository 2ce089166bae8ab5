"""How pods count against quotas: what they ask for while they live, which scopes they are in."""

from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime
from typing import Final

from minikube_py.api import times
from minikube_py.api.core.pod_resources import (
    aggregate_by,
    amounts_of,
    held_amounts,
    qos_class,
    visit_containers,
)
from minikube_py.api.core.quota import (
    ONE,
    Amounts,
    Change,
    Evaluator,
    added,
    amounts,
    selects,
)
from minikube_py.api.core.resources import is_extended, is_huge_page, is_native
from minikube_py.api.object import Obj, get
from minikube_py.api.quantity import Quantity

_COMPUTE: Final = ("cpu", "memory", "ephemeral-storage")
_STATIC: Final = frozenset(
    {"count/pods", "pods"}
    | {f"{prefix}{name}" for prefix in ("", "requests.", "limits.") for name in _COMPUTE}
)
_MUST_BE_SAID: Final = frozenset(
    f"{prefix}{name}" for prefix in ("", "requests.", "limits.") for name in ("cpu", "memory")
)
"""A quota of these makes every container name an amount. Upstream calls that a mistake of its
past, and keeps it."""
_DEVICE_CLASS: Final = "deviceclass.resource.kubernetes.io/"
_TERMS: Final = tuple(
    f"spec.affinity.{kind}.{when}"
    for kind in ("podAffinity", "podAntiAffinity")
    for when in (
        "requiredDuringSchedulingIgnoredDuringExecution",
        "preferredDuringSchedulingIgnoredDuringExecution",
    )
)


def _counts(name: str) -> bool:
    if name in _STATIC or name.startswith(("hugepages-", "requests.hugepages-")):
        return True
    if not name.startswith("requests."):
        return False
    return not is_native(name) or name.startswith(f"requests.{_DEVICE_CLASS}")


def usage(pod: Obj, now: datetime) -> Amounts:
    """Return what a pod uses; one that has ended is only an object any more."""
    used: dict[str, Quantity] = {"count/pods": ONE}
    if has_ended(pod, now):
        return used
    return added(used, _compute(pod_requests(pod), pod_limits(pod)))


def has_ended(pod: Obj, now: datetime) -> bool:
    """Tell whether a pod's resources are free: it finished, or its node is lost past all grace."""
    if get(pod, "status.phase") in ("Succeeded", "Failed"):
        return True
    metadata = pod["metadata"]
    deleted, grace = metadata.get("deletionTimestamp"), metadata.get("deletionGracePeriodSeconds")
    if deleted is None or grace is None:
        return False
    return now > times.parse(deleted) + times.span(grace)


def _compute(requests: Amounts, limits: Amounts) -> dict[str, Quantity]:
    """Return requests and limits under the names that quotas know them by."""
    used: dict[str, Quantity] = {"pods": ONE}
    for name in _COMPUTE:
        if name in requests:
            used[name] = used[f"requests.{name}"] = requests[name]
        if name in limits:
            used[f"limits.{name}"] = limits[name]
    for name, amount in requests.items():
        if is_huge_page(name):
            used[name] = used[f"requests.{name}"] = amount
        elif is_extended(name) or name.startswith(_DEVICE_CLASS):
            used[f"requests.{name}"] = amount
    return used


def pod_requests(pod: Obj) -> Amounts:
    """Return what a pod holds: the higher of what it asks for and what its node gave it."""
    total = aggregate_by(pod["spec"], held_amounts(pod, "requests"))
    total |= pod_level(pod, "requests")
    return added(total, amounts(get(pod, "spec.overhead")))


def pod_limits(pod: Obj) -> Amounts:
    """Return the limits of a pod; overhead raises those that there are."""
    total = aggregate_by(pod["spec"], held_amounts(pod, "limits"))
    total |= pod_level(pod, "limits")
    overhead = amounts(get(pod, "spec.overhead"))
    return added(total, {name: amount for name, amount in overhead.items() if name in total})


def pod_level(pod: Obj, key: str) -> dict[str, Quantity]:
    """Return the `requests` or `limits` of a pod as a whole; they go before its containers'."""
    listed = amounts(get(pod, f"spec.resources.{key}"))
    return {n: v for n, v in listed.items() if n in ("cpu", "memory") or is_huge_page(n)}


def complaint(names: Collection[str], pod: Obj) -> str:
    """Return which containers must name which amounts, "" where all do."""
    if get(pod, "spec.resources"):
        return ""
    required = sorted(_MUST_BE_SAID.intersection(names))
    silent: dict[str, set[str]] = {}
    for group, _, container in visit_containers(pod["spec"]):
        if group == "ephemeralContainers":
            continue
        said = _compute(amounts_of(container, "requests"), amounts_of(container, "limits"))
        for name in required:
            if name not in said:
                silent.setdefault(name, set()).add(container["name"])
    parts = [f"{name} for: {','.join(sorted(silent[name]))}" for name in sorted(silent)]
    return f"must specify {'; '.join(parts)}" if parts else ""


# Scopes


def is_terminating(pod: Obj) -> bool:
    """Tell whether a pod will end by itself in bounded time."""
    return int(get(pod, "spec.activeDeadlineSeconds", -1)) >= 0


def in_scope(requirement: Obj, pod: Obj) -> bool:
    """Tell whether a pod meets one requirement of a scope selector."""
    if requirement["scopeName"] == "PriorityClass":
        name = get(pod, "spec.priorityClassName", "")
        return selects(requirement, [name] if name else [])
    holds = _SCOPES.get(requirement["scopeName"])
    return holds is not None and holds(pod)


def _is_best_effort(pod: Obj) -> bool:
    return qos_class(pod["spec"]) == "BestEffort"


def _is_cross_namespace(pod: Obj) -> bool:
    return any(_crosses_namespaces(term) for term in _affinity_terms(pod))


_SCOPES: Final[Mapping[str, Callable[[Obj], bool]]] = {
    "Terminating": is_terminating,
    "NotTerminating": lambda pod: not is_terminating(pod),
    "BestEffort": _is_best_effort,
    "NotBestEffort": lambda pod: not _is_best_effort(pod),
    "CrossNamespacePodAffinity": _is_cross_namespace,
}


def _affinity_terms(pod: Obj) -> Iterator[Obj]:
    for path in _TERMS:
        for term in get(pod, path, ()):
            yield term.get("podAffinityTerm") or term


def _crosses_namespaces(term: Obj) -> bool:
    return bool(term.get("namespaces")) or term.get("namespaceSelector") is not None


def _handles(change: Change) -> bool:
    if change.subresource == "resize":
        return change.operation == "UPDATE"
    if change.subresource:
        return False
    if change.operation == "CREATE" or change.old is None:
        return True
    return is_terminating(change.new) != is_terminating(change.old)


POD_EVALUATOR: Final = Evaluator(
    counts=_counts, usage=usage, in_scope=in_scope, complaint=complaint, handles=_handles
)

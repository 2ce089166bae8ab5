"""How a pod is treated when the node runs short: its class and its out-of-memory score."""

from collections.abc import Iterator

from minikube_py.api import quantity
from minikube_py.api.object import Obj, annotations_of, get

RESOURCES = ("cpu", "memory")
GUARANTEED_SCORE = -997
BEST_EFFORT_SCORE = 1000
CRITICAL_PRIORITY = 2_000_000_000
"""Pods of the system's priority classes begin here."""
SOURCE = "kubernetes.io/config.source"


def is_critical(pod: Obj) -> bool:
    """Tell whether a pod must not be ended: static ones, and those of the highest priorities."""
    return annotations_of(pod).get(SOURCE, "api") != "api" or priority(pod) >= CRITICAL_PRIORITY


def priority(pod: Obj) -> int:
    """Return how much a pod matters."""
    return int(get(pod, "spec.priority") or 0)


def _containers(pod: Obj) -> Iterator[Obj]:
    yield from get(pod, "spec.initContainers") or ()
    yield from get(pod, "spec.containers") or ()


def _amounts(resources: Obj, which: str) -> dict[str, quantity.Quantity]:
    found = {}
    for name, text in (resources.get(which) or {}).items():
        amount = quantity.parse(str(text))
        if name in RESOURCES and amount:
            found[name] = amount
    return found


def qos_class(pod: Obj) -> str:
    """Return Guaranteed, Burstable or BestEffort; what the API server set at creation stays."""
    known = get(pod, "status.qosClass")
    if known:
        return str(known)
    level = get(pod, "spec.resources")
    claims = [level] if level else [c.get("resources") or {} for c in _containers(pod)]
    wanted = [(_amounts(claim, "requests"), _amounts(claim, "limits")) for claim in claims]
    if not any(requests or limits for requests, limits in wanted):
        return "BestEffort"
    # A request that is missing is the limit; the API server has filled it in by now.
    if all(set(limits) == set(RESOURCES) for _, limits in wanted) and all(
        requests.get(name, limits[name]) == limits[name]
        for requests, limits in wanted
        for name in RESOURCES
    ):
        return "Guaranteed"
    return "Burstable"


def oom_score(pod: Obj, container: Obj, memory_bytes: int) -> int:
    """Return the score of a container on a node with so much memory.

    The more of its request a burstable container may use before it is at fault, the lower.
    """
    if (get(pod, "spec.priority") or 0) >= CRITICAL_PRIORITY:
        return GUARANTEED_SCORE
    kind = qos_class(pod)
    if kind == "Guaranteed":
        return GUARANTEED_SCORE
    if kind == "BestEffort":
        return BEST_EFFORT_SCORE
    request = quantity.value(get(container, "resources.requests.memory", "0"))
    score = 1000 - 1000 * request // memory_bytes
    # Never like a guaranteed one, never quite like best effort.
    low = 1000 + GUARANTEED_SCORE
    if score < low:
        return low
    return min(score, BEST_EFFORT_SCORE - 1)

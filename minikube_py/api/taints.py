"""Taints and tolerations: what keeps a pod off a node, and what lets it go there all the same."""

from collections.abc import Iterable, Iterator, Sequence

from minikube_py.api.object import Obj, get

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
NO_SCHEDULE, PREFER_NO_SCHEDULE, NO_EXECUTE = "NoSchedule", "PreferNoSchedule", "NoExecute"


def taints_of(node: Obj, *effects: str) -> Sequence[Obj]:
    """Return the node's taints with one of the effects, all where none is named."""
    taints: Sequence[Obj] = get(node, "spec.taints", ())
    return [taint for taint in taints if not effects or taint["effect"] in effects]


def tolerations_of(pod: Obj) -> Sequence[Obj]:
    """Return the pod's tolerations."""
    tolerations: Sequence[Obj] = get(pod, "spec.tolerations", ())
    return tolerations


def matches(toleration: Obj, taint: Obj) -> bool:
    """Tell whether a toleration means a taint; without key or effect it means every one."""
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    if toleration.get("operator") == "Exists":
        return True
    if toleration.get("operator") in (None, "", "Equal"):
        return bool((toleration.get("value") or "") == (taint.get("value") or ""))
    return _compares(toleration, taint)


def _compares(toleration: Obj, taint: Obj) -> bool:
    """Compare values as numbers; what is none tolerates nothing."""
    try:
        wanted, found = int(toleration.get("value") or ""), int(taint.get("value") or "")
    except ValueError:
        return False
    return found > wanted if toleration["operator"] == "Gt" else found < wanted


def tolerated(taint: Obj, tolerations: Iterable[Obj]) -> bool:
    """Tell whether any of the tolerations means the taint."""
    return any(matches(toleration, taint) for toleration in tolerations)


def untolerated(taints: Iterable[Obj], tolerations: Sequence[Obj]) -> Iterator[Obj]:
    """Yield the taints that no toleration means."""
    for taint in taints:
        if not tolerated(taint, tolerations):
            yield taint

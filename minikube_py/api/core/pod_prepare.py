"""What a pod becomes before it is checked: what its creator or editor may not decide."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from minikube_py.api.core.pod_defaults import each, with_values
from minikube_py.api.core.pod_resources import qos_class
from minikube_py.api.object import Obj, evolve, get, labels_of

GATED: Final = "Scheduling is blocked due to non-empty scheduling gates"
_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED: Final = "preferredDuringSchedulingIgnoredDuringExecution"
_RESET_BY_SUBRESOURCES: Final = (
    "deletionTimestamp",
    "generation",
    "selfLink",
    "labels",
    "annotations",
    "finalizers",
    "ownerReferences",
)


def prepare_for_create(pod: Obj) -> Obj:
    """Give a new pod its first status and generation; selectors take up their matchLabelKeys."""
    spec = pod.get("spec") or {}
    status: dict[str, Any] = {"phase": "Pending", "qosClass": qos_class(spec)}
    if spec.get("schedulingGates"):
        status["conditions"] = [_gated(pod)]
    metadata = {**pod["metadata"], "generation": 1}
    return {**pod, "metadata": metadata, "spec": _with_label_keys(spec, pod), "status": status}


def _gated(pod: Obj) -> Obj:
    return {
        "type": "PodScheduled",
        "status": "False",
        "lastProbeTime": None,
        "lastTransitionTime": pod["metadata"].get("creationTimestamp"),
        "reason": "SchedulingGated",
        "message": GATED,
    }


def _with_label_keys(spec: Obj, pod: Obj) -> Obj:
    labels = labels_of(pod)
    changes: dict[str, Any] = {}
    if affinity := spec.get("affinity"):
        changed = _affinity_with_keys(affinity, labels)
        if changed is not affinity:
            changes["affinity"] = changed
    if constraints := spec.get("topologySpreadConstraints"):
        spread = each(constraints, lambda term: _term_with_keys(term, labels))
        if spread is not constraints:
            changes["topologySpreadConstraints"] = spread
    return with_values(spec, changes)


def _affinity_with_keys(affinity: Obj, labels: Mapping[str, str]) -> Obj:
    changes: dict[str, Any] = {}
    for key in ("podAffinity", "podAntiAffinity"):
        if terms := affinity.get(key):
            changed = _terms_with_keys(terms, labels)
            if changed is not terms:
                changes[key] = changed
    return with_values(affinity, changes)


def _terms_with_keys(terms: Obj, labels: Mapping[str, str]) -> Obj:
    changes: dict[str, Any] = {}
    lists: tuple[tuple[str, Callable[[Obj], Obj]], ...] = (
        (_REQUIRED, lambda term: _term_with_keys(term, labels)),
        (_PREFERRED, lambda weighted: _weighted_with_keys(weighted, labels)),
    )
    for key, change in lists:
        if listed := terms.get(key):
            changed = each(listed, change)
            if changed is not listed:
                changes[key] = changed
    return with_values(terms, changes)


def _weighted_with_keys(weighted: Obj, labels: Mapping[str, str]) -> Obj:
    term = weighted.get("podAffinityTerm") or {}
    changed = _term_with_keys(term, labels)
    return weighted if changed is term else {**weighted, "podAffinityTerm": changed}


def _term_with_keys(term: Obj, labels: Mapping[str, str]) -> Obj:
    """Return a term whose selector also asks for the pod's own values of its label keys."""
    selector = term.get("labelSelector")
    added = [
        {"key": key, "operator": operator, "values": [labels[key]]}
        for keys, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn"))
        for key in term.get(keys) or ()
        if key in labels
    ]
    if selector is None or not added:
        return term
    expressions = [*(selector.get("matchExpressions") or ()), *added]
    return {**term, "labelSelector": {**selector, "matchExpressions": expressions}}


def with_status_of(new: Obj, old: Obj) -> Obj:
    """Return the new object with the status of the old one."""
    if new.get("status") == old.get("status"):
        return new
    if "status" not in old:
        return {key: value for key, value in new.items() if key != "status"}
    return {**new, "status": old["status"]}


def with_spec_of(new: Obj, old: Obj) -> Obj:
    """Return the new object with the spec of the old one."""
    return new if new.get("spec") == old.get("spec") else {**new, "spec": old.get("spec") or {}}


def with_generation(new: Obj, old: Obj) -> Obj:
    """Return the new object with a generation that is one higher if its spec changed."""
    if new.get("spec") == old.get("spec"):
        return new
    return evolve(new, "metadata.generation", (get(old, "metadata.generation") or 0) + 1)


def prepare_for_update(new: Obj, old: Obj) -> Obj:
    """Keep the status; a change of the spec is a new generation."""
    return with_generation(with_status_of(new, old), old)


def prepare_status_update(new: Obj, old: Obj) -> Obj:
    """Keep the spec, the owners and what the kubelet may not forget."""
    metadata = _with_old(new["metadata"], old["metadata"], ("ownerReferences",))
    status = dict(new.get("status") or {})
    before = old.get("status") or {}
    for key in ("qosClass", "observedGeneration"):
        if not status.get(key) and before.get(key):
            status[key] = before[key]
    if conditions := status.get("conditions"):
        status["conditions"] = _with_generations(conditions, before.get("conditions") or ())
    return {**with_spec_of(new, old), "metadata": metadata, "status": status}


def _with_generations(new: Sequence[Obj], old: Sequence[Obj]) -> Sequence[Obj]:
    known: dict[str, list[int]] = {}
    for condition in old:
        generation = condition.get("observedGeneration") or 0
        known.setdefault(condition.get("type") or "", []).append(generation)

    def change(condition: Obj) -> Obj:
        generations = known.get(condition.get("type") or "")
        generation = generations.pop(0) if generations else 0
        if condition.get("observedGeneration") or not generation:
            return condition
        return {**condition, "observedGeneration": generation}

    return each(new, change)


def _with_old(new: Obj, old: Obj, keys: Sequence[str]) -> dict[str, Any]:
    kept = {key: value for key, value in new.items() if key not in keys}
    return kept | {key: old[key] for key in keys if key in old}


def with_metadata_of(new: Obj, old: Obj) -> Obj:
    """Return the new object with the metadata that a subresource does not change."""
    metadata = _with_old(new["metadata"], old["metadata"], _RESET_BY_SUBRESOURCES)
    return {**new, "metadata": metadata}


def prepare_ephemeral_update(new: Obj, old: Obj) -> Obj:
    """Keep everything but the ephemeral containers."""
    wanted = get(new, "spec.ephemeralContainers")
    spec = {k: v for k, v in (old.get("spec") or {}).items() if k != "ephemeralContainers"}
    if wanted:
        spec["ephemeralContainers"] = wanted
    kept = with_metadata_of(with_status_of(new, old), old)
    return with_generation({**kept, "spec": spec}, old)


def prepare_resize(new: Obj, old: Obj) -> Obj:
    """Keep everything but the resources of containers and of the pod, and how to resize them."""
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    lists = ("containers", "initContainers")
    if any(len(spec.get(key) or ()) != len(before.get(key) or ()) for key in lists):
        return with_generation(new, old)
    changed = dict(before)
    for key in lists:
        if containers := spec.get(key):
            changed[key] = _with_resources(containers, before[key])
    changed.pop("resources", None)
    if spec.get("resources") is not None:
        changed["resources"] = spec["resources"]
    kept = with_metadata_of(with_status_of(new, old), old)
    return with_generation({**kept, "spec": changed}, old)


def _with_resources(new: Sequence[Obj], old: Sequence[Obj]) -> Sequence[Obj]:
    pairs = list(zip(new, old, strict=True))
    if any(wanted.get("name") != had.get("name") for wanted, had in pairs):
        return new
    return [_with_old(had, wanted, ("resources", "resizePolicy")) for wanted, had in pairs]

"""Checks of a pod, new or changed: what may change is little, and each subresource has its own."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from minikube_py.api import diff, names
from minikube_py.api.core.go_values import go_list, go_value
from minikube_py.api.core.pod_annotations import (
    validate_annotation_changes,
    validate_pod_annotations,
    validate_profiles_match,
)
from minikube_py.api.core.pod_resources import is_sidecar, qos_class
from minikube_py.api.core.pod_validation import (
    MIRROR_ANNOTATION,
    PodContext,
    validate_pod_spec,
)
from minikube_py.api.core.pod_validation_containers import validate_image_spacing
from minikube_py.api.core.pod_validation_scheduling import validate_tolerations
from minikube_py.api.core.resources import is_divisible, is_huge_page
from minikube_py.api.fields import Field, FieldError, quote
from minikube_py.api.object import Obj, annotations_of, get

SPEC: Final = Field.kept("spec")
_ANNOTATIONS: Final = Field("metadata.annotations")
_WHOLE: Final = Field("[]")
"""How upstream prints the path of an empty name."""
_MUTABLE: Final = (
    "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
    "`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_COMPUTE: Final = ("cpu", "memory")
_DEADLINE_MAX: Final = (1 << 31) - 1
_TERMS: Final = Field(
    "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
)


def validate_pod(pod: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new pod, or with a change of one."""
    if old is not None:
        yield from _validate_update(pod, old)
        return
    yield from _validate_whole(pod, None)
    spec = pod.get("spec") or {}
    if spec.get("ephemeralContainers"):
        yield (SPEC / "ephemeralContainers").forbidden("cannot be set on create")
    if spec.get("nodeName") and spec.get("schedulingGates"):
        yield (SPEC / "nodeName").forbidden(
            "cannot be set until all schedulingGates have been cleared"
        )
    if annotations := annotations_of(pod):
        yield from validate_profiles_match(annotations, spec, SPEC)


def _validate_whole(pod: Obj, old: Obj | None) -> Iterator[FieldError]:
    spec = pod.get("spec") or {}
    if annotations := annotations_of(pod):
        yield from validate_pod_annotations(annotations, spec, _ANNOTATIONS)
    context = PodContext(pod, allow_indivisible=old is not None and _is_indivisible(old))
    yield from validate_pod_spec(spec, SPEC, context)
    if not spec.get("serviceAccountName"):
        yield from _validate_no_tokens(spec)
    for key in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(key) or ()):
            yield from validate_image_spacing(container, (SPEC / key)[index])


def _is_indivisible(pod: Obj) -> bool:
    """Tell whether a stored pod asks for broken huge pages, which was allowed once."""
    return any(
        is_huge_page(name) and not is_divisible(name, amount)
        for key in ("containers", "initContainers")
        for container in get(pod, f"spec.{key}") or ()
        for listed in (container.get("resources") or {}).values()
        if isinstance(listed, Mapping)
        for name, amount in listed.items()
    )


def _validate_no_tokens(spec: Obj) -> Iterator[FieldError]:
    for index, volume in enumerate(spec.get("volumes") or ()):
        for position, source in enumerate(get(volume, "projected.sources") or ()):
            if source.get("serviceAccountToken") is not None:
                at = ((SPEC / "volumes")[index] / "projected" / "sources")[position]
                yield (at / "serviceAccountToken").forbidden(
                    "must not be specified when serviceAccountName is not set"
                )


def _validate_update(pod: Obj, old: Obj) -> Iterator[FieldError]:
    yield from _validate_whole(pod, old)
    yield from _validate_annotations(pod, old)
    spec, before = pod.get("spec") or {}, old.get("spec") or {}
    for key in ("containers", "initContainers"):
        new, had = spec.get(key) or (), before.get(key) or ()
        if len(new) != len(had):
            yield (SPEC / key).forbidden("pod updates may not add or remove containers")
            return
        yield from _validate_images(new, SPEC / key)
    errors, stop = _deadline_errors(spec, before)
    yield from errors
    if stop:
        return
    yield from _validate_added_tolerations(spec, before)
    yield from _validate_gates_removed(spec, before)
    if spec == before:
        return
    masked, errors = _masked(spec, before)
    yield from errors
    if masked != before:
        yield SPEC.forbidden(
            f"pod updates may not change fields other than {_MUTABLE}\n"
            f"{diff.unified(go_value(before, 'PodSpec'), go_value(masked, 'PodSpec'))}"
        )


def _validate_annotations(pod: Obj, old: Obj) -> Iterator[FieldError]:
    new, before = annotations_of(pod), annotations_of(old)
    if not new and not before:
        return
    yield from validate_annotation_changes(new, before, _ANNOTATIONS)
    yield from validate_pod_annotations(new, pod.get("spec") or {}, _ANNOTATIONS)


def _validate_images(containers: Sequence[Obj], path: Field) -> Iterator[FieldError]:
    for index, container in enumerate(containers):
        if not container.get("image"):
            yield (path[index] / "image").required()
        yield from validate_image_spacing(container, path[index])


def _deadline_errors(spec: Obj, before: Obj) -> tuple[list[FieldError], bool]:
    """Return what is wrong with a new deadline, and whether the checks end there."""
    path = SPEC / "activeDeadlineSeconds"
    new, old = spec.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds")
    if new is None:
        if old is None:
            return [], False
        return [path.invalid(None, "must not update from a positive integer to nil value")], False
    if not 0 <= new <= _DEADLINE_MAX:
        return [path.invalid(new, names.range_message(0, _DEADLINE_MAX))], True
    if old is not None and old < new:
        return [path.invalid(new, "must be less than or equal to previous value")], True
    return [], False


def _validate_added_tolerations(spec: Obj, before: Obj) -> Iterator[FieldError]:
    new, old = spec.get("tolerations") or (), before.get("tolerations") or ()
    if new == old:
        return
    path = SPEC / "tolerations"
    kept = [_without_seconds(toleration) for toleration in new]
    if any(_without_seconds(toleration) not in kept for toleration in old):
        yield path.forbidden("existing toleration can not be modified except its tolerationSeconds")
        return
    yield from validate_tolerations(new, path)


def _without_seconds(toleration: Obj) -> Obj:
    return {key: value for key, value in toleration.items() if key != "tolerationSeconds"}


def _validate_gates_removed(spec: Obj, before: Obj) -> Iterator[FieldError]:
    known = {gate.get("name") for gate in before.get("schedulingGates") or ()}
    for index, gate in enumerate(spec.get("schedulingGates") or ()):
        if gate.get("name") not in known:
            yield ((SPEC / "schedulingGates")[index] / "name").forbidden(
                f"only deletion is allowed, but found new scheduling gate '{gate.get('name')}'"
            )


def _masked(spec: Obj, before: Obj) -> tuple[Obj, list[FieldError]]:
    """Return the new spec with the old values of all that may change, and what may not."""
    masked = dict(spec)
    for key in ("containers", "initContainers"):
        if containers := spec.get(key):
            masked[key] = [
                _with(container, "image", had.get("image"))
                for container, had in zip(containers, before[key], strict=True)
            ]
    for key in ("activeDeadlineSeconds", "schedulingGates", "tolerations"):
        masked = _with(masked, key, before.get(key))
    grace = before.get("terminationGracePeriodSeconds")
    if (grace or 0) < 0 and spec.get("terminationGracePeriodSeconds") == 1:
        masked["terminationGracePeriodSeconds"] = grace
    errors: list[FieldError] = []
    if before.get("schedulingGates"):
        masked = _mask_gated(masked, before, errors)
    return masked, errors


def _with(obj: Obj, key: str, value: Any) -> dict[str, Any]:
    rest = {name: inner for name, inner in obj.items() if name != key}
    return rest if value is None else {**rest, key: value}


def _mask_gated(masked: dict[str, Any], before: Obj, errors: list[FieldError]) -> dict[str, Any]:
    """Let a pod that waits at a gate become choosier about its node."""
    selector, old_selector = masked.get("nodeSelector") or {}, before.get("nodeSelector") or {}
    if any(selector.get(key) != value for key, value in old_selector.items()):
        errors.append(
            (SPEC / "nodeSelector").invalid(
                selector,
                "only additions to spec.nodeSelector are allowed (no mutations or deletions)",
            )
        )
    masked = _with(masked, "nodeSelector", before.get("nodeSelector"))
    node, old_node = get(masked, "affinity.nodeAffinity"), get(before, "affinity.nodeAffinity")
    if node == old_node:
        return masked
    errors.extend(_affinity_errors(node or {}, old_node or {}))
    affinity = _with(masked.get("affinity") or {}, "nodeAffinity", old_node)
    keep = affinity or before.get("affinity") is not None
    return _with(masked, "affinity", affinity if keep else None)


def _affinity_errors(new: Obj, old: Obj) -> Iterator[FieldError]:
    key = "requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
    old_terms: Sequence[Obj] = get(old, key) or ()
    new_terms: Sequence[Obj] = get(new, key) or ()
    if old_terms and len(old_terms) != len(new_terms):
        yield _TERMS.invalid(
            go_list(new_terms, "NodeSelectorTerm"),
            "no additions/deletions to non-empty NodeSelectorTerms list are allowed",
        )
        return
    for index, term in enumerate(old_terms):
        if not _only_adds(new_terms[index], term):
            yield _TERMS[index].invalid(
                go_value(new_terms[index], "NodeSelectorTerm"),
                "only additions are allowed (no mutations or deletions)",
            )


def _only_adds(new: Obj, old: Obj) -> bool:
    pairs = [
        (list(new.get(key) or ()), list(old.get(key) or ()))
        for key in ("matchExpressions", "matchFields")
    ]
    if not any(had for _, had in pairs):
        return not any(wanted for wanted, _ in pairs)
    return all(wanted[: len(had)] == had for wanted, had in pairs)


def validate_ephemeral_update(pod: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a change of the ephemeral containers."""
    old = old or {"metadata": {}}
    if MIRROR_ANNOTATION in annotations_of(old):
        yield _WHOLE.forbidden("static pods do not support ephemeral containers")
        return
    yield from _validate_whole(pod, old)
    yield from _validate_annotations(pod, old)
    wanted = {c.get("name"): c for c in get(pod, "spec.ephemeralContainers") or ()}
    path = SPEC / "ephemeralContainers"
    for had in get(old, "spec.ephemeralContainers") or ():
        name = had.get("name") or ""
        start = f"existing ephemeral containers {quote(name)} may not be"
        if name not in wanted:
            yield path.forbidden(f"{start} removed\n")
        elif wanted[name] != had:
            shown = [go_value(one, "EphemeralContainer") for one in (had, wanted[name])]
            yield path.forbidden(f"{start} changed\n{diff.unified(*shown)}")


def validate_resize(pod: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with new requests and limits of a pod that runs."""
    old = old or {"metadata": {}}
    if MIRROR_ANNOTATION in annotations_of(old):
        yield _WHOLE.forbidden("static pods cannot be resized")
        return
    if get(old, "spec.os.name") == "windows":
        yield _WHOLE.forbidden("windows pods cannot be resized")
        return
    errors = list(_resize_errors(pod, old))
    yield from errors
    if not errors and _with_old_amounts(pod["spec"], old["spec"]) != old["spec"]:
        yield SPEC.forbidden("only cpu and memory resources are mutable")


def _resize_errors(pod: Obj, old: Obj) -> Iterator[FieldError]:
    spec, before = pod.get("spec") or {}, old.get("spec") or {}
    yield from _validate_whole(pod, old)
    before_class = get(old, "status.qosClass") or qos_class(before)
    if before_class != qos_class(spec):
        yield SPEC.invalid(
            get(pod, "status.qosClass", ""), "Pod QOS Class may not change as a result of resizing"
        )
    if not _node_can_resize(old):
        yield SPEC.forbidden("Pod running on node without support for resize")
    moved = list(_validate_same_containers(spec, before))
    yield from moved
    if moved:
        return
    yield from _validate_pod_level(spec, before)
    for key in ("initContainers", "containers"):
        for index, had in enumerate(before.get(key) or ()):
            if key == "containers" or is_sidecar(had):
                at = (SPEC / key)[index] / "resources"
                yield from _validate_container_resize(spec[key][index], had, at)
    yield from _validate_only_amounts(spec, before)


def _validate_pod_level(spec: Obj, before: Obj) -> Iterator[FieldError]:
    new, old = spec.get("resources"), before.get("resources")
    if not old:
        return
    path = SPEC / "resources"
    if not new:
        yield path.forbidden("pod-level resources cannot be removed")
        return
    for key in ("requests", "limits"):
        if (old.get(key) or {}).keys() - (new.get(key) or {}).keys():
            yield (path / key).forbidden(f"pod-level resource {key} cannot be removed")


def _node_can_resize(pod: Obj) -> bool:
    for status in get(pod, "status.containerStatuses") or ():
        if get(status, "state.running") is not None:
            return status.get("resources") is not None
    return True


def _validate_same_containers(spec: Obj, before: Obj) -> Iterator[FieldError]:
    for key in ("containers", "initContainers"):
        new, old = spec.get(key) or (), before.get(key) or ()
        if len(new) != len(old):
            yield (SPEC / key).forbidden(f"{key} may not be added or removed on resize")
            continue
        for index, (container, had) in enumerate(zip(new, old, strict=True)):
            if container.get("name") != had.get("name"):
                yield ((SPEC / key)[index] / "name").forbidden(
                    f"{key} may not be renamed or reordered on resize"
                )


def _validate_container_resize(new: Obj, old: Obj, path: Field) -> Iterator[FieldError]:
    wanted, had = new.get("resources") or {}, old.get("resources") or {}
    for key in ("requests", "limits"):
        if (had.get(key) or {}).keys() - (wanted.get(key) or {}).keys():
            yield (path / key).forbidden(f"resource {key} cannot be removed")


def _validate_only_amounts(spec: Obj, before: Obj) -> Iterator[FieldError]:
    for container, had in zip(spec["containers"], before["containers"], strict=True):
        if _container_with_old_amounts(container, had) != had:
            yield SPEC.forbidden("only cpu and memory resources are mutable")
    pairs = zip(spec.get("initContainers") or (), before.get("initContainers") or (), strict=True)
    for index, (container, had) in enumerate(pairs):
        if not is_sidecar(container):
            if container != had:
                yield SPEC.forbidden("resources for non-sidecar init containers are immutable")
        elif _container_with_old_amounts(container, had) != had:
            yield (SPEC / "initContainers")[index].forbidden(
                "only cpu and memory resources for init or sidecar containers are mutable"
            )


def _with_old_amounts(spec: Obj, before: Obj) -> Obj:
    masked = dict(spec)
    for key in ("containers", "initContainers"):
        if containers := spec.get(key):
            pairs = zip(containers, before[key], strict=True)
            masked[key] = [_container_with_old_amounts(new, old) for new, old in pairs]
    if spec.get("resources") and before.get("resources"):
        masked["resources"] = _old_amounts(spec["resources"], before["resources"])
    return masked


def _container_with_old_amounts(container: Obj, had: Obj) -> Obj:
    return {
        **container,
        "resources": _old_amounts(container.get("resources") or {}, had.get("resources") or {}),
    }


def _old_amounts(new: Obj, old: Obj) -> dict[str, Any]:
    kept: dict[str, Any] = {k: v for k, v in old.items() if k not in {"limits", "requests"}}
    for key in ("limits", "requests"):
        wanted, had = new.get(key) or {}, old.get(key) or {}
        merged = {name: amount for name, amount in wanted.items() if name not in _COMPUTE}
        merged |= {name: had[name] for name in _COMPUTE if name in had}
        if merged:
            kept[key] = merged
    return kept

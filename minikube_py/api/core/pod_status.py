"""Checks of a new status of a pod, which mostly comes from the kubelet."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from minikube_py.api import names
from minikube_py.api.addresses import family, validate_legacy_ip
from minikube_py.api.core.go_values import go_list
from minikube_py.api.core.pod_annotations import (
    validate_annotation_changes,
    validate_pod_annotations,
)
from minikube_py.api.core.pod_resources import is_sidecar
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, annotations_of, get

STATUS: Final = Field.kept("status")
_SYSTEM_CONDITIONS: Final = frozenset({"PodScheduled", "Ready", "Initialized"})
_HEALTH: Final = frozenset({"Healthy", "Unhealthy", "Unknown"})
_STATUS_LISTS: Final = (
    ("containerStatuses", "containers"),
    ("initContainerStatuses", "initContainers"),
    ("ephemeralContainerStatuses", "ephemeralContainers"),
)
_ONE_PER_FAMILY: Final = "may specify no more than one IP for each IP family"


def validate_status_update(pod: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a change of a pod's status."""
    old = old or {"metadata": {}}
    new_status, old_status = pod.get("status") or {}, old.get("status") or {}
    yield from _validate_annotations(pod, old)
    yield from _validate_conditions(new_status.get("conditions") or ())
    nominated = new_status.get("nominatedNodeName") or ""
    if nominated and nominated != old_status.get("nominatedNodeName"):
        for message in names.dns1123_subdomain(nominated):
            yield (STATUS / "nominatedNodeName").invalid(nominated, message)
    if (new_status.get("qosClass") or "") != (old_status.get("qosClass") or ""):
        yield (STATUS / "qosClass").immutable(new_status.get("qosClass") or "")
    yield from _validate_transitions(new_status, old_status, old.get("spec") or {})
    yield from _validate_claims(new_status, pod.get("spec") or {})
    yield from _validate_ips(new_status, old_status)
    yield from _validate_host_ips(new_status, old_status)
    yield from _validate_users(new_status, pod.get("spec") or {})
    yield from _validate_allocated(new_status, pod.get("spec") or {})


def _validate_annotations(pod: Obj, old: Obj) -> Iterator[FieldError]:
    new, before = annotations_of(pod), annotations_of(old)
    if new or before:
        path = Field("metadata.annotations")
        yield from validate_annotation_changes(new, before, path)
        yield from validate_pod_annotations(new, pod.get("spec") or {}, path)


def _validate_conditions(conditions: Sequence[Obj]) -> Iterator[FieldError]:
    for index, condition in enumerate(conditions):
        kind = condition.get("type") or ""
        if kind not in _SYSTEM_CONDITIONS:
            for message in names.qualified_name(kind):
                # Upstream's path: it hands over the one of metadata.
                yield (Field("metadata.conditions")[index] / "Type").invalid(kind, message)


def _validate_transitions(new: Obj, old: Obj, spec: Obj) -> Iterator[FieldError]:
    """Report containers that are back from the dead though the pod does not restart them."""
    policy = spec.get("restartPolicy")
    sidecars = {c.get("name") for c in spec.get("initContainers") or () if is_sidecar(c)}
    for key, _ in _STATUS_LISTS:
        if policy == "Always" and key != "ephemeralContainerStatuses":
            continue
        alive = {
            status.get("name")
            for status in new.get(key) or ()
            if get(status, "state.terminated") is None
        }
        skipped = sidecars if key == "initContainerStatuses" else set()
        for index, status in enumerate(old.get(key) or ()):
            terminated = get(status, "state.terminated")
            if terminated is None or status.get("name") in skipped:
                continue
            may_restart = (
                policy == "OnFailure"
                and terminated.get("exitCode")
                and key != "ephemeralContainerStatuses"
            )
            if not may_restart and status.get("name") in alive:
                yield ((STATUS / key)[index] / "state").forbidden(
                    "may not be transitioned to non-terminated state"
                )


def _validate_claims(status: Obj, spec: Obj) -> Iterator[FieldError]:
    known = {claim.get("name") for claim in spec.get("resourceClaims") or ()}
    seen: set[str] = set()
    for index, entry in enumerate(status.get("resourceClaimStatuses") or ()):
        at = (STATUS / "resourceClaimStatuses")[index] / "name"
        name, claim = entry.get("name") or "", entry.get("resourceClaimName")
        if name not in known:
            yield at.invalid(name, "must match the name of an entry in `spec.resourceClaims`")
        if name in seen:
            yield at.duplicate(name)
        seen.add(name)
        for message in names.dns1123_subdomain(claim) if claim is not None else ():
            yield at.invalid(claim, message)


def _listed(status: Obj, key: str) -> list[str]:
    return [entry.get("ip") or "" for entry in status.get(key) or ()]


def _validate_ips(new: Obj, old: Obj) -> Iterator[FieldError]:
    path = STATUS / "podIPs"
    addresses, before = _listed(new, "podIPs"), _listed(old, "podIPs")
    for index, address in enumerate(addresses):
        yield from validate_legacy_ip(path[index], address, before)
    yield from _validate_families(addresses, new.get("podIPs") or (), path)
    for index, address in enumerate(addresses):
        if address in addresses[:index]:
            yield path[index].duplicate({"IP": address})


def _validate_host_ips(new: Obj, old: Obj) -> Iterator[FieldError]:
    path = STATUS / "hostIPs"
    addresses, before = _listed(new, "hostIPs"), _listed(old, "hostIPs")
    if not addresses:
        return
    if addresses[0] != (new.get("hostIP") or ""):
        yield (path[0] / "ip").invalid(addresses[0], "must be equal to `hostIP`")
    for index, address in enumerate(addresses):
        yield from validate_legacy_ip(path[index], address, before)
    yield from _validate_families(addresses, new.get("hostIPs") or (), path)


def _validate_families(
    addresses: Sequence[str], entries: Sequence[Obj], path: Field
) -> Iterator[FieldError]:
    if len(addresses) > 1 and sorted(map(family, addresses)) != ["IPv4", "IPv6"]:
        yield path.invalid(go_list(entries, "PodIP"), _ONE_PER_FAMILY)


def _validate_users(status: Obj, spec: Obj) -> Iterator[FieldError]:
    windows = get(spec, "os.name") == "windows"
    for key, _ in _STATUS_LISTS:
        for index, entry in enumerate(status.get(key) or ()):
            user = get(entry, "user.linux")
            if user is None:
                continue
            at = (STATUS / key)[index] / "linux"
            if windows:
                yield at.forbidden("cannot be set for a windows pod")
            else:
                yield from _validate_user(user, at)


def _validate_user(user: Obj, path: Field) -> Iterator[FieldError]:
    for key in ("uid", "gid"):
        value = user.get(key) or 0
        for message in names.user_id(value):
            yield (path / key).invalid(value, message)
    for index, group in enumerate(user.get("supplementalGroups") or ()):
        for message in names.user_id(group):
            yield (path / "supplementalGroups")[index].invalid(group, message)


def _validate_allocated(status: Obj, spec: Obj) -> Iterator[FieldError]:
    for key, spec_key in _STATUS_LISTS:
        containers = {c.get("name"): c for c in spec.get(spec_key) or ()}
        for index, entry in enumerate(status.get(key) or ()):
            allocated = entry.get("allocatedResourcesStatus")
            if not allocated:
                continue
            at = (STATUS / key)[index] / "allocatedResourcesStatus"
            if spec_key == "ephemeralContainers":
                yield at.forbidden("must not be specified in container status")
                continue
            container = containers.get(entry.get("name"))
            for position, resource in enumerate(allocated):
                yield from _validate_resource(resource, container, at[position])


def _validate_resource(resource: Obj, container: Obj | None, path: Field) -> Iterator[FieldError]:
    name = resource.get("name") or ""
    if container is not None and (problem := _allocation_problem(name, container)):
        yield (path / "name").invalid(name, problem)
    seen: set[str] = set()
    for index, entry in enumerate(resource.get("resources") or ()):
        at = (path / "resources")[index]
        health, device = entry.get("health") or "", entry.get("resourceID") or ""
        if health not in _HEALTH:
            yield (at / "health").unsupported(health, _HEALTH)
        if device in seen:
            yield (at / "resourceID").duplicate(device)
        seen.add(device)


def _allocation_problem(name: str, container: Obj) -> str:
    resources: Mapping[str, Sequence[Obj]] = container.get("resources") or {}
    if not name.startswith("claim:"):
        known = name in (resources.get("requests") or {})
        return "" if known else "must match one of the container's resource requests"
    claims = {
        "/".join(filter(None, (claim.get("name"), claim.get("request"))))
        for claim in resources.get("claims") or ()
    }
    if name.removeprefix("claim:") in claims:
        return ""
    return (
        "must match one of the container's resource claims in a format "
        "'claim:<claimName>/<request>' or 'claim:<claimName>' if request is empty"
    )

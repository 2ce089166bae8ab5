"""Checks of the annotations of pods that mean something to the server or the kubelet."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from minikube_py.api.core.paths import validate_descending
from minikube_py.api.core.pod_resources import visit_containers
from minikube_py.api.fields import Field, FieldError, quote
from minikube_py.api.object import Obj, get

MIRROR: Final = "kubernetes.io/config.mirror"
DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"
APP_ARMOR: Final = "container.apparmor.security.beta.kubernetes.io/"
SECCOMP_POD: Final = "seccomp.security.alpha.kubernetes.io/pod"
SECCOMP_CONTAINER: Final = "container.seccomp.security.alpha.kubernetes.io/"
_PROFILES: Final = (APP_ARMOR, SECCOMP_POD, SECCOMP_CONTAINER)
_LOCALHOST: Final = "localhost/"
_is_cost = re.compile(r"[+-]?[0-9]+", re.ASCII).fullmatch
_SECCOMP: Final = {
    "Unconfined": ("unconfined",),
    "RuntimeDefault": ("runtime/default", "docker/default"),
}
_APP_ARMOR: Final = {"Unconfined": ("unconfined",), "RuntimeDefault": ("runtime/default",)}


def validate_pod_annotations(
    annotations: Mapping[str, str], spec: Obj, path: Field
) -> Iterator[FieldError]:
    """Report annotations whose value makes no sense."""
    if MIRROR in annotations and not spec.get("nodeName"):
        yield path[MIRROR].invalid(
            annotations[MIRROR], "must set spec.nodeName if mirror pod annotation is set"
        )
    if (cost := annotations.get(DELETION_COST)) is not None and not _is_int32(cost):
        yield path[DELETION_COST].invalid(cost, "must be a 32bit integer")
    for key, value in annotations.items():
        if key == SECCOMP_POD or key.startswith(SECCOMP_CONTAINER):
            yield from _validate_seccomp(value, path / key)
        elif key.startswith(APP_ARMOR):
            yield from _validate_app_armor(key, value, spec, path[key])


def _is_int32(text: str) -> bool:
    if not _is_cost(text) or text.startswith("+") or text.lstrip("-").startswith("0"):
        return text == "0"
    return len(text) < 12 and -(1 << 31) <= int(text) < 1 << 31


def _validate_seccomp(value: str, path: Field) -> Iterator[FieldError]:
    if value in {"runtime/default", "docker/default", "unconfined"}:
        return
    if value.startswith(_LOCALHOST):
        yield from validate_descending(value.removeprefix(_LOCALHOST), path)
    else:
        yield path.invalid(value, "must be a valid seccomp profile")


def _validate_app_armor(key: str, value: str, spec: Obj, path: Field) -> Iterator[FieldError]:
    name = key.removeprefix(APP_ARMOR)
    if all(container.get("name") != name for _key, _index, container in visit_containers(spec)):
        yield path.invalid(name, "container not found")
    if value not in {"", "runtime/default", "unconfined"} and not value.startswith(_LOCALHOST):
        yield path.invalid(value, f"invalid AppArmor profile name: {quote(value)}")


def validate_profiles_match(
    annotations: Mapping[str, str], spec: Obj, path: Field
) -> Iterator[FieldError]:
    """Report profiles that say one thing as an annotation and another as a field."""
    if not any(key.startswith(_PROFILES) for key in annotations):
        return
    whole = get(spec, "securityContext.seccompProfile")
    if whole is not None and SECCOMP_POD in annotations:
        at = path / "securityContext" / "seccompProfile"
        yield from _validate_match("seccomp", annotations[SECCOMP_POD], whole, at)
    for key, index, container in visit_containers(spec):
        own = get(container, "securityContext.seccompProfile")
        note = annotations.get(SECCOMP_CONTAINER + (container.get("name") or ""))
        if own is not None and note is not None:
            at = (path / key)[index] / "securityContext" / "seccompProfile"
            yield from _validate_match("seccomp", note, own, at)
    if get(spec, "os.name") == "windows":
        return
    pod_profile = get(spec, "securityContext.appArmorProfile")
    for key, index, container in visit_containers(spec):
        own = get(container, "securityContext.appArmorProfile") or pod_profile
        note = annotations.get(APP_ARMOR + (container.get("name") or ""))
        if own is not None and note is not None:
            at = (path / key)[index] / "securityContext" / "appArmorProfile"
            yield from _validate_match("apparmor", note, own, at)


def _validate_match(what: str, note: str, profile: Obj, path: Field) -> Iterator[FieldError]:
    kind = profile.get("type") or ""
    known = _SECCOMP if what == "seccomp" else _APP_ARMOR
    mismatch = f"{what} type in annotation and field must match"
    if kind in known:
        if note not in known[kind]:
            yield (path / "type").forbidden(mismatch)
    elif kind == "Localhost":
        if not note.startswith(_LOCALHOST):
            yield (path / "type").forbidden(mismatch)
        elif note.removeprefix(_LOCALHOST) != profile.get("localhostProfile"):
            yield (path / "localhostProfile").forbidden(
                f"{what} profile in annotation and field must match"
            )


def validate_annotation_changes(
    new: Mapping[str, str], old: Mapping[str, str], path: Field
) -> Iterator[FieldError]:
    """Report changes of annotations that stay as they were when the pod was made."""
    for key, value in old.items():
        if new.get(key) != value:
            yield from _validate_change(key, "remove or update", path)
    for key in new:
        if key not in old:
            yield from _validate_change(key, "add", path)


def _validate_change(key: str, verb: str, path: Field) -> Iterator[FieldError]:
    if key.startswith(APP_ARMOR):
        yield path[key].forbidden(f"may not {verb} AppArmor annotations")
    if key == MIRROR:
        yield path[key].forbidden(f"may not {verb} mirror pod annotation")

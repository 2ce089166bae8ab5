"""Checks of environment variables and of what they, and files, may refer to in a pod."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final

from minikube_py.api import names, quantity
from minikube_py.api.core.paths import validate_no_backsteps
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj

ENV_FIELDS: Final = frozenset(
    {
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.serviceAccountName",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
        "status.podIPs",
    }
)
VOLUME_FIELDS: Final = frozenset(
    {
        "metadata.name",
        "metadata.namespace",
        "metadata.labels",
        "metadata.annotations",
        "metadata.uid",
    }
)
_KNOWN: Final = (
    ENV_FIELDS | VOLUME_FIELDS | {"spec.restartPolicy", "spec.schedulerName", "status.phase"}
)
_SUBSCRIPT: Final = re.compile(r"(.+?)\['(.*)'\]", re.DOTALL)
_RESOURCES: Final = frozenset(
    {
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
        "requests.cpu",
        "requests.memory",
        "requests.ephemeral-storage",
    }
)
_HUGE_PAGES: Final = ("requests.hugepages-", "limits.hugepages-")
_CPU_DIVISORS: Final = frozenset({"1m", "1"})
_BYTE_DIVISORS: Final = (
    "1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"
)  # fmt: skip
_SOURCES: Final = (
    "`fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
)


def validate_env(variables: Sequence[Obj], path: Field) -> Iterator[FieldError]:
    """Report what is wrong with environment variables."""
    for index, variable in enumerate(variables):
        name = variable.get("name") or ""
        if not name:
            yield (path[index] / "name").required()
        else:
            for message in names.env_var_name(name):
                yield (path[index] / "name").invalid(name, message)
        if (source := variable.get("valueFrom")) is not None:
            yield from _validate_source(
                source, variable.get("value") or "", path[index] / "valueFrom"
            )


def _validate_source(source: Obj, value: str, path: Field) -> Iterator[FieldError]:
    given = [key for key in _REFERENCES if source.get(key) is not None]
    for key in given:
        yield from _REFERENCES[key](source[key], path / key)
    if not given:
        yield path.invalid("", f"must specify one of: {_SOURCES}")
    elif value:
        yield path.invalid("", "may not be specified when `value` is not empty")
    elif len(given) > 1:
        yield path.invalid("", "may not have more than one field specified at a time")


def validate_field_ref(
    reference: Obj, path: Field, allowed: Collection[str]
) -> Iterator[FieldError]:
    """Report a field of the pod that cannot be handed down."""
    label = reference.get("fieldPath") or ""
    if not label:
        yield (path / "fieldPath").required()
        return
    match = _SUBSCRIPT.fullmatch(label)
    if problem := _conversion_problem(reference.get("apiVersion") or "v1", label, match):
        yield (path / "fieldPath").invalid(label, f"error converting fieldPath: {problem}")
    elif match is None:
        base = "spec.nodeName" if label == "spec.host" else label
        if base not in allowed:
            yield (path / "fieldPath").unsupported(base, frozenset(allowed))
    else:
        subscript = match[2].lower() if match[1] == "metadata.annotations" else match[2]
        for message in names.qualified_name(subscript):
            yield path.invalid(subscript, message)


def _conversion_problem(version: str, label: str, match: re.Match[str] | None) -> str:
    if version != "v1":
        return f"unsupported pod version: {version}"
    if match is not None:
        if match[1] in {"metadata.annotations", "metadata.labels"}:
            return ""
        return f"field label does not support subscript: {label}"
    if label not in _KNOWN and label != "spec.host":
        return f"field label not supported: {label}"
    return ""


def validate_resource_ref(
    reference: Obj, path: Field, *, volume: bool = False
) -> Iterator[FieldError]:
    """Report a resource of a container that cannot be handed down."""
    resource = reference.get("resource") or ""
    if volume and not reference.get("containerName"):
        yield (path / "containerName").required()
    elif not resource:
        yield (path / "resource").required()
    elif resource not in _RESOURCES and not resource.startswith(_HUGE_PAGES):
        yield (path / "resource").unsupported(resource, _RESOURCES)
    yield from _validate_divisor(resource, reference.get("divisor") or "0", path)


def _validate_divisor(resource: str, divisor: str, path: Field) -> Iterator[FieldError]:
    parsed = quantity.parse(divisor)
    kind = _divisor_kind(resource)
    if not parsed or not kind:
        return
    if kind == "cpu":
        if str(parsed) not in _CPU_DIVISORS:
            yield (path / "divisor").invalid(
                resource, "only divisor's values 1m and 1 are supported with the cpu resource"
            )
    elif str(parsed) not in _BYTE_DIVISORS:
        yield (path / "divisor").invalid(
            resource,
            f"only divisor's values {', '.join(_BYTE_DIVISORS)} are supported with the {kind} "
            "resource",
        )


def _divisor_kind(resource: str) -> str:
    if resource.startswith(_HUGE_PAGES):
        return "hugepages"
    kind = resource.partition(".")[2]
    return "local ephemeral storage" if kind == "ephemeral-storage" else kind


def _validate_key_ref(reference: Obj, path: Field) -> Iterator[FieldError]:
    name, key = reference.get("name") or "", reference.get("key") or ""
    for message in names.dns1123_subdomain(name):
        yield (path / "name").invalid(name, message)
    if not key:
        yield (path / "key").required()
        return
    for message in names.config_map_key(key):
        yield (path / "key").invalid(key, message)


def _validate_file_ref(reference: Obj, path: Field) -> Iterator[FieldError]:
    checks = (("key", names.env_var_name), ("volumeName", names.dns1123_label))
    for key, check in checks:
        value = reference.get(key) or ""
        if not value:
            yield (path / key).required()
            continue
        for message in check(value):
            yield (path / key).invalid(value, message)
    file = reference.get("path") or ""
    if not file:
        yield (path / "path").required()
        return
    yield from validate_no_backsteps(file, path / "path")


_REFERENCES: Final[Mapping[str, Callable[[Obj, Field], Iterator[FieldError]]]] = {
    "fieldRef": lambda reference, path: validate_field_ref(reference, path, ENV_FIELDS),
    "resourceFieldRef": validate_resource_ref,
    "configMapKeyRef": _validate_key_ref,
    "secretKeyRef": _validate_key_ref,
    "fileKeyRef": _validate_file_ref,
}
"""What a variable may take its value from, in the order of the checks."""


def validate_env_from(sources: Sequence[Obj], path: Field) -> Iterator[FieldError]:
    """Report what is wrong with config maps and secrets that become environments."""
    for index, source in enumerate(sources):
        if prefix := source.get("prefix"):
            for message in names.env_var_name(prefix):
                yield (path[index] / "prefix").invalid(prefix, message)
        count = 0
        for key in ("configMapRef", "secretRef"):
            if (reference := source.get(key)) is not None:
                count += 1
                yield from _validate_env_source(reference, path[index] / key)
        if not count:
            yield path.invalid("", "must specify one of: `configMapRef` or `secretRef`")
        elif count > 1:
            yield path.invalid("", "may not have more than one field specified at a time")


def _validate_env_source(reference: Obj, path: Field) -> Iterator[FieldError]:
    name = reference.get("name") or ""
    if not name:
        yield (path / "name").required()
        return
    for message in names.dns1123_subdomain(names.as_prefix(name)):
        yield (path / "name").invalid(name, message)


def validate_file_volumes(
    containers: Sequence[Obj], volumes: Sequence[Obj], path: Field
) -> Iterator[FieldError]:
    """Report variables that come from a file in anything but an empty directory."""
    by_name = {volume.get("name"): volume for volume in volumes}
    for index, container in enumerate(containers):
        for position, variable in enumerate(container.get("env") or ()):
            source = variable.get("valueFrom")
            if not source or (reference := source.get("fileKeyRef")) is None:
                continue
            at = (path[index] / "env")[position] / "valueFrom" / "fileKeyRef" / "volumeName"
            name = reference.get("volumeName") or ""
            if name not in by_name:
                yield at.not_found(name)
            elif by_name[name].get("emptyDir") is None:
                yield at.invalid(name, "referenced volume must be of type emptyDir")

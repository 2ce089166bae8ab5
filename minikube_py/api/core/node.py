"""Nodes: the machines that run pods."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from minikube_py.api import names
from minikube_py.api.addresses import family, validate_legacy_cidr
from minikube_py.api.core.go_values import go_value
from minikube_py.api.core.pod_prepare import with_spec_of, with_status_of
from minikube_py.api.core.pod_validation_scheduling import validate_effect
from minikube_py.api.core.resources import validate_amount
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, get, has_condition, labels_of
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource, Subresource

NONE: Final = "<none>"
UNKNOWN: Final = "<unknown>"
_ROLE_PREFIX: Final = "node-role.kubernetes.io/"
_ROLE_LABEL: Final = "kubernetes.io/role"
_TAINTS: Final = Field("metadata.taints")
"""Upstream hands over the path of metadata."""
_CIDRS: Final = Field("spec.podCIDRs")
_FEATURES: Final = Field("status.declaredFeatures")
_FEATURE: Final = (
    "must start with an UpperCamelCase segment, with subsequent segments separated by '/' "
    "(e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters "
    "and slashes"
)
_is_feature = re.compile("([A-Z][a-zA-Z0-9]*)(/[a-zA-Z0-9]+)*").fullmatch
_NODE_INFO: Final = (
    "machineID",
    "systemUUID",
    "bootID",
    "kernelVersion",
    "osImage",
    "containerRuntimeVersion",
    "kubeletVersion",
    "kubeProxyVersion",
    "operatingSystem",
    "architecture",
)
_EMPTY_STATUS: Final = {
    "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}},
    "nodeInfo": dict.fromkeys(_NODE_INFO, ""),
}
_CIDR_ONCE: Final = 'node updates may not change podCIDR except from "" to valid'


def default(node: Obj) -> Obj:
    """Fill in what is always there; the first of several CIDRs is also the only one."""
    spec, status = node.get("spec") or {}, node.get("status") or {}
    new_spec, new_status = _default_spec(spec), _default_status(status)
    if new_spec is spec and new_status is status and "spec" in node:
        return node
    return {**node, "spec": new_spec, "status": new_status}


def _default_spec(spec: Obj) -> Obj:
    cidr = spec.get("podCIDR")
    cidrs: Sequence[str] = spec.get("podCIDRs") or ()
    if not cidr and not cidrs:
        return spec
    if cidr and (not cidrs or cidrs[0] != cidr):
        cidrs = [cidr]
    if cidr == cidrs[0] and spec.get("podCIDRs") == cidrs:
        return spec
    return {**spec, "podCIDR": cidrs[0], "podCIDRs": cidrs}


def _default_status(status: Obj) -> Obj:
    changes = {key: value for key, value in _EMPTY_STATUS.items() if status.get(key) is None}
    if status.get("capacity") and status.get("allocatable") is None:
        changes["allocatable"] = status["capacity"]
    return {**status, **changes} if changes else status


def validate(node: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated node; upstream checks an update as both."""
    spec = node.get("spec") or {}
    if spec.get("taints"):
        yield from validate_taints(spec["taints"], _TAINTS)
    yield from _validate_amounts(node)
    yield from _validate_features(get(node, "status.declaredFeatures") or ())
    yield from _validate_cidrs(spec.get("podCIDRs") or ())
    if old is not None:
        yield from validate_update(node, old)


def _validate_features(features: Sequence[str]) -> Iterator[FieldError]:
    for index, feature in enumerate(features):
        if problem := _feature_problem(feature):
            yield _FEATURES[index].invalid(feature, f'invalid feature name "{feature}": {problem}')
        if index and feature == features[index - 1]:
            yield _FEATURES[index].duplicate(feature)
        elif index and feature < features[index - 1]:
            yield _FEATURES[index].invalid(feature, "list must be sorted alphabetically")


def _feature_problem(feature: str) -> str:
    if len(feature.encode()) > names.SUBDOMAIN_MAX:
        return f"must be no more than {names.SUBDOMAIN_MAX} characters"
    return "" if _is_feature(feature) else _FEATURE


def _validate_amounts(node: Obj) -> Iterator[FieldError]:
    for key in ("capacity", "allocatable"):
        amounts: Mapping[str, str] = get(node, f"status.{key}") or {}
        for name, amount in amounts.items():
            yield from validate_amount(name, amount, Field("status") / key / name)


def _validate_cidrs(cidrs: Sequence[str]) -> Iterator[FieldError]:
    for index, cidr in enumerate(cidrs):
        yield from validate_legacy_cidr(_CIDRS[index], cidr)
    if len(cidrs) < 2:
        return
    families = [family(cidr) for cidr in cidrs]
    if "" in families:
        return
    if sorted(families) != ["IPv4", "IPv6"]:
        yield _CIDRS.invalid(cidrs, "may specify no more than one CIDR for each IP family")
    for index, cidr in enumerate(cidrs):
        if cidr in cidrs[:index]:
            yield _CIDRS[index].duplicate(cidr)


def validate_taints(taints: Sequence[Obj], path: Field) -> Iterator[FieldError]:
    """Report what is wrong with taints."""
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(taints):
        key, effect = taint.get("key") or "", taint.get("effect") or ""
        for message in names.qualified_name(key):
            yield (path[index] / "key").invalid(key, message)
        if messages := names.label_value(taint.get("value") or ""):
            yield (path[index] / "value").invalid(taint.get("value"), ";".join(messages))
        if not effect:
            yield (path[index] / "effect").required()
        else:
            yield from validate_effect(effect, path[index] / "effect")
        if (key, effect) in seen:
            yield path[index].duplicate(
                go_value(taint, "Taint"), "taints must be unique by key and effect pair"
            )
        seen.add((key, effect))


def validate_update(node: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report changes that cannot be made to a node that exists; all that its status is checked."""
    old = old or {}
    spec, before = node.get("spec") or {}, old.get("spec") or {}
    yield from _validate_amounts(node)
    yield from _validate_features(get(node, "status.declaredFeatures") or ())
    yield from _validate_addresses(get(node, "status.addresses") or ())
    cidrs: Sequence[str] = spec.get("podCIDRs") or ()
    old_cidrs: Sequence[str] = before.get("podCIDRs") or ()
    if old_cidrs and len(old_cidrs) != len(cidrs):
        yield _CIDRS.forbidden(_CIDR_ONCE)
    elif old_cidrs:
        for new_cidr, old_cidr in zip(cidrs, old_cidrs, strict=True):
            if new_cidr != old_cidr:
                yield _CIDRS.forbidden(_CIDR_ONCE)
    provider = before.get("providerID")
    if provider and provider != spec.get("providerID"):
        yield Field("spec.providerID").forbidden(
            'node updates may not change providerID except from "" to valid'
        )
    if spec.get("taints"):
        yield from validate_taints(spec["taints"], _TAINTS)
    if (spec.get("externalID") or "") != (before.get("externalID") or ""):
        yield Field("spec.externalID").forbidden("may not be updated")


def _validate_addresses(addresses: Sequence[Obj]) -> Iterator[FieldError]:
    for index, address in enumerate(addresses):
        if address in addresses[:index]:
            yield Field("status.addresses")[index].duplicate(go_value(address, "NodeAddress"))


def warn(node: Obj, _old: Obj | None) -> Iterator[str]:
    """Tell of a field that nobody reads."""
    if get(node, "spec.externalID"):
        yield "spec.externalID: this field is deprecated, and is unused by Kubernetes"


def roles_of(node: Obj) -> list[str]:
    """Return the roles that the labels of a node tell, sorted."""
    found = set()
    for key, value in labels_of(node).items():
        if key.startswith(_ROLE_PREFIX) and key != _ROLE_PREFIX:
            found.add(key.removeprefix(_ROLE_PREFIX))
        elif key == _ROLE_LABEL and value:
            found.add(value)
    return sorted(found)


def _address(node: Obj, kind: str) -> str:
    for address in get(node, "status.addresses") or ():
        if address.get("type") == kind:
            return str(address.get("address") or "")
    return NONE


def _status(node: Obj) -> str:
    known = [c for c in get(node, "status.conditions") or () if c.get("type") == "Ready"]
    words = ["Ready" if has_condition(node, "Ready") else "NotReady"] if known else ["Unknown"]
    if get(node, "spec.unschedulable"):
        words.append("SchedulingDisabled")
    return ",".join(words)


def cells(node: Obj) -> Sequence[Any]:
    """Return the row of a node."""
    metadata, info = node["metadata"], get(node, "status.nodeInfo") or {}
    kernel, architecture = info.get("kernelVersion"), info.get("architecture")
    if kernel and architecture:
        kernel = f"{kernel} ({architecture})"
    return (
        metadata["name"],
        _status(node),
        ",".join(roles_of(node)) or NONE,
        Age(metadata.get("creationTimestamp")),
        info.get("kubeletVersion") or "",
        _address(node, "InternalIP"),
        _address(node, "ExternalIP"),
        info.get("osImage") or UNKNOWN,
        kernel or UNKNOWN,
        info.get("containerRuntimeVersion") or UNKNOWN,
    )


NODES = Resource(
    kind="Node",
    plural="nodes",
    namespaced=False,
    short_names=("no",),
    schema="io.k8s.api.core.v1.Node",
    subresources=(
        Subresource(
            name="proxy",
            kind="NodeProxyOptions",
            verbs=("create", "delete", "get", "patch", "update"),
        ),
        Subresource(
            name="status",
            shares_object=True,
            prepare_for_update=with_spec_of,
            validate=validate_update,
        ),
    ),
    columns=(
        NAME,
        Column("Status"),
        Column("Roles"),
        AGE,
        Column("Version"),
        Column("Internal-IP", priority=1),
        Column("External-IP", priority=1),
        Column("OS-Image", priority=1),
        Column("Kernel-Version", priority=1),
        Column("Container-Runtime", priority=1),
    ),
    cells=cells,
    default=default,
    prepare_for_update=with_status_of,
    validate=validate,
    warn=warn,
    metadata_checks=("create", "update"),
    selectable_fields={
        "spec.unschedulable": lambda node: "true" if get(node, "spec.unschedulable") else "false"
    },
)

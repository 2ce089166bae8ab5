"""Checks of a pod's spec, in a pod and in the template of one.

The rules, their order and their words are those of upstream's `pkg/apis/core/validation`. Each
part stands in a module of its own; this one puts them together.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from minikube_py.api import names, quantity
from minikube_py.api.addresses import validate_legacy_ip
from minikube_py.api.core.go_values import go_value
from minikube_py.api.core.pod_annotations import (
    validate_pod_annotations,
    validate_profiles_match,
)
from minikube_py.api.core.pod_resources import aggregate
from minikube_py.api.core.pod_validation_containers import (
    Surroundings,
    validate_containers,
    validate_ephemeral_containers,
    validate_init_containers,
)
from minikube_py.api.core.pod_validation_env import validate_file_volumes
from minikube_py.api.core.pod_validation_os import (
    validate_host_process,
    validate_host_users,
    validate_os,
)
from minikube_py.api.core.pod_validation_scheduling import (
    validate_affinity,
    validate_gates,
    validate_spreading,
    validate_tolerations,
)
from minikube_py.api.core.pod_validation_security import validate_pod_security
from minikube_py.api.core.pod_validation_volumes import validate_volumes
from minikube_py.api.core.resources import (
    is_huge_page,
    validate_pod_name,
    validate_requirements,
)
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.metadata import validate_annotations, validate_labels
from minikube_py.api.object import Obj

Check = Callable[[Any, Field], Iterator[FieldError]]

RESTART_POLICIES: Final = ("Always", "OnFailure", "Never")
_DNS_POLICIES: Final = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_PREEMPTION_POLICIES: Final = ("PreemptLowerPriority", "Never")
_NAMESERVERS_MAX: Final = 3
_SEARCHES_MAX: Final = 32
_SEARCH_LENGTH_MAX: Final = 2048
_DEADLINE_MAX: Final = (1 << 31) - 1
_HOSTNAME_MAX: Final = 64
MIRROR_ANNOTATION: Final = "kubernetes.io/config.mirror"


class PodContext(NamedTuple):
    """Where a pod's spec stands."""

    pod: Obj | None = None
    """The pod itself; None for a template."""
    allow_indivisible: bool = False
    """An older object says nonsense of huge pages; let it."""


TEMPLATE: Final = PodContext()


def validate_pod_template(template: Obj, path: Field) -> Iterator[FieldError]:
    """Report what is wrong with the template of pods."""
    metadata = template.get("metadata") or {}
    spec = template.get("spec") or {}
    annotations: Mapping[str, str] = metadata.get("annotations") or {}
    if labels := metadata.get("labels"):
        yield from validate_labels(labels, path / "labels")
    if annotations:
        yield from validate_annotations(annotations, path / "annotations")
        yield from validate_pod_annotations(annotations, spec, path / "annotations")
    yield from validate_pod_spec(spec, path / "spec")
    if annotations:
        yield from validate_profiles_match(annotations, spec, path / "spec")
    if spec.get("ephemeralContainers"):
        yield (path / "spec" / "ephemeralContainers").forbidden(
            "ephemeral containers not allowed in pod template"
        )


def validate_pod_spec(
    spec: Obj, path: Field, context: PodContext = TEMPLATE
) -> Iterator[FieldError]:
    """Report what is wrong with the spec of a pod."""
    if spec.get("terminationGracePeriodSeconds") is None:
        yield (path / "terminationGracePeriodSeconds").required()
    yield from _validate_parts(spec, path, context)
    yield from _validate_policies(spec, path)
    for key, check in _EARLY:
        if (value := spec.get(key)) is not None:
            yield from check(value, path / key)
    yield from _validate_host(spec, path)
    for key, check in _LATE:
        if (value := spec.get(key)) is not None:
            yield from check(value, path / key)
    yield from validate_os(spec, path)
    yield from _validate_file_refs(spec, path)


def _validate_parts(spec: Obj, path: Field, context: PodContext) -> Iterator[FieldError]:
    """Report what is wrong with volumes, claims and containers."""
    pod_name = ""
    if context.pod is not None:
        pod_name = context.pod["metadata"].get("name") or ""
    volumes, errors = (
        validate_volumes(spec["volumes"], path / "volumes", pod_name)
        if spec.get("volumes")
        else ({}, [])
    )
    yield from errors
    claims: Sequence[Obj] = spec.get("resourceClaims") or ()
    if claims:
        yield from _validate_claims(claims, context, path / "resourceClaims")
    surroundings = Surroundings(
        spec,
        volumes,
        {claim["name"] for claim in claims if claim.get("name")},
        host_users=spec.get("hostUsers") is not False,
        allow_indivisible=context.allow_indivisible,
    )
    containers = spec.get("containers") or ()
    yield from validate_containers(containers, surroundings, path / "containers")
    if more := spec.get("initContainers"):
        yield from validate_init_containers(more, surroundings, path / "initContainers")
    if more := spec.get("ephemeralContainers"):
        yield from validate_ephemeral_containers(more, surroundings, path / "ephemeralContainers")
    if spec.get("resources") is not None:
        yield from _validate_pod_resources(spec, context, path / "resources")
    if spec.get("hostNetwork"):
        yield from _validate_host_ports(spec, path, is_pod=context.pod is not None)


def _validate_claims(
    claims: Sequence[Obj], context: PodContext, path: Field
) -> Iterator[FieldError]:
    annotations = context.pod["metadata"].get("annotations") or {} if context.pod else {}
    seen: set[str] = set()
    for index, claim in enumerate(claims):
        if MIRROR_ANNOTATION in annotations:
            yield Field("[]").forbidden("static pods do not support resource claims")
            continue
        name = claim.get("name") or ""
        if not name:
            yield (path[index] / "name").required()
        elif name in seen:
            yield (path[index] / "name").duplicate(name)
        else:
            for message in names.dns1123_label(name):
                yield (path[index] / "name").invalid(name, message)
            seen.add(name)
        yield from _validate_claim_source(claim, path[index])


def _validate_claim_source(claim: Obj, path: Field) -> Iterator[FieldError]:
    keys = ("resourceClaimName", "resourceClaimTemplateName")
    given = [key for key in keys if claim.get(key) is not None]
    shown = go_value(claim, "PodResourceClaim")
    if len(given) == 2:
        yield path.invalid(
            shown,
            "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified",
        )
    if not given:
        yield path.invalid(
            shown, "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
        )
    for key in given:
        for message in names.dns1123_subdomain(claim[key]):
            yield (path / key).invalid(claim[key], message)


def _validate_pod_resources(spec: Obj, context: PodContext, path: Field) -> Iterator[FieldError]:
    resources = spec["resources"]
    if (spec.get("os") or {}).get("name") == "windows":
        yield path.forbidden("may not be set for a windows pod")
        return
    if resources.get("claims") is not None:
        yield (path / "claims").forbidden("claims may not be set for Resources at pod-level")
    claims = {claim.get("name") or "" for claim in spec.get("resourceClaims") or ()}
    yield from validate_requirements(
        resources,
        path,
        check_name=validate_pod_name,
        claims=claims,
        allow_indivisible=context.allow_indivisible,
    )
    yield from _validate_pod_totals(spec, resources, path)


def _validate_pod_totals(spec: Obj, resources: Obj, path: Field) -> Iterator[FieldError]:
    limits: Mapping[str, str] = resources.get("limits") or {}
    requests: Mapping[str, str] = resources.get("requests") or {}
    least = "must be greater than or equal to aggregate container"
    for name, total in aggregate(spec, "requests").items():
        if name in requests and total > (asked := quantity.parse(requests[name])):
            yield (path / "requests")[name].invalid(str(asked), f"{least} requests of {total}")
    for name, total in aggregate(spec, "limits").items():
        if is_huge_page(name) and name in limits and total > (most := quantity.parse(limits[name])):
            yield (path / "limits")[name].invalid(str(most), f"{least} limits of {total}")
    for index, container in enumerate(spec.get("containers") or ()):
        own: Mapping[str, str] = (container.get("resources") or {}).get("limits") or {}
        for name, amount in own.items():
            if name in limits and quantity.parse(amount) > (most := quantity.parse(limits[name])):
                yield ((path / "containers")[index][name] / "limits").invalid(
                    amount, f"must be less than or equal to pod limits of {most}"
                )


def _validate_host_ports(spec: Obj, path: Field, *, is_pod: bool) -> Iterator[FieldError]:
    for index, container in enumerate(spec.get("containers") or ()):
        for position, port in enumerate(container.get("ports") or ()):
            host = port.get("hostPort") or 0
            if (is_pod or host) and host != (port.get("containerPort") or 0):
                at = ((path / "containers")[index] / "ports")[position] / "hostPort"
                yield at.invalid(host, "must match `containerPort` when `hostNetwork` is true")


def _validate_policies(spec: Obj, path: Field) -> Iterator[FieldError]:
    for key, choices in (("restartPolicy", RESTART_POLICIES), ("dnsPolicy", _DNS_POLICIES)):
        value = spec.get(key) or ""
        if not value:
            yield (path / key).required()
        elif value not in choices:
            yield (path / key).unsupported(value, choices)
    if selector := spec.get("nodeSelector"):
        yield from validate_labels(selector, path / "nodeSelector")
    context = spec.get("securityContext")
    if context or (context is not None and spec.get("shareProcessNamespace")):
        yield from validate_pod_security(context, spec, path / "securityContext")
    if affinity := spec.get("affinity"):
        yield from validate_affinity(affinity, path / "affinity")
    if spec.get("dnsConfig") is not None or spec.get("dnsPolicy") == "None":
        yield from _validate_dns(spec.get("dnsConfig"), spec.get("dnsPolicy"), path / "dnsConfig")


def _validate_dns(config: Obj | None, policy: str | None, path: Field) -> Iterator[FieldError]:
    if policy == "None" and config is None:
        yield path.required("must provide `dnsConfig` when `dnsPolicy` is None")
        return
    config = config or {}
    servers: Sequence[str] = config.get("nameservers") or ()
    if policy == "None" and not servers:
        yield (path / "nameservers").required(
            "must provide at least one DNS nameserver when `dnsPolicy` is None"
        )
        return
    if len(servers) > _NAMESERVERS_MAX:
        yield (path / "nameservers").invalid(
            servers, f"must not have more than {_NAMESERVERS_MAX} nameservers"
        )
    for index, server in enumerate(servers):
        yield from validate_legacy_ip((path / "nameservers")[index], server)
    yield from _validate_searches(config.get("searches") or (), path / "searches")
    for index, option in enumerate(config.get("options") or ()):
        if not option.get("name"):
            yield (path / "options")[index].required("must not be empty")


def _validate_searches(searches: Sequence[str], path: Field) -> Iterator[FieldError]:
    if len(searches) > _SEARCHES_MAX:
        yield path.invalid(searches, f"must not have more than {_SEARCHES_MAX} search paths")
    if len(" ".join(searches).encode()) > _SEARCH_LENGTH_MAX:
        yield path.invalid(
            searches,
            f"must not have more than {_SEARCH_LENGTH_MAX} characters (including spaces) "
            "in the search list",
        )
    for index, search in enumerate(searches):
        if search == ".":
            continue
        plain = search.removesuffix(".")
        for message in names.dns1123_subdomain_with_underscore(plain):
            yield path[index].invalid(plain, message)


def _validate_readiness_gates(gates: Sequence[Obj], path: Field) -> Iterator[FieldError]:
    for index, gate in enumerate(gates):
        kind = gate.get("conditionType") or ""
        for message in names.qualified_name(kind):
            yield (path[index] / "conditionType").invalid(kind, message)


def _validate_host(spec: Obj, path: Field) -> Iterator[FieldError]:
    yield from validate_host_process(spec, path)
    yield from validate_host_users(spec, path)
    name = spec.get("hostnameOverride")
    if name is None:
        return
    at = path / "hostnameOverride"
    if spec.get("setHostnameAsFQDN"):
        yield at.forbidden("may not be specified when setHostnameAsFQDN is true")
    if spec.get("hostNetwork"):
        yield at.forbidden("may not be specified when hostNetwork is true")
    if len(name.encode()) > _HOSTNAME_MAX:
        yield at.too_long(_HOSTNAME_MAX)
    for message in names.dns1123_subdomain(name):
        yield at.invalid(name, message)


def _validate_deadline(seconds: int, path: Field) -> Iterator[FieldError]:
    if not 1 <= seconds <= _DEADLINE_MAX:
        yield path.invalid(seconds, names.range_message(1, _DEADLINE_MAX))


def _validate_aliases(aliases: Sequence[Obj], path: Field) -> Iterator[FieldError]:
    for index, alias in enumerate(aliases):
        yield from validate_legacy_ip(path[index] / "ip", alias.get("ip") or "")
        for position, name in enumerate(alias.get("hostnames") or ()):
            for message in names.dns1123_subdomain(name):
                yield (path[index] / "hostnames")[position].invalid(name, message)


def _named(check: names.Check) -> Check:
    """Return the check of a field that holds a name, and may be empty."""

    def check_name(value: str, path: Field) -> Iterator[FieldError]:
        for message in check(value) if value else ():
            yield path.invalid(value, message)

    return check_name


def _validate_runtime_class(name: str, path: Field) -> Iterator[FieldError]:
    for message in names.dns1123_subdomain(name):
        yield path.invalid(name, message)


def _validate_preemption(policy: str, path: Field) -> Iterator[FieldError]:
    if policy not in _PREEMPTION_POLICIES:
        yield path.unsupported(policy, _PREEMPTION_POLICIES)


def _validate_overhead(overhead: Mapping[str, str], path: Field) -> Iterator[FieldError]:
    yield from validate_requirements({"limits": overhead}, path)


def _validate_file_refs(spec: Obj, path: Field) -> Iterator[FieldError]:
    volumes = spec.get("volumes") or ()
    for key in ("initContainers", "containers", "ephemeralContainers"):
        if containers := spec.get(key):
            yield from validate_file_volumes(containers, volumes, path / key)


_EARLY: Final[tuple[tuple[str, Check], ...]] = (
    ("readinessGates", _validate_readiness_gates),
    ("schedulingGates", validate_gates),
    ("topologySpreadConstraints", validate_spreading),
)
_LATE: Final[tuple[tuple[str, Check], ...]] = (
    ("serviceAccountName", _named(names.dns1123_subdomain)),
    ("nodeName", _named(names.dns1123_subdomain)),
    ("activeDeadlineSeconds", _validate_deadline),
    ("hostname", _named(names.dns1123_label)),
    ("subdomain", _named(names.dns1123_label)),
    ("tolerations", validate_tolerations),
    ("hostAliases", _validate_aliases),
    ("priorityClassName", _named(names.dns1123_subdomain)),
    ("runtimeClassName", _validate_runtime_class),
    ("preemptionPolicy", _validate_preemption),
    ("overhead", _validate_overhead),
)
"""The checks of single fields, in upstream's order."""

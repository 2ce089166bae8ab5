"""Checks of services, in the order and words of upstream's `ValidateService`."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from minikube_py.api import names
from minikube_py.api.addresses import family, validate_legacy_cidr, validate_legacy_ip
from minikube_py.api.core.endpoints import validate_non_special_ip
from minikube_py.api.core.go_values import go_value
from minikube_py.api.core.pod_validation_containers import PROTOCOLS
from minikube_py.api.core.service_spec import (
    HEADLESS,
    is_external,
    is_headless,
    needs_health_port,
)
from minikube_py.api.core.service_update import validate_changes, validate_class
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.metadata import validate_labels
from minikube_py.api.object import Obj, annotations_of, get

_SPEC: Final = Field("spec")
_PORTS: Final = _SPEC / "ports"
_ADDRESSES: Final = _SPEC / "clusterIPs"
_FAMILIES: Final = _SPEC / "ipFamilies"
_RANGES: Final = _SPEC / "LoadBalancerSourceRanges"
_ANNOTATIONS: Final = Field("metadata.annotations")

HINTS: Final = "service.kubernetes.io/topology-aware-hints"
MODE: Final = "service.kubernetes.io/topology-mode"
_RANGES_ANNOTATION: Final = "service.beta.kubernetes.io/load-balancer-source-ranges"

_TYPES: Final = frozenset({"ClusterIP", "NodePort", "LoadBalancer", "ExternalName"})
_AFFINITIES: Final = frozenset({"ClientIP", "None"})
_IP_FAMILIES: Final = frozenset({"IPv4", "IPv6"})
_POLICIES: Final = frozenset({"SingleStack", "PreferDualStack", "RequireDualStack"})
_TRAFFIC: Final = frozenset({"Cluster", "Local"})
_DISTRIBUTIONS: Final = ("PreferClose", "PreferSameZone", "PreferSameNode")
_AFFINITY_MAX: Final = 86400
"""Seconds in a day."""
ONLY_BALANCER: Final = "may only be used when `type` is 'LoadBalancer'"


def validate(service: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated service."""
    spec = service.get("spec") or {}
    before: Obj = (old or {}).get("spec") or {}
    # Allocation comes first and cannot begin with addresses that are none.
    if errors := tuple(_validate_addresses(spec, before)):
        yield from errors
        return
    if old is not None:
        yield from validate_changes(spec, before)
    yield from _validate_hints(service)
    yield from _validate_type_fields(spec)
    yield from _validate_ports(spec)
    yield from validate_labels(spec.get("selector") or {}, _SPEC / "selector")
    yield from _validate_affinity(spec)
    yield from _validate_external_ips(spec, before)
    kind = spec.get("type")
    if kind not in _TYPES:
        yield (_SPEC / "type").unsupported(kind, _TYPES)
    yield from _validate_port_pairs(spec.get("ports") or (), kind or "")
    yield from _validate_source_ranges(service, old)
    if spec.get("allocateLoadBalancerNodePorts") is not None and kind != "LoadBalancer":
        yield (_SPEC / "allocateLoadBalancerNodePorts").forbidden(ONLY_BALANCER)
    yield from validate_class(spec)
    yield from _validate_traffic(spec)


def _validate_hints(service: Obj) -> Iterator[FieldError]:
    annotations = annotations_of(service)
    hints, mode = annotations.get(HINTS), annotations.get(MODE)
    if hints is not None and mode is not None and hints != mode:
        yield _ANNOTATIONS[MODE].invalid(
            mode, f"must match annotations[{HINTS}] when both are specified"
        )


def _validate_type_fields(spec: Obj) -> Iterator[FieldError]:
    kind, headless = spec.get("type"), is_headless(spec)
    if not spec.get("ports") and not headless and kind != "ExternalName":
        yield _PORTS.required()
    if kind in {"LoadBalancer", "NodePort"} and headless:
        yield _ADDRESSES[0].invalid(HEADLESS, f"may not be set to 'None' for {kind} services")
    if kind != "ExternalName":
        return
    for key in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        if spec.get(key):
            yield (_SPEC / key).forbidden("may not be set for ExternalName services")
    target = (spec.get("externalName") or "").removesuffix(".")
    if not target:
        yield (_SPEC / "externalName").required()
        return
    for message in names.dns1123_subdomain(target):
        yield (_SPEC / "externalName").invalid(target, message)


def _validate_ports(spec: Obj) -> Iterator[FieldError]:
    ports = spec.get("ports") or ()
    seen: set[str] = set()
    for index, port in enumerate(ports):
        path, name = _PORTS[index], port.get("name") or ""
        if name:
            for message in names.dns1123_label(name):
                yield (path / "name").invalid(name, message)
            if name in seen:
                yield (path / "name").duplicate(name)
            seen.add(name)
        elif len(ports) > 1:
            yield (path / "name").required()
        yield from _validate_port(port, path)


def _validate_port(port: Obj, path: Field) -> Iterator[FieldError]:
    number, protocol = port.get("port") or 0, port.get("protocol") or ""
    for message in names.port_number(number):
        yield (path / "port").invalid(number, message)
    if protocol not in PROTOCOLS:
        yield (path / "protocol").unsupported(protocol, PROTOCOLS)
    target = port.get("targetPort") or 0
    check = names.port_name(target) if isinstance(target, str) else names.port_number(target)
    for message in check:
        yield (path / "targetPort").invalid(target, message)
    application = port.get("appProtocol")
    for message in names.qualified_name(application) if application is not None else ():
        yield (path / "appProtocol").invalid(application, message)


def _validate_affinity(spec: Obj) -> Iterator[FieldError]:
    affinity, path = spec.get("sessionAffinity"), _SPEC / "sessionAffinity"
    if affinity not in _AFFINITIES:
        yield path.unsupported(affinity, _AFFINITIES)
    config, path = spec.get("sessionAffinityConfig"), _SPEC / "sessionAffinityConfig"
    if affinity == "None" and config is not None:
        yield path.forbidden("must not be set when session affinity is None")
    if affinity == "ClientIP":
        seconds = get(config, "clientIP.timeoutSeconds") or 0
        if not 0 < seconds <= _AFFINITY_MAX:
            yield (path / "clientIP" / "timeoutSeconds").invalid(
                seconds, f"must be greater than 0 and less than {_AFFINITY_MAX}"
            )


def _validate_addresses(spec: Obj, old: Obj) -> Iterator[FieldError]:
    """Report what is wrong with addresses and families, in themselves and together."""
    if spec.get("type") == "ExternalName":
        return
    addresses: Sequence[str] = spec.get("clusterIPs") or ()
    yield from _validate_first_address(spec.get("clusterIP") or "", addresses)
    yield from _validate_families(spec)
    errors = tuple(_validate_ips(addresses, old.get("clusterIPs") or ()))
    yield from errors
    if len(addresses) > 2:
        yield _ADDRESSES.invalid(addresses, "may only hold up to 2 values")
    if errors:
        return
    if len(addresses) > 1 and len({family(ip) for ip in addresses}) < 2:
        yield _ADDRESSES.invalid(addresses, "may specify no more than one IP for each IP family")
    if not is_headless(spec):
        yield from _validate_matching(addresses, spec.get("ipFamilies") or ())


def _validate_first_address(address: str, addresses: Sequence[str]) -> Iterator[FieldError]:
    if not address:
        if addresses:
            yield _ADDRESSES.invalid(addresses, "must be empty when `clusterIP` is not specified")
    elif not addresses:
        yield _ADDRESSES.required()
    elif addresses[0] != address:
        yield _ADDRESSES.invalid(addresses, "first value must match `clusterIP`")


def _validate_families(spec: Obj) -> Iterator[FieldError]:
    families: Sequence[str] = spec.get("ipFamilies") or ()
    for index, name in enumerate(families):
        if name not in _IP_FAMILIES:
            yield _FAMILIES[index].unsupported(name, _IP_FAMILIES)
        if name in families[:index]:
            yield _FAMILIES[index].duplicate(name)
    policy = spec.get("ipFamilyPolicy")
    if policy is not None and policy not in _POLICIES:
        yield (_SPEC / "ipFamilyPolicy").unsupported(policy, _POLICIES)


def _validate_ips(addresses: Sequence[str], old: Sequence[str]) -> Iterator[FieldError]:
    for index, address in enumerate(addresses):
        if index == 0 and address == HEADLESS:
            if len(addresses) > 1:
                yield _ADDRESSES.invalid(addresses, "'None' must be the first and only value")
        else:
            yield from validate_legacy_ip(_ADDRESSES[index], address, old)


def _validate_matching(addresses: Sequence[str], families: Sequence[str]) -> Iterator[FieldError]:
    for index, (address, wanted) in enumerate(zip(addresses, families, strict=False)):
        if wanted in _IP_FAMILIES and family(address) != wanted:
            yield _ADDRESSES[index].invalid(
                address, f"expected an {wanted} value as indicated by `ipFamilies[{index}]`"
            )


def _validate_external_ips(spec: Obj, old: Obj) -> Iterator[FieldError]:
    known: Sequence[str] = old.get("externalIPs") or ()
    for index, address in enumerate(spec.get("externalIPs") or ()):
        path = (_SPEC / "externalIPs")[index]
        errors = tuple(validate_legacy_ip(path, address, known))
        yield from errors or validate_non_special_ip(address, path)


def _validate_port_pairs(ports: Sequence[Obj], kind: str) -> Iterator[FieldError]:
    if kind == "ClusterIP":
        for index, port in enumerate(ports):
            if port.get("nodePort"):
                yield (_PORTS[index] / "nodePort").forbidden(
                    "may not be used when `type` is 'ClusterIP'"
                )
    for index in _repeated(ports, "nodePort"):
        yield (_PORTS[index] / "nodePort").duplicate(ports[index]["nodePort"])
    for index in _repeated(ports, "port"):
        key = {name: ports[index].get(name) for name in ("protocol", "port")}
        yield _PORTS[index].duplicate(go_value(key, "ServicePort"))


def _repeated(ports: Sequence[Obj], key: str) -> Iterator[int]:
    """Yield the indices of ports whose protocol and number stood before."""
    seen: set[tuple[str, int]] = set()
    for index, port in enumerate(ports):
        number = port.get(key) or 0
        if key == "nodePort" and not number:
            continue
        pair = (port.get("protocol") or "", number)
        if pair in seen:
            yield index
        seen.add(pair)


def _validate_source_ranges(service: Obj, old: Obj | None) -> Iterator[FieldError]:
    balancer = get(service, "spec.type") == "LoadBalancer"
    ranges: Sequence[str] = get(service, "spec.loadBalancerSourceRanges") or ()
    if ranges:
        if not balancer:
            yield _RANGES.forbidden(ONLY_BALANCER)
        before: Iterable[str] = get(old, "spec.loadBalancerSourceRanges") or ()
        known = {value.strip() for value in before}
        for index, value in enumerate(ranges):
            yield from validate_legacy_cidr(_RANGES[index], value.strip(), known)
        return
    annotation = annotations_of(service).get(_RANGES_ANNOTATION)
    if annotation is None:
        return
    path = _ANNOTATIONS[_RANGES_ANNOTATION]
    if not balancer:
        yield path.forbidden(ONLY_BALANCER)
    changed = old is None or annotations_of(old).get(_RANGES_ANNOTATION) != annotation
    if changed and annotation.strip():
        for value in annotation.split(","):
            yield from validate_legacy_cidr(path, value.strip())


def _validate_traffic(spec: Obj) -> Iterator[FieldError]:
    policy, path = spec.get("externalTrafficPolicy") or "", _SPEC / "externalTrafficPolicy"
    if not is_external(spec):
        if policy:
            yield path.invalid(policy, "may only be set for externally-accessible services")
    elif policy not in _TRAFFIC:
        yield path.unsupported(policy, _TRAFFIC)
    yield from _validate_health_port(spec)
    internal = spec.get("internalTrafficPolicy")
    if internal is not None and internal not in _TRAFFIC:
        yield (_SPEC / "internalTrafficPolicy").unsupported(internal, _TRAFFIC)
    distribution = spec.get("trafficDistribution")
    if distribution is not None and distribution not in _DISTRIBUTIONS:
        yield (_SPEC / "trafficDistribution").unsupported(distribution, _DISTRIBUTIONS)


def _validate_health_port(spec: Obj) -> Iterator[FieldError]:
    number, path = spec.get("healthCheckNodePort") or 0, _SPEC / "healthCheckNodePort"
    if not number:  # where one is needed it is allocated
        return
    if not needs_health_port(spec):
        yield path.invalid(
            number,
            "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
        )
        return
    for message in names.port_number(number):
        yield path.invalid(number, message)

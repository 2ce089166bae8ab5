"""Endpoints: the addresses behind a service, in the form before endpoint slices."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from minikube_py.api import names
from minikube_py.api.addresses import parse_sloppy, validate_legacy_ip, warn_ip
from minikube_py.api.core.pod_defaults import each
from minikube_py.api.core.pod_validation_containers import PROTOCOLS
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource

_SHOWN_MAX: Final = 3
_LISTS: Final = ("addresses", "notReadyAddresses")


def default(endpoints: Obj) -> Obj:
    """Fill in the protocol of ports."""
    subsets: Sequence[Obj] = endpoints.get("subsets") or ()
    changed = each(subsets, _default_subset)
    return endpoints if changed is subsets else {**endpoints, "subsets": changed}


def _default_subset(subset: Obj) -> Obj:
    ports: Sequence[Obj] = subset.get("ports") or ()
    changed = each(
        ports, lambda port: port if port.get("protocol") else {**port, "protocol": "TCP"}
    )
    return subset if changed is ports else {**subset, "ports": changed}


def validate(endpoints: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with new or updated endpoints."""
    known = set(_addresses(old)) if old is not None else set()
    for index, subset in enumerate(endpoints.get("subsets") or ()):
        path = Field("subsets")[index]
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            yield path.required("must specify `addresses` or `notReadyAddresses`")
        for key in _LISTS:
            for position, address in enumerate(subset.get(key) or ()):
                yield from _validate_address(address, known, (path / key)[position])
        ports = subset.get("ports") or ()
        for position, port in enumerate(ports):
            at = (path / "ports")[position]
            yield from _validate_port(port, at, named=len(ports) > 1)


def warn(endpoints: Obj, _old: Obj | None) -> Iterator[str]:
    """Tell of addresses in an odd form."""
    for index, subset in enumerate(endpoints.get("subsets") or ()):
        for key in _LISTS:
            for position, address in enumerate(subset.get(key) or ()):
                path = (Field("subsets")[index] / key)[position] / "ip"
                yield from warn_ip(path, address.get("ip") or "")


def _addresses(endpoints: Obj) -> Iterator[str]:
    for subset in endpoints.get("subsets") or ():
        for key in _LISTS:
            for address in subset.get(key) or ():
                yield address.get("ip") or ""


def _validate_address(address: Obj, known: set[str], path: Field) -> Iterator[FieldError]:
    ip, hostname, node = address.get("ip") or "", address.get("hostname"), address.get("nodeName")
    yield from validate_legacy_ip(path / "ip", ip, known)
    for message in names.dns1123_label(hostname) if hostname else ():
        yield (path / "hostname").invalid(hostname, message)
    for message in names.dns1123_subdomain(node) if node is not None else ():
        yield (path / "nodeName").invalid(node, message)
    yield from validate_non_special_ip(ip, path / "ip")


def validate_non_special_ip(ip: str, path: Field) -> Iterator[FieldError]:
    """Report an address that means this machine or this link, so nothing to a cluster."""
    address = parse_sloppy(ip)
    if address is None:
        yield path.invalid(ip, "must be a valid IP address")
        return
    if address.is_unspecified:
        yield path.invalid(ip, f"may not be unspecified ({ip})")
    if address.is_loopback:
        yield path.invalid(ip, "may not be in the loopback range (127.0.0.0/8, ::1/128)")
    if address.is_link_local:
        yield path.invalid(ip, "may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    if _is_link_local_multicast(address.packed):
        yield path.invalid(
            ip, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
        )


def _is_link_local_multicast(packed: bytes) -> bool:
    if len(packed) == 4:
        return packed[:3] == b"\xe0\x00\x00"
    return packed[0] == 0xFF and packed[1] & 0x0F == 0x02


def _validate_port(port: Obj, path: Field, *, named: bool) -> Iterator[FieldError]:
    name, number = port.get("name") or "", port.get("port") or 0
    if name:
        for message in names.dns1123_label(name):
            yield (path / "name").invalid(name, message)
    elif named:
        yield (path / "name").required()
    for message in names.port_number(number):
        yield (path / "port").invalid(number, message)
    protocol, application = port.get("protocol") or "", port.get("appProtocol")
    if not protocol:
        yield (path / "protocol").required()
    elif protocol not in PROTOCOLS:
        yield (path / "protocol").unsupported(protocol, PROTOCOLS)
    for message in names.qualified_name(application) if application is not None else ():
        yield (path / "appProtocol").invalid(application, message)


def _listed(endpoints: Obj) -> Iterator[str]:
    for subset in endpoints.get("subsets") or ():
        addresses = subset.get("addresses") or ()
        ports = subset.get("ports")
        if not ports:
            yield from (address["ip"] for address in addresses)
        for port in ports or ():
            for address in addresses:
                ip = address["ip"]
                yield f"[{ip}]:{port['port']}" if ":" in ip else f"{ip}:{port['port']}"


def cells(endpoints: Obj) -> Sequence[Any]:
    """Return name, the first three addresses and age."""
    metadata = endpoints["metadata"]
    shown = "<none>"
    if endpoints.get("subsets"):
        listed = list(_listed(endpoints))
        shown = ",".join(listed[:_SHOWN_MAX])
        if len(listed) > _SHOWN_MAX:
            shown = f"{shown} + {len(listed) - _SHOWN_MAX} more..."
    return metadata["name"], shown, Age(metadata.get("creationTimestamp"))


ENDPOINTS = Resource(
    kind="Endpoints",
    plural="endpoints",
    deprecated="v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
    short_names=("ep",),
    schema="io.k8s.api.core.v1.Endpoints",
    columns=(NAME, Column("Endpoints"), AGE),
    cells=cells,
    default=default,
    validate=validate,
    warn=warn,
    deprecation=("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
    metadata_checks=("update", "create"),
    allow_create_on_update=True,
)

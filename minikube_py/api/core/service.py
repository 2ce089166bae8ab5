"""Services: a stable address in front of pods.

The rules fill `service_spec`, `service_families`, `service_validation` and `service_update`.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from minikube_py.api import names, printing
from minikube_py.api.addresses import parse_sloppy, validate_legacy_ip, warn_cidr, warn_ip
from minikube_py.api.core.pod_prepare import with_spec_of
from minikube_py.api.core.service_spec import (
    default,
    is_headless,
    prepare_for_create,
    prepare_for_update,
)
from minikube_py.api.core.service_validation import HINTS, MODE, validate
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, annotations_of, get
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource, Subresource

_SPEC: Final = Field("spec")
_INGRESS: Final = Field("status.loadBalancer.ingress")
_IP_MODES: Final = frozenset({"VIP", "Proxy"})
_PENDING: Final = "<pending>"


def validate_status(service: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with the addresses that a load balancer reports."""
    ingress: Sequence[Obj] = get(service, "status.loadBalancer.ingress") or ()
    if ingress and get(service, "spec.type") != "LoadBalancer":
        yield _INGRESS.forbidden("may only be used when `spec.type` is 'LoadBalancer'")
        return
    before: Sequence[Obj] = get(old, "status.loadBalancer.ingress") or ()
    known = {entry["ip"] for entry in before if entry.get("ip")}
    for index, entry in enumerate(ingress):
        path, ip, mode = _INGRESS[index], entry.get("ip") or "", entry.get("ipMode")
        if ip:
            yield from validate_legacy_ip(path / "ip", ip, known)
        if mode is None and ip:
            yield (path / "ipMode").required("must be specified when `ip` is set")
        elif mode is not None and not ip:
            yield (path / "ipMode").forbidden("may not be specified when `ip` is not set")
        elif mode is not None and mode not in _IP_MODES:
            yield (path / "ipMode").unsupported(mode, _IP_MODES)
        yield from _validate_hostname(entry.get("hostname") or "", path / "hostname")


def _validate_hostname(hostname: str, path: Field) -> Iterator[FieldError]:
    if not hostname:
        return
    for message in names.dns1123_subdomain(hostname):
        yield path.invalid(hostname, message)
    if parse_sloppy(hostname) is not None:
        yield path.invalid(hostname, "must be a DNS name, not an IP address")


def warn(service: Obj, _old: Obj | None) -> Iterator[str]:
    """Yield what a service says without effect, and addresses in an odd form."""
    spec = service.get("spec") or {}
    if HINTS in annotations_of(service):
        yield f"annotation {HINTS} is deprecated, please use {MODE} instead"
    if is_headless(spec):
        yield from _warn_headless(spec)
    else:
        yield from _warn_addresses(spec, "clusterIPs")
    yield from _warn_addresses(spec, "externalIPs")
    if balancer := spec.get("loadBalancerIP"):
        yield from warn_ip(_SPEC / "loadBalancerIP", balancer)
    for index, value in enumerate(spec.get("loadBalancerSourceRanges") or ()):
        yield from warn_cidr((_SPEC / "loadBalancerSourceRanges")[index], value.strip())
    elsewhere = spec.get("type") == "ExternalName"
    if elsewhere and spec.get("externalIPs"):
        yield 'spec.externalIPs is ignored when spec.type is "ExternalName"'
    if not elsewhere and spec.get("externalName"):
        yield 'spec.externalName is ignored when spec.type is not "ExternalName"'


def _warn_headless(spec: Obj) -> Iterator[str]:
    for key in ("loadBalancerIP", "externalIPs"):
        if spec.get(key):
            yield f'spec.{key} is ignored when spec.clusterIP is "None"'
    if spec.get("sessionAffinity") != "None":
        yield "spec.SessionAffinity is ignored for headless services"


def _warn_addresses(spec: Obj, key: str) -> Iterator[str]:
    for index, address in enumerate(spec.get(key) or ()):
        yield from warn_ip((_SPEC / key)[index], address)


def _external_address(service: Obj) -> str:
    spec = service.get("spec") or {}
    external: Sequence[str] = spec.get("externalIPs") or ()
    match spec.get("type"):
        case "LoadBalancer":
            ingress: Sequence[Obj] = get(service, "status.loadBalancer.ingress") or ()
            found = {entry.get("ip") or entry.get("hostname") or "" for entry in ingress}
            return ",".join((*sorted(found - {""}), *external)) or _PENDING
        case "ExternalName":
            return str(spec.get("externalName") or "")
        case _:
            return ",".join(external) or printing.NONE


def _port(port: Obj) -> str:
    node = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port.get('port') or 0}{node}/{port.get('protocol') or ''}"


def cells(service: Obj) -> Sequence[Any]:
    """Return name, type, addresses, ports, age and selector."""
    metadata, spec = service["metadata"], service.get("spec") or {}
    addresses = spec.get("clusterIPs") or ()
    return (
        metadata["name"],
        spec.get("type") or "",
        addresses[0] if addresses else printing.NONE,
        _external_address(service),
        ",".join(map(_port, spec.get("ports") or ())) or printing.NONE,
        Age(metadata.get("creationTimestamp")),
        printing.labels(spec.get("selector")),
    )


SERVICES = Resource(
    returns_deleted_object=True,
    kind="Service",
    plural="services",
    short_names=("svc",),
    categories=("all",),
    schema="io.k8s.api.core.v1.Service",
    subresources=(
        Subresource(
            name="proxy",
            kind="ServiceProxyOptions",
            verbs=("create", "delete", "get", "patch", "update"),
        ),
        Subresource(
            name="status",
            shares_object=True,
            prepare_for_update=with_spec_of,
            validate=validate_status,
        ),
    ),
    columns=(
        NAME,
        Column("Type"),
        Column("Cluster-IP"),
        Column("External-IP"),
        Column("Port(s)"),
        AGE,
        Column("Selector", priority=1),
    ),
    cells=cells,
    default=default,
    prepare_for_create=prepare_for_create,
    prepare_for_update=prepare_for_update,
    validate=validate,
    warn=warn,
    validate_name=names.dns1123_label,
    allow_create_on_update=True,
    selectable_fields={
        "spec.clusterIP": lambda service: get(service, "spec.clusterIP", ""),
        "spec.type": lambda service: get(service, "spec.type", ""),
    },
)

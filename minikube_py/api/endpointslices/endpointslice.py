"""Endpoint slices: the addresses behind a Service."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from minikube_py.api import addresses, metadata, names, printing, strategy
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, get, labels_of
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource
from minikube_py.api.strategy import changed, each, with_absent

IPV4, IPV6, FQDN = "IPv4", "IPv6", "FQDN"
PROTOCOLS = frozenset({"SCTP", "TCP", "UDP"})
ENDPOINTS_MAX = 1000
ADDRESSES_MAX = 100
PORTS_MAX = 20_000
TOPOLOGY_MAX = 16
HINTS_MAX = 8
HOSTNAME_LABEL = "kubernetes.io/hostname"
_COUNTED = ("addressType", "endpoints", "ports", "metadata.labels")
ENDPOINTS, PORTS, ADDRESS_TYPE = Field("endpoints"), Field("ports"), Field("addressType")


def default(es: Obj) -> Obj:
    """Fill in what the user left out; empty lists are shown as null."""
    es = {**es, "endpoints": es.get("endpoints") or None, "ports": es.get("ports") or None}
    es = with_absent(es, {"addressType": ""})
    es = changed(es, "endpoints", lambda items: each(items, _default_endpoint))
    return changed(es, "ports", lambda items: each(items, _default_port))


def _default_port(port: Obj) -> Obj:
    return with_absent(port, {"name": "", "protocol": "TCP"})


def _default_endpoint(endpoint: Obj) -> Obj:
    return with_absent(endpoint, {"conditions": {}, "addresses": []})


def prepare_for_create(es: Obj) -> Obj:
    """Start the count of changes; what v1 does not have any more is dropped."""
    es = strategy.creating()(es)
    return changed(es, "endpoints", lambda items: each(items, _without_topology))


def _without_topology(endpoint: Obj) -> Obj:
    if "deprecatedTopology" not in endpoint:
        return endpoint
    return {key: value for key, value in endpoint.items() if key != "deprecatedTopology"}


def validate(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated slice."""
    kind = new["addressType"]
    if not kind:
        yield ADDRESS_TYPE.required()
    elif kind not in _ADDRESS_CHECKS:
        yield ADDRESS_TYPE.unsupported(kind, frozenset(_ADDRESS_CHECKS))
    endpoints = new.get("endpoints") or ()
    if len(endpoints) > ENDPOINTS_MAX:
        yield ENDPOINTS.too_many(len(endpoints), ENDPOINTS_MAX)
    else:
        for index, endpoint in enumerate(endpoints):
            yield from _validate_endpoint(endpoint, kind, ENDPOINTS[index])
    yield from _validate_ports(new.get("ports") or ())
    if old is not None:
        yield from strategy.immutable(kind, old.get("addressType"), ADDRESS_TYPE)


def _validate_endpoint(endpoint: Obj, kind: str, field: Field) -> Iterator[FieldError]:
    own = endpoint.get("addresses") or ()
    if not own:
        yield (field / "addresses").required("must contain at least 1 address")
    elif len(own) > ADDRESSES_MAX:
        yield (field / "addresses").too_many(len(own), ADDRESSES_MAX)
    check = _ADDRESS_CHECKS.get(kind)
    if check is not None:
        for index, address in enumerate(own):
            yield from check((field / "addresses")[index], address)
    yield from _named(endpoint.get("nodeName"), names.dns1123_subdomain, field / "nodeName")
    yield from _validate_topology(endpoint, field / "deprecatedTopology")
    yield from _named(endpoint.get("hostname"), names.dns1123_label, field / "hostname")
    hints: Obj = endpoint.get("hints") or {}
    yield from _validate_hints(hints, "forZones", names.label_value, field / "hints")
    yield from _validate_hints(hints, "forNodes", names.dns1123_subdomain, field / "hints")


def _named(value: str | None, check: names.Check, field: Field) -> Iterator[FieldError]:
    if value is not None:
        yield from (field.invalid(value, text) for text in check(value))


def _validate_topology(endpoint: Obj, field: Field) -> Iterator[FieldError]:
    topology = endpoint.get("deprecatedTopology") or {}
    if len(topology) > TOPOLOGY_MAX:
        yield field.too_many(len(topology), TOPOLOGY_MAX)
    yield from metadata.validate_labels(topology, field)
    if HOSTNAME_LABEL in topology:
        yield field[HOSTNAME_LABEL].invalid(topology[HOSTNAME_LABEL], "set nodeName instead")


def _validate_hints(hints: Obj, key: str, check: names.Check, field: Field) -> Iterator[FieldError]:
    items = hints.get(key) or ()
    field = field / key
    if len(items) > HINTS_MAX:
        yield field.too_many(len(items), HINTS_MAX)
        return
    seen: set[str] = set()
    for index, item in enumerate(items):
        name = item.get("name", "")
        if name in seen:
            yield (field[index] / "name").duplicate(name)
        seen.add(name)
        yield from _named(name, check, field[index] / "name")


def _validate_ports(ports: Sequence[Obj]) -> Iterator[FieldError]:
    if len(ports) > PORTS_MAX:
        yield PORTS.too_many(len(ports), PORTS_MAX)
        return
    seen: set[str] = set()
    for index, port in enumerate(ports):
        name, field = port["name"], PORTS[index]
        if name:
            yield from _named(name, names.dns1123_label, field / "name")
        if name in seen:
            yield (field / "name").duplicate(name)
        seen.add(name)
        yield from _validate_port(port, field)


def _validate_port(port: Obj, field: Field) -> Iterator[FieldError]:
    if port["protocol"] not in PROTOCOLS:
        yield (field / "protocol").unsupported(port["protocol"], PROTOCOLS)
    number = port.get("port")
    if number is not None:
        yield from ((field / "port").invalid(number, text) for text in names.port_number(number))
    yield from _named(port.get("appProtocol"), names.qualified_name, field / "appProtocol")


def _validate_address(family: str) -> Callable[[Field, str], Iterator[FieldError]]:
    def check(field: Field, address: str) -> Iterator[FieldError]:
        errors = tuple(addresses.validate_legacy_ip(field, address))
        yield from errors
        parsed = addresses.parse_sloppy(address)
        if parsed is None:
            return
        if addresses.family(address) != family:
            yield field.invalid(address, f"must be a valid {family} address")
        yield from _validate_reachable(parsed, address, field)

    return check


def _validate_reachable(
    parsed: addresses.Address, address: str, field: Field
) -> Iterator[FieldError]:
    """Report addresses that mean something else on every machine."""
    if parsed.is_unspecified:
        yield field.invalid(address, f"may not be unspecified ({address})")
    elif parsed.is_loopback:
        yield field.invalid(address, "may not be in the loopback range (127.0.0.0/8, ::1/128)")
    elif parsed.is_link_local:
        yield field.invalid(
            address, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
        )
    elif parsed.is_multicast and _is_link_local_multicast(parsed):
        yield field.invalid(
            address, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
        )


def _is_link_local_multicast(parsed: addresses.Address) -> bool:
    text = parsed.exploded
    return text.startswith(("224.0.0.", "ff02:", "ff12:", "ff22:", "ff32:"))


def _validate_name(field: Field, address: str) -> Iterator[FieldError]:
    """Check a fully qualified domain name of two labels at least."""
    if not address:
        yield field.required()
        return
    name = address.removesuffix(".")
    errors = ",".join(names.dns1123_subdomain(name))
    if errors:
        yield field.invalid(name, errors)
    elif "." not in name:
        yield field.invalid(name, "should be a domain with at least two segments separated by dots")


_ADDRESS_CHECKS: dict[str, Callable[[Field, str], Iterator[FieldError]]] = {
    IPV4: _validate_address(IPV4),
    IPV6: _validate_address(IPV6),
    FQDN: _validate_name,
}


MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
_OWN_CONTROLLERS = frozenset(
    {"endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"}
)


def warn(es: Obj, old: Obj | None) -> Iterator[str]:
    """Yield what is old about a slice; Kubernetes' own controllers write addresses well."""
    if old is None and es.get("addressType") == FQDN:
        yield "spec.addressType: FQDN endpoints are deprecated"
    if labels_of(es).get(MANAGED_BY) in _OWN_CONTROLLERS:
        return
    for index, endpoint in enumerate(es.get("endpoints") or ()):
        for place, address in enumerate(endpoint.get("addresses") or ()):
            yield from addresses.warn_ip((ENDPOINTS[index] / "addresses")[place], address)


def cells(es: Obj) -> Sequence[Any]:
    """Return the cells of a slice's row."""
    ports = [str(port.get("port", "*")) for port in es.get("ports") or ()]
    endpoints = es.get("endpoints") or ()
    own = [address for endpoint in endpoints for address in endpoint.get("addresses") or ()]
    return (
        es["metadata"]["name"],
        es.get("addressType", ""),
        printing.some(ports),
        printing.some(own),
        Age(get(es, "metadata.creationTimestamp")),
    )


ENDPOINTSLICES = Resource(
    group="discovery.k8s.io",
    kind="EndpointSlice",
    plural="endpointslices",
    schema="io.k8s.api.discovery.v1.EndpointSlice",
    columns=(
        NAME,
        Column("AddressType"),
        Column("Ports"),
        Column("Endpoints"),
        AGE,
    ),
    cells=cells,
    default=default,
    prepare_for_create=prepare_for_create,
    prepare_for_update=strategy.updating(*_COUNTED, keep=()),
    validate=validate,
    warn=warn,
)

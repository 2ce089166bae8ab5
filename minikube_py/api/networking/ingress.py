"""Ingresses: HTTP routes to Services."""

from collections.abc import Iterator, Sequence
from typing import Any

from minikube_py.api import addresses, names, printing, strategy
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.networking import references
from minikube_py.api.object import Obj, annotations_of, get
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource, Subresource
from minikube_py.api.strategy import changed, with_absent

SPEC = Field("spec")
CLASS_ANNOTATION = "kubernetes.io/ingress.class"
"""What chose the controller before spec.ingressClassName came."""
EMPTY_STATUS: Obj = {"loadBalancer": {}}
PATH_TYPES = frozenset({"Exact", "ImplementationSpecific", "Prefix"})
_SEQUENCES = ("//", "/./", "/../", "%2f", "%2F")
_ENDINGS = ("/..", "/.")
HOSTS_SHOWN_MAX = 3


def default(ingress: Obj) -> Obj:
    """Fill in what is always shown."""
    ingress = with_absent(ingress, {"spec": {}, "status": {}})
    return changed(ingress, "status", lambda status: with_absent(status, EMPTY_STATUS))


def validate(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated ingress."""
    spec = new["spec"]
    yield from _validate_spec(spec)
    annotation, name = annotations_of(new).get(CLASS_ANNOTATION), spec.get("ingressClassName")
    if old is None and annotation is not None and name is not None and annotation != name:
        yield (Field("annotations") / CLASS_ANNOTATION).invalid(
            annotation, "must match `ingressClassName` when both are specified"
        )


def _validate_spec(spec: Obj) -> Iterator[FieldError]:
    rules, backend = spec.get("rules") or (), spec.get("defaultBackend")
    if not rules and backend is None:
        yield SPEC.invalid(None, "either `defaultBackend` or `rules` must be specified")
    if backend is not None:
        yield from _validate_backend(backend, SPEC / "defaultBackend")
    for index, rule in enumerate(rules):
        yield from _validate_rule(rule, (SPEC / "rules")[index])
    for index, tls in enumerate(spec.get("tls") or ()):
        yield from _validate_tls(tls, (SPEC / "tls")[index])
    name = spec.get("ingressClassName")
    if name is not None:
        for text in names.dns1123_subdomain(name):
            yield (SPEC / "ingressClassName").invalid(name, text)


def _validate_host(host: str, field: Field) -> Iterator[FieldError]:
    check = names.wildcard_dns1123_subdomain if "*" in host else names.dns1123_subdomain
    yield from (field.invalid(host, text) for text in check(host))


def _validate_tls(tls: Obj, field: Field) -> Iterator[FieldError]:
    for index, host in enumerate(tls.get("hosts") or ()):
        yield from _validate_host(host, (field / "hosts")[index])
    secret = tls.get("secretName")
    if secret:
        for text in names.dns1123_subdomain(secret):
            yield (field / "secretName").invalid(secret, text)


def _validate_rule(rule: Obj, field: Field) -> Iterator[FieldError]:
    host = rule.get("host")
    if host:
        if addresses.parse_sloppy(host) is not None:
            yield (field / "host").invalid(host, "must be a DNS name, not an IP address")
        yield from _validate_host(host, field / "host")
    if rule.get("http") is None:
        return
    paths = rule["http"].get("paths") or ()
    field = field / "http" / "paths"
    if not paths:
        yield field.required()
    for index, path in enumerate(paths):
        yield from _validate_path(path, field[index])


def _validate_path(rule: Obj, field: Field) -> Iterator[FieldError]:
    kind, path = rule.get("pathType"), rule.get("path", "")
    if kind is None:
        yield (field / "pathType").required("pathType must be specified")
        return
    if kind not in PATH_TYPES:
        yield (field / "pathType").unsupported(kind, PATH_TYPES)
    elif not path.startswith("/") and (path or kind != "ImplementationSpecific"):
        yield (field / "path").invalid(path, "must be an absolute path")
    if kind in {"Exact", "Prefix"}:
        yield from _validate_segments(path, field / "path")
    yield from _validate_backend(rule.get("backend") or {}, field / "backend")


def _validate_segments(path: str, field: Field) -> Iterator[FieldError]:
    for sequence in _SEQUENCES:
        if sequence in path:
            yield field.invalid(path, f"must not contain '{sequence}'")
    for ending in _ENDINGS:
        if path.endswith(ending):
            yield field.invalid(path, f"cannot end with '{ending}'")


def _validate_backend(backend: Obj, field: Field) -> Iterator[FieldError]:
    resource, service = backend.get("resource"), backend.get("service")
    if resource is not None and service is not None:
        yield field.invalid("", "cannot set both resource and service backends")
    elif resource is not None:
        yield from references.validate_local(resource, field / "resource")
    elif service is not None:
        yield from _validate_service(service, field)
    else:
        yield field.invalid("", "resource or service backend is required")


def _validate_service(service: Obj, field: Field) -> Iterator[FieldError]:
    name = service.get("name", "")
    place = field / "service"
    if not name:
        yield (place / "name").required()
    else:
        yield from ((place / "name").invalid(name, text) for text in names.dns1123_label(name))
    port: Obj = service.get("port") or {}
    port_name, number = port.get("name"), port.get("number")
    if port_name and number:
        yield field.invalid("", "cannot set both port name & port number")
    elif port_name:
        for text in names.port_name(port_name):
            yield (place / "port" / "name").invalid(port_name, text)
    elif number:
        for text in names.port_number(number):
            yield (place / "port" / "number").invalid(number, text)
    else:
        yield field.required("port name or number is required")


def validate_status(new: Obj, _old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with an updated status."""
    points = get(new, "status.loadBalancer.ingress") or ()
    for index, point in enumerate(points):
        field = (Field("status") / "loadBalancer" / "ingress")[index]
        if point.get("ip"):
            yield from addresses.validate_legacy_ip(field / "ip", point["ip"])
        host = point.get("hostname")
        if not host:
            continue
        for text in names.dns1123_subdomain(host):
            yield (field / "hostname").invalid(host, text)
        if addresses.parse_sloppy(host) is not None:
            yield (field / "hostname").invalid(host, "must be a DNS name, not an IP address")


def warn(ingress: Obj, old: Obj | None) -> Iterator[str]:
    """Yield that the annotation of old chooses the controller."""
    if old is None and CLASS_ANNOTATION in annotations_of(ingress):
        yield (
            f'annotation "{CLASS_ANNOTATION}" is deprecated, please use '
            "'spec.ingressClassName' instead"
        )


def _hosts(rules: Sequence[Obj]) -> str:
    hosts = [rule["host"] for rule in rules if rule.get("host")]
    if not hosts:
        return "*"
    shown = ",".join(hosts[:HOSTS_SHOWN_MAX])
    if len(hosts) > HOSTS_SHOWN_MAX:
        return f"{shown} + {len(rules) - HOSTS_SHOWN_MAX} more..."
    return shown


def _addresses(status: Obj) -> str:
    points = get(status, "loadBalancer.ingress") or ()
    found = {point.get("ip") or point.get("hostname") for point in points}
    return ",".join(sorted(address for address in found if address))


def cells(ingress: Obj) -> Sequence[Any]:
    """Return the cells of an ingress' row."""
    spec: Obj = ingress.get("spec") or {}
    return (
        ingress["metadata"]["name"],
        spec.get("ingressClassName", printing.NONE),
        _hosts(spec.get("rules") or ()),
        _addresses(ingress.get("status") or {}),
        "80, 443" if spec.get("tls") else "80",
        Age(get(ingress, "metadata.creationTimestamp")),
    )


INGRESSES = Resource(
    group="networking.k8s.io",
    kind="Ingress",
    plural="ingresses",
    short_names=("ing",),
    schema="io.k8s.api.networking.v1.Ingress",
    subresources=(
        Subresource(
            name="status",
            shares_object=True,
            prepare_for_update=strategy.updating_status("spec"),
            validate=validate_status,
        ),
    ),
    columns=(
        NAME,
        Column("Class"),
        Column("Hosts"),
        Column("Address"),
        Column("Ports"),
        AGE,
    ),
    cells=cells,
    default=default,
    prepare_for_create=strategy.creating(EMPTY_STATUS),
    prepare_for_update=strategy.updating("spec"),
    validate=validate,
    warn=warn,
)

"""Which backend a request goes to: the rules of all ingresses as one table; pure.

The most exact host counts first: the name itself, then the wildcard that holds it, then rules for
any host; within a host the longest path, an exact one before a prefix. Where two ingresses claim
the same, the older one has it. What no rule matches goes to a default backend.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from minikube_py.api.object import Obj, annotations_of, get

ANY_HOST = ""
SSL_REDIRECT = "ingress.kpy.dev/ssl-redirect"
"""Annotation: `true` sends plain requests for the ingress's hosts on to https."""


class Backend(NamedTuple):
    """A port of a service."""

    namespace: str
    service: str
    port: str | int
    """Its name or number; "" for a backend that is no service."""


class Route(NamedTuple):
    """Where requests below a path go."""

    path: str
    exact: bool
    backend: Backend
    redirects: bool = False
    """Whether plain requests are sent on to https."""

    def matches(self, path: str) -> bool:
        """Tell whether a request's path is meant; prefixes are whole segments."""
        if self.exact:
            return path == self.path
        prefix = self.path.rstrip("/")
        return path == prefix or path.startswith(f"{prefix}/") or not prefix


@dataclass(frozen=True)
class Table:
    """All routes."""

    hosts: Mapping[str, Sequence[Route]]
    """Host (`a.b`, `*.b` or "") -> routes, best first."""
    default: Backend | None = None
    certificates: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    """Host -> secrets (namespace and name) with its certificate, the first is to be tried first."""

    def find(self, host: str, path: str) -> Route | None:
        """Return the route of a request; None where there is none."""
        for key in candidates(host):
            for route in self.hosts.get(key, ()):
                if route.matches(path):
                    return route
        return Route("/", exact=False, backend=self.default) if self.default is not None else None

    @property
    def secrets(self) -> frozenset[tuple[str, str]]:
        """The secrets that certificates are taken from."""
        return frozenset(one for found in self.certificates.values() for one in found)


EMPTY = Table({})


def candidates(host: str) -> Iterator[str]:
    """Yield the keys under which routes for a host may stand, the most exact first.

    A wildcard stands for just one label.
    """
    host = host.lower().rstrip(".")
    if host:
        yield host
        _, dot, domain = host.partition(".")
        if dot:
            yield f"*.{domain}"
    yield ANY_HOST


def table_of(ingresses: Iterable[Obj]) -> Table:
    """Return the table of ingresses, in whatever order they come."""
    ordered = sorted(ingresses, key=_age)
    found: dict[str, dict[tuple[str, bool], Route]] = {}
    default: Backend | None = None
    certificates: dict[str, list[tuple[str, str]]] = {}
    for ingress in ordered:
        for host, route in _routes(ingress):
            found.setdefault(host, {}).setdefault((route.path, route.exact), route)
        if default is None and get(ingress, "spec.defaultBackend") is not None:
            default = _backend(ingress, ingress["spec"]["defaultBackend"])
        for host, secret in _certificates(ingress):
            if secret not in certificates.setdefault(host, []):
                certificates[host].append(secret)
    hosts = {
        host: tuple(sorted(routes.values(), key=lambda r: (-len(r.path.rstrip("/")), not r.exact)))
        for host, routes in sorted(found.items())
    }
    return Table(hosts, default, {host: tuple(secrets) for host, secrets in certificates.items()})


def _age(ingress: Obj) -> tuple[str, str, str]:
    metadata = ingress["metadata"]
    return (
        str(metadata.get("creationTimestamp") or ""),
        metadata.get("namespace", ""),
        metadata["name"],
    )


def _routes(ingress: Obj) -> Iterator[tuple[str, Route]]:
    redirects = annotations_of(ingress).get(SSL_REDIRECT) == "true"
    for rule in get(ingress, "spec.rules") or ():
        host = (rule.get("host") or ANY_HOST).lower()
        for path in get(rule, "http.paths") or ():
            exact = path.get("pathType") == "Exact"
            backend = _backend(ingress, path.get("backend") or {})
            yield host, Route(path.get("path") or "/", exact, backend, redirects)


def _backend(ingress: Obj, backend: Obj) -> Backend:
    service: Obj = backend.get("service") or {}
    port: Obj = service.get("port") or {}
    namespace = ingress["metadata"].get("namespace", "")
    return Backend(namespace, service.get("name", ""), port.get("name") or port.get("number") or "")


def _certificates(ingress: Obj) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield hosts with their secrets; a certificate without hosts is for all of its rules."""
    namespace = ingress["metadata"].get("namespace", "")
    for tls in get(ingress, "spec.tls") or ():
        if not tls.get("secretName"):
            continue
        named = tls.get("hosts") or [
            rule.get("host") or ANY_HOST for rule in get(ingress, "spec.rules") or ()
        ]
        for host in named or [ANY_HOST]:
            yield host.lower(), (namespace, tls["secretName"])

"""Where a Service answers, for the API server's own requests: aggregated APIs and webhooks.

A ready endpoint is asked directly, so that it works where no kube-proxy runs (a control plane
without a node). A Service without endpoint slices is reached by its ClusterIP, one of type
ExternalName by its name.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from minikube_py.api.errors import ServiceUnavailableError
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, get
from minikube_py.client.protocol import Lister

SERVICE_NAME = "kubernetes.io/service-name"
"""The label by which an endpoint slice names its Service."""
HEADLESS = "None"


@dataclass(frozen=True)
class Address:
    """A host and port to connect to, and the name that its certificate must hold."""

    host: str
    port: int
    server_name: str

    @property
    def netloc(self) -> str:
        """The address as it stands in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class ServiceAddresses:
    """Resolves a reference to a Service, at once, from caches."""

    def __init__(self, services: Lister, slices: Lister) -> None:
        self._services = services
        self._slices = slices

    def service(self, namespace: str, name: str) -> Obj | None:
        """Return the Service, or None."""
        return self._services.get(Key(namespace, name))

    def slices(self, namespace: str, name: str) -> Sequence[Obj]:
        """Return the endpoint slices of a Service."""
        return [item.obj for item in self._slices.items(namespace) if _is_of(item, name)]

    def resolve(self, namespace: str, name: str, port: int) -> Address:
        """Return where to connect to.

        Raises:
            ServiceUnavailableError: nowhere; worded as upstream's resolver does.

        """
        server_name = f"{name}.{namespace}.svc"
        service = self.service(namespace, name)
        if service is None:
            raise ServiceUnavailableError(f'service "{name}" not found')
        if get(service, "spec.type") == "ExternalName":
            return Address(str(service["spec"]["externalName"]), port, server_name)
        found = service_port(service, port)
        if found is None:
            raise ServiceUnavailableError(f'no service port {port} found for service "{name}"')
        slices = self.slices(namespace, name)
        ready = list(ready_endpoints(slices, str(found.get("name") or "")))
        if ready:
            host, number = random.choice(ready)  # noqa: S311 -- spreads load
            return Address(host, number, server_name)
        cluster_ip = get(service, "spec.clusterIP") or HEADLESS
        if slices or cluster_ip == HEADLESS:
            raise ServiceUnavailableError(f'no endpoints available for service "{name}"')
        return Address(str(cluster_ip), port, server_name)


def _is_of(item: Item, name: str) -> bool:
    return item.labels.get(SERVICE_NAME) == name


def service_port(service: Obj, port: int) -> Obj | None:
    """Return the port of a Service that has this number, or None."""
    ports: Sequence[Obj] = get(service, "spec.ports") or ()
    return next((found for found in ports if found.get("port") == port), None)


def ready_endpoints(slices: Sequence[Obj], port_name: str) -> Iterator[tuple[str, int]]:
    """Yield address and port of every ready endpoint that has a port of that name."""
    for endpoint_slice in slices:
        ports: Sequence[Obj] = endpoint_slice.get("ports") or ()
        number = next((p.get("port") for p in ports if (p.get("name") or "") == port_name), None)
        if number is None:
            continue
        for endpoint in endpoint_slice.get("endpoints") or ():
            if get(endpoint, "conditions.ready", default=True) is not False:
                yield from ((str(address), int(number)) for address in endpoint["addresses"][:1])

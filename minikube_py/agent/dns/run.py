"""Serves cluster DNS on this node, on the address that pods are told.

The address is made local to every node, so a question never leaves the node that it is asked on;
see docs/decisions/0006-dns.md.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from minikube_py.agent.dns.forward import RESOLV_CONF, Forwarder, Resolvers, Stubs
from minikube_py.agent.dns.records import Zone, cluster_ips
from minikube_py.agent.dns.server import PORT, Resolver, serving
from minikube_py.agent.network import kernel
from minikube_py.agent.slices import add_service_index, slices_of
from minikube_py.api.core import NAMESPACES, SERVICES
from minikube_py.api.endpointslices import ENDPOINTSLICES
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj
from minikube_py.client.informer import Informer, Informers
from minikube_py.lib.tasks import Nursery

BY_ADDRESS = "address"


@dataclass(frozen=True, kw_only=True)
class DnsConfig:
    """What cluster DNS is told."""

    addresses: tuple[str, ...]
    """Where pods ask (`--cluster-dns`)."""
    domain: str = "cluster.local"
    stub_domains: Sequence[str] = ()
    """`DOMAIN=ADDRESS[:PORT]` of the servers that are asked for names of a domain."""
    resolv_conf: Path = RESOLV_CONF
    """Names the servers for all other names."""
    port: int = PORT


class InformedCluster:
    """The cluster as the informers know it."""

    def __init__(self, services: Informer, slices: Informer, namespaces: Informer) -> None:
        self._services = services
        self._slices = slices
        self._namespaces = namespaces
        services.add_index(BY_ADDRESS, _service_addresses)
        add_service_index(slices)
        slices.add_index(BY_ADDRESS, _endpoint_addresses)

    def service(self, key: Key) -> Obj | None:
        """Return a service."""
        return self._services.get(key)

    def slices(self, key: Key) -> Sequence[Obj]:
        """Return the endpoint slices of a service."""
        return slices_of(self._slices, key)

    def has_namespace(self, name: str) -> bool:
        """Tell whether there is a namespace."""
        return self._namespaces.item(Key("", name)) is not None

    def services_at(self, address: str) -> Sequence[Obj]:
        """Return the services with that cluster address."""
        return [item.obj for item in self._services.indexed(BY_ADDRESS, address)]

    def slices_at(self, address: str) -> Sequence[Obj]:
        """Return the endpoint slices with an endpoint of that address."""
        return [item.obj for item in self._slices.indexed(BY_ADDRESS, address)]


async def run_dns(informers: Informers, config: DnsConfig) -> None:
    """Serve until it is cancelled.

    Raises:
        OSError: the address cannot be listened on; the caller starts this again.

    """
    kinds = (SERVICES, ENDPOINTSLICES, NAMESPACES)
    cluster = InformedCluster(*(informers.get(kind) for kind in kinds))
    await informers.synced(kinds)
    for address in config.addresses:
        await asyncio.to_thread(kernel.ensure_local_address, address)
    own = frozenset(config.addresses)
    loop = asyncio.get_running_loop()
    async with contextlib.AsyncExitStack() as stack:
        nursery = await stack.enter_async_context(Nursery("dns"))
        resolvers = Resolvers(config.resolv_conf, own, loop.time)
        zone = Zone(tuple(config.domain.lower().rstrip(".").split(".")), cluster)
        stubs = Stubs(config.stub_domains, resolvers.servers)
        resolver = Resolver(zone, Forwarder(stubs.servers, nursery))
        for kind in kinds:
            unsubscribe = informers.get(kind).subscribe(lambda _old, _new: resolver.changed())
            stack.callback(unsubscribe)
        await stack.enter_async_context(serving(resolver, config.addresses, config.port, nursery))
        await loop.create_future()


def _service_addresses(item: Item) -> Iterable[str]:
    return cluster_ips(item.obj)


def _endpoint_addresses(item: Item) -> Iterable[str]:
    endpoints = item.obj.get("endpoints") or ()
    return {endpoint["addresses"][0] for endpoint in endpoints}

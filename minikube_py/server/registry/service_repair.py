"""At start: addresses whose service never came to be, or is gone, are given back.

An address is claimed before its service is written and released after the service is removed; a
crash in between leaves an IPAddress without its service. Upstream repairs all the time, because
several servers may write; here the one server that allocates looks once, before it serves.
"""

from collections.abc import Iterator

from minikube_py.api.core import SERVICES
from minikube_py.api.errors import NotFoundError
from minikube_py.api.networking import IPADDRESSES
from minikube_py.api.object import Key, Obj, get
from minikube_py.client.protocol import Lister
from minikube_py.server.registry.hooks import Write
from minikube_py.server.registry.services import ALLOCATOR, cluster_ips
from minikube_py.server.registry.store import Store

MANAGED_BY = "ipaddress.kubernetes.io/managed-by"
MANAGER = "ipallocator.k8s.io"


async def repair(store: Store) -> int:
    """Delete the addresses that nobody has; return how many."""
    orphans = list(plan(store.kind(IPADDRESSES), store.kind(SERVICES)))
    for name in orphans:
        write = Write(user=ALLOCATOR, resource=IPADDRESSES, operation="DELETE", name=name)
        try:
            await store.delete(write, {})
        except NotFoundError:
            continue
    return len(orphans)


def plan(addresses: Lister, services: Lister) -> Iterator[str]:
    """Yield the names of the allocator's addresses whose service does not have them."""
    for item in addresses.items():
        if item.labels.get(MANAGED_BY) == MANAGER and not _is_held(item.obj, services):
            yield item.key.name


def _is_held(address: Obj, services: Lister) -> bool:
    parent = get(address, "spec.parentRef", {})
    service = services.get(Key(parent.get("namespace", ""), parent.get("name", "")))
    return service is not None and address["metadata"]["name"] in cluster_ips(service)

"""Services get addresses and ports when they are written.

A cluster IP is owned by an IPAddress object of that name: creating it is the one atomic step, so
that two servers never give one address twice and a crash leaves something that can be found
(upstream's `MultiCIDRServiceAllocator`). A service of two families has an address of each. Node
ports are taken from the ports in use.
"""

import contextlib
import ipaddress
import random
import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from minikube_py.api.addresses import Address, Network
from minikube_py.api.core import SERVICES
from minikube_py.api.core.service_families import with_families
from minikube_py.api.core.service_spec import needs_health_port
from minikube_py.api.errors import (
    AlreadyExistsError,
    ConflictError,
    InternalError,
    NotFoundError,
    StatusError,
)
from minikube_py.api.fields import Field
from minikube_py.api.item import Item
from minikube_py.api.networking import IPADDRESSES, SERVICECIDRS
from minikube_py.api.object import Obj, condition_of, evolve, get, without
from minikube_py.server.attributes import User
from minikube_py.server.registry.hooks import Undo, Write, nothing
from minikube_py.server.registry.port_claims import PortClaims
from minikube_py.server.registry.refusals import invalid
from minikube_py.server.registry.store import Store

ALLOCATOR = User("system:apiserver", ("system:masters",))
CLAIMS_MAX = 5
"""Tries to replace the claim of a service of the same name that is being deleted."""
TRIES_MAX = 1024
"""Random addresses to try before the whole range is walked."""
DUMMY_PORTS = 32768
"""Upstream's dry runs count up from here."""
HEADLESS = "None"
_HEALTH = "spec.healthCheckNodePort"


class ServiceHook:
    """Allocates for services."""

    def __init__(self, service_cidr: str, node_ports: range) -> None:
        """Take the networks of this cluster, with a comma between; the first one's family leads."""
        networks = map(ipaddress.ip_network, service_cidr.split(","))
        self._own = {f"IPv{network.version}": network for network in networks}
        self._node_ports = node_ports
        self._identity = secrets.token_hex(8)
        self._reserved: set[int] = set()
        """Node ports of writes that are under way."""
        self._owners: dict[str, str] = {}
        """The uid of the service that claimed an address last; a late release spares it."""

    async def before_create(self, store: Store, write: Write, obj: Obj) -> tuple[Obj, Undo]:
        """Give a new service its addresses and ports."""
        return await self._allocate(store, write, obj, None)

    async def before_update(
        self, store: Store, write: Write, new: Obj, old: Obj
    ) -> tuple[Obj, Undo]:
        """Give a changed service what its new type needs."""
        if write.subresource:
            return new, nothing
        return await self._allocate(store, write, new, old)

    async def after_write(self, store: Store, new: Obj | None, old: Obj | None) -> None:
        """Give back addresses that the service has no longer."""
        if new is not None:
            await self._let_go(store, self._reserved.intersection(node_ports_of(new)))
        if old is None:
            return
        kept = set(cluster_ips(new)) if new is not None else set()
        for address in cluster_ips(old):
            if address not in kept:
                await self._release(store, address, old)

    async def _allocate(
        self, store: Store, write: Write, obj: Obj, old: Obj | None
    ) -> tuple[Obj, Undo]:
        taken: list[str] = []
        ports: set[int] = set()

        async def undo() -> None:
            await self._let_go(store, ports)
            for address in taken:
                await self._release(store, address, obj)

        obj, errors = with_families(obj, old, tuple(self._own))
        if errors:
            raise invalid(SERVICES, obj["metadata"]["name"], errors)
        try:
            obj = await self._with_cluster_ips(store, write, obj, old, taken)
            obj = await self._with_ports(store, write, obj, old, ports)
        except BaseException:
            await undo()
            raise
        return obj, undo

    # Cluster IPs

    async def _with_cluster_ips(
        self, store: Store, write: Write, obj: Obj, old: Obj | None, taken: list[str]
    ) -> Obj:
        """Return the service with an address of each of its families; note those that are new."""
        spec = obj["spec"]
        if spec.get("type") == "ExternalName":
            return without(without(obj, "spec.clusterIP"), "spec.clusterIPs")
        given = list(spec.get("clusterIPs") or filter(None, [spec.get("clusterIP")]))
        if given[:1] == [HEADLESS]:
            return _with_addresses(obj, given)
        own = cluster_ips(old) if old is not None else ()
        addresses: list[str] = []
        for family in spec.get("ipFamilies") or tuple(self._own)[:1]:
            address = "".join(given[len(addresses) : len(addresses) + 1])
            if not address or address not in own:
                address = await self._take(store, write, obj, family, address)
                taken += [] if write.dry_run else [address]
            addresses.append(address)
        return _with_addresses(obj, addresses)

    async def _take(self, store: Store, write: Write, obj: Obj, family: str, wanted: str) -> str:
        """Take an address of a family: the one that is wanted, or any ("")."""
        if wanted:
            await self._take_wanted(store, write, obj, family, wanted)
            return wanted
        if write.dry_run:
            return str(next(self._candidates(store, family)))
        return await self._take_any(store, obj, family)

    async def _take_wanted(
        self, store: Store, write: Write, obj: Obj, family: str, address: str
    ) -> None:
        path, given = Field("spec") / "clusterIPs", obj["spec"].get("clusterIPs") or [address]
        name = obj["metadata"]["name"]
        if not any(ipaddress.ip_address(address) in one for one in self._networks(store, family)):
            error = path.invalid(
                given,
                "failed to allocate IP "
                f"{address}: the provided IP ({address}) is not in the valid range. "
                f"The range of valid IPs is {self._own.get(family, 'none')}",
            )
            raise invalid(SERVICES, name, [error])
        if write.dry_run:
            return
        if not await self._claim(store, address, obj):
            error = path.invalid(
                given, f"failed to allocate IP {address}: provided IP is already allocated"
            )
            raise invalid(SERVICES, name, [error])

    async def _take_any(self, store: Store, obj: Obj, family: str) -> str:
        used = {item.key.name for item in store.kind(IPADDRESSES).items()}
        for address in self._candidates(store, family):
            text = str(address)
            if text not in used and await self._claim(store, text, obj):
                return text
        which = self._own.get(family, family)
        raise InternalError(f"failed to allocate a serviceIP: range {which} is full")

    def _networks(self, store: Store, family: str) -> list[Network]:
        """Return the ranges that addresses are taken from now, this server's own first.

        A range counts as long as it is neither going nor said not to be ready.
        """
        own = self._own.get(family)
        usable = [item.obj for item in store.kind(SERVICECIDRS).items() if _is_usable(item)]
        cidrs = (cidr for one in usable for cidr in get(one, "spec.cidrs") or ())
        found = {ipaddress.ip_network(cidr) for cidr in cidrs}
        same = [one for one in found if f"IPv{one.version}" == family]
        if own is not None and not same and not list(store.kind(SERVICECIDRS).items()):
            return [own]  # at the first start, before there is any object
        return sorted(same, key=lambda one: (one != own, one))

    def _candidates(self, store: Store, family: str) -> Iterator[Address]:
        """Yield addresses, random ones first; the low part of a range is left for wishes."""
        for network in self._networks(store, family):
            size = network.num_addresses
            low = min(max(16, size // 16), 256)
            first, last = min(low, size - 2), size - 2
            for _ in range(TRIES_MAX):
                yield network[random.randint(max(first, 1), max(last, 1))]  # noqa: S311 -- no secret
            for index in range(1, last + 1):
                yield network[index]

    async def _claim(self, store: Store, address: str, service: Obj) -> bool:
        """Create the IPAddress of an address; False where another service has it.

        One of an earlier service of the same name is on its way out and is replaced.
        """
        write = Write(user=ALLOCATOR, resource=IPADDRESSES, operation="CREATE")
        before = self._owners.get(address, "")
        for _ in range(CLAIMS_MAX):
            self._owners[address] = service["metadata"]["uid"]
            try:
                await store.create(write, ip_address(address, service))
            except AlreadyExistsError:
                held = store.find(IPADDRESSES, "", address)
                if held is not None and not _is_own(held.obj, service):
                    self._owners[address] = before
                    return False
                await _delete(store, address, held)
            else:
                return True
        return False

    async def _release(self, store: Store, address: str, service: Obj) -> None:
        held = store.find(IPADDRESSES, "", address)
        uid = service["metadata"]["uid"]
        if held is None or not _is_own(held.obj, service):
            return
        if self._owners.get(address, uid) == uid:
            self._owners.pop(address, None)
            await _delete(store, address, held)

    # Node ports

    async def _with_ports(
        self, store: Store, write: Write, obj: Obj, old: Obj | None, ports: set[int]
    ) -> Obj:
        """Give a service its ports; those that another server is giving away are not free."""
        elsewhere: set[int] = set()
        try:
            for _ in range(TRIES_MAX):
                ported = self._with_node_ports(store, write, obj, old, ports)
                ported = self._with_health_port(store, write, ported, old, ports)
                lost = await self._lost(store, ports) if store.cache.shared else set()
                if not lost:
                    return ported
                self._reserved -= ports
                ports.clear()
                elsewhere |= lost
                self._reserved |= lost
        finally:
            self._reserved -= elsewhere
        raise InternalError("failed to allocate a nodePort: other servers took all that were tried")

    async def _lost(self, store: Store, ports: set[int]) -> set[int]:
        """Claim ports for good, or none; return those that a server beside this one gave away."""
        claims = self._claims(store)
        refused = await claims.take(ports)
        await store.cache.current()
        services = store.kind(SERVICES).items()
        given = {port for item in services for port in node_ports_of(item.obj)}
        lost = refused | (ports & given)
        if lost:
            await claims.give_back(ports)
        return lost

    def _claims(self, store: Store) -> PortClaims:
        return PortClaims(store.backend, store.clock, self._identity)

    async def _let_go(self, store: Store, ports: set[int]) -> None:
        ports = set(ports)
        self._reserved -= ports
        if store.cache.shared:
            await self._claims(store).give_back(ports)

    def _with_node_ports(
        self, store: Store, write: Write, obj: Obj, old: Obj | None, ports: set[int]
    ) -> Obj:
        spec = obj["spec"]
        if not _wants_node_ports(spec):
            return _without_node_ports(obj) if old is not None else obj
        own = set(node_ports_of(old)) if old is not None else set()
        used = self._used_ports(store, own)
        result: list[dict[str, Any]] = []
        for index, port in enumerate(spec.get("ports") or ()):
            number = port.get("nodePort") or self._shared(result, port)
            if not number:
                number = self._free_port(used, own) if not write.dry_run else _dummy_port(result)
            elif number in used and not self._shared(result, port):
                error = (Field("spec.ports")[index] / "nodePort").invalid(
                    number, "provided port is already allocated"
                )
                raise invalid(SERVICES, obj["metadata"]["name"], [error])
            elif number not in self._node_ports and number not in own:
                low, high = self._node_ports.start, self._node_ports.stop - 1
                error = (Field("spec.ports")[index] / "nodePort").invalid(
                    number,
                    "provided port is not in the valid range. The range of valid ports is "
                    f"{low}-{high}",
                )
                raise invalid(SERVICES, obj["metadata"]["name"], [error])
            used.add(number)
            if number not in own and not write.dry_run:
                ports.add(number)
            result.append({**port, "nodePort": number})
        self._reserved |= ports
        return evolve(obj, "spec.ports", result)

    def _with_health_port(
        self, store: Store, write: Write, obj: Obj, old: Obj | None, ports: set[int]
    ) -> Obj:
        """Return the service with a port on which each node tells whether it has backends."""
        if not needs_health_port(obj["spec"]):
            return obj
        own = set(node_ports_of(old)) if old is not None else set()
        used = self._used_ports(store, own) | set(node_ports_of(without(obj, _HEALTH)))
        wanted = get(obj, _HEALTH)
        if not wanted:
            wanted = self._free_port(used, own)
            if write.dry_run:
                wanted = _dummy_port(obj["spec"].get("ports") or ())
        elif wanted not in own:
            self._check_health_port(wanted, used)
        if wanted not in own and not write.dry_run:
            ports.add(wanted)
            self._reserved.add(wanted)
        return evolve(obj, _HEALTH, wanted)

    def _check_health_port(self, wanted: int, used: set[int]) -> None:
        """Raise where the port is out of range or taken; upstream answers with a bare 500."""
        low, high = self._node_ports.start, self._node_ports.stop - 1
        why = ""
        if wanted not in self._node_ports:
            why = (
                f"provided port is not in the valid range. The range of valid ports is {low}-{high}"
            )
        elif wanted in used:
            why = "provided port is already allocated"
        if why:
            error = StatusError(
                f"failed to allocate requested HealthCheck NodePort {wanted}: {why}"
            )
            error.reason = ""
            raise error

    @staticmethod
    def _shared(before: Sequence[Obj], port: Obj) -> int:
        """Return the node port of the same port number with another protocol, or 0."""
        for other in before:
            if other["port"] == port["port"] and other.get("protocol") != port.get("protocol"):
                return int(other["nodePort"])
        return 0

    def _used_ports(self, store: Store, own: set[int]) -> set[int]:
        used = set(self._reserved)
        for item in store.kind(SERVICES).items():
            if b'odePort"' in item.data:
                used.update(node_ports_of(item.obj))
        return used - own

    def _free_port(self, used: set[int], own: set[int]) -> int:
        for _ in range(TRIES_MAX):
            number = random.choice(self._node_ports)  # noqa: S311 -- no secret
            if number not in used and number not in own:
                return number
        for number in self._node_ports:
            if number not in used and number not in own:
                return number
        raise InternalError("failed to allocate a nodePort: range is full")


def _is_usable(item: Item) -> bool:
    """Tell whether a range is neither going nor said not to be ready."""
    return not item.deleting and get(condition_of(item.obj, "Ready"), "status", "True") == "True"


def _dummy_port(ports: Sequence[Obj]) -> int:
    """Return what a dry run shows for a port that would be allocated; nobody holds it."""
    allocated = [port["nodePort"] for port in ports if port.get("nodePort")]
    return max(allocated, default=DUMMY_PORTS) + 1


def _wants_node_ports(spec: Obj) -> bool:
    if spec.get("type") == "LoadBalancer":
        return bool(spec.get("allocateLoadBalancerNodePorts", True)) or any(
            port.get("nodePort") for port in spec.get("ports") or ()
        )
    return spec.get("type") == "NodePort"


def _without_node_ports(obj: Obj) -> Obj:
    ports = obj["spec"].get("ports")
    if not ports or not any("nodePort" in port for port in ports):
        return obj
    stripped = [{k: v for k, v in port.items() if k != "nodePort"} for port in ports]
    return evolve(obj, "spec.ports", stripped)


def _with_addresses(obj: Obj, addresses: Sequence[str]) -> Obj:
    spec = {**obj["spec"], "clusterIP": addresses[0], "clusterIPs": list(addresses)}
    return {**obj, "spec": spec}


def cluster_ips(service: Obj) -> Sequence[str]:
    """Return the addresses that a service owns."""
    addresses: Iterable[str] = get(service, "spec.clusterIPs") or ()
    return [address for address in addresses if address and address != HEADLESS]


def node_ports_of(service: Obj) -> Iterator[int]:
    """Yield the node ports of a service."""
    for port in get(service, "spec.ports", ()):
        if port.get("nodePort"):
            yield int(port["nodePort"])
    health = get(service, "spec.healthCheckNodePort", 0)
    if health:
        yield int(health)


async def _delete(store: Store, address: str, held: Item | None) -> None:
    """Delete this very IPAddress where it is still there."""
    if held is None:
        return
    write = Write(user=ALLOCATOR, resource=IPADDRESSES, operation="DELETE", name=address)
    with contextlib.suppress(NotFoundError, ConflictError):
        await store.delete(write, {"preconditions": {"uid": held.uid}})


def _is_own(held: Obj, service: Obj) -> bool:
    parent = get(held, "spec.parentRef") or {}
    metadata = service["metadata"]
    same = (parent.get("namespace"), parent.get("name")) == (
        metadata.get("namespace"),
        metadata["name"],
    )
    return same and parent.get("resource") == "services"


def ip_address(address: str, service: Obj) -> dict[str, Any]:
    """Return the IPAddress object that makes an address a service's own."""
    return {
        "kind": IPADDRESSES.kind,
        "apiVersion": IPADDRESSES.api_version,
        "metadata": {
            "name": address,
            "labels": {
                "ipaddress.kubernetes.io/ip-family": "IPv6" if ":" in address else "IPv4",
                "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
            },
        },
        "spec": {
            "parentRef": {
                "group": "",
                "resource": "services",
                "namespace": service["metadata"]["namespace"],
                "name": service["metadata"]["name"],
            }
        },
    }

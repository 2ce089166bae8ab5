"""What the names of a cluster mean: the Kubernetes DNS specification 1.1 as pure functions.

Nothing is stored as records: a name says which service it is about, and that service and its
endpoints say the answer. What the specification leaves open is done as CoreDNS does it.
"""

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from minikube_py.agent.dns import codec
from minikube_py.agent.dns.codec import Answer, Labels, Record
from minikube_py.api.object import Key, Obj, get, key_of, labels_of

VERSION = "1.1.0"
"""Of the specification, told as `dns-version.<domain>`."""
TTL_SECONDS = 5
"""Also of what is absent; short, because endpoints come and go (CoreDNS' default)."""
SRV_WEIGHT = 100


class Cluster(Protocol):
    """What names are looked up in."""

    def service(self, key: Key) -> Obj | None:
        """Return a service."""

    def slices(self, key: Key) -> Sequence[Obj]:
        """Return the endpoint slices of a service."""

    def has_namespace(self, name: str) -> bool:
        """Tell whether there is a namespace."""

    def services_at(self, address: str) -> Sequence[Obj]:
        """Return the services with that cluster address."""

    def slices_at(self, address: str) -> Sequence[Obj]:
        """Return the endpoint slices with an endpoint of that address."""


class Endpoint(NamedTuple):
    """An endpoint of a service by its name below the service's."""

    name: str
    address: str
    ports: tuple[tuple[str, str, int], ...]
    """Name, protocol in lower case and number of each."""


@dataclass(frozen=True)
class Alias:
    """A name that stands for one elsewhere, which has to be asked for its addresses."""

    record: Record
    target: Labels


@dataclass(frozen=True)
class Zone:
    """The names below the cluster domain."""

    domain: Labels
    cluster: Cluster

    def answer(self, labels: Labels, kind: int) -> Answer | Alias | None:
        """Return what a name means; None where it is not a name of the cluster."""
        if labels[-2:] == ("in-addr", "arpa") or labels[-2:] == ("ip6", "arpa"):
            return self._reverse(labels, kind)
        if labels[-len(self.domain) :] != self.domain:
            return None
        inner = labels[: -len(self.domain)]
        return self._inner(labels, inner, kind) if inner else self._apex(kind)

    def _inner(self, labels: Labels, inner: Labels, kind: int) -> Answer | Alias:
        """Answer a name by what stands before the cluster domain."""
        if inner == ("dns-version",):
            text = Record(labels, codec.TXT, TTL_SECONDS, codec.text_data(VERSION))
            return self._of_kind((text,), kind)
        if inner[-1] == "svc":
            return self._service(labels, inner[:-1], kind)
        if inner[-1] == "pod":
            return self._pod(labels, inner[:-1], kind)
        return self.absent()

    def absent(self) -> Answer:
        """Return that there is no such name."""
        return Answer(codec.NXDOMAIN, authority=(self._soa(),))

    def _of_kind(self, records: Iterable[Record], kind: int) -> Answer:
        """Return the records of a kind; where there are none, that the name has none of it."""
        found = tuple(record for record in records if record.type == kind)
        return Answer(records=found) if found else Answer(authority=(self._soa(),))

    def _soa(self) -> Record:
        primary, mailbox = ("ns", "dns", *self.domain), ("hostmaster", *self.domain)
        data = codec.soa_data(primary, mailbox, 1, TTL_SECONDS)
        return Record(self.domain, codec.SOA, TTL_SECONDS, data)

    def _apex(self, kind: int) -> Answer:
        server = codec.name_bytes(("ns", "dns", *self.domain))
        name_server = Record(self.domain, codec.NS, TTL_SECONDS, server)
        return self._of_kind((self._soa(), name_server), kind)

    def _service(self, labels: Labels, inner: Labels, kind: int) -> Answer | Alias:
        """Answer `[endpoint.|_port._protocol.]service.namespace`."""
        if len(inner) < 2:
            exists = not inner or self.cluster.has_namespace(inner[0])
            return self._of_kind((), kind) if exists else self.absent()
        key = Key(inner[-1], inner[-2])
        service = self.cluster.service(key)
        if service is None or len(inner) > 4:
            return self.absent()
        if get(service, "spec.type") == "ExternalName":
            return self._external(labels, inner[:-2], service)
        if len(inner) == 2:
            return self._whole_service(labels, service, kind)
        if len(inner) == 3:
            return self._endpoint(labels, inner[0], key, kind)
        return self._ports(labels, inner[0], inner[1], service, kind)

    def _external(self, labels: Labels, before: Labels, service: Obj) -> Answer | Alias:
        target = tuple(str(get(service, "spec.externalName", "")).lower().rstrip(".").split("."))
        if before or not all(target):
            return self.absent()
        data = codec.name_bytes(target)
        return Alias(Record(labels, codec.CNAME, TTL_SECONDS, data), target)

    def _whole_service(self, labels: Labels, service: Obj, kind: int) -> Answer:
        if kind == codec.SRV:
            return self._srv(labels, service, lambda _name, _protocol: True)
        addresses = cluster_ips(service) or [
            endpoint.address for endpoint in self._endpoints(key_of(service))
        ]
        if not addresses:
            # A service without addresses is no name for anybody to wait for.
            return self.absent()
        records = (codec.address_record(labels, a, TTL_SECONDS) for a in dict.fromkeys(addresses))
        return self._of_kind(records, kind)

    def _endpoint(self, labels: Labels, name: str, key: Key, kind: int) -> Answer:
        found = [e.address for e in self._endpoints(key) if e.name == name]
        if not found:
            return self.absent()
        records = (codec.address_record(labels, a, TTL_SECONDS) for a in dict.fromkeys(found))
        return self._of_kind(records, kind)

    def _ports(self, labels: Labels, port: str, protocol: str, service: Obj, kind: int) -> Answer:
        if port[:1] != "_" or protocol[:1] != "_":
            return self.absent()
        found = self._srv(labels, service, lambda name, of: (name, of) == (port[1:], protocol[1:]))
        if found.rcode == codec.NOERROR and kind != codec.SRV:
            return self._of_kind((), kind)
        return found

    def _srv(self, labels: Labels, service: Obj, wanted: Callable[[str, str], bool]) -> Answer:
        """Return the ports of a service with the names that lead to their addresses."""
        name = self.service_name(key_of(service))
        found: list[tuple[Labels, int]] = []
        addresses: list[Record] = []
        if cluster_ips(service):
            ports = _service_ports(service)
            found = [(name, number) for port, protocol, number in ports if wanted(port, protocol)]
            addresses = [codec.address_record(name, a, TTL_SECONDS) for a in cluster_ips(service)]
        else:
            for endpoint in self._endpoints(key_of(service)):
                target = (endpoint.name, *name)
                numbers = [n for port, protocol, n in endpoint.ports if wanted(port, protocol)]
                found += [(target, number) for number in numbers]
                if numbers:
                    record = codec.address_record(target, endpoint.address, TTL_SECONDS)
                    addresses.append(record)
        if not found:
            return self.absent()
        weight = max(1, SRV_WEIGHT // len(found))
        records = tuple(
            Record(labels, codec.SRV, TTL_SECONDS, codec.srv_data(number, target, weight))
            for target, number in found
        )
        return Answer(records=records, additional=tuple(addresses))

    def service_name(self, key: Key) -> Labels:
        """Return the full name of a service."""
        return (key.name, key.namespace, "svc", *self.domain)

    def _endpoints(self, key: Key) -> list[Endpoint]:
        """Return the endpoints of a service that may be used, each address once."""
        found = {}
        for piece in self.cluster.slices(key):
            ports = tuple(
                (port.get("name") or "", (port.get("protocol") or "TCP").lower(), port["port"])
                for port in piece.get("ports") or ()
                if port.get("port") is not None
            )
            for endpoint in piece.get("endpoints") or ():
                if get(endpoint, "conditions.ready") is not False:
                    one = Endpoint(endpoint_name(endpoint), endpoint["addresses"][0], ports)
                    found[one.address, one.ports] = one
        return [found[place] for place in sorted(found)]

    def _pod(self, labels: Labels, inner: Labels, kind: int) -> Answer:
        """Answer `10-42-0-5.namespace`: the address that the name itself tells."""
        if not inner:
            return self._of_kind((), kind)
        if not self.cluster.has_namespace(inner[-1]) or len(inner) > 2:
            return self.absent()
        if len(inner) == 1:
            return self._of_kind((), kind)
        address = _dashed_address(inner[0])
        if address is None:
            return self.absent()
        return self._of_kind((codec.address_record(labels, address, TTL_SECONDS),), kind)

    def _reverse(self, labels: Labels, kind: int) -> Answer | None:
        address = reverse_address(labels)
        if address is None:
            return None
        names = [self.service_name(key_of(s)) for s in self.cluster.services_at(address)]
        names = names or list(self._endpoint_names(address))
        if not names:
            return None
        records = (Record(labels, codec.PTR, TTL_SECONDS, codec.name_bytes(name)) for name in names)
        return self._of_kind(records, kind)

    def _endpoint_names(self, address: str) -> Iterator[Labels]:
        seen = set()
        for piece in self.cluster.slices_at(address):
            service = labels_of(piece).get("kubernetes.io/service-name")
            for endpoint in piece.get("endpoints") or ():
                if service and endpoint["addresses"][0] == address:
                    name = self.service_name(Key(piece["metadata"]["namespace"], service))
                    seen.add((endpoint_name(endpoint), *name))
        yield from sorted(seen)


def cluster_ips(service: Obj) -> list[str]:
    """Return the addresses of a service; empty for a headless one."""
    found = get(service, "spec.clusterIPs") or [get(service, "spec.clusterIP") or "None"]
    return [address for address in found if address and address != "None"]


def _service_ports(service: Obj) -> list[tuple[str, str, int]]:
    return [
        (port.get("name") or "", (port.get("protocol") or "TCP").lower(), port["port"])
        for port in get(service, "spec.ports") or ()
    ]


def endpoint_name(endpoint: Obj) -> str:
    """Return the name of an endpoint: its hostname, or its address with dashes."""
    hostname = endpoint.get("hostname")
    if hostname:
        return str(hostname)
    return str(endpoint["addresses"][0]).replace(".", "-").replace(":", "-")


def _dashed_address(text: str) -> str | None:
    """Return the address of a pod's name (`10-42-0-5`, `fd42--5`), or None."""
    dotted = text.replace("-", "." if text.count("-") == 3 and "--" not in text else ":")
    try:
        return str(ipaddress.ip_address(dotted))
    except ValueError:
        return None


def reverse_address(labels: Labels) -> str | None:
    """Return the address whose name is asked for (`5.0.42.10.in-addr.arpa`), or None."""
    parts = labels[-3::-1]
    try:
        if labels[-2] == "in-addr" and len(parts) == 4:
            return str(ipaddress.IPv4Address(".".join(parts)))
        if labels[-2] == "ip6" and len(parts) == 32 and all(len(part) == 1 for part in parts):
            digits = "".join(parts)
            groups = [digits[at : at + 4] for at in range(0, 32, 4)]
            return str(ipaddress.IPv6Address(":".join(groups)))
    except ValueError:
        pass
    return None

"""Names of the cluster mean what the Kubernetes DNS specification says."""

import ipaddress
import struct
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.agent.dns import codec
from minikube_py.agent.dns.codec import Answer
from minikube_py.agent.dns.records import Alias, Zone, cluster_ips, reverse_address
from minikube_py.api.object import Key, Obj, key_of


def service(name: str, **spec: Any) -> Obj:
    ports = [{"name": "http", "protocol": "TCP", "port": 80}, {"name": "dns", "protocol": "UDP",
             "port": 53}]  # fmt: skip
    return {"metadata": {"namespace": "shop", "name": name}, "spec": {"ports": ports, **spec}}


SERVICES = (
    service("web", clusterIP="10.43.0.5", clusterIPs=["10.43.0.5", "fd43::5"]),
    service("db", clusterIP="None", clusterIPs=["None"]),
    service("empty", clusterIP="None", clusterIPs=["None"]),
    service("out", type="ExternalName", externalName="Example.COM"),
)
SLICE = {
    "metadata": {
        "namespace": "shop",
        "name": "db-1",
        "labels": {"kubernetes.io/service-name": "db"},
    },
    "addressType": "IPv4",
    "ports": [{"name": "http", "protocol": "TCP", "port": 8080}],
    "endpoints": [
        {"addresses": ["10.42.0.7"], "hostname": "db-0", "conditions": {"ready": True}},
        {"addresses": ["10.42.0.8"], "conditions": {}},
        {"addresses": ["10.42.0.9"], "hostname": "db-2", "conditions": {"ready": False}},
    ],
}


class Cluster:
    def service(self, key: Key) -> Obj | None:
        return next((s for s in SERVICES if key_of(s) == key), None)

    def slices(self, key: Key) -> Sequence[Obj]:
        return [SLICE] if key == Key("shop", "db") else []

    def has_namespace(self, name: str) -> bool:
        return name in ("shop", "default")

    def services_at(self, address: str) -> Sequence[Obj]:
        return [s for s in SERVICES if address in cluster_ips(s)]

    def slices_at(self, address: str) -> Sequence[Obj]:
        found = any(address in endpoint["addresses"] for endpoint in SLICE["endpoints"])
        return [SLICE] if found else []


ZONE = Zone(("cluster", "local"), Cluster())


def ask(name: str, kind: int = codec.A) -> Answer:
    answer = ZONE.answer(tuple(name.split(".")), kind)
    assert isinstance(answer, Answer)
    return answer


def addresses(answer: Answer) -> list[str]:
    return [str(ipaddress.ip_address(record.data)) for record in answer.records]


def names(answer: Answer) -> list[str]:
    return [".".join(codec.read_name(record.data, 0)[0]) for record in answer.records]


def ports(answer: Answer) -> list[tuple[int, str]]:
    found = []
    for record in answer.records:
        _, _, port = struct.unpack_from(">HHH", record.data)
        found.append((port, ".".join(codec.read_name(record.data, 6)[0])))
    return found


@pytest.mark.parametrize(
    ("name", "kind", "wanted"),
    [
        ("web.shop.svc.cluster.local", codec.A, ["10.43.0.5"]),
        ("web.shop.svc.cluster.local", codec.AAAA, ["fd43::5"]),
        ("db.shop.svc.cluster.local", codec.A, ["10.42.0.7", "10.42.0.8"]),
        ("db-0.db.shop.svc.cluster.local", codec.A, ["10.42.0.7"]),
        ("10-42-0-8.db.shop.svc.cluster.local", codec.A, ["10.42.0.8"]),
        ("10-42-0-5.shop.pod.cluster.local", codec.A, ["10.42.0.5"]),
        ("fd42--5.shop.pod.cluster.local", codec.AAAA, ["fd42::5"]),
    ],
)
def test_names_lead_to_addresses(name: str, kind: int, wanted: list[str]) -> None:
    assert addresses(ask(name, kind)) == wanted


def test_named_ports_of_a_service_are_srv_records_with_its_address_beside() -> None:
    answer = ask("_http._tcp.web.shop.svc.cluster.local", codec.SRV)
    assert ports(answer) == [(80, "web.shop.svc.cluster.local")]
    assert [codec.joined(r.labels) for r in answer.additional] == ["web.shop.svc.cluster.local"] * 2
    assert ports(ask("_dns._udp.web.shop.svc.cluster.local", codec.SRV)) == [
        (53, "web.shop.svc.cluster.local")
    ]


def test_named_ports_of_a_headless_service_name_its_endpoints() -> None:
    assert ports(ask("_http._tcp.db.shop.svc.cluster.local", codec.SRV)) == [
        (8080, "db-0.db.shop.svc.cluster.local"),
        (8080, "10-42-0-8.db.shop.svc.cluster.local"),
    ]


@pytest.mark.parametrize(
    "name",
    [
        "none.shop.svc.cluster.local",
        "web.none.svc.cluster.local",
        "none.svc.cluster.local",
        "db-2.db.shop.svc.cluster.local",
        "empty.shop.svc.cluster.local",
        "_http._udp.web.shop.svc.cluster.local",
        "a.b.web.shop.svc.cluster.local",
        "example.com.shop.svc.cluster.local",
        "example.com.cluster.local",
        "10-42-0-5.none.pod.cluster.local",
        "no-address.shop.pod.cluster.local",
        "x.out.shop.svc.cluster.local",
    ],
)
def test_names_that_are_not_there_are_nxdomain_with_the_zones_soa(name: str) -> None:
    answer = ask(name)
    assert answer.rcode == codec.NXDOMAIN
    assert [record.type for record in answer.authority] == [codec.SOA]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("web.shop.svc.cluster.local", codec.TXT),
        ("db.shop.svc.cluster.local", codec.AAAA),
        ("shop.svc.cluster.local", codec.A),
        ("svc.cluster.local", codec.A),
        ("pod.cluster.local", codec.A),
        ("shop.pod.cluster.local", codec.A),
        ("cluster.local", codec.A),
        ("_http._tcp.web.shop.svc.cluster.local", codec.A),
        ("10-42-0-5.shop.pod.cluster.local", codec.AAAA),
    ],
)
def test_names_that_are_there_without_such_a_record_are_empty_with_the_soa(
    name: str, kind: int
) -> None:
    answer = ask(name, kind)
    assert (answer.rcode, answer.records) == (codec.NOERROR, ())
    assert [record.type for record in answer.authority] == [codec.SOA]


def test_an_external_name_is_an_alias() -> None:
    alias = ZONE.answer(("out", "shop", "svc", "cluster", "local"), codec.A)
    assert isinstance(alias, Alias)
    assert alias.target == ("example", "com")
    assert names(Answer(records=(alias.record,))) == ["example.com"]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("5.0.43.10.in-addr.arpa", ["web.shop.svc.cluster.local"]),
        ("7.0.42.10.in-addr.arpa", ["db-0.db.shop.svc.cluster.local"]),
        ("8.0.42.10.in-addr.arpa", ["10-42-0-8.db.shop.svc.cluster.local"]),
        (
            ipaddress.ip_address("fd43::5").reverse_pointer,
            ["web.shop.svc.cluster.local"],
        ),
    ],
)
def test_addresses_of_services_and_endpoints_have_names(name: str, wanted: list[str]) -> None:
    assert names(ask(name, codec.PTR)) == wanted


@pytest.mark.parametrize(
    "name", ["1.2.3.4.in-addr.arpa", "4.in-addr.arpa", "example.com", "local", "x.ip6.arpa", ""]
)
def test_names_that_are_not_the_clusters_are_left_to_others(name: str) -> None:
    assert ZONE.answer(tuple(part for part in name.split(".") if part), codec.A) is None


def test_the_zone_tells_its_soa_its_name_server_and_the_version() -> None:
    assert [record.type for record in ask("cluster.local", codec.SOA).records] == [codec.SOA]
    assert names(ask("cluster.local", codec.NS)) == ["ns.dns.cluster.local"]
    version = ask("dns-version.cluster.local", codec.TXT)
    assert version.records[0].data == b"\x051.1.0"


@given(st.ip_addresses())
def test_the_name_of_an_address_says_which_one_it_is(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    assert reverse_address(tuple(address.reverse_pointer.split("."))) == str(address)

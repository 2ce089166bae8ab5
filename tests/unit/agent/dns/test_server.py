"""Questions over real sockets: of the cluster, of elsewhere, by UDP and TCP, with faults."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import dnslib
import pytest

from minikube_py.agent.dns import codec, forward, server
from minikube_py.agent.dns.forward import Forwarder, Resolvers, Server, Stubs, servers_of
from minikube_py.agent.dns.records import Zone
from minikube_py.agent.dns.run import DnsConfig, InformedCluster
from minikube_py.agent.dns.server import Resolver
from minikube_py.api.core import NAMESPACES, SERVICES
from minikube_py.api.endpointslices import ENDPOINTSLICES
from minikube_py.api.object import Obj
from minikube_py.client.informer import Informers
from minikube_py.lib.clock import SystemClock
from minikube_py.lib.tasks import Nursery
from tests.model_cluster import ModelCluster
from tests.ports import free_port

STUBS = ("corp.example=192.0.2.1", "a.corp.example=[2001:db8::1]:5353")
WEB: Obj = {
    "metadata": {"namespace": "shop", "name": "web"},
    "spec": {"clusterIP": "10.43.0.5", "clusterIPs": ["10.43.0.5"], "ports": []},
}
HEADLESS: Obj = {
    "metadata": {"namespace": "shop", "name": "many"},
    "spec": {"clusterIP": "None", "clusterIPs": ["None"], "ports": []},
}


def external(name: str, target: str) -> Obj:
    return {
        "metadata": {"namespace": "shop", "name": name},
        "spec": {"type": "ExternalName", "externalName": target},
    }


def slice_of(count: int) -> Obj:
    return {
        "metadata": {
            "namespace": "shop",
            "name": "many-1",
            "labels": {"kubernetes.io/service-name": "many"},
        },
        "addressType": "IPv4",
        "ports": [],
        "endpoints": [{"addresses": [f"10.42.0.{n}"]} for n in range(count)],
    }


Reply = Callable[[dnslib.DNSRecord], dnslib.DNSRecord | bytes | None]


@dataclass
class Upstream(asyncio.DatagramProtocol):
    """A server elsewhere that says what the test wants."""

    reply: Reply
    asked: list[str] = field(default_factory=list)
    address: Server = Server("127.0.0.1")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.address = Server(*transport.get_extra_info("sockname"))

    def answer(self, data: bytes) -> bytes | None:
        query = dnslib.DNSRecord.parse(data)
        self.asked.append(str(query.q.qname).lower())
        said = self.reply(query)
        return said.pack() if isinstance(said, dnslib.DNSRecord) else said

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        said = self.answer(data)
        if said is not None:
            self.transport.sendto(said, addr)  # type: ignore[attr-defined]

    async def stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (length,) = struct.unpack(">H", await reader.readexactly(2))
        said = self.answer(await reader.readexactly(length)) or b""
        writer.write(struct.pack(">H", len(said)) + said)
        await writer.drain()
        writer.close()


def known(query: dnslib.DNSRecord) -> dnslib.DNSRecord:
    reply = query.reply()
    name = str(query.q.qname).lower()
    if query.q.qtype == codec.A and "missing" not in name:
        reply.add_answer(*dnslib.RR.fromZone(f"{name} 60 A 192.0.2.5"))
    elif "missing" in name:
        reply.header.rcode = codec.NXDOMAIN
    return reply


@dataclass
class World:
    cluster: ModelCluster
    upstream: Upstream
    port: int
    servers: list[Server]
    stack: AsyncExitStack

    async def ask(self, name: str, kind: str = "A", *, size: int = 0) -> dnslib.DNSRecord:
        query = dnslib.DNSRecord.question(name, kind)
        if size:
            query.add_ar(dnslib.EDNS0(udp_len=size))
        async with asyncio.timeout(10):
            reply = dnslib.DNSRecord.parse(await self.exchange(query.pack()))
        assert reply.header.id == query.header.id
        assert str(reply.q.qname) == name + "."
        return reply

    async def exchange(self, data: bytes) -> bytes:
        got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        class Client(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: object) -> None:
                got.set_result(data)

        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            Client, remote_addr=("127.0.0.1", self.port)
        )
        try:
            transport.sendto(data)
            return await got
        finally:
            transport.close()

    async def ask_by_tcp(self, *names: str) -> list[dnslib.DNSRecord]:
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            replies = []
            for name in names:
                data = dnslib.DNSRecord.question(name).pack()
                writer.write(struct.pack(">H", len(data)) + data)
            for _ in names:
                (length,) = struct.unpack(">H", await reader.readexactly(2))
                replies.append(dnslib.DNSRecord.parse(await reader.readexactly(length)))
            writer.close()
        return replies


@pytest.fixture
async def world() -> AsyncIterator[World]:
    cluster = ModelCluster(SystemClock())
    cluster.write(NAMESPACES, {"metadata": {"name": "shop"}})
    for obj in (WEB, HEADLESS, external("out", "www.example.com"),
                external("inner", "web.shop.svc.cluster.local"),
                external("circle", "circle.shop.svc.cluster.local")):  # fmt: skip
        cluster.write(SERVICES, obj)
    cluster.write(ENDPOINTSLICES, slice_of(60))
    async with AsyncExitStack() as stack:
        loop = asyncio.get_running_loop()
        upstream = Upstream(known)
        transport, _ = await loop.create_datagram_endpoint(
            lambda: upstream, local_addr=("127.0.0.1", free_port())
        )
        stack.callback(transport.close)
        listener = await asyncio.start_server(upstream.stream, *upstream.address)
        stack.callback(listener.close)
        servers = [upstream.address]
        informers = await stack.enter_async_context(Informers(cluster.client(), SystemClock()))
        kinds = (SERVICES, ENDPOINTSLICES, NAMESPACES)
        informed = InformedCluster(*(informers.get(kind) for kind in kinds))
        await informers.synced(kinds)
        nursery = await stack.enter_async_context(Nursery("test"))
        resolver = Resolver(
            Zone(("cluster", "local"), informed),
            Forwarder(Stubs(STUBS, lambda: servers).servers, nursery),
        )
        for kind in kinds:
            informers.get(kind).subscribe(lambda _old, _new: resolver.changed())
        port = await stack.enter_async_context(server.serving(resolver, ("127.0.0.1",), 0, nursery))
        yield World(cluster, upstream, port, servers, stack)


async def test_a_name_of_the_cluster_is_answered_with_authority(world: World) -> None:
    reply = await world.ask("Web.Shop.svc.cluster.local")
    assert [str(rr.rdata) for rr in reply.rr] == ["10.43.0.5"]
    assert reply.header.aa == 1
    assert not world.upstream.asked


async def test_an_answer_follows_the_cluster(world: World) -> None:
    assert (await world.ask("new.shop.svc.cluster.local")).header.rcode == codec.NXDOMAIN
    new = {**WEB, "metadata": {"namespace": "shop", "name": "new"}}
    world.cluster.write(SERVICES, new)
    await asyncio.sleep(0.05)
    assert (await world.ask("new.shop.svc.cluster.local")).header.rcode == codec.NOERROR


async def test_a_long_answer_is_cut_by_udp_and_whole_by_edns_and_tcp(world: World) -> None:
    name = "many.shop.svc.cluster.local"
    cut = await world.ask(name)
    assert cut.header.tc == 1
    assert len(cut.rr) < 60
    assert len((await world.ask(name, size=4096)).rr) == 60
    (whole,) = await world.ask_by_tcp(name)
    assert len(whole.rr) == 60


async def test_the_addresses_of_a_headless_service_change_places(world: World) -> None:
    firsts = {
        str((await world.ask("many.shop.svc.cluster.local", size=4096)).rr[0].rdata)
        for _ in range(20)
    }
    assert len(firsts) > 1


async def test_other_names_are_asked_on_and_remembered(world: World) -> None:
    for name in ("www.example.com", "WWW.example.com"):
        reply = await world.ask(name)
        assert [str(rr.rdata) for rr in reply.rr] == ["192.0.2.5"]
        assert reply.rr[0].ttl <= 60
    assert world.upstream.asked == ["www.example.com."]
    assert (await world.ask("missing.example.com")).header.rcode == codec.NXDOMAIN
    await world.ask("missing.example.com")
    assert world.upstream.asked.count("missing.example.com.") == 1


async def test_equal_questions_at_one_time_are_asked_once(world: World) -> None:
    replies = await asyncio.gather(*(world.ask("same.example.com") for _ in range(20)))
    assert all(reply.rr for reply in replies)
    assert world.upstream.asked == ["same.example.com."]


async def test_questions_by_tcp_are_answered_in_turn_and_asked_on_by_tcp(world: World) -> None:
    names = ("web.shop.svc.cluster.local", "www.example.com", "nothing.cluster.local")
    replies = await world.ask_by_tcp(*names)
    assert [reply.header.rcode for reply in replies] == [0, 0, codec.NXDOMAIN]
    assert str(replies[1].rr[0].rdata) == "192.0.2.5"


async def test_an_external_name_is_followed_to_its_addresses(world: World) -> None:
    reply = await world.ask("out.shop.svc.cluster.local")
    assert [(rr.rtype, str(rr.rdata)) for rr in reply.rr] == [
        (codec.CNAME, "www.example.com."),
        (codec.A, "192.0.2.5"),
    ]
    inner = await world.ask("inner.shop.svc.cluster.local")
    assert [str(rr.rdata) for rr in inner.rr] == ["web.shop.svc.cluster.local.", "10.43.0.5"]
    only = await world.ask("out.shop.svc.cluster.local", "CNAME")
    assert [str(rr.rdata) for rr in only.rr] == ["www.example.com."]


async def test_names_in_a_circle_fail(world: World) -> None:
    assert (await world.ask("circle.shop.svc.cluster.local")).header.rcode == codec.SERVFAIL


async def test_a_server_that_is_silent_or_fails_is_passed_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "ATTEMPT_SECONDS", 0.2)
    loop = asyncio.get_running_loop()

    def fails(query: dnslib.DNSRecord) -> dnslib.DNSRecord:
        reply = query.reply()
        reply.header.rcode = codec.SERVFAIL
        return reply

    def lies(query: dnslib.DNSRecord) -> dnslib.DNSRecord:
        reply = known(query)
        reply.header.id = (query.header.id + 1) % 65536
        return reply

    bad = []
    for reply in (lambda _: None, fails, lies):
        server = Upstream(reply)
        transport, _ = await loop.create_datagram_endpoint(
            lambda server=server: server, local_addr=("127.0.0.1", 0)
        )
        world.stack.callback(transport.close)
        bad.append(server)
    world.servers[:0] = [server.address for server in bad]
    assert (await world.ask("one.example.com")).rr
    assert [len(server.asked) for server in bad] == [1, 1, 1]
    assert (await world.ask("two.example.com")).rr
    assert [len(server.asked) for server in bad] == [1, 1, 1]


def test_names_of_a_stub_domain_are_asked_of_its_own_servers() -> None:
    stubs = Stubs((*STUBS, "corp.example=192.0.2.2:5300"), lambda: [Server("192.0.2.9")])
    own = [Server("192.0.2.1"), Server("192.0.2.2", 5300)]
    assert stubs.servers(("x", "corp", "example")) == stubs.servers(("corp", "example")) == own
    assert stubs.servers(("x", "a", "corp", "example")) == [Server("2001:db8::1", 5353)]
    assert stubs.servers(("corp", "example", "com")) == [Server("192.0.2.9")]


async def test_without_a_server_other_names_fail_at_once(world: World) -> None:
    world.servers.clear()
    assert (await world.ask("www.example.com")).header.rcode == codec.SERVFAIL
    assert (await world.ask("out.shop.svc.cluster.local")).header.rcode == codec.SERVFAIL
    assert (await world.ask("web.shop.svc.cluster.local")).rr


async def test_too_many_questions_under_way_fail(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "UNDER_WAY_MAX", 0)
    assert (await world.ask("www.example.com")).header.rcode == codec.SERVFAIL


async def test_what_is_not_understood_is_answered_with_an_error(world: World) -> None:
    reply = await world.exchange(b"\x12\x34\x01\x00\x00\x01" + b"\0" * 6 + b"\xff")
    assert reply[:2] == b"\x12\x34"
    assert reply[3] & 15 == codec.FORMERR
    update = dnslib.DNSRecord.question("a.example.com")
    update.header.opcode = 5
    assert (await world.exchange(update.pack()))[3] & 15 == codec.NOTIMP
    chaos = dnslib.DNSRecord(q=dnslib.DNSQuestion("version.bind", 16, 3))
    assert (await world.exchange(chaos.pack()))[3] & 15 == codec.REFUSED


def test_servers_are_those_of_the_file_without_ourselves() -> None:
    text = "search x\nnameserver 10.43.0.10\nnameserver 192.0.2.1 # one\nnameserver 192.0.2.1\n"
    assert servers_of(text, frozenset({"10.43.0.10"})) == (Server("192.0.2.1"),)


def test_a_changed_file_is_noticed_after_a_while(tmp_path: Path) -> None:
    path, now = tmp_path / "resolv.conf", [0.0]
    resolvers = Resolvers(path, frozenset(), lambda: now[0])
    assert resolvers.servers() == ()
    path.write_text("nameserver 192.0.2.1\n")
    assert resolvers.servers() == ()
    now[0] += forward.RESOLV_CHECK_SECONDS
    assert resolvers.servers() == (Server("192.0.2.1"),)


def test_the_default_configuration_serves_cluster_local_on_port_53() -> None:
    config = DnsConfig(addresses=("10.43.0.10",))
    assert (config.domain, config.port) == ("cluster.local", 53)

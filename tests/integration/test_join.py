"""Joining over real TLS on loopback: agent/join.py against server/join.py."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from minikube_py.agent.join import ClusterFacts, Membership, join
from minikube_py.api.errors import AlreadyExistsError, NotFoundError, StatusError
from minikube_py.lib import pki
from minikube_py.lib.errors import StartError
from minikube_py.server import bootstrap, join_tokens
from minikube_py.server.config import ServerConfig
from minikube_py.server.join import Join, secret_name


class StandingClock:
    """Time that the test moves; a wait moves it."""

    def __init__(self) -> None:
        self.moment = datetime.now(UTC)
        self.waits: list[float] = []

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


class SecretsOnly:
    """The part of an API that joining needs."""

    def __init__(self) -> None:
        self.secrets: dict[str, Any] = {}

    async def get(self, _resource: Any, name: str, _namespace: str = "") -> Any:
        if name not in self.secrets:
            raise NotFoundError(name)
        return self.secrets[name]

    async def create(self, _resource: Any, obj: Any) -> Any:
        name = obj["metadata"]["name"]
        if name in self.secrets:
            raise AlreadyExistsError(name)
        self.secrets[name] = obj
        return obj


class Server:
    """A server that knows joining and nothing else."""

    def __init__(self, folder: Path, clock: StandingClock) -> None:
        self.config = ServerConfig(data_dir=folder / "data", write_kubeconfig=folder / "k")
        self.material = bootstrap.prepare(self.config, node_name="server-node", now=clock.now())
        self.client = SecretsOnly()
        client: Any = self.client
        self.join = Join(self.config, self.material, lambda: client, clock)
        self.requests = 0
        self.broken = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests += 1
        if self.broken:
            self.broken -= 1
            return web.Response(status=503, text="not yet")
        try:
            return await self.join.handle(request)
        except StatusError as error:
            return web.json_response(error.status(), status=error.code)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        pair = self.material.serving
        context.load_cert_chain(pair.certificate_path, pair.key_path)
        runner = web.ServerRunner(web.Server(self.handle))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        try:
            yield f"https://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
async def server(tmp_path: Path, clock: StandingClock) -> Server:
    return Server(tmp_path / "server", clock)


async def ask(url: str, server: Server, folder: Path, clock: Any, **more: Any) -> Membership:
    given = {"token": server.material.token, "node_name": "w1", **more}
    return await join(server=url, addresses=("10.0.0.7",), folder=folder, clock=clock, **given)


async def test_a_node_gets_all_it_needs(server: Server, tmp_path: Path, clock: Any) -> None:
    async with server.listening() as url:
        member = await ask(url, server, tmp_path / "w1", clock)
    assert member.facts.cluster_dns == "10.43.0.10"
    assert member.cluster_ca.read_bytes() == server.material.cluster_ca.certificate_pem
    assert member.client_ca.read_bytes() == server.material.client_ca.certificate_pem
    for (path, _key), name, ca in (
        (member.kubelet, "CN=system:node:w1,O=system:nodes", server.material.client_ca),
        (member.serving, "CN=system:node:w1,O=system:nodes", server.material.cluster_ca),
        (member.proxy, "CN=system:kube-proxy", server.material.client_ca),
    ):
        certificate = pki.load_certificate(path)
        assert certificate is not None
        assert certificate.subject.rfc4514_string() == name
        certificate.verify_directly_issued_by(ca.certificate)
    serving = pki.load_certificate(member.serving[0])
    assert serving is not None
    assert pki.alternatives_of(serving) >= {"w1", "10.0.0.7"}


def test_what_a_newer_server_tells_beside_the_known_is_left_out() -> None:
    facts = {
        "cluster_cidr": "10.42.0.0/16",
        "service_cidr": "10.43.0.0/16",
        "cluster_dns": "10.43.0.10",
        "cluster_domain": "cluster.local",
    }
    assert ClusterFacts.of({**facts, "new": True}) == ClusterFacts(**facts)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="cluster_domain"):
        ClusterFacts.of({name: facts[name] for name in facts if name != "cluster_domain"})


async def test_a_second_start_needs_no_server(server: Server, tmp_path: Path, clock: Any) -> None:
    async with server.listening() as url:
        first = await ask(url, server, tmp_path / "w1", clock)
    assert await ask(url, server, tmp_path / "w1", clock) == first


async def test_certificates_that_end_soon_are_renewed(
    server: Server, tmp_path: Path, clock: StandingClock
) -> None:
    async with server.listening() as url:
        member = await ask(url, server, tmp_path / "w1", clock)
        before = member.kubelet[0].read_bytes()
        clock.moment += timedelta(days=300)
        await ask(url, server, tmp_path / "w1", clock)
    assert member.kubelet[0].read_bytes() != before


async def test_a_member_goes_on_alone_with_what_it_has_whatever_its_age(
    server: Server, tmp_path: Path, clock: Any
) -> None:
    folder = tmp_path / "tls"
    async with server.listening() as url:
        first = await ask(url, server, folder, clock)
        clock.moment += timedelta(days=3000)
        server.broken = 1
        alone = await ask(url, server, folder, clock, alone=True)
        assert (alone.facts, clock.waits) == (first.facts, [])
        assert alone.due < clock.moment  # so it is renewed as soon as the server answers
        (folder / "kubelet-client.key").unlink()
        server.broken = 3
        clock.moment -= timedelta(days=3000)
        await ask(url, server, folder, clock, alone=True)
        assert len(clock.waits) == 3  # who lacks something cannot do anything alone


async def test_the_server_is_awaited_with_growing_waits(
    server: Server, tmp_path: Path, clock: StandingClock
) -> None:
    server.broken = 3
    async with server.listening() as url:
        await ask(url, server, tmp_path / "w1", clock)
    assert clock.waits == [0.5, 1.0, 2.0]


async def test_a_wrong_secret_is_refused(server: Server, tmp_path: Path, clock: Any) -> None:
    wrong = server.material.token.rpartition(":")[0] + ":wrong"
    async with server.listening() as url:
        with pytest.raises(StartError, match="the token is wrong; `kpy token` on the server"):
            await ask(url, server, tmp_path / "w1", clock, token=wrong)


async def test_a_token_of_another_cluster_is_refused(
    server: Server, tmp_path: Path, clock: Any
) -> None:
    other = f"K10{'0' * 64}::server:x"
    async with server.listening() as url:
        with pytest.raises(StartError, match="is not the one that --token names"):
            await ask(url, server, tmp_path / "w1", clock, token=other)


async def test_a_second_machine_cannot_take_a_name(
    server: Server, tmp_path: Path, clock: Any
) -> None:
    async with server.listening() as url:
        await ask(url, server, tmp_path / "w1", clock)
        with pytest.raises(StartError, match="'w1' belongs to another machine; pass another"):
            await ask(url, server, tmp_path / "impostor", clock)
        with pytest.raises(StartError, match="is the server's own"):
            await ask(url, server, tmp_path / "w2", clock, node_name="server-node")


async def test_passwords_are_kept_as_hashes(server: Server, tmp_path: Path, clock: Any) -> None:
    async with server.listening() as url:
        await ask(url, server, tmp_path / "w1", clock)
    password = (tmp_path / "w1" / "node-password").read_text()
    assert password not in str(server.client.secrets[secret_name("w1")])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"token": "secret"}, "--token is not a join token"),
        ({"node_name": "UPPER"}, "node name 'UPPER' is not valid"),
        ({"server": "http://x:1"}, "is no URL such as https://"),
    ],
)
async def test_bad_input_is_one_line_with_a_remedy(
    server: Server, tmp_path: Path, clock: Any, given: dict[str, str], message: str
) -> None:
    async with server.listening() as url:
        options = {"server": url, **given}
        with pytest.raises(StartError, match=message):
            await ask(options.pop("server"), server, tmp_path / "w1", clock, **options)


async def test_a_token_changes_and_nodes_that_have_joined_stay(
    server: Server, tmp_path: Path, clock: StandingClock
) -> None:
    async with server.listening() as url:
        member = await ask(url, server, tmp_path / "w1", clock)
        new = join_tokens.rotate(server.material.folder)
        clock.moment = member.due + timedelta(seconds=1)
        renewed = await ask(url, server, tmp_path / "w1", clock)
        assert renewed.due > clock.moment
        with pytest.raises(StartError, match="token is wrong"):
            await ask(url, server, tmp_path / "w2", clock, node_name="w2")
        with pytest.raises(StartError, match="belongs to another machine"):
            await ask(url, server, tmp_path / "other", clock)
        await ask(url, server, tmp_path / "w2", clock, node_name="w2", token=new)

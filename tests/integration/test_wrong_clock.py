"""A machine without a battery: kpy starts in 1970, is told the time later, and goes on."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
from cryptography import x509

from minikube_py.lib import pki
from minikube_py.lib.clock import SystemClock
from minikube_py.server import bootstrap
from minikube_py.server.app import ServerApp
from minikube_py.server.config import ServerConfig
from tests.integration.conftest import Server
from tests.integration.patience import eventually
from tests.ports import free_port

NO_CHECK_TIME = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME: its clock is the machine's, not the one of the test."""
TOKENS = "/api/v1/namespaces/default/serviceaccounts/default/token"


class SetClock(SystemClock):
    """Shows 1970 until somebody sets it; who waits for a time of day is woken, as by the kernel."""

    def __init__(self) -> None:
        self._ahead = datetime(1970, 1, 1, 0, 5, tzinfo=UTC) - super().now()
        self._set = asyncio.Event()

    def now(self) -> datetime:
        return super().now() + self._ahead

    def set(self, moment: datetime) -> None:
        self._ahead = moment - super().now()
        self._set.set()
        self._set = asyncio.Event()

    async def until(self, moment: datetime) -> None:
        left = (moment - self.now()).total_seconds()
        try:
            async with asyncio.timeout(max(left, 0.0)):
                await self._set.wait()
        except TimeoutError:
            return


def seen(server: Server, tls: ssl.SSLContext) -> Callable[[], Awaitable[x509.Certificate]]:
    """Return what asks over a connection of its own, and tells of the server's certificate."""

    async def ask() -> x509.Certificate:
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session,
            session.get(f"{server.url}/api/v1/namespaces/default") as answer,
        ):
            assert answer.status == 200
        port = server.app.config.https_listen_port
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        await writer.wait_closed()
        return x509.load_der_x509_certificate(der)

    return ask


async def token(server: Server) -> tuple[str, datetime]:
    wanted = {"spec": {"expirationSeconds": 3600}}
    answer = await eventually(  # the account may not be there yet
        lambda: server.call("POST", TOKENS, wanted), lambda found: found.status == 201
    )
    status = answer.body["status"]
    return status["token"], datetime.fromisoformat(status["expirationTimestamp"])


async def who(server: Server, bearer: str) -> int:
    review = {"spec": {"token": bearer}}
    answer = await server.call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)
    return 200 if answer.body["status"].get("authenticated") else 401


async def test_a_server_that_starts_in_1970_serves_and_heals_when_the_clock_is_set(
    tmp_path: Path,
) -> None:
    clock = SetClock()
    config = ServerConfig(
        data_dir=tmp_path,
        https_listen_port=free_port(),
        bind_address="127.0.0.1",
        advertise_address="192.0.2.10",
        write_kubeconfig=tmp_path / "kubeconfig.yaml",
        disable_scheduler=True,
    )
    material = bootstrap.prepare(config, now=clock.now())
    tls = ssl.create_default_context(cafile=str(material.cluster_ca.certificate_path))
    tls.load_cert_chain(material.admin.certificate_path, material.admin.key_path)
    app = ServerApp(config, material, clock)
    connector = aiohttp.TCPConnector(ssl=tls)
    async with (
        app.running(lambda _phase: None),
        aiohttp.ClientSession(connector=connector) as session,
    ):
        server = Server(app, session, f"https://127.0.0.1:{config.https_listen_port}")
        ask = seen(server, tls)
        # The machine's own clock accepts what is signed, and one that knows the time does, too.
        first = await ask()
        assert first.not_valid_before_utc < clock.now()
        assert first.not_valid_after_utc > pki.MADE
        early, end = await token(server)
        assert end.year == 1970
        assert await who(server, early) == 200

        clock.set(datetime.now(UTC))
        assert await ask() == first
        assert await who(server, early) == 401
        late, end = await token(server)
        assert end > datetime.now(UTC)
        assert await who(server, late) == 200

        # Years pass while kpy runs: whoever trusts the authority goes on.
        tls.verify_flags |= ssl.VerifyFlags(NO_CHECK_TIME)
        certificate = first
        for _ in range(3):
            before = certificate
            clock.set(certificate.not_valid_after_utc - timedelta(days=30))
            certificate = await eventually(ask, lambda found, before=before: found != before)
            assert certificate.not_valid_after_utc > clock.now() + timedelta(days=300)
        assert (await server.call("GET", "/readyz")).status == 200

"""A machine is given another address while its server runs: the cluster follows."""

import asyncio
import ssl
from pathlib import Path

from cryptography import x509

from minikube_py.lib import pki
from tests.integration.conftest import Server, running
from tests.integration.patience import eventually

AFTER = "192.0.2.77"
SLICE = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"


async def led_to(server: Server) -> list[list[str]]:
    """Return where default/kubernetes leads, by its Endpoints and by its slice."""
    found = await server.call("GET", "/api/v1/namespaces/default/endpoints/kubernetes")
    sliced = await server.call("GET", SLICE)
    return [
        [one["ip"] for one in found.body["subsets"][0]["addresses"]],
        [ip for end in sliced.body["endpoints"] for ip in end["addresses"]],
    ]


async def shown(server: Server) -> set[str]:
    """Return the names in the certificate that the server shows."""
    port = server.app.config.https_listen_port
    pem = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port))
    return set(pki.alternatives_of(x509.load_pem_x509_certificate(pem.encode())))


async def test_the_cluster_is_led_to_the_new_address_and_the_certificate_names_it(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, advertise_address="") as server:
        assert [AFTER] not in await led_to(server)
        await server.app.move((AFTER,))
        await eventually(lambda: led_to(server), lambda found: found == [[AFTER], [AFTER]])
        await eventually(lambda: shown(server), lambda names: AFTER in names)
        assert server.app.bootstrap.advertise_address == AFTER


async def test_an_address_that_was_given_stays(server: Server) -> None:
    before = await led_to(server)
    await server.app.move((AFTER,))
    assert await led_to(server) == before == [["192.0.2.10"], ["192.0.2.10"]]
    await eventually(lambda: shown(server), lambda names: AFTER in names)

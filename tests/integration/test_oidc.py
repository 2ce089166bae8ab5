"""Users of an OpenID Connect issuer, over real TLS; the configuration changes while it runs."""

import json
import ssl
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import pytest
import yaml
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from minikube_py.lib import authority, pki
from tests.integration.conftest import Server, running
from tests.integration.patience import eventually

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
REVIEWS = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


class Issuer:
    """An identity provider on loopback."""

    def __init__(self, folder: Path) -> None:
        now = datetime.now(UTC)
        self.folder = folder
        self.ca = authority.ensure_ca(folder, "issuer-ca", "issuer-ca", now)
        subject = pki.Subject(name="issuer", alternatives=("127.0.0.1",))
        self.leaf = pki.ensure_leaf(folder, "issuer", self.ca, subject, "server", now=now)
        self.url = ""

    async def start(self) -> web.ServerRunner:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(self.leaf.certificate_path, self.leaf.key_path)
        runner = web.ServerRunner(web.Server(self.answer))  # type: ignore[arg-type]
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        self.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
        return runner

    async def answer(self, request: web.BaseRequest) -> web.Response:
        if request.path == "/keys":
            key = json.loads(RSAAlgorithm.to_jwk(KEY.public_key()))
            return web.json_response({"keys": [{**key, "kid": "one"}]})
        return web.json_response({"issuer": self.url, "jwks_uri": f"{self.url}/keys"})

    def configuration(self, prefix: str) -> str:
        issuer = {
            "url": self.url,
            "audiences": ["kpy"],
            "certificateAuthority": self.ca.certificate_pem.decode(),
        }
        mappings = {"username": {"claim": "sub", "prefix": prefix}}
        return yaml.safe_dump(
            {
                "apiVersion": "apiserver.config.k8s.io/v1",
                "kind": "AuthenticationConfiguration",
                "jwt": [{"issuer": issuer, "claimMappings": mappings}],
                "anonymous": {"enabled": True, "conditions": [{"path": "/version"}]},
            }
        )

    def token(self) -> str:
        claims = {"iss": self.url, "aud": "kpy", "sub": "jane", "exp": int(time.time()) + 600}
        return jwt.encode(claims, KEY, "RS256", headers={"kid": "one"})


@pytest.fixture
async def issuer(tmp_path: Path) -> AsyncIterator[Issuer]:
    (tmp_path / "issuer").mkdir()
    made = Issuer(tmp_path / "issuer")
    runner = await made.start()
    yield made
    await runner.cleanup()


@pytest.fixture
async def cluster(tmp_path: Path, issuer: Issuer) -> AsyncIterator[Server]:
    path = issuer.folder / "authentication.yaml"
    path.write_text(issuer.configuration("corp:"))
    async with running(tmp_path / "data", authentication_config=str(path)) as made:
        yield made


async def whoami(cluster: Server, token: str) -> str:
    """Return the name of who has only this token, or the status of the refusal."""
    ca = cluster.app.bootstrap.cluster_ca.certificate_path
    tls = ssl.create_default_context(cafile=ca)
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    headers = {"Authorization": f"Bearer {token}"}
    url = cluster.url + REVIEWS
    async with cluster.session.post(url, json=body, headers=headers, ssl=tls) as response:
        answer: Any = await response.json()
        if response.status != 201:
            return str(response.status)
        return str(answer["status"]["userInfo"]["username"])


async def test_a_token_of_the_issuer_is_a_user(cluster: Server, issuer: Issuer) -> None:
    assert await whoami(cluster, issuer.token()) == "corp:jane"
    assert await whoami(cluster, issuer.token()[:-6] + "abcdef") == "401"


async def test_the_configuration_is_followed(cluster: Server, issuer: Issuer) -> None:
    path = issuer.folder / "authentication.yaml"

    async def ask() -> str:
        return await whoami(cluster, issuer.token())

    assert await ask() == "corp:jane"
    path.write_text("nonsense")
    assert await ask() == "corp:jane"
    path.write_text(issuer.configuration("new:"))
    assert await eventually(ask, lambda name: name == "new:jane")


async def test_requests_without_credentials_come_as_far_as_the_file_says(cluster: Server) -> None:
    tls = ssl.create_default_context(cafile=cluster.app.bootstrap.cluster_ca.certificate_path)
    for path, status in (("/version", 200), ("/api", 401)):
        async with cluster.session.get(cluster.url + path, ssl=tls) as response:
            assert response.status == status

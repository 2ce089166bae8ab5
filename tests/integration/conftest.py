"""A whole control plane in this process, on a free loopback port, and two ways to it."""

import contextlib
import io
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import orjson
import pytest

from minikube_py.client.protocol import Client
from minikube_py.lib.clock import SystemClock
from minikube_py.server.app import ServerApp
from minikube_py.server.config import ServerConfig
from minikube_py.server.parts import APISERVER
from minikube_py.server.preparation import prepared
from tests.ports import free_port
from tests.webhook_server import WebhookServer, webhook_server


class Answer(NamedTuple):
    """What came back: the document where it is JSON, the bytes in any case."""

    status: int
    body: Any
    headers: Any
    raw: bytes


class Server:
    """A running control plane."""

    def __init__(self, app: ServerApp, session: aiohttp.ClientSession, url: str) -> None:
        self.app = app
        self.session = session
        self.url = url

    @property
    def client(self) -> Client:
        return self.app.loopback(APISERVER)

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Send one request as the administrator; `content_type` and `accept` are headers."""
        names = {key.replace("_", "-"): value for key, value in headers.items()}
        data = body if isinstance(body, bytes) or body is None else orjson.dumps(body)
        if data is not None:
            names.setdefault("content-type", "application/json")
        async with self.session.request(
            method, self.url + path, data=None if data is None else io.BytesIO(data), headers=names
        ) as response:
            raw = await response.read()
            is_json = "json" in response.headers.get("Content-Type", "")
            return Answer(
                response.status,
                orjson.loads(raw) if is_json and raw else None,
                response.headers,
                raw,
            )


@contextlib.asynccontextmanager
async def running(data_dir: Path, **options: Any) -> AsyncIterator[Server]:
    """Run a control plane for the length of the block; no loops, unless the options say so."""
    loops_off = {
        "disable_scheduler": True,
        "disable_controller_manager": True,
        "disable_cloud_controller": True,
    }
    own = {
        "https_listen_port": free_port(),
        "bind_address": "127.0.0.1",
        "advertise_address": "192.0.2.10",
        "write_kubeconfig": data_dir / "kubeconfig.yaml",
    }
    config = ServerConfig(data_dir=data_dir, **(own | loops_off | options))
    material = await prepared(config, SystemClock())
    app = ServerApp(config, material)
    tls = ssl.create_default_context(cafile=str(material.cluster_ca.certificate_path))
    tls.load_cert_chain(material.admin.certificate_path, material.admin.key_path)
    async with app.running(lambda _phase: None):
        connector = aiohttp.TCPConnector(ssl=tls)
        async with aiohttp.ClientSession(connector=connector) as session:
            yield Server(app, session, f"https://127.0.0.1:{config.https_listen_port}")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running(tmp_path) as running_server:
        yield running_server


@pytest.fixture
async def far(server: Server, tmp_path: Path) -> AsyncIterator[WebhookServer]:
    """Run a webhook that the cluster's own authority vouches for."""
    async with webhook_server(tmp_path, server.app.bootstrap.cluster_ca) as running_webhook:
        yield running_webhook


@pytest.fixture
def restartable(tmp_path: Path) -> Callable[[], contextlib.AbstractAsyncContextManager[Server]]:
    """Start the same control plane again and again on one data dir."""
    return lambda: running(tmp_path)

"""Pods and services answer through the API server to every method, over TLS too, links and all."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import orjson
import pytest
from aiohttp import web

from minikube_py.api.core import PODS, SERVICEACCOUNTS, SERVICES
from minikube_py.api.endpointslices import ENDPOINTSLICES
from minikube_py.server.apiserver.proxy import Proxy
from tests.integration.conftest import Server
from tests.webhook_server import WebhookServer

ADDRESS = "10.42.0.9"
"""Of the pod; the server finds it on loopback, where tests may listen."""
PAGE = '<a href="/rewriteme">test</a>'
SPACE = "/api/v1/namespaces/default"
WITH_BODY = ["DELETE", "OPTIONS", "PATCH", "POST", "PUT"]


class World(NamedTuple):
    """A server, and where its pod answers."""

    server: Server
    plain: int
    secure: int


async def porter(request: web.BaseRequest) -> web.StreamResponse:
    """Answer with a page, or with what was asked where a path says so."""
    if request.path == "/":
        return web.Response(text=PAGE, content_type="text/html")
    return web.json_response({"Method": request.method, "Asked": request.raw_path})


@contextlib.asynccontextmanager
async def porting(tls: ssl.SSLContext | None) -> AsyncIterator[int]:
    runner = web.ServerRunner(web.Server(porter), shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def dialled(_proxy: Proxy, host: str, port: int) -> socket.socket:
    assert host == ADDRESS
    near = socket.socket()
    near.setblocking(False)  # noqa: FBT003
    await asyncio.get_running_loop().sock_connect(near, ("127.0.0.1", port))
    return near


@pytest.fixture
async def world(
    server: Server, far: WebhookServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    monkeypatch.setattr(Proxy, "_dialled", dialled)
    async with porting(None) as plain, porting(far.context) as secure:
        await make(server, plain, secure)
        yield World(server, plain, secure)


async def make(server: Server, plain: int, secure: int) -> None:
    container = {"name": "c", "image": "i", "ports": [{"containerPort": plain}]}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"containers": [container], "automountServiceAccountToken": False},
    }
    account = {"metadata": {"name": "default", "namespace": "default"}}
    await server.client.create(
        SERVICEACCOUNTS, {"apiVersion": "v1", "kind": "ServiceAccount", **account}
    )
    made = await server.client.create(PODS, pod)
    status = {"phase": "Running", "podIP": ADDRESS, "podIPs": [{"ip": ADDRESS}]}
    await server.client.update(PODS, {**made, "status": status}, subresource="status")
    ports: list[dict[str, Any]] = [
        {"name": "http", "port": 80, "protocol": "TCP"},
        {"name": "tls", "port": 443, "protocol": "TCP"},
    ]
    meta = {"name": "web", "namespace": "default"}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"ports": ports}}
    await server.client.create(SERVICES, service)
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {**meta, "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [ADDRESS], "targetRef": {**meta, "kind": "Pod"}}],
        "ports": [{**ports[0], "port": plain}, {**ports[1], "port": secure}],
    }
    await server.client.create(ENDPOINTSLICES, endpoints)


def places(world: World) -> list[str]:
    return [
        "pods/web",
        f"pods/web:{world.plain}",
        f"pods/http:web:{world.plain}",
        f"pods/https:web:{world.secure}",
        "services/web:http",
        "services/http:web:80",
        "services/https:web:tls",
        "services/https:web:443",
    ]


@pytest.mark.conformance("Proxy version v1 should proxy through a service and a pod")
async def test_pages_lead_back_through_the_proxy(world: World) -> None:
    for place in places(world):
        path = f"{SPACE}/{place}/proxy"
        found = await world.server.call("GET", f"{path}/")
        assert (found.status, found.raw.decode()) == (200, PAGE.replace("/re", f"{path}/re"))
        bare = await world.server.call("HEAD", f"{path}/")
        assert (bare.status, bare.raw) == (200, b"")


@pytest.mark.conformance(
    "Proxy version v1 A set of valid responses are returned for both pod and service Proxy",
    "Proxy version v1 A set of valid responses are returned for both pod and service ProxyWithPath",
)
async def test_every_method_arrives_with_its_path(world: World) -> None:
    for place in places(world):
        for method in [*WITH_BODY, "GET"]:
            rest = "/some/path with/%3F/?a=b%20c&d"
            path = f"{SPACE}/{place}/proxy{rest}".replace(" ", "%20")
            found = await world.server.call(method, path)
            asked = {"Method": method, "Asked": rest.replace(" ", "%20")}
            assert (found.status, orjson.loads(found.raw)) == (200, asked)


@pytest.mark.conformance(
    "Proxy version v1 A set of valid responses are returned for both pod and service Proxy"
)
async def test_a_page_is_only_shown_below_a_path_that_ends_with_a_slash(world: World) -> None:
    for place in places(world):
        path = f"{SPACE}/{place}/proxy"
        for method in ("GET", "HEAD"):
            session, url = world.server.session, f"{world.server.url}{path}?method=x"
            async with session.request(method, url, allow_redirects=False) as answer:
                assert (answer.status, answer.headers["Location"]) == (301, f"{path}/?method=x")
        for method in WITH_BODY:
            found = await world.server.call(method, f"{path}?method={method}")
            assert (found.status, found.raw.decode()) == (200, PAGE.replace("/re", f"{path}/re"))


async def test_a_pod_is_not_reached_where_its_address_means_this_machine(world: World) -> None:
    for address in ("127.0.0.1", "169.254.169.254", "::1"):
        pod = await world.server.client.get(PODS, "web", "default")
        status = {**pod["status"], "podIP": address, "podIPs": [{"ip": address}]}
        await world.server.client.update(PODS, {**pod, "status": status}, subresource="status")
        found = await world.server.call("GET", f"{SPACE}/pods/web/proxy/")
        assert (found.status, found.body["message"]) == (400, "address not allowed")


async def test_a_service_is_only_reached_at_addresses_of_its_pods(world: World) -> None:
    found = await world.server.client.get(ENDPOINTSLICES, "web", "default")
    (endpoint,) = found["endpoints"]
    for odd in (
        {"addresses": [ADDRESS]},
        {**endpoint, "addresses": ["10.42.0.10"]},
        {**endpoint, "targetRef": {**endpoint["targetRef"], "name": "gone"}},
        {**endpoint, "targetRef": {**endpoint["targetRef"], "namespace": "other"}},
        {**endpoint, "conditions": {"ready": False}},
    ):
        found = await world.server.client.get(ENDPOINTSLICES, "web", "default")
        await world.server.client.update(ENDPOINTSLICES, {**found, "endpoints": [odd]})
        answer = await world.server.call("GET", f"{SPACE}/services/web:http/proxy/")
        message = 'no endpoints available for service "web:http"'
        assert (answer.status, answer.body["message"]) == (503, message), odd

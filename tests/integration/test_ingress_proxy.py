"""The reverse proxy on loopback: what users see when endpoints fail, and what endpoints see."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from minikube_py.agent.ingress import proxy
from minikube_py.agent.ingress.backends import Backends
from minikube_py.agent.ingress.metrics import Counts
from minikube_py.agent.ingress.routes import Backend, Route, Table
from minikube_py.agent.proxy.endpoints import Node
from tests.ports import free_port

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
BACKEND = Backend("x", "web", 80)
SERVICE = {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}
TABLE = Table({"web.test": (Route("/", exact=False, backend=BACKEND),)})


@contextlib.asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[int]:
    port = free_port()
    runner = web.ServerRunner(web.Server(handler, handler_cancellation=True), shutdown_timeout=0.1)  # type: ignore[arg-type]
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield port
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def proxied(
    *ports: int, counts: Counts | None = None
) -> AsyncIterator[Callable[..., Awaitable[tuple[int, Any]]]]:
    """Have a proxy whose endpoints have these ports; yield what asks it."""
    slices = [
        {
            "addressType": "IPv4",
            "ports": [{"port": port}],
            "endpoints": [{"addresses": ["127.0.0.1"]}],
        }
        for port in ports
    ]
    loop = asyncio.get_running_loop()
    backends = Backends(lambda _: SERVICE, lambda _: slices, Node(name="n"))
    made = proxy.IngressProxy(backends, counts or Counts(), loop.time)
    made.table = TABLE
    async with served(made.handle) as port, aiohttp.ClientSession() as session:

        async def ask(method: str = "GET", host: str = "web.test", **more: Any) -> tuple[int, Any]:
            headers = {"Host": host, **more.pop("headers", {})}
            url = f"http://127.0.0.1:{port}{more.pop('path', '/')}"
            async with session.request(method, url, headers=headers, **more) as answer:
                kind = answer.content_type
                return answer.status, await (
                    answer.json() if kind == "application/json" else answer.text()
                )

        try:
            yield ask
        finally:
            await made.close()


async def tell(request: web.BaseRequest) -> web.Response:
    body = await request.read()
    headers = {name.lower(): value for name, value in request.headers.items()}
    return web.json_response({"headers": headers, "body": body.decode(), "path": request.raw_path})


async def test_headers_say_who_the_client_is_and_those_of_one_connection_stay() -> None:
    async with served(tell) as port, proxied(port) as ask:
        sent = {"X-Forwarded-For": "1.2.3.4", "Forwarded": "for=x", "X-Own": "1", "TE": "trailers"}
        status, told = await ask("POST", data="body", path="/a%2Fb?c=d", headers=sent)
        assert (status, told["body"], told["path"]) == (200, "body", "/a%2Fb?c=d")
        headers = told["headers"]
        assert headers["x-forwarded-for"] == "127.0.0.1"
        assert headers["x-own"] == "1"
        assert not {"forwarded", "te"} & headers.keys()


async def test_an_endpoint_that_cannot_be_connected_is_left_out() -> None:
    async with served(tell) as port, proxied(free_port(), port) as ask:
        answers = [await ask("POST", data="kept") for _ in range(6)]
        assert [(status, told["body"]) for status, told in answers] == [(200, "kept")] * 6


async def test_connections_to_endpoints_are_used_again() -> None:
    seen = set()

    async def note(request: web.BaseRequest) -> web.Response:
        seen.add(request.transport)
        return web.Response()

    async with served(note) as port, proxied(port) as ask:
        for _ in range(5):
            assert (await ask())[0] == 200
    assert len(seen) == 1


async def test_what_is_amiss_has_the_usual_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "SILENCE_SECONDS", 0.2)

    async def silent(_: web.BaseRequest) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with served(silent) as port, proxied(port) as ask:
        assert (await ask())[0] == 504
    async with proxied(free_port()) as ask:
        assert (await ask())[0] == 502
    async with proxied() as ask:
        assert (await ask())[0] == 503
        assert (await ask(host="other.test"))[0] == 404


async def test_more_requests_than_a_node_answers_at_once_are_told_to_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(proxy, "REQUESTS_MAX", 2)
    go, both = asyncio.Event(), asyncio.Barrier(3)

    async def waits(_: web.BaseRequest) -> web.Response:
        await both.wait()
        await go.wait()
        return web.Response()

    counts = Counts()
    async with served(waits) as port, proxied(port, counts=counts) as ask:
        async with asyncio.TaskGroup() as group:
            two = [group.create_task(ask()) for _ in range(2)]
            await both.wait()
            assert (await ask())[0] == 503
            go.set()
        assert [task.result()[0] for task in two] == [200, 200]
    assert sum(counts.requests.values()) == 3
    assert 'code="503"} 1' in "\n".join(counts.lines())

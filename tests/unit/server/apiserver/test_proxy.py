"""The API server passes on HTTP and upgraded connections, and ends them with the client."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from minikube_py.api.errors import (
    BadRequestError,
    InternalError,
    NotFoundError,
    ServiceUnavailableError,
    StatusError,
)
from minikube_py.lib.hijack import Switched, dial_upgrade, take_over
from minikube_py.server.apiserver.proxy import Proxy, rewritten
from minikube_py.server.apiserver.upgrade import tunnel

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    server = web.Server(handler, handler_cancellation=True)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()
        await server.shutdown(1)


@asynccontextmanager
async def forwarding(far: str, prefix: str = "") -> AsyncIterator[str]:
    async with Proxy() as proxy:

        async def handler(request: web.BaseRequest) -> web.StreamResponse:
            path = request.raw_path.removeprefix(prefix)
            return await proxy.forward(request, far + path, None, prefix=prefix)

        async with serving(handler) as url:
            yield url


@asynccontextmanager
async def streaming(far: str, errors: list[StatusError]) -> AsyncIterator[str]:
    async with Proxy() as proxy:

        async def handler(request: web.BaseRequest) -> web.StreamResponse:
            try:
                return await proxy.stream(request, far, None, target="pods/log web-1")
            except StatusError as error:
                errors.append(error)
                return web.Response(status=error.code)

        async with serving(handler) as url:
            yield url


async def refusal_of(status: int, text: str) -> StatusError:
    async def kubelet(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=status, text=text)

    errors: list[StatusError] = []
    async with (
        serving(kubelet) as far,
        streaming(far, errors) as near,
        aiohttp.ClientSession() as client,
        client.get(near),
    ):
        return errors[0]


async def test_a_request_goes_on_with_its_body_and_query_and_without_the_users_secrets() -> None:
    seen = {}

    async def far_end(request: web.BaseRequest) -> web.StreamResponse:
        seen.update(request.headers, path=request.raw_path, body=await request.read())
        return web.Response(status=201, body=b"made", headers={"X-Own": "1"})

    headers = {
        "Authorization": "Bearer secret",
        "Impersonate-User": "root",
        "Connection": "X-Hop, keep-alive",
        "X-Hop": "1",
        "X-Kept": "2",
    }
    async with (
        serving(far_end) as far,
        forwarding(far) as near,
        aiohttp.ClientSession() as client,
        client.put(f"{near}/a%2Fb?x=%20y", data=b"z" * 300_000, headers=headers) as answer,
    ):
        assert (answer.status, await answer.read()) == (201, b"made")
        assert answer.headers["X-Own"] == "1"
    assert seen["path"] == "/a%2Fb?x=%20y"
    assert len(seen["body"]) == 300_000
    assert seen["X-Kept"] == "2"
    assert not {"Authorization", "Impersonate-User", "X-Hop"} & seen.keys()


async def test_a_body_streams_as_it_comes() -> None:
    more = asyncio.Event()

    async def far_end(request: web.BaseRequest) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b"first")
        await more.wait()
        await answer.write(b"second")
        return answer

    async with (
        serving(far_end) as far,
        forwarding(far) as near,
        aiohttp.ClientSession() as client,
        client.get(near) as answer,
    ):
        assert await answer.content.readany() == b"first"
        more.set()
        assert await answer.content.read() == b"second"


async def test_the_far_request_ends_when_the_client_goes() -> None:
    ended = asyncio.Event()

    async def far_end(request: web.BaseRequest) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b"first")
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return answer

    async with serving(far_end) as far, forwarding(far) as near:
        async with aiohttp.ClientSession() as client, client.get(near) as answer:
            await answer.content.readany()
        await asyncio.wait_for(ended.wait(), 5)


async def test_a_far_end_that_is_not_there_is_unavailable() -> None:
    errors = []
    async with Proxy() as proxy:

        async def handler(request: web.BaseRequest) -> web.StreamResponse:
            with pytest.raises(ServiceUnavailableError) as caught:
                await proxy.forward(request, "http://127.0.0.1:9/", None)
            errors.append(caught.value.message)
            return web.Response()

        async with serving(handler) as near, aiohttp.ClientSession() as client, client.get(near):
            pass
    assert errors == [
        "error trying to reach service: dial tcp 127.0.0.1:9: connect: connection refused"
    ]


@pytest.mark.parametrize(
    ("location", "wanted"),
    [
        ("/login?x=1", "/proxy/login?x=1"),
        ("http://10.0.0.5:80/login", "/proxy/login"),
        ("http://elsewhere/login", "http://elsewhere/login"),
        ("next", "next"),
        ("/proxy/there", "/proxy/there"),
    ],
)
def test_a_redirect_stays_below_the_proxy_path(location: str, wanted: str) -> None:
    assert rewritten(location, "http://10.0.0.5:80/x", "/proxy/") == wanted


async def test_the_kubelets_refusals_keep_their_words() -> None:
    bad = await refusal_of(400, 'container "x" is waiting to start')
    assert isinstance(bad, BadRequestError)
    assert bad.message == 'container "x" is waiting to start'
    internal = await refusal_of(500, "disk on fire")
    assert isinstance(internal, InternalError)
    assert internal.message == "Internal error occurred: disk on fire"
    missing = await refusal_of(404, "gone")
    assert isinstance(missing, NotFoundError)
    assert missing.message == ("the server could not find the requested resource ( pods/log web-1)")
    assert missing.details["causes"][0]["message"] == "gone"


@asynccontextmanager
async def echoing() -> AsyncIterator[str]:
    async def echo(request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("Upgrade") != "SPDY/3.1":
            return web.Response(status=403, text="no such protocol")
        assert "Authorization" not in request.headers
        far = take_over(
            request, [("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1"), ("X-Picked", "v4")]
        )
        while data := await far.read():
            await far.write(data)
        return Switched()

    async with serving(echo) as url:
        yield url


@asynccontextmanager
async def tunnelling(far: str) -> AsyncIterator[str]:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        return await tunnel(request, far + request.raw_path, None, proxy=Proxy())

    async with serving(handler) as url:
        yield url


async def test_an_upgraded_connection_carries_bytes_both_ways_and_ends_with_the_client() -> None:
    payload = bytes(range(256)) * 8192  # 2 MiB: more than all buffers on the way
    headers = [("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1"), ("Authorization", "Bearer x")]
    async with echoing() as far, tunnelling(far) as near:
        connection = await dial_upgrade(f"{near}/exec?a=b", headers=headers)
        assert connection.headers["x-picked"] == "v4"
        async with asyncio.TaskGroup() as group:
            group.create_task(connection.write(payload))
            got = bytearray()
            while len(got) < len(payload):
                got += await connection.read()
        assert got == payload
        connection.close()


async def test_a_refused_upgrade_reaches_the_client_as_it_is() -> None:
    headers = {"Connection": "Upgrade", "Upgrade": "websocket"}
    async with (
        echoing() as far,
        tunnelling(far) as near,
        aiohttp.ClientSession() as client,
        client.get(near, headers=headers) as answer,
    ):
        assert (answer.status, await answer.text()) == (403, "no such protocol")


async def test_a_websocket_goes_through_without_the_token_in_its_subprotocols() -> None:
    offers = []

    async def far_end(request: web.BaseRequest) -> web.StreamResponse:
        offers.append(request.headers["Sec-WebSocket-Protocol"])
        socket = web.WebSocketResponse(protocols=("v5.channel.k8s.io",))
        await socket.prepare(request)
        await socket.send_bytes(await socket.receive_bytes() + b"!")
        await socket.close()
        return socket

    protocols = ("base64url.bearer.authorization.k8s.io.c2VjcmV0", "v5.channel.k8s.io")
    async with (
        serving(far_end) as far,
        tunnelling(far) as near,
        aiohttp.ClientSession() as client,
        client.ws_connect(near, protocols=protocols) as socket,
    ):
        assert socket.protocol == "v5.channel.k8s.io"
        await socket.send_bytes(b"hello")
        assert (await socket.receive()).data == b"hello!"
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
    assert offers == ["v5.channel.k8s.io"]


async def test_a_kubelet_that_is_not_there_is_an_internal_error() -> None:
    messages = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        with pytest.raises(InternalError) as caught:
            await tunnel(request, "http://127.0.0.1:9/exec", None, proxy=Proxy())
        messages.append(caught.value.message)
        return web.Response()

    headers = {"Connection": "Upgrade", "Upgrade": "websocket"}
    async with (
        serving(handler) as near,
        aiohttp.ClientSession() as client,
        client.get(near, headers=headers),
    ):
        pass
    assert messages == ["error dialing backend: dial tcp 127.0.0.1:9: connect: connection refused"]

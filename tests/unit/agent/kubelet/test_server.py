"""The kubelet's server end to end in one process: a runtime that speaks SPDY, callers of all kinds.

The runtime here stands for containerd's streaming server; the callers go through the API server's
tunnel, as kubectl does.
"""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from minikube_py.agent.cri.runtime import Container, ExecResult, Sandbox
from minikube_py.agent.kubelet.server import KubeletServer, serving
from minikube_py.agent.kubelet.server_host import Host
from minikube_py.api.errors import ForbiddenError
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj
from minikube_py.lib import spdy
from minikube_py.lib.clock import SystemClock
from minikube_py.lib.hijack import Switched, TakenOver, dial_upgrade, take_over
from minikube_py.server.apiserver.proxy import Proxy
from minikube_py.server.apiserver.upgrade import tunnel

SUCCESS = b'{"metadata":{},"status":"Success"}'
EXIT_7 = orjson.dumps({
    "status": "Failure",
    "reason": "NonZeroExitCode",
    "details": {"causes": [{"reason": "ExitCode", "message": "7"}]},
})  # fmt: skip
POD: Obj = {
    "metadata": {"namespace": "default", "name": "web", "uid": "u1", "resourceVersion": "5"},
    "spec": {"containers": [{"name": "app"}, {"name": "shell", "tty": True}]},
    "status": {
        "containerStatuses": [
            {"name": "app", "state": {"running": {}}},
            {"name": "shell", "state": {"waiting": {"reason": "ImagePullBackOff"}}},
        ]
    },
}


class Pods:
    def get(self, key: Key) -> Obj | None:
        return POD if key == Key("default", "web") else None

    def items(self) -> Iterable[Item]:
        return [Item.from_object(POD)]


class OpenAccess:
    async def check(self, *_: object) -> object:
        return None


@dataclass
class SpdyStreams:
    """One SPDY connection at the runtime's side, its streams by type."""

    connection: TakenOver
    session: spdy.Session = field(default_factory=lambda: spdy.Session(client=False))
    streams: dict[str, int] = field(default_factory=dict)

    async def events(self) -> AsyncIterator[tuple[str, spdy.Event]]:
        names: dict[int, str] = {}
        while data := await self.connection.read():
            for event in self.session.receive(data):
                if isinstance(event, spdy.StreamOpened):
                    name = event.headers.get("streamtype", "")
                    names[event.stream_id] = name
                    self.streams[name] = event.stream_id
                    await self.connection.write(self.session.reply(event.stream_id))
                    yield name, event
                elif isinstance(event, spdy.DataReceived):
                    yield names[event.stream_id], event

    async def send(self, name: str, data: bytes, *, fin: bool = False) -> None:
        await self.connection.write(self.session.data(self.streams[name], data, fin=fin))

    async def finish(self, status: bytes) -> None:
        await self.send("error", status, fin=True)
        for name in ("stdout", "stderr"):
            if name in self.streams:
                await self.send(name, b"", fin=True)


async def cat(streams: SpdyStreams) -> None:
    """Echo stdin until it ends; say on stderr how much it was; tell of every resize."""
    count = 0
    async for name, event in streams.events():
        if not isinstance(event, spdy.DataReceived):
            continue
        if name == "resize":
            await streams.send("stdout", b"resized " + event.data)
        else:
            count += len(event.data)
            await streams.send("stdout", event.data)
            if event.fin:
                await streams.send("stderr", f"{count} bytes".encode())
                await streams.finish(SUCCESS)
                return


async def exit_7(streams: SpdyStreams) -> None:
    async for _ in streams.events():
        if {"error", "stdout", "stderr"} <= streams.streams.keys():
            await streams.send("stdout", b"bye")
            await streams.finish(EXIT_7)
            return


async def echo(streams: SpdyStreams, opened: list[dict[str, str]]) -> None:
    """Send back what comes on the data stream; note the headers of all streams."""
    async for name, event in streams.events():
        if isinstance(event, spdy.StreamOpened):
            opened.append(dict(event.headers))
        elif isinstance(event, spdy.DataReceived) and name == "data":
            await streams.send("data", event.data, fin=event.fin)


async def vanish(streams: SpdyStreams) -> None:
    async for _ in streams.events():
        return


@dataclass
class Runtime:
    """Containers that the test put there, and a streaming server."""

    behaviour: Callable[[SpdyStreams], Any] = cat
    containers: list[Container] = field(default_factory=list)
    requests: list[Mapping[str, Any]] = field(default_factory=list)
    seen: list[web.BaseRequest] = field(default_factory=list)
    url: str = ""

    async def stream(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append(request)
        if "Upgrade" not in request.headers or request.path != "/token":
            return web.Response(status=404, text="no such token")
        picked = request.headers.get("X-Stream-Protocol-Version", "")
        connection = take_over(
            request,
            [
                ("Connection", "Upgrade"),
                ("Upgrade", "SPDY/3.1"),
                ("X-Stream-Protocol-Version", picked),
            ],
        )
        await self.behaviour(SpdyStreams(connection))
        connection.close()
        return Switched()

    async def list_containers(self, labels: Mapping[str, str]) -> list[Container]:
        return [c for c in self.containers if labels.items() <= c.labels.items()]

    async def list_sandboxes(self, labels: Mapping[str, str]) -> list[Sandbox]:
        return [Sandbox(id="s1")] if labels == {"io.kubernetes.pod.uid": "u1"} else []

    async def container_status(self, container_id: str) -> Container:
        return next(c for c in self.containers if c.id == container_id)

    async def exec_sync(
        self, container_id: str, command: Sequence[str], timeout_seconds: int
    ) -> ExecResult:
        return ExecResult(0, " ".join(command).encode(), b"!")

    async def exec_url(self, request: Mapping[str, Any]) -> str:
        self.requests.append(request)
        return f"{self.url}/token"

    attach_url = exec_url

    async def port_forward_url(self, sandbox_id: str, ports: Sequence[int] = ()) -> str:
        self.requests.append({"sandbox": sandbox_id, "ports": list(ports)})
        return f"{self.url}/token"


def container(
    number: int, state: str = "running", name: str = "app", log_path: str = ""
) -> Container:
    return Container(
        id=f"c{number}",
        name=name,
        attempt=number,
        created_at=number,
        state=state,
        log_path=log_path,
        labels={
            "io.kubernetes.pod.uid": "u1",
            "io.kubernetes.pod.name": "web",
            "io.kubernetes.container.name": name,
        },
    )


@contextlib.asynccontextmanager
async def listening(handler: Any) -> AsyncIterator[str]:
    server = web.Server(handler, handler_cancellation=True)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()
        await server.shutdown(1)


@dataclass
class Node:
    """A kubelet's server, with the API server's tunnel before it."""

    runtime: Runtime
    kubelet: KubeletServer
    direct: str
    tunnelled: str


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    runtime = Runtime(containers=[container(1)])
    kubelet = KubeletServer(Host(runtime, Pods()), OpenAccess(), SystemClock())
    async with contextlib.AsyncExitStack() as stack:
        runtime.url = await stack.enter_async_context(listening(runtime.stream))
        port = await stack.enter_async_context(serving(kubelet, "127.0.0.1", 0, None))
        direct = f"http://127.0.0.1:{port}"

        async def apiserver(request: web.BaseRequest) -> web.StreamResponse:
            return await tunnel(request, direct + request.raw_path, None, proxy=Proxy())

        tunnelled = await stack.enter_async_context(listening(apiserver))
        yield Node(runtime, kubelet, direct, tunnelled)


async def get(url: str, method: str = "GET") -> tuple[int, str]:
    async with aiohttp.ClientSession() as client, client.request(method, url) as answer:
        return answer.status, await answer.text()


EXEC = "/exec/default/web/app?input=1&output=1&error=1&command=cat&command=-n"


@contextlib.asynccontextmanager
async def websocket(
    url: str, protocol: str = "v5.channel.k8s.io"
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with (
        aiohttp.ClientSession() as client,
        client.ws_connect(url, protocols=(protocol,), compress=0) as socket,
        asyncio.timeout(10),
    ):
        assert socket.protocol == protocol
        yield socket


async def by_channel(socket: aiohttp.ClientWebSocketResponse) -> dict[int, bytes]:
    """Read until the server closes; return what came on each channel."""
    got: dict[int, bytes] = {}
    async for message in socket:
        got[message.data[0]] = got.get(message.data[0], b"") + message.data[1:]
    return got


async def test_exec_by_websocket_ends_when_its_stdin_ends(node: Node) -> None:
    payload = bytes(range(256)) * 4096
    async with websocket(node.tunnelled + EXEC) as socket:
        for at in range(0, len(payload), 65536):
            await socket.send_bytes(b"\x00" + payload[at : at + 65536])
        await socket.send_str("\x00as text")  # as some clients do
        await socket.send_bytes(b"\xff\x00")
        got = await by_channel(socket)
    payload += b"as text"
    assert got == {1: payload, 2: f"{len(payload)} bytes".encode(), 3: SUCCESS}
    assert node.runtime.requests == [
        {
            "container_id": "c1",
            "cmd": ["cat", "-n"],
            "tty": False,
            "stdin": True,
            "stdout": True,
            "stderr": True,
        }
    ]


async def test_an_exit_code_arrives_as_a_status_on_the_error_channel(node: Node) -> None:
    node.runtime.behaviour = exit_7
    async with websocket(node.tunnelled + EXEC) as socket:
        got = await by_channel(socket)
    assert got[1] == b"bye"
    assert orjson.loads(got[3])["details"]["causes"] == [{"reason": "ExitCode", "message": "7"}]


async def test_a_runtime_that_goes_away_is_a_failure_on_the_error_channel(node: Node) -> None:
    node.runtime.behaviour = vanish
    async with websocket(node.tunnelled + EXEC) as socket:
        got = await by_channel(socket)
    assert orjson.loads(got[3])["status"] == "Failure"


async def test_a_terminal_has_no_stderr_and_hears_of_its_size(node: Node) -> None:
    url = "/exec/default/web/app?input=1&output=1&error=1&tty=1&command=sh"
    size = b'{"Width":80,"Height":24}'
    async with websocket(node.tunnelled + url) as socket:
        await socket.send_bytes(b"\x04" + size)
        while (message := await socket.receive()).data == b"\x01":
            pass
        assert message.data == b"\x01resized " + size
    assert node.runtime.requests[0]["tty"] is True
    assert node.runtime.requests[0]["stderr"] is False


async def test_the_command_is_left_when_the_caller_goes(node: Node) -> None:
    gone = asyncio.Event()

    async def wait(streams: SpdyStreams) -> None:
        try:
            async for _ in streams.events():
                pass
        finally:
            gone.set()

    node.runtime.behaviour = wait
    async with websocket(node.tunnelled + EXEC) as socket:
        await socket.receive()
    await asyncio.wait_for(gone.wait(), 5)


async def test_exec_by_spdy_passes_through_to_the_runtime(node: Node) -> None:
    headers = [
        ("Connection", "Upgrade"),
        ("Upgrade", "SPDY/3.1"),
        ("X-Stream-Protocol-Version", "v4.channel.k8s.io"),
    ]
    async with asyncio.timeout(10):
        connection = await dial_upgrade(node.tunnelled + EXEC, headers=headers)
        assert connection.headers["x-stream-protocol-version"] == "v4.channel.k8s.io"
        session, types = spdy.Session(client=True), {}
        for name in ("error", "stdin", "stdout", "stderr"):
            stream_id, opening = session.open({"streamtype": name})
            types[stream_id] = name
            await connection.write(opening)
        stdin = next(stream_id for stream_id, name in types.items() if name == "stdin")
        await connection.write(session.data(stdin, b"hello", fin=True))
        got: dict[str, bytes] = {}
        while data := await connection.read():
            for event in session.receive(data):
                if isinstance(event, spdy.DataReceived):
                    name = types[event.stream_id]
                    got[name] = got.get(name, b"") + event.data
        connection.close()
    assert got == {"stdout": b"hello", "stderr": b"5 bytes", "error": SUCCESS}


async def test_attach_uses_the_terminal_that_the_container_has(node: Node) -> None:
    node.runtime.containers = [container(2, name="shell")]
    node.runtime.behaviour = vanish
    url = "/attach/default/web/u1/shell?output=1&error=1"
    async with websocket(node.tunnelled + url) as socket:
        await by_channel(socket)
    assert node.runtime.requests == [
        {"container_id": "c2", "tty": True, "stdin": False, "stdout": True, "stderr": False}
    ]


async def test_a_port_forward_inside_a_websocket_reaches_the_runtime_as_spdy(node: Node) -> None:
    opened: list[dict[str, str]] = []
    node.runtime.behaviour = functools.partial(echo, opened=opened)
    session = spdy.Session(client=True)
    got = b""
    async with websocket(
        node.tunnelled + "/portForward/default/web", "SPDY/3.1+portforward.k8s.io"
    ) as socket:
        for kind in ("error", "data"):
            headers = {"streamtype": kind, "port": "8080", "requestid": "0"}
            stream_id, opening = session.open(headers)
            await socket.send_bytes(opening)
        await socket.send_bytes(session.data(stream_id, b"GET /", fin=True))
        while not got:
            for event in session.receive((await socket.receive()).data):
                if isinstance(event, spdy.DataReceived):
                    got += event.data
    assert got == b"GET /"
    assert opened[1] == {"streamtype": "data", "port": "8080", "requestid": "0"}
    assert node.runtime.requests == [{"sandbox": "s1", "ports": []}]
    assert node.runtime.seen[0].headers["X-Stream-Protocol-Version"] == "portforward.k8s.io"


@pytest.mark.parametrize("offers", [[("Sec-WebSocket-Protocol", "v4.channel.k8s.io")], []])
async def test_an_old_websocket_port_forward_names_its_ports_to_the_runtime(
    node: Node, offers: list[tuple[str, str]]
) -> None:
    node.runtime.behaviour = vanish
    headers = [("Connection", "Upgrade"), ("Upgrade", "websocket"), *offers]
    url = node.tunnelled + "/portForward/default/web?port=80,81&port=90"
    connection = await dial_upgrade(url, method="GET", headers=headers)
    connection.close()
    assert node.runtime.requests == [{"sandbox": "s1", "ports": [80, 81, 90]}]
    status, text = await get(node.direct + "/portForward/default/web")
    assert (status, text) == (400, "Upgrade request required")


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/exec/default/web/app?command=x", 400,
         "you must specify at least 1 of stdin, stdout, stderr"),
        ("/exec/default/gone/app?output=1", 404, "pod does not exist"),
        ("/exec/default/web/other-uid/app?output=1", 404, "pod not found"),
        ("/exec/default/web/shell?output=1", 500, 'container not found ("shell")'),
        ("/exec/default/web/app?output=1", 400, "Upgrade request required"),
        ("/containerLogs/default/gone/app", 404, 'pod "gone" does not exist'),
        ("/containerLogs/default/web/gone", 404, 'container "gone" not found in pod "web"'),
        ("/containerLogs/default/web/app?tailLines=x", 422, '{"message": "Invalid request."}'),
        ("/containerLogs/default/web/app?previous=true", 400,
         'previous terminated container "app" in pod "web" not found'),
        ("/containerLogs/default/web/shell", 400,
         'container "shell" in pod "web" is waiting to start: trying and failing to pull image'),
        ("/nothing", 404, "404 page not found"),
        ("/healthz", 200, "ok"),
        ("/logs/../etc/passwd", 404, "404 page not found"),
        ("/logs/%2Fetc%2Fpasswd", 404, "404 page not found"),
    ],
)  # fmt: skip
async def test_requests_are_answered_in_upstreams_words(
    node: Node, path: str, status: int, text: str
) -> None:
    assert await get(node.direct + path) == (status, text)


async def test_a_method_that_a_path_does_not_know_is_refused(node: Node) -> None:
    assert (await get(node.direct + "/pods", "POST"))[0] == 405


async def test_run_answers_with_what_the_command_wrote(node: Node) -> None:
    assert await get(node.direct + "/run/default/web/app?cmd=ls+-l", "POST") == (200, "ls -l!")


async def test_pods_are_those_of_the_cache_and_running_pods_those_of_the_runtime(
    node: Node,
) -> None:
    pods = orjson.loads((await get(node.direct + "/pods"))[1])
    assert [pod["metadata"]["name"] for pod in pods["items"]] == ["web"]
    running = orjson.loads((await get(node.direct + "/runningpods/"))[1])
    assert running["items"][0]["metadata"]["uid"] == "u1"
    assert running["items"][0]["spec"]["containers"][0]["name"] == "app"


def write_log(path: Path, *words: str) -> str:
    with path.open("ab") as file:
        for word in words:
            file.write(f"2026-11-22T07:00:00Z stdout F {word}\n".encode())
    return str(path)


async def test_logs_are_of_the_newest_container_and_previous_of_the_one_before(
    node: Node, tmp_path: Path
) -> None:
    old = write_log(tmp_path / "0.log", "old")
    new = write_log(tmp_path / "1.log", "new")
    node.runtime.containers = [
        container(0, "exited", log_path=old),
        container(1, "running", log_path=new),
        container(2, "created"),
    ]
    path = "/containerLogs/default/web/app"
    assert await get(node.direct + path) == (200, "new\n")
    assert await get(node.direct + path + "?previous=true") == (200, "old\n")


async def test_a_log_is_followed_until_its_container_ends(node: Node, tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    node.runtime.containers = [container(1, log_path=write_log(path, "one"))]
    url = node.direct + "/containerLogs/default/web/app?follow=true"
    async with (
        asyncio.timeout(5),
        aiohttp.ClientSession() as client,
        client.get(url) as answer,
    ):
        assert await answer.content.readany() == b"one\n"
        write_log(path, "two")
        assert await answer.content.readany() == b"two\n"
        node.runtime.containers = [container(1, "exited", log_path=str(path))]
        node.kubelet.container_changed("c1")
        assert await answer.content.read() == b""


async def test_a_caller_without_rights_gets_nothing(node: Node) -> None:
    class Closed:
        async def check(self, *_: object) -> object:
            raise ForbiddenError("Forbidden (user=x)")

    kubelet = KubeletServer(Host(node.runtime, Pods()), Closed(), SystemClock())
    async with serving(kubelet, "127.0.0.1", 0, None) as port:
        assert await get(f"http://127.0.0.1:{port}/pods") == (403, "Forbidden (user=x)")

"""Ingresses on real containers: asked from outside by host, path, TLS and WebSocket."""

import asyncio
import base64
import contextlib
import ssl
import threading
import uuid
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from minikube_py.lib import pki
from tests.e2e.cluster import Cluster
from tests.e2e.network.conftest import Namespace
from tests.e2e.network.truth import inside, networks_of
from tests.e2e.node.machine import wait_until

pytestmark = pytest.mark.e2e
NAMESPACE, NODE, OUTSIDE = "ingress", "192.168.77.1", "192.168.77.98"
LIFE = timedelta(days=1)


def pod(name: str) -> dict[str, Any]:
    container = {"name": "c", "image": "kpy.local/busybox:1", "command": ["sleep", "10000"]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
    }


def service(name: str, app: str, target: int = 8080) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "targetPort": target}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": app}, "ports": ports},
    }


def ingress(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name, "annotations": spec.pop("annotations", {})},
        "spec": spec,
    }


def rule(host: str, *paths: tuple[str, str]) -> dict[str, Any]:
    made = [
        {
            "path": path,
            "pathType": "Prefix",
            "backend": {"service": {"name": name, "port": {"name": "http"}}},
        }
        for path, name in paths
    ]
    return {"host": host, "http": {"paths": made}}


class Backend:
    """A web server in a pod's network, from a thread of the test."""

    def __init__(self, name: str, network: Path) -> None:
        self._name = name
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        ready = threading.Event()

        def serve() -> None:
            asyncio.set_event_loop(self._loop)
            self._loop.run_until_complete(self._serve(ready))
            self._loop.close()

        def begin() -> threading.Thread:
            thread = threading.Thread(target=serve, daemon=True)  # in the network of its maker
            thread.start()
            return thread

        self._thread = inside(network, begin)
        assert ready.wait(60)

    async def _serve(self, ready: threading.Event) -> None:
        app = web.Application()
        app.router.add_get("/socket", self._socket)
        app.router.add_get("/stream", self._stream)
        app.router.add_route("*", "/{rest:.*}", self._tell)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "0.0.0.0", 8080).start()
        ready.set()
        await self._end.wait()
        await runner.cleanup()

    async def _tell(self, request: web.Request) -> web.Response:
        body = await request.read()
        return web.json_response({
            "pod": self._name,
            "path": request.raw_path,
            "method": request.method,
            "headers": {name.lower(): value for name, value in request.headers.items()},
            "bytes": len(body),
        })  # fmt: skip

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        answer = web.WebSocketResponse()
        await answer.prepare(request)
        async for message in answer:
            await answer.send_str(f"{self._name}: {message.data}")
        return answer

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b"first\n")
        await self._end.wait()  # what came first arrives although the end does not come
        return answer

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(5)


class World:
    """A cluster with backends, and somebody outside who asks."""

    def __init__(self, cluster: Cluster, outside: Namespace) -> None:
        self.cluster, self.outside = cluster, outside

    def run(self, work: Callable[[aiohttp.ClientSession], Awaitable[Any]]) -> Any:
        async def main() -> Any:
            timeout = aiohttp.ClientTimeout(total=60)
            async with aiohttp.ClientSession(timeout=timeout) as session:
                return await work(session)

        return self.outside.run(main)

    def get(self, host: str, path: str = "/", **more: Any) -> tuple[int, Any]:
        async def work(session: aiohttp.ClientSession) -> tuple[int, Any]:
            headers = {"Host": host, **more.pop("headers", {})}
            url = f"http://{NODE}{path}"
            async with session.request(
                more.pop("method", "GET"), url, headers=headers, allow_redirects=False, **more
            ) as answer:
                if answer.content_type == "application/json":
                    return answer.status, await answer.json()
                return answer.status, dict(answer.headers)

        try:
            found: tuple[int, Any] = self.run(work)
        except (aiohttp.ClientError, OSError):
            return 0, None
        return found

    def becomes(self, status: int, host: str, path: str = "/") -> Any:
        """Wait until an answer has a status; return it."""
        last: list[Any] = [None]

        def true() -> bool:
            last[0] = self.get(host, path)
            return bool(last[0][0] == status)

        wait_until(true, 30, f"{host}{path} answers {status}")
        return last[0][1]


@pytest.fixture(scope="module")
def world(cluster: Cluster) -> Iterator[World]:
    mark = uuid.uuid4().hex[:6]
    outside, end = Namespace(f"asks-{mark}"), f"ask-{mark}"
    backends: list[Backend] = []
    try:
        peer = ("peer", end, "netns", str(cluster.machine.pid))
        outside.sh("ip", "link", "add", "eth0", "type", "veth", *peer)
        outside.sh("ip", "addr", "add", f"{OUTSIDE}/24", "dev", "eth0")
        outside.sh("ip", "link", "set", "eth0", "up")
        cluster.machine.sh("ip", "link", "set", end, "master", "uplink", "up")
        cluster.kubectl("create", "namespace", NAMESPACE)
        cluster.kubectl(
            "wait", "--for=create", "serviceaccount/default", "--timeout=120s", "-n", NAMESPACE
        )
        cluster.apply(
            *(pod(name) for name in "ab"),
            *(service(name, name) for name in "ab"),
            service("nobody", "nobody"),
            service("deaf", "a", 9),
            namespace=NAMESPACE,
        )
        ready = ("wait", "--for=condition=Ready", "pod", "--all", "-n", NAMESPACE)
        cluster.kubectl(*ready, "--timeout=120s")
        networks = networks_of([machine.pid for machine in cluster.machines])
        for name in "ab":
            address = cluster.get("pod", name, "-n", NAMESPACE)["status"]["podIP"]
            backends.append(Backend(name, networks[address]))
        yield World(cluster, outside)
    finally:
        for backend in backends:
            backend.close()
        outside.close()
        cluster.run("delete", "ingress", "--all", "-n", NAMESPACE)
        cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def test_requests_go_by_host_and_path_and_what_is_amiss_has_the_usual_status(world: World) -> None:
    paths = (("/", "a"), ("/b", "b"), ("/nobody", "nobody"), ("/deaf", "deaf"))
    world.cluster.apply(ingress("web", rules=[rule("web.test", *paths)]), namespace=NAMESPACE)
    told = world.becomes(200, "web.test")
    assert told["pod"] == "a"
    assert told["headers"]["x-forwarded-for"] == OUTSIDE
    assert told["headers"]["x-forwarded-proto"] == "http"
    assert told["headers"]["host"] == "web.test"
    lying = {"X-Forwarded-For": "1.2.3.4", "X-Real-IP": "1.2.3.4"}
    world.becomes(200, "web.test", "/b")
    status, told = world.get(
        "web.test", "/b/c?d=%20e", headers=lying, method="PUT", data=b"x" * 900_000
    )
    assert (status, told["pod"], told["path"]) == (200, "b", "/b/c?d=%20e")
    assert (told["method"], told["bytes"]) == ("PUT", 900_000)
    assert told["headers"]["x-forwarded-for"] == told["headers"]["x-real-ip"] == OUTSIDE
    world.becomes(404, "other.test")
    world.becomes(503, "web.test", "/nobody")
    world.becomes(502, "web.test", "/deaf")
    found = world.cluster.get("ingress", "web", "-n", NAMESPACE)
    assert found["spec"]["ingressClassName"] == "kpy"
    wait_until(lambda: reached(world), 30, "the ingress tells where it is reached")
    page = world.cluster.kubectl("get", "--raw", "/api/v1/nodes/n1/proxy/metrics/ingress")
    assert 'kpy_ingress_requests_total{host="web.test",method="PUT",code="200"} 1' in page


def reached(world: World) -> bool:
    found = world.cluster.get("ingress", "web", "-n", NAMESPACE)
    places = found["status"]["loadBalancer"].get("ingress") or ()
    nodes = {machine.address for machine in world.cluster.machines}
    return {place["ip"] for place in places} == nodes


def test_sockets_and_streams_pass_through(world: World) -> None:
    world.cluster.apply(ingress("raw", rules=[rule("raw.test", ("/", "b"))]), namespace=NAMESPACE)
    world.becomes(200, "raw.test")

    async def work(session: aiohttp.ClientSession) -> None:
        headers = {"Host": "raw.test"}
        async with session.ws_connect(f"http://{NODE}/socket", headers=headers) as socket:
            for text in ("one", "two"):
                await socket.send_str(text)
                assert (await socket.receive_str()) == f"b: {text}"
        async with session.get(f"http://{NODE}/stream", headers=headers) as answer:
            assert await answer.content.readline() == b"first\n"

    world.run(work)


def test_a_change_of_rules_drops_no_request(world: World) -> None:
    def having(*paths: tuple[str, str]) -> None:
        made = ingress("live", rules=[rule("live.test", ("/", "a"), *paths)])
        world.cluster.apply(made, namespace=NAMESPACE)

    having()
    world.becomes(200, "live.test")
    stop = threading.Event()
    statuses: list[int] = []

    async def work(session: aiohttp.ClientSession) -> None:
        while not stop.is_set():
            async with session.get(f"http://{NODE}/", headers={"Host": "live.test"}) as answer:
                await answer.read()
                statuses.append(answer.status)

    asking = threading.Thread(target=world.run, args=(work,))
    asking.start()
    with contextlib.ExitStack() as stack:
        stack.callback(asking.join)
        stack.callback(stop.set)
        for number in range(4):
            having((f"/more{number}", "b"))
            path = f"/more{number}"
            wait_until(lambda path=path: answers(world, path, "b"), 30, "the change counts")
    assert set(statuses) == {200}


def answers(world: World, path: str, pod: str) -> bool:
    status, told = world.get("live.test", path)
    return status == 200 and told["pod"] == pod


def certificate(host: str) -> tuple[bytes, bytes]:
    """Return a certificate that is its own authority, and its key."""
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415

    key, now = pki.new_key(), datetime.now(UTC) - timedelta(hours=1)
    name = pki.subject_name(pki.Subject(name=host))
    made = pki.builder(name, name, key.public_key(), (now, now + LIFE)).add_extension(
        x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False
    )
    signed = made.sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM), pki.key_to_pem(key)


def test_each_host_has_its_certificate_and_a_new_one_without_a_restart(world: World) -> None:
    def set_secret(pem: tuple[bytes, bytes]) -> None:
        data = zip(
            ("tls.crt", "tls.key"), (base64.b64encode(part).decode() for part in pem), strict=True
        )
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cert"}}
        world.cluster.apply(
            {**secret, "type": "kubernetes.io/tls", "data": dict(data)}, namespace=NAMESPACE
        )

    def trusting(pem: tuple[bytes, bytes]) -> bool:
        async def work(session: aiohttp.ClientSession) -> bool:
            context = ssl.create_default_context(cadata=pem[0].decode())
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
            try:
                async with session.get(
                    f"https://{NODE}/",
                    headers={"Host": "tls.test"},
                    ssl=context,
                    server_hostname="tls.test",
                ) as answer:
                    told = await answer.json()
                    return bool(told["headers"]["x-forwarded-proto"] == "https")
            except (aiohttp.ClientError, OSError):
                return False

        return bool(world.run(work))

    first, second = certificate("tls.test"), certificate("tls.test")
    set_secret(first)
    made = ingress(
        "tls",
        rules=[rule("tls.test", ("/", "a"))],
        tls=[{"hosts": ["tls.test"], "secretName": "cert"}],
        annotations={"ingress.kpy.dev/ssl-redirect": "true"},
    )
    world.cluster.apply(made, namespace=NAMESPACE)
    wait_until(lambda: trusting(first), 30, "the certificate is served")
    assert not trusting(second)
    set_secret(second)
    wait_until(lambda: trusting(second), 30, "the new certificate is served")
    assert not trusting(first)
    status, headers = world.get("tls.test", "/x?y=z")
    assert (status, headers["Location"]) == (308, "https://tls.test/x?y=z")
    may = (
        "auth",
        "can-i",
        "get",
        "--as=system:node:n1",
        "--as-group=system:nodes",
        "-n",
        NAMESPACE,
    )
    assert world.cluster.run(*may, "secret/cert").stdout.strip() == "yes"
    assert world.cluster.run(*may, "secret/other").stdout.startswith("no")


def test_without_an_ingress_the_ports_are_free(world: World) -> None:
    world.cluster.kubectl("delete", "ingress", "--all", "--all-namespaces")  # others keep it
    world.cluster.kubectl(
        "wait", "--for=delete", "service/kpy-ingress", "-n", "kube-system", "--timeout=120s"
    )
    wait_until(lambda: world.get("web.test")[0] == 0, 30, "nobody answers")
    wait_until(
        lambda: "2760" not in listening(world), 30, "nobody listens at 10080, which is 2760h"
    )


def listening(world: World) -> set[str]:
    """Return the TCP ports that somebody listens at, in hexadecimal."""
    tables = world.cluster.machine.sh("cat", "/proc/net/tcp6", "/proc/net/tcp").splitlines()
    return {line.split()[1][-4:] for line in tables if line.split()[3] == "0A"}

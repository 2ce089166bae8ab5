"""The kubelet's HTTPS API on port 10250: logs, exec, attach, port-forward, pods, health.

Paths, parameters and words are those of upstream's kubelet, so that any API server works with
this node. The runtime is asked for containers and sandboxes by the labels that the kubelet gave
them; the pods are those of the kubelet's own cache.
"""

import asyncio
import contextlib
import logging
import ssl as tls
from collections.abc import (
    AsyncIterator,
    Iterable,
    Mapping,
    Sequence,
)
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote

import orjson
from aiohttp import hdrs, web

from minikube_py.agent.cri.errors import CriError
from minikube_py.agent.cri.runtime import Container
from minikube_py.agent.kubelet.server_commands import Commands
from minikube_py.agent.kubelet.server_host import UID_LABEL, Handler, Host
from minikube_py.agent.kubelet.server_logs import Logs
from minikube_py.api.errors import (
    MethodNotAllowedError,
    NotFoundError,
    StatusError,
)
from minikube_py.lib.clock import Clock

log = logging.getLogger(__name__)
PORT = 10250
SHUTDOWN_SECONDS = 0.5
"""How long open streams may take to end when the server stops."""


class Access(Protocol):
    """Who may do what; see access.py."""

    async def check(
        self, certificate: tls.SSLObject | None, authorization: str, method: str, path: str
    ) -> object:
        """Return who asks; raise a StatusError where they may not."""


class KubeletServer:
    """Answers requests; `extra` adds what other parts of the kubelet serve (metrics, stats)."""

    def __init__(
        self,
        host: Host,
        access: Access,
        clock: Clock,
        *,
        extra: Mapping[str, Handler] | None = None,
    ) -> None:
        self._host = host
        self._access = access
        self._logs = Logs(host, clock)
        commands = Commands(host)
        self._routes: dict[str, tuple[tuple[str, ...], Handler]] = {
            "healthz": (("GET",), self._healthz),
            "livez": (("GET",), self._healthz),
            "pods": (("GET",), self._list_pods),
            "runningpods": (("GET",), self._list_running_pods),
            "containerLogs": (("GET",), self._logs.container),
            "exec": (("GET", "POST"), commands.exec),
            "attach": (("GET", "POST"), commands.attach),
            "portForward": (("GET", "POST"), commands.port_forward),
            "run": (("POST",), commands.run),
            "logs": (("GET",), self._logs.node),
            **{path: (("GET",), handler) for path, handler in (extra or {}).items()},
        }

    def container_changed(self, container_id: str) -> None:
        """Make those who follow this container's log look at its state again, at once."""
        self._logs.container_changed(container_id)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        try:
            return await self._answer(request)
        except StatusError as error:
            return web.Response(status=error.code, text=error.message)
        except CriError as error:
            return web.Response(status=500, text=str(error))
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception:
            log.exception("request failed method=%s path=%s", request.method, request.path)
            return web.Response(status=500, text="Internal Server Error")

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        transport = request.transport
        connection = transport.get_extra_info("ssl_object") if transport is not None else None
        authorization = request.headers.get(hdrs.AUTHORIZATION, "")
        await self._access.check(connection, authorization, request.method, request.path)
        raw = request.raw_path.partition("?")[0]
        first, *rest = [unquote(part) for part in raw.strip("/").split("/")]
        if first not in self._routes:
            raise NotFoundError("404 page not found")
        methods, handler = self._routes[first]
        if request.method not in methods:
            raise MethodNotAllowedError("Method Not Allowed")
        return await handler(request, rest)

    async def _healthz(self, _: web.BaseRequest, __: Sequence[str]) -> web.StreamResponse:
        return web.Response(text="ok")

    async def _list_pods(self, _: web.BaseRequest, __: Sequence[str]) -> web.StreamResponse:
        return _pod_list(item.data for item in self._host.pods.items())

    async def _list_running_pods(self, _: web.BaseRequest, __: Sequence[str]) -> web.StreamResponse:
        """Answer with what the runtime has, not what the cluster wants."""
        containers = await self._host.runtime.list_containers({})
        running = [c for c in containers if c.state == "running" and UID_LABEL in c.labels]
        by_pod: dict[str, list[Container]] = {}
        for container in running:
            by_pod.setdefault(container.labels[UID_LABEL], []).append(container)
        return _pod_list(orjson.dumps(_running_pod(uid, mine)) for uid, mine in by_pod.items())

    def close(self) -> None:
        """Give back what following logs took."""
        self._logs.close()


@contextlib.asynccontextmanager
async def serving(
    server: KubeletServer, address: str, port: int, ssl: tls.SSLContext | None
) -> AsyncIterator[int]:
    """Listen while the block runs; gives the port (0 asks for a free one)."""
    http = web.Server(server.handle, handler_cancellation=True)
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(http, address, port, ssl=ssl, reuse_address=True)
    try:
        yield int(listener.sockets[0].getsockname()[1])
    finally:
        listener.close()
        await http.shutdown(SHUTDOWN_SECONDS)
        server.close()


def server_ssl(certificate: Path, key: Path, client_ca: Path) -> tls.SSLContext:
    """Return how the server proves itself and checks those who come with a certificate.

    Raises:
        OSError: a file is absent or makes no sense (`ssl.SSLError` is one).

    """
    context = tls.create_default_context(tls.Purpose.CLIENT_AUTH, cafile=str(client_ca))
    context.load_cert_chain(certificate, key)
    context.verify_mode = tls.CERT_OPTIONAL
    context.minimum_version = tls.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _pod_list(pods: Iterable[bytes]) -> web.Response:
    head = b'{"kind":"PodList","apiVersion":"v1","metadata":{},"items":['
    body = head + b",".join(pods) + b"]}"
    return web.Response(body=body, headers={hdrs.CONTENT_TYPE: "application/json"})


def _running_pod(uid: str, containers: Sequence[Container]) -> dict[str, Any]:
    labels = containers[0].labels
    return {
        "metadata": {
            "name": labels.get("io.kubernetes.pod.name", ""),
            "namespace": labels.get("io.kubernetes.pod.namespace", ""),
            "uid": uid,
        },
        "spec": {"containers": [{"name": c.name, "image": c.image} for c in containers]},
        "status": {},
    }

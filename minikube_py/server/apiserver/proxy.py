"""Plain HTTP through the API server: container logs, and the proxy paths of nodes, pods, services.

Bodies stream both ways and are never held whole. A request ends when its client goes, which needs
a server made with `handler_cancellation=True`.
"""

import asyncio
import socket
import ssl as tls
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import urlsplit

import aiohttp
import orjson
from aiohttp import hdrs, web
from yarl import URL

from minikube_py.api.errors import (
    BadRequestError,
    InternalError,
    ServiceUnavailableError,
    StatusError,
    from_status,
)
from minikube_py.api.object import Obj
from minikube_py.lib.dialling import Dial, DialConnector, nobody
from minikube_py.lib.forwarding import end_to_end_headers, relay, why
from minikube_py.server.apiserver.links import through
from minikube_py.server.apiserver.socket_stream import send_over_socket
from minikube_py.server.apiserver.socket_watch import asks_for_socket

CONNECT_SECONDS = 30.0
CONNECTIONS_MAX = 200
"""To one address at once; more wait for a free one."""
DOCUMENT_BYTES_MAX = 64 << 20
DOCUMENT_SECONDS = 30.0
ERROR_BODY_MAX = 50_000
"""Of a kubelet's error text, no more is read than this (upstream's maxReadLength)."""

GENERIC_WORDS = {
    401: "the server has asked for the client to provide credentials",
    404: "the server could not find the requested resource",
    405: "the server does not allow this method on the requested resource",
    429: "the server has received too many requests and has asked us to try again later",
    503: "the server is currently unable to handle the request",
    504: "the server was unable to return a response in the time allotted, but may still be "
    "processing the request",
}
"""What upstream says for a status alone (apimachinery, NewGenericServerResponse)."""
PRIVATE = ("authorization", "impersonate-", "x-remote-")
"""What says who the user is goes no further than this server."""


class Asked(NamedTuple):
    """How another server is asked."""

    method: str = "GET"
    server_name: str = ""
    headers: Sequence[tuple[str, str]] = ()


class Proxy:
    """Sends requests on; holds the connections to kubelets, pods and services."""

    def __init__(self, private: Iterable[str] = ()) -> None:
        """Begin without connections; `private` are more beginnings of headers to keep back."""
        self.private = (*PRIVATE, *(name.lower() for name in private))
        self.dial: Dial = nobody
        """Another way to a host, where there is one (the tunnels of nodes)."""
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End all connections."""
        if self._session is not None:
            await self._session.close()

    async def forward(
        self,
        request: web.BaseRequest,
        url: str,
        ssl: tls.SSLContext | None,
        *,
        prefix: str = "",
        server_name: str = "",
        headers: Iterable[tuple[str, str]] = (),
    ) -> web.StreamResponse:
        """Send the request to `url` and its answer back.

        `prefix` is the path at which the client sees the far end's root
        (`/api/v1/namespaces/a/pods/b/proxy`); redirects and the links of pages are rewritten below
        it. `server_name` is
        the name that the far end's certificate must hold, where it is not the URL's; `headers` are
        sent beside the client's.

        Raises:
            ServiceUnavailableError: the far end cannot be reached.

        """
        try:
            far = await self._open(
                request.method,
                url,
                ssl,
                headers=[*_forwarded_headers(request, self.private), *headers],
                data=request.content if request.can_read_body else None,
                server_name=server_name,
            )
        except (aiohttp.ClientError, OSError) as error:
            raise ServiceUnavailableError(f"error trying to reach service: {why(error)}") from error
        async with far:

            def change(link: str) -> str:
                return rewritten(link, url, prefix)

            has_body = request.method != hdrs.METH_HEAD
            page = through(far.headers, change) if prefix and has_body else None
            headers = _answer_headers(far, change if prefix else str)
            if page is not None:
                headers = [one for one in headers if one[0].lower() != "content-length"]
            return await relay(request, far, headers, page)

    async def stream(
        self, request: web.BaseRequest, url: str, ssl: tls.SSLContext | None, *, target: str = ""
    ) -> web.StreamResponse:
        """Answer with the body of a kubelet's endpoint, such as a container's log, as it comes.

        A client that asks for a WebSocket gets it in messages.

        `target` names what was asked for in errors: `pods/log web-1`.

        Raises:
            StatusError: the kubelet refused, in its words, or cannot be reached.

        """
        try:
            far = await self._open("GET", url, ssl)
        except (aiohttp.ClientError, OSError) as error:
            raise InternalError(f'Get "{url}": {why(error)}') from error
        async with far:
            if not 200 <= far.status <= 206:
                raise await _refusal(far, target)
            if asks_for_socket(request):
                return await send_over_socket(request, far.content)
            kind = far.headers.get(hdrs.CONTENT_TYPE, "text/plain")
            return await relay(request, far, [(hdrs.CONTENT_TYPE, kind)])

    async def fetch(self, url: str, ssl: tls.SSLContext, *, bytes_max: int, seconds: float) -> str:
        """Return a text that the far end has.

        Raises:
            ServiceUnavailableError: it cannot be reached, does not answer in time, answers with
                an error, or with more than `bytes_max`.

        """
        status, data = await self._read(url, ssl, bytes_max, seconds)
        if status != 200:
            raise ServiceUnavailableError(f'Get "{url}": status {status}')
        return data.decode(errors="replace")

    async def document(
        self,
        url: str,
        ssl: tls.SSLContext,
        *,
        server_name: str,
        headers: list[tuple[str, str]],
        method: str = "GET",
    ) -> Obj:
        """Return what another API server answers; raises the StatusError that it answers with."""
        asked = Asked(method, server_name, (("Accept", "application/json"), *headers))
        status, data = await self._read(url, ssl, DOCUMENT_BYTES_MAX, DOCUMENT_SECONDS, asked)
        try:
            found = orjson.loads(data)
        except orjson.JSONDecodeError:
            found = {"message": data[:ERROR_BODY_MAX].decode(errors="replace").strip()}
        if status not in (200, 202) or not isinstance(found, dict):
            raise from_status({"code": status, **(found if isinstance(found, dict) else {})})
        return found

    async def _read(
        self,
        url: str,
        ssl: tls.SSLContext,
        bytes_max: int,
        seconds: float,
        asked: Asked | None = None,
    ) -> tuple[int, bytes]:
        """Return status and body; raises ServiceUnavailableError."""
        asked = asked or Asked()
        headers, name = list(asked.headers), asked.server_name
        try:
            async with (
                asyncio.timeout(seconds),
                await self._open(asked.method, url, ssl, headers=headers, server_name=name) as far,
            ):
                data = await far.content.read(bytes_max)
                while len(data) <= bytes_max and (more := await far.content.read(bytes_max)):
                    data += more
        except (aiohttp.ClientError, OSError) as error:  # a TimeoutError is one
            raise ServiceUnavailableError(f'Get "{url}": {why(error)}') from error
        if len(data) > bytes_max:
            raise ServiceUnavailableError(f'Get "{url}": more than {bytes_max} bytes')
        return far.status, data

    async def _dialled(self, host: str, port: int) -> socket.socket | None:
        return await self.dial(host, port)

    async def _open(
        self,
        method: str,
        url: str,
        ssl: tls.SSLContext | None,
        *,
        headers: list[tuple[str, str]] | None = None,
        data: aiohttp.StreamReader | None = None,
        server_name: str = "",
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=DialConnector(self._dialled, limit=0, limit_per_host=CONNECTIONS_MAX),
                timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_SECONDS),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            )
        return await self._session.request(
            method,
            URL(url, encoded=True),
            ssl=ssl if ssl is not None else True,
            headers=headers,
            data=data,
            allow_redirects=False,
            server_hostname=server_name or None,
        )


def _forwarded_headers(request: web.BaseRequest, private: tuple[str, ...]) -> list[tuple[str, str]]:
    """Add what upstream's proxy transport tells the far end about the way here."""
    passed = end_to_end_headers(request.headers, private)
    headers = [item for item in passed if item[0].lower() != "host"]
    if request.remote:
        earlier = request.headers.get("X-Forwarded-For")
        headers = [item for item in headers if item[0].lower() != "x-forwarded-for"]
        chain = f"{earlier}, {request.remote}" if earlier else request.remote
        headers.append(("X-Forwarded-For", chain))
    headers.append(("X-Forwarded-Uri", request.raw_path.partition("?")[0]))
    headers.append(("X-Forwarded-Host", request.host))
    headers.append(("X-Forwarded-Proto", request.scheme))
    return headers


def _answer_headers(
    far: aiohttp.ClientResponse, change: Callable[[str], str]
) -> list[tuple[str, str]]:
    return [
        (name, change(value) if name.lower() == "location" else value)
        for name, value in end_to_end_headers(far.headers, PRIVATE)
    ]


def rewritten(location: str, url: str, prefix: str) -> str:
    """Return a link of the far end as the client has to follow it, below `prefix`."""
    try:
        target, base = urlsplit(location), urlsplit(url)
    except ValueError:
        return location
    if target.netloc and target.netloc != base.netloc:
        return location
    if not target.path.startswith("/") or target.path.startswith(prefix):
        return location
    return f"{prefix.rstrip('/')}{target._replace(scheme='', netloc='').geturl()}"


async def _refusal(far: aiohttp.ClientResponse, target: str) -> StatusError:
    """Word a kubelet's error as upstream's response checker does."""
    try:
        text = (await far.content.read(ERROR_BODY_MAX)).decode(errors="replace")
    except (aiohttp.ClientError, TimeoutError):
        text = ""
    if far.status == 500:
        return InternalError(f"Internal error occurred: {text}")
    if far.status == 400:
        return BadRequestError(text)
    words = GENERIC_WORDS.get(far.status, f"an error on the server ({quoted(text)}) has prevented "
                              "the request from succeeding")  # fmt: skip
    if far.status == 403:
        words = text
    cause = {"reason": "UnexpectedServerResponse", "message": text}
    message = f"{words} ( {target})" if target else words
    return from_status({"code": far.status, "message": message, "details": {"causes": [cause]}})


def quoted(text: str) -> str:
    """Return the text in quotes, as Go's %q writes it."""
    return orjson.dumps(text).decode()

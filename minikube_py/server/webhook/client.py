"""The client of webhooks: bounded in time, in size and in connections, whoever is at the far end.

A `Target` is where a webhook is: made once of a configuration, asked often. Connections are kept
and shared by all calls to the same place. A reference to a Service is resolved anew for each call,
so a call goes to an endpoint that is ready; the certificate must be for `<name>.<namespace>.svc`
all the same. Redirects are not followed: nobody else may send the API server somewhere.
"""

import asyncio
import base64
import binascii
import math
import ssl
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

import aiohttp
import orjson
from yarl import URL

from minikube_py.api.errors import ServiceUnavailableError
from minikube_py.api.object import Obj
from minikube_py.server.service_addresses import Address, ServiceAddresses
from minikube_py.server.webhook.errors import WebhookError, refused, unreadable, why

ANSWER_BYTES_MAX = 4 * 1024 * 1024 + 128 * 1024
"""A patch that holds the largest object there can be (3 MiB) is that long in base64."""
CONNECTIONS_MAX = 512
CONNECTIONS_TO_ONE_MAX = 100
"""To one address at once; more wait for a free one, within their own time."""
IDLE_SECONDS = 90.0
"""How long an unused connection is kept (Go's default transport)."""
CONTEXTS_MAX = 128
"""Sets of authorities whose TLS context is kept ready."""
RETRIES_MAX = 1
"""A kept connection may have been closed just now by the far end: then a new one is made."""
PASSING = (429, 500, 504)
"""Statuses after which client-go asks again."""
_HEADERS = {
    "Accept": "application/json, */*",
    "Accept-Encoding": "identity",
    "Content-Type": "application/json",
    "User-Agent": "kube-apiserver-admission",
}


@dataclass(frozen=True)
class Target:
    """Where a webhook is, and how it proves itself."""

    url: str
    """As errors name it: `https://name.namespace.svc:443/path`."""
    authorities: bytes = b""
    """Certificates in PEM; "" for those of the machine."""
    address: Callable[[], Address] | None = None
    """Where a Service answers now; None: at the host of the URL."""
    context: ssl.SSLContext | None = None
    """The TLS, where it needs more than the authorities."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    server_name: str = ""
    """What the certificate must be for, where it is not the host of the URL."""


def target_of(config: Obj, addresses: ServiceAddresses) -> Target:
    """Return the target of a WebhookClientConfig.

    Raises:
        WebhookError: it names no place, or its caBundle cannot be read.

    """
    authorities = _bundle(config.get("caBundle"))
    service: Obj | None = config.get("service")
    if service is None:
        if not config.get("url"):
            raise WebhookError("webhook configuration must have either service or URL")
        return Target(str(config["url"]), authorities)
    name, namespace = str(service.get("name", "")), str(service.get("namespace", ""))
    port = int(service.get("port") or 443)
    path = str(service.get("path") or "/")
    return Target(
        f"https://{name}.{namespace}.svc:{port}{path if path.startswith('/') else f'/{path}'}",
        authorities,
        lambda: addresses.resolve(namespace, name, port),
    )


def _bundle(text: str | None) -> bytes:
    try:
        return base64.b64decode(text or "", validate=True)
    except (binascii.Error, ValueError) as error:
        raise WebhookError(
            "unable to load root certificates: unable to parse bytes as PEM block"
        ) from error


class Post(Protocol):
    """How callers see the client; tests put something else in its place."""

    async def __call__(
        self, target: Target, document: Obj, *, timeout_seconds: float, announced: bool = False
    ) -> Any:
        """Post a document and return the parsed answer; raises WebhookError."""


class WebhookClient:
    """Posts documents to webhooks; holds the connections."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._contexts: OrderedDict[bytes, ssl.SSLContext] = OrderedDict()

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

    async def post(
        self, target: Target, document: Obj, *, timeout_seconds: float, announced: bool = False
    ) -> Any:
        """Post a document as JSON and return the parsed answer.

        `announced` tells the webhook the time that it has, as `?timeout=10s`.

        Raises:
            WebhookError: there is no answer in time, or none that is JSON of a bearable size.

        """
        shown = _shown_url(target.url, timeout_seconds if announced else 0)
        try:
            async with asyncio.timeout(timeout_seconds):
                status, kind, data = await self._exchange(target, shown, orjson.dumps(document))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            text = f'Post "{shown}": {why(error, _server_name(target))}'
            raise WebhookError(text, passes=isinstance(error, ConnectionError)) from error
        except ServiceUnavailableError as error:
            raise WebhookError(f'Post "{shown}": {error.message}') from error
        if not 200 <= status <= 206:
            passes = status in PASSING
            raise WebhookError(refused(status, kind, data), passes=passes)
        try:
            return orjson.loads(data)
        except ValueError as error:
            raise WebhookError(unreadable(data, error)) from error

    async def _exchange(self, target: Target, url: str, data: bytes) -> tuple[int, str, bytes]:
        """Send a request and return status, type and body of the answer."""
        for left in reversed(range(RETRIES_MAX + 1)):
            try:
                return await self._send(target, url, data)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                if not left or isinstance(error, aiohttp.ClientConnectorError):
                    raise
        raise AssertionError("a try either returns or raises")

    async def _send(self, target: Target, url: str, data: bytes) -> tuple[int, str, bytes]:
        parts = URL(url, encoded=True)
        headers = {**_HEADERS, **target.headers, "Host": urlsplit(url).netloc}
        if target.address is not None:
            address = target.address()
            parts = parts.with_host(address.host).with_port(address.port)
        async with self._opened().post(
            parts,
            data=data,
            headers=headers,
            ssl=self._context(target),
            server_hostname=_server_name(target),
            allow_redirects=False,
        ) as answer:
            body = await _bounded(answer.content)
            return answer.status, answer.headers.get("Content-Type", ""), body

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=CONNECTIONS_MAX,
                    limit_per_host=CONNECTIONS_TO_ONE_MAX,
                    keepalive_timeout=IDLE_SECONDS,
                ),
                timeout=aiohttp.ClientTimeout(),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    def _context(self, target: Target) -> ssl.SSLContext:
        if target.context is not None:
            return target.context
        context = self._contexts.get(target.authorities)
        if context is None:
            context = self._contexts[target.authorities] = _context_of(target)
            if len(self._contexts) > CONTEXTS_MAX:
                self._contexts.popitem(last=False)
        self._contexts.move_to_end(target.authorities)
        return context


def _shown_url(url: str, timeout_seconds: float) -> str:
    """Return the URL as it is asked and as errors show it."""
    if not urlsplit(url).path:
        url = f"{url}/"
    if not timeout_seconds:
        return url
    return f"{url}{'&' if '?' in url else '?'}timeout={math.ceil(timeout_seconds)}s"


def _server_name(target: Target) -> str:
    return target.server_name or urlsplit(target.url).hostname or ""


def _context_of(target: Target) -> ssl.SSLContext:
    """Return the TLS towards a target: an authority that is given is trusted whatever signed it."""
    try:
        pem = target.authorities.decode("ascii")
        context = ssl.create_default_context(cadata=pem or None)
    except (ssl.SSLError, ValueError) as error:
        raise WebhookError(
            "unable to load root certificates: unable to parse bytes as PEM block"
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.hostname_checks_common_name = False
    context.set_alpn_protocols(["http/1.1"])
    return context


async def _bounded(content: aiohttp.StreamReader) -> bytes:
    """Return the whole body; raises WebhookError as soon as it is longer than it may be."""
    data = bytearray()
    async for chunk in content.iter_any():
        data += chunk
        if len(data) > ANSWER_BYTES_MAX:
            raise WebhookError(f"the answer is longer than {ANSWER_BYTES_MAX} bytes")
    return bytes(data)

"""The reverse proxy: one request, from its head to the end of its answer.

Nothing is held whole. A request goes to an endpoint that answers; where a connection cannot be
made the next is tried, for nothing has been sent by then. What users see when something is amiss:
404 without a rule, 503 without an endpoint, 502 where none can be reached, 504 where one stays
silent, 503 as well where this node has too much to do.
"""

import logging
from collections.abc import Callable, Iterator

import aiohttp
from aiohttp import hdrs, web
from yarl import URL

from minikube_py.agent.ingress.backends import Address, Backends
from minikube_py.agent.ingress.metrics import Counts
from minikube_py.agent.ingress.routes import EMPTY, Route, Table
from minikube_py.lib.forwarding import end_to_end_headers, is_upgrade, relay, why
from minikube_py.lib.hijack import Dialled, Refused, Switched, dial_upgrade, pump, take_over

log = logging.getLogger(__name__)
CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 60.0
"""So long an endpoint may send nothing before and while it answers."""
REQUESTS_MAX = 4096
"""Answered at once; more are told to come again."""
CONNECTIONS_PER_ENDPOINT_MAX = 256
"""More requests to one endpoint wait for a free connection."""
IDLE_SECONDS = 60.0
"""So long an unused connection to an endpoint is kept."""
REDIRECT = 308
"""Permanent, and the method and body stay."""
OURS = ("x-forwarded-", "x-real-ip", "forwarded", "expect")
"""Headers that only we may set, for clients could pretend to be others, or have answered."""


class Unreachable(Exception):  # noqa: N818 -- a state of the endpoints
    """No endpoint could be reached; the message says why."""


class IngressProxy:
    """Answers requests by a table that may be replaced at any time."""

    def __init__(self, backends: Backends, counts: Counts, clock: Callable[[], float]) -> None:
        self.table: Table = EMPTY
        self._backends = backends
        self._counts = counts
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """End all connections to endpoints."""
        if self._session is not None:
            await self._session.close()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request, and count it."""
        started = self._clock()
        host = host_of(request)
        route = self.table.find(host, request.path)
        self._counts.active += 1
        status = 499  # as others log a client that left before its answer
        try:
            answer = await self._answer(request, host, route)
            status = answer.status
            return answer
        finally:
            self._counts.active -= 1
            rule = host if host in self.table.hosts else ""
            self._counts.count(rule, request.method, status, self._clock() - started)

    async def _answer(
        self, request: web.BaseRequest, host: str, route: Route | None
    ) -> web.StreamResponse:
        if route is None:
            return _plain(404, "404 page not found")
        if self._counts.active > REQUESTS_MAX:
            return _plain(503, "503 too many requests at once", {"Retry-After": "1"})
        if route.redirects and request.scheme == "http":
            location = f"https://{host}{request.raw_path}"
            return _plain(REDIRECT, "308 moved permanently", {hdrs.LOCATION: location})
        addresses = list(self._backends.addresses(route.backend))
        if not addresses:
            return _plain(503, "503 no endpoint is ready")
        return await self._proxied(request, route, addresses)

    async def _proxied(
        self, request: web.BaseRequest, route: Route, addresses: list[Address]
    ) -> web.StreamResponse:
        try:
            if is_upgrade(request):
                return await self._tunnel(request, addresses)
            return await self._forward(request, addresses)
        except Unreachable as error:
            log.info("endpoints not reached backend=%s error=%s", route.backend, error)
            return _plain(502, "502 bad gateway")
        except TimeoutError:
            return _plain(504, "504 gateway timeout")

    async def _forward(
        self, request: web.BaseRequest, addresses: list[Address]
    ) -> web.StreamResponse:
        if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0
        far = await self._open(request, addresses)
        async with far:
            return await relay(request, far, list(end_to_end_headers(far.headers)))

    async def _open(
        self, request: web.BaseRequest, addresses: list[Address]
    ) -> aiohttp.ClientResponse:
        """Send the request to the first endpoint that a connection can be made to.

        Raises:
            Unreachable: there is none, or it broke off.
            TimeoutError: it says nothing.

        """
        last: Exception | None = None
        for address in addresses:
            try:
                return await self._session_of().request(
                    request.method,
                    URL(f"http://{address}{request.raw_path}", encoded=True),
                    headers=list(forwarded_headers(request)),
                    data=request.content if request.can_read_body else None,
                    allow_redirects=False,
                )
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
                last = error
            except TimeoutError:  # also an aiohttp.ClientError
                raise
            except (aiohttp.ClientError, ConnectionError) as error:
                raise Unreachable(why(error)) from error
        raise Unreachable(why(last) if last is not None else "no endpoint") from last

    async def _tunnel(
        self, request: web.BaseRequest, addresses: list[Address]
    ) -> web.StreamResponse:
        try:
            far = await self._dial(request, addresses)
        except Refused as refusal:
            kind = refusal.headers.get("content-type", "text/plain")
            head = {hdrs.CONTENT_TYPE: kind}
            return web.Response(status=refusal.status, body=refusal.body, headers=head)
        try:
            near = take_over(request, far.headers.items())
        except ConnectionError:
            far.close()
            return Switched()
        await pump(near, far)
        return Switched()

    async def _dial(self, request: web.BaseRequest, addresses: list[Address]) -> Dialled:
        upgrade = request.headers.get(hdrs.UPGRADE, "")
        headers = [
            *forwarded_headers(request),
            (hdrs.CONNECTION, "Upgrade"),
            (hdrs.UPGRADE, upgrade),
        ]
        last: OSError | None = None
        for address in addresses:
            try:
                return await dial_upgrade(
                    f"http://{address}{request.raw_path}",
                    method=request.method,
                    headers=headers,
                    timeout_seconds=SILENCE_SECONDS,
                )
            except OSError as error:
                last = error
        raise Unreachable(why(last) if last is not None else "no endpoint") from last

    def _session_of(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0,
                    limit_per_host=CONNECTIONS_PER_ENDPOINT_MAX,
                    keepalive_timeout=IDLE_SECONDS,
                ),
                timeout=aiohttp.ClientTimeout(
                    sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS
                ),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            )
        return self._session


def host_of(request: web.BaseRequest) -> str:
    """Return the host that is asked for, without its port, in lower case."""
    host = request.host.lower()
    if host.startswith("["):
        return host.partition("]")[0][1:]
    return host.partition(":")[0]


def forwarded_headers(request: web.BaseRequest) -> Iterator[tuple[str, str]]:
    """Yield the headers for the endpoint; who the client is, we say and not the client."""
    yield from end_to_end_headers(request.headers, OURS)
    client = (request.remote or "").removeprefix("::ffff:")
    default = "443" if request.scheme == "https" else "80"
    _, _, port = request.host.rpartition(":")
    yield "X-Real-IP", client
    yield "X-Forwarded-For", client
    yield "X-Forwarded-Proto", request.scheme
    yield "X-Forwarded-Host", request.host
    yield "X-Forwarded-Port", port if port.isdigit() else default


def _plain(status: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, text=f"{text}\n", headers=headers)

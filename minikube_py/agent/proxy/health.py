"""How load balancers learn whether this node's proxy works, and has endpoints for a service."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from typing import NamedTuple

import orjson
from aiohttp import web

from minikube_py.api import times
from minikube_py.lib.clock import Clock

log = logging.getLogger(__name__)
Answer = Callable[[web.BaseRequest], web.Response]
PORT = 10256
STALE_SECONDS = 60.0
"""A change that has waited this long for its rules makes the proxy unhealthy (2 sync periods)."""
CLOSE_SECONDS = 1.0


class LocalEndpoints(NamedTuple):
    """What a health check node port tells of its service."""

    namespace: str
    name: str
    addresses: int


class Health:
    """Whether changes become rules in time, and the servers that say so."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting_since: float | None = None
        self._updated = clock.now()
        self._services: Mapping[int, LocalEndpoints] = {}
        self._servers: dict[int, contextlib.AsyncExitStack] = {}

    def queued(self) -> None:
        """Note that a change waits for its rules."""
        if self._waiting_since is None:
            self._waiting_since = self._clock.monotonic()

    def synced(self) -> None:
        """Note that all changes have become rules."""
        self._waiting_since = None
        self._updated = self._clock.now()

    @property
    def is_healthy(self) -> bool:
        """Whether nothing has waited for too long."""
        since = self._waiting_since
        return since is None or self._clock.monotonic() - since < STALE_SECONDS

    async def set_services(self, services: Mapping[int, LocalEndpoints]) -> None:
        """Serve these health check node ports and no others."""
        self._services = services
        for port in [port for port in self._servers if port not in services]:
            await self._servers.pop(port).aclose()
        for port in services.keys() - self._servers.keys():
            stack = contextlib.AsyncExitStack()
            try:
                await stack.enter_async_context(listening(self._service_handler(port), port))
            except OSError as error:
                log.warning("health check port not served port=%d error=%s", port, error.strerror)
                continue
            self._servers[port] = stack

    async def close(self) -> None:
        """End all servers of services."""
        await self.set_services({})

    def proxy_handler(self, request: web.BaseRequest) -> web.Response:
        """Answer `/healthz` and `/livez`: 503 while changes wait for too long."""
        if request.path not in ("/healthz", "/livez"):
            return web.Response(status=404, text="404 page not found")
        document = {
            "lastUpdated": times.format_seconds(self._updated),
            "currentTime": times.format_seconds(self._clock.now()),
            "nodeEligible": True,
        }
        return _answer(document, is_healthy=self.is_healthy)

    def _service_handler(self, port: int) -> "Answer":
        def answer(_: web.BaseRequest) -> web.Response:
            namespace, name, addresses = self._services[port]
            document = {
                "service": {"namespace": namespace, "name": name},
                "localEndpoints": addresses,
                "serviceProxyHealthy": self.is_healthy,
            }
            return _answer(document, is_healthy=addresses > 0 and self.is_healthy)

        return answer

    @contextlib.asynccontextmanager
    async def serving(self, address: str = "0.0.0.0", port: int = PORT) -> AsyncIterator[int]:
        """Serve the proxy's own health while the block runs; gives the port."""
        async with listening(self.proxy_handler, port, address) as bound:
            yield bound


@contextlib.asynccontextmanager
async def listening(answer: Answer, port: int, address: str = "0.0.0.0") -> AsyncIterator[int]:
    """Answer requests while the block runs; gives the port.

    Raises:
        OSError: somebody else listens there.

    """

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return answer(request)

    http = web.Server(handle)
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(http, address, port, reuse_address=True)
    try:
        yield int(listener.sockets[0].getsockname()[1])
    finally:
        listener.close()
        await http.shutdown(CLOSE_SECONDS)


def _answer(document: Mapping[str, object], *, is_healthy: bool) -> web.Response:
    return web.Response(
        status=200 if is_healthy else 503,
        body=orjson.dumps(document),
        headers={"Content-Type": "application/json", "X-Content-Type-Options": "nosniff"},
    )

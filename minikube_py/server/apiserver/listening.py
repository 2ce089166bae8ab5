"""The listening socket: HTTP/1.1 over TLS, and what clients may take their time for."""

import logging
import ssl

from aiohttp import web

from minikube_py.server.apiserver.http import Frontend
from minikube_py.server.apiserver.labelled import LabelledRequest

SHUTDOWN_SECONDS = 5.0
KEEPALIVE_SECONDS = 90.0


class HttpServer:
    """The listening socket."""

    def __init__(self, frontend: Frontend, host: str, port: int, tls: ssl.SSLContext) -> None:
        # A watch or list whose client has left is cancelled; writes are not, see `_whole`.
        self._server = web.Server(
            frontend.handle,
            request_factory=LabelledRequest.make,
            handler_cancellation=True,
            access_log=None,
            # What is no HTTP is answered with 400; its headers may hold secrets, so no log of it.
            logger=logging.Logger("malformed", logging.CRITICAL),  # noqa: LOG001
            keepalive_timeout=KEEPALIVE_SECONDS,
        )
        self._runner = web.ServerRunner(self._server, shutdown_timeout=SHUTDOWN_SECONDS)
        self._host, self._port, self._tls = host, port, tls

    async def start(self) -> None:
        """Listen; raises OSError where the port is in use."""
        await self._runner.setup()
        site = web.TCPSite(
            self._runner, self._host, self._port, ssl_context=self._tls, backlog=1024
        )
        await site.start()

    async def stop(self) -> None:
        """Stop listening and let requests in flight end."""
        await self._runner.cleanup()

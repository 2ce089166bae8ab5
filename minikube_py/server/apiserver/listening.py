"""The listening socket: HTTP/1.1 over TLS, and what clients may take their time for."""

import asyncio
import logging
import socket
import ssl

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from minikube_py.server.apiserver.connection import Listener
from minikube_py.server.apiserver.http import Frontend
from minikube_py.server.apiserver.labelled import LabelledRequest

log = logging.getLogger(__name__)
IN_FLIGHT_SECONDS = 4.0
"""What is under way at the end may go on for so long; the whole process has nine seconds."""
CUT_SECONDS = 1.0
"""So long the last answers may take to be sent, and what was cancelled to notice."""
KEEPALIVE_SECONDS = 90.0
"""A connection on which nothing is asked for so long is closed, also one without a whole head."""
BACKLOG = 1024
KEEPALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 6))
"""A client whose machine is gone is noticed after two and a half minutes, as by Go's server."""
LINGERING_SECONDS = 2.0
"""So long a body that was refused may go on coming, so that the client reads why."""
HEAD_BYTES_MAX = 256 << 10
"""Of a request line or of one header: a long selector or token. Go's bound is a megabyte in all."""


class HttpServer:
    """The listening socket."""

    def __init__(self, frontend: Frontend, host: str, port: int, tls: ssl.SSLContext) -> None:
        # A watch or list whose client has left is cancelled; writes are not, see `_whole`.
        self._server = Listener(
            frontend.handle,  # type: ignore[arg-type]
            request_factory=LabelledRequest.make,
            handler_cancellation=True,
            access_log=None,
            logger=_logger(),
            keepalive_timeout=KEEPALIVE_SECONDS,
            lingering_time=LINGERING_SECONDS,
            # Upstream reads no compressed bodies; so none can grow beyond its bound here.
            auto_decompress=False,
            max_line_size=HEAD_BYTES_MAX,
            max_field_size=HEAD_BYTES_MAX,
        )
        self._runner = web.ServerRunner(self._server, shutdown_timeout=CUT_SECONDS)
        self._host, self._port, self._tls = host, port, tls
        self._frontend = frontend
        self._stopped = False

    async def start(self) -> None:
        """Listen; raises OSError where the port is in use."""
        await self._runner.setup()
        made = _listening(self._host, self._port)
        await web.SockSite(self._runner, made, ssl_context=self._tls, backlog=BACKLOG).start()

    async def stop(self) -> None:
        """Stop listening, end what would last, and let other requests finish.

        Watches end as they do when their time is over; idle connections are closed at once, others
        after their answer; what is still under way after `IN_FLIGHT_SECONDS` is cut off.
        """
        if self._stopped:
            return
        self._stopped = True
        for site in tuple(self._runner.sites):
            await site.stop()
        self._frontend.watches.close()
        requests = self._frontend.requests
        try:
            async with asyncio.timeout(IN_FLIGHT_SECONDS):
                requests.stop()
                self._close_idle()
                await requests.finished()
        except TimeoutError:
            requests.end_all()
        await self._runner.cleanup()

    def _close_idle(self) -> None:
        """Close connections on which nobody waits for an answer; aiohttp would close all."""
        for connection in self._server.connections:
            if not connection._request_in_progress:  # noqa: SLF001 -- it tells nobody else
                connection.force_close()


def _listening(host: str, port: int) -> socket.socket:
    """Return the socket; what it accepts finds out by itself that a client is gone for good."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = host == "::" and socket.has_dualstack_ipv6()
    made = socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=both)
    for option, value in KEEPALIVE:
        made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made


class _NotMalformed(logging.Filter):
    """Leaves out clients that leave, and what is no HTTP: its headers may hold secrets."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the record is about an error of ours."""
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, HttpProcessingError | ConnectionError)


def _logger() -> logging.Logger:
    logger = log.getChild("errors")
    logger.setLevel(logging.ERROR)
    logger.addFilter(_NOT_MALFORMED)
    return logger


_NOT_MALFORMED = _NotMalformed()

"""A client's connection: aiohttp's, with a short way for the answers that almost all requests get.

aiohttp reads requests, follows upgrades and streams. A `Reply` skips what it does for answers in
general: it goes out in one write. What is unusual about a request or its answer (HTTP/1.0, a HEAD,
the last one of a connection) is left to aiohttp.
"""

from typing import Any

from aiohttp import web
from aiohttp.http import HttpVersion11
from aiohttp.web_protocol import RequestHandler

from minikube_py.server.apiserver.labelled import LabelledRequest
from minikube_py.server.apiserver.reply import BODILESS, Reply


class Connection(RequestHandler):
    """One connection."""

    __slots__ = ("_certificate",)

    def __init__(self, manager: web.Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self._certificate: bytes | None = None

    @property
    def certificate(self) -> bytes | None:
        """The client's certificate (DER), which is the same for as long as it is connected."""
        if self._certificate is None and self.transport is not None:
            tls = self.transport.get_extra_info("ssl_object")
            if tls is not None:
                self._certificate = tls.getpeercert(binary_form=True)
        return self._certificate

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002 -- aiohttp's
        """Go on reading; bodies ask for that at every end, and almost never was there a pause."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    async def finish_response(
        self, request: web.BaseRequest, resp: Any, start_time: float | None
    ) -> tuple[Any, bool]:
        """Send the answer; the result is the answer and whether the client has left."""
        if type(resp) is not Reply:
            return await super().finish_response(request, resp, start_time)
        if self._upgraded or not _is_plain(request, resp):
            return await super().finish_response(request, resp.in_general(), start_time)
        transport = self.transport
        if transport is None or transport.is_closing():
            return resp, True
        transport.write(resp.data(request.labels(resp.status)))  # type: ignore[attr-defined]
        if self._paused:
            try:
                await self._drain_helper()
            except ConnectionError:
                return resp, True
        return resp, False


def _is_plain(request: web.BaseRequest, reply: Reply) -> bool:
    return (
        isinstance(request, LabelledRequest)
        and reply.keep_alive
        and request.keep_alive
        and request.version == HttpVersion11
        and request.method != "HEAD"
        and reply.status not in BODILESS
    )


class Listener(web.Server):
    """What makes a connection of each client that comes."""

    def __call__(self) -> Connection:
        """Return the protocol of a new connection."""
        return Connection(self, loop=self._loop, **self._kwargs)

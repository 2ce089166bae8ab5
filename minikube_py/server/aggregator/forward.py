"""A request to an aggregated API is handed on to its server, with who asks in headers.

This server has authenticated and authorised the user; the other believes it, because we show it a
certificate of the authority that signs for proxies alone (`extension-apiserver-authentication`).
What goes wrong on the way is told as upstream's `handler_proxy.go` does, in plain text.
"""

import ssl
import string
from collections.abc import Iterator, Mapping

from aiohttp import web
from yarl import URL

from minikube_py.api.errors import InternalError, ServiceUnavailableError
from minikube_py.api.object import Obj
from minikube_py.lib.forwarding import is_upgrade
from minikube_py.server.aggregator.routes import Remote, Routes
from minikube_py.server.apiserver.proxy import Proxy
from minikube_py.server.apiserver.upgrade import tunnel
from minikube_py.server.attributes import User
from minikube_py.server.service_addresses import Address, ServiceAddresses

LEGAL = frozenset((string.ascii_letters + string.digits + "!#$&'*+-.^_`|~").encode())
"""Bytes of a header's name (RFC 9110, 5.6.2), apart from the percent sign, which escapes others."""
_BROKEN = frozenset("\r\n\0")


class Forwarder:
    """Hands requests on."""

    def __init__(self, routes: Routes, addresses: ServiceAddresses, proxy: Proxy) -> None:
        self.routes = routes
        self._addresses = addresses
        self._proxy = proxy

    async def handle(
        self, request: web.BaseRequest, user: User, remote: Remote
    ) -> web.StreamResponse:
        """Answer with what the other server answers."""
        try:
            address = self._addresses.resolve(remote.namespace, remote.service, remote.port)
        except ServiceUnavailableError:
            return plain_error("service unavailable", 503)
        if not remote.available:
            return plain_error("service unavailable", 503)
        try:
            return await self._hand_on(request, user, remote, address)
        except ssl.SSLError as error:
            return plain_error(str(error), 500)
        except (ServiceUnavailableError, InternalError) as error:
            return plain_error(error.message, 503)

    def answers(self, path: str) -> bool:
        """Tell whether a path is another server's."""
        return self.routes.find(path) is not None

    async def read(self, user: User, path: str, query: Mapping[str, str]) -> Obj:
        """Return the document that another server has at a path.

        Raises:
            StatusError: that server refuses, or cannot be reached.

        """
        return await self._ask("GET", user, path, query)

    async def remove(self, user: User, path: str) -> None:
        """Have another server delete what it has at a path, in the background.

        Raises:
            StatusError: that server refuses, or cannot be reached.

        """
        await self._ask("DELETE", user, path, {"propagationPolicy": "Background"})

    async def _ask(self, method: str, user: User, path: str, query: Mapping[str, str]) -> Obj:
        remote = self.routes.find(path)
        if remote is None or not remote.available:
            raise ServiceUnavailableError("service unavailable")
        address = self._addresses.resolve(remote.namespace, remote.service, remote.port)
        url = str(URL(f"https://{address.netloc}{path}", encoded=True).with_query(dict(query)))
        try:
            context = self.routes.tls(remote)
        except ssl.SSLError as error:
            raise ServiceUnavailableError(str(error)) from error
        headers = list(user_headers(user))
        return await self._proxy.document(
            url, context, server_name=address.server_name, headers=headers, method=method
        )

    async def _hand_on(
        self, request: web.BaseRequest, user: User, remote: Remote, address: Address
    ) -> web.StreamResponse:
        context = self.routes.tls(remote)
        headers = list(user_headers(user))
        if any(not _BROKEN.isdisjoint(value) for _, value in headers):
            raise ServiceUnavailableError(
                "error trying to reach service: invalid header field value"
            )
        url = f"https://{address.netloc}{request.raw_path}"
        name = address.server_name
        if is_upgrade(request):
            return await tunnel(
                request,
                url,
                context,
                server_name=name,
                headers=headers,
                proxy=self._proxy,
            )
        return await self._proxy.forward(request, url, context, server_name=name, headers=headers)


def user_headers(user: User) -> Iterator[tuple[str, str]]:
    """Yield the headers that name the user, as upstream's transport sets them."""
    yield "X-Remote-User", user.name
    if user.uid:
        yield "X-Remote-Uid", user.uid
    for group in user.groups:
        yield "X-Remote-Group", group
    for key, values in user.extra.items():
        for value in values:
            yield f"X-Remote-Extra-{escaped(key)}", value


def escaped(key: str) -> str:
    """Return the key of an extra as it stands in a header's name."""
    return "".join(chr(b) if b in LEGAL else f"%{b:02X}" for b in key.encode())


def plain_error(text: str, status: int) -> web.Response:
    """Return an error in plain text, as Go's `http.Error` writes it."""
    headers = {"Cache-Control": "no-cache, private", "X-Content-Type-Options": "nosniff"}
    return web.Response(text=f"{text}\n", status=status, headers=headers)

"""Exec, attach, port-forward and proxied WebSockets: the API server joins two raw connections.

What is spoken inside (SPDY/3.1 or WebSocket) is settled between the client and the kubelet; the
API server passes on the handshake and then bytes. So it works with any conformant kubelet, and a
kubelet that does not know the newest protocol says so itself and the client falls back.
"""

import ssl as tls
from collections.abc import Iterable
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from minikube_py.api.errors import InternalError
from minikube_py.lib.forwarding import end_to_end_headers, why
from minikube_py.lib.hijack import Refused, Switched, dial_upgrade, pump, take_over
from minikube_py.server.apiserver.proxy import Proxy

DIAL_SECONDS = 30.0
BEARER_PROTOCOL = "base64url.bearer.authorization.k8s.io."
"""A WebSocket subprotocol that carries the user's token; it goes no further than this server."""


async def tunnel(
    request: web.BaseRequest,
    url: str,
    ssl: tls.SSLContext | None,
    *,
    server_name: str = "",
    headers: Iterable[tuple[str, str]] = (),
    proxy: Proxy,
) -> web.StreamResponse:
    """Hand the client's upgrade on to `url` and copy bytes both ways until a side ends.

    An answer other than 101 is passed on as it is. `url` names path and query in full;
    `server_name` is the name that the far end's certificate must hold, where it is not the URL's;
    `headers` are sent beside the client's; `proxy` says which of those are kept back, and how
    hosts are reached.

    Raises:
        InternalError: the far end cannot be reached.

    """
    try:
        far = await dial_upgrade(
            url,
            method=request.method,
            headers=[*_handshake_headers(request, proxy.private), *headers],
            ssl=ssl,
            server_name=server_name,
            timeout_seconds=DIAL_SECONDS,
            dial=proxy.dial,
        )
    except Refused as refusal:
        kind = refusal.headers.get("content-type", "text/plain")
        return web.Response(
            status=refusal.status, body=refusal.body, headers={hdrs.CONTENT_TYPE: kind}
        )
    except OSError as error:
        place = urlsplit(url).netloc
        raise InternalError(f"error dialing backend: dial tcp {place}: {why(error)}") from error
    try:
        near = take_over(request, far.headers.items())
    except ConnectionError:
        far.close()
        return Switched()
    await pump(near, far)
    return Switched()


def _handshake_headers(request: web.BaseRequest, private: tuple[str, ...]) -> list[tuple[str, str]]:
    headers: list[tuple[str, str]] = [
        (hdrs.CONNECTION, "Upgrade"),
        (hdrs.UPGRADE, request.headers.get(hdrs.UPGRADE, "")),
    ]
    for name, value in end_to_end_headers(request.headers, private):
        if name.lower() == "sec-websocket-protocol":
            offers = (offer.strip() for offer in value.split(","))
            kept = [offer for offer in offers if not offer.startswith(BEARER_PROTOCOL)]
            if kept:
                headers.append((name, ", ".join(kept)))
        elif name.lower() not in ("host", "content-length"):
            headers.append((name, value))
    return headers

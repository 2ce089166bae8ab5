"""What every HTTP proxy does: which headers go on, how an answer is passed back, why it failed.

Bodies stream and are never held whole; a slow reader holds back the one who writes.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

import aiohttp
from aiohttp import hdrs, web

HOP_BY_HOP = frozenset({
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection",
    "te", "trailer", "transfer-encoding", "upgrade",
})  # fmt: skip
"""Headers about one connection, which a proxy does not pass on (RFC 9110, 7.6.1)."""


def end_to_end_headers(
    headers: Mapping[str, str], private: tuple[str, ...] = ()
) -> Iterator[tuple[str, str]]:
    """Yield the headers that a proxy passes on: none about the connection.

    `private` are beginnings, in lower case, of names that are kept back as well.
    """
    named = {name.strip().lower() for name in headers.get(hdrs.CONNECTION, "").split(",")}
    for name, value in headers.items():
        lower = name.lower()
        if lower not in HOP_BY_HOP and lower not in named and not lower.startswith(private):
            yield name, value


def is_upgrade(request: web.BaseRequest) -> bool:
    """Tell whether the client asks to leave HTTP."""
    connection = request.headers.get(hdrs.CONNECTION, "").lower()
    return "upgrade" in connection and hdrs.UPGRADE in request.headers


class Through(Protocol):
    """Changes a body as it passes."""

    def feed(self, data: bytes) -> bytes:
        """Return what can go on after these bytes; raises aiohttp.ClientError for damaged ones."""

    def rest(self) -> bytes:
        """Return what was held back to the end."""


async def relay(
    request: web.BaseRequest,
    far: aiohttp.ClientResponse,
    headers: Iterable[tuple[str, str]],
    through: Through | None = None,
) -> web.StreamResponse:
    """Answer with what the far end answers, as it comes, or as `through` makes of it."""
    answer = web.StreamResponse(status=far.status, reason=far.reason)
    for name, value in headers:
        answer.headers.add(name, value)
    await answer.prepare(request)
    try:
        async for chunk in far.content.iter_any():
            if data := chunk if through is None else through.feed(chunk):
                await answer.write(data)
        await answer.write_eof(b"" if through is None else through.rest())
    except (aiohttp.ClientError, ConnectionError, TimeoutError):
        # The status line is out: ending the connection is the only way to say "incomplete".
        if request.transport is not None:
            request.transport.close()
    return answer


def why(error: BaseException) -> str:
    """Return why a server could not be reached, in a few words."""
    if isinstance(error, TimeoutError):
        return "i/o timeout"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"dial tcp {error.host}:{error.port}: {_os_words(error.os_error)}"
    if isinstance(error, OSError):
        return _os_words(error)
    return str(error) or type(error).__name__


def _os_words(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connect: connection refused"
    return (error.strerror or str(error)).lower()

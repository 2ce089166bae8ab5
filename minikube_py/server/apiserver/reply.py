"""An answer that is whole when it is given, and its bytes: what almost all requests get.

aiohttp's own answers can be streamed, compressed and upgraded, and pay for that with a dictionary
of headers that is checked and serialised for each. A `Reply` knows its few headers as text; what
answers have in common is made once for each status and type of content.
"""

from collections.abc import Iterable
from http import HTTPStatus

from aiohttp import web
from aiohttp.helpers import rfc822_formatted_time

CACHE_CONTROL = "no-cache, private"
"""Upstream's, for all that is not discovery."""
BODILESS = frozenset({204, 304})
"""Statuses whose answers have neither a body nor its length."""
LARGE_BYTES = 64 * 1024
"""What a connection takes at once; of more, the client has to read some first."""
_REASONS = {status.value: status.phrase for status in HTTPStatus}
_MEDIA_KEPT_MAX = 128
_heads: dict[tuple[int, str], str] = {}
"""How answers begin, up to their length; a memory of pure values."""


class Reply:
    """A whole answer."""

    __slots__ = ("body", "headers", "keep_alive", "media", "status")

    def __init__(self, status: int, media: str, body: bytes) -> None:
        self.status = status
        self.media = media
        """The Content-Type."""
        self.body = body
        self.headers: list[tuple[str, str]] = []
        """What its head says beside what all answers say."""
        self.keep_alive = True
        """Whether the connection goes on after it."""

    def force_close(self) -> None:
        """Make it the connection's last answer."""
        self.keep_alive = False

    def add(self, headers: Iterable[tuple[str, str]]) -> None:
        """Add headers."""
        self.headers.extend(headers)

    def data(self, labels: str) -> bytes:
        """Return all its bytes; `labels` are the lines of headers that the request brings."""
        head = _heads.get((self.status, self.media)) or _head(self.status, self.media)
        more = "".join([f"{name}: {value}\r\n" for name, value in self.headers])
        date = rfc822_formatted_time()
        text = f"{head}{len(self.body)}\r\nDate: {date}\r\n{labels}{more}\r\n"
        return text.encode() + self.body

    def in_general(self) -> web.Response:
        """Return the same as an answer of aiohttp's."""
        head = {"Cache-Control": CACHE_CONTROL, "Content-Type": self.media}
        response = web.Response(status=self.status, body=self.body, headers=head)
        for name, value in self.headers:
            response.headers.add(name, value)
        if not self.keep_alive:
            response.force_close()
        return response


def _head(status: int, media: str) -> str:
    text = (
        f"HTTP/1.1 {status} {_REASONS.get(status, '')}\r\nCache-Control: {CACHE_CONTROL}\r\n"
        f"Content-Type: {media}\r\nContent-Length: "
    )
    if len(_heads) < _MEDIA_KEPT_MAX:
        _heads[status, media] = text
    return text


async def sent(
    request: web.BaseRequest, response: web.StreamResponse | Reply
) -> web.StreamResponse | Reply:
    """Send a large answer while the request's time still counts: its reader may be slow."""
    if isinstance(response, Reply):
        response = response.in_general()
    data = response.body if type(response) is web.Response else None
    if type(data) is bytes and len(data) > LARGE_BYTES:
        await response.prepare(request)
        await response.write_eof()
    return response

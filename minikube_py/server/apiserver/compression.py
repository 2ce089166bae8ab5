"""Big answers are compressed for clients that say they take gzip, as upstream's are.

Small ones are not: compressing them costs more than it saves (upstream's threshold and level).
"""

import asyncio
import gzip
import zlib
from collections.abc import Iterable, Iterator

from aiohttp import web

GZIP_BYTES_MIN = 128 * 1024
"""Answers up to this size go out as they are."""
LEVEL = 1
GZIP_HEADERS = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
_GZIP_WINDOW = 31
"""zlib's name for the largest window inside a gzip container."""


def takes_gzip(request: web.BaseRequest) -> bool:
    """Tell whether the client takes gzip; upstream looks for the bare word alone."""
    named = request.headers.get("Accept-Encoding", "")
    return bool(named) and any(token.strip() == "gzip" for token in named.split(","))


async def compressed(
    request: web.BaseRequest, data: bytes, bytes_min: int = GZIP_BYTES_MIN
) -> tuple[bytes, dict[str, str]]:
    """Return a body and the headers that it needs, compressed where that is worth it."""
    if len(data) <= bytes_min or not takes_gzip(request):
        return data, {}
    return await asyncio.to_thread(gzip.compress, data, LEVEL, mtime=0), GZIP_HEADERS


def compress_chunks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the chunks as one gzip stream."""
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
    for chunk in chunks:
        if packed := packer.compress(chunk):
            yield packed
    yield packer.flush()

"""Connections as a client, of which nothing that arrived is lost.

A reader of asyncio forgets what it holds once its connection breaks: the last words of a server
that then resets the connection would be lost, though they have arrived. Here a break is an end.
"""

import asyncio
from typing import Any


class _Reader(asyncio.StreamReader):
    def set_exception(self, _: BaseException) -> None:
        """Take a break of the connection as its end: what came before can still be read."""
        self.feed_eof()


async def connect(
    host: str, port: int, *, limit: int = 64 * 1024, **options: Any
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect as `asyncio.open_connection` does; the reader ends where the connection breaks.

    Raises:
        OSError: it cannot be reached.

    """
    loop = asyncio.get_running_loop()
    reader = _Reader(limit=limit, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport, _ = await loop.create_connection(lambda: protocol, host, port, **options)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

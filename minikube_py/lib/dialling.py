"""Connections that are made in another way than asked for: through a tunnel, to another server.

Who connects asks a `Dial` first. It answers with a socket that is connected already, or with None
where the usual way is right.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

Dial = Callable[[str, int], Awaitable[socket.socket | None]]
"""(host, port) -> a connected socket, or None; raises OSError."""
USER_TIMEOUT_MS = 30_000


def notice_dead_peer(made: socket.socket) -> None:
    """Have a TCP connection end within about 45 s of its far end, also where nothing is sent.

    What has been sent and is not acknowledged counts, too, or the kernel would send it again for a
    quarter of an hour.
    """
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)


async def nobody(_host: str, _port: int) -> None:
    """Be a `Dial` that leaves all to the usual way."""


class DialConnector(aiohttp.TCPConnector):
    """Makes aiohttp's connections through a `Dial`; who makes it gives that first."""

    def __init__(self, dial: Dial, **options: Any) -> None:
        super().__init__(**options)
        self._dial = dial

    async def _wrap_create_connection(
        self,
        *args: Any,
        addr_infos: Any,
        req: Any,
        timeout: Any,
        client_error: Any = aiohttp.ClientConnectorError,
        **kwargs: Any,
    ) -> Any:
        host, port = addr_infos[0][4][:2]
        key = req.connection_key
        try:
            async with asyncio.timeout(timeout.sock_connect):
                made = await self._dial(host, port)
                if made is not None:
                    return await _begin(made, *args, **kwargs)
        except ssl.SSLCertVerificationError as error:
            raise aiohttp.ClientConnectorCertificateError(key, error) from error
        except ssl.SSLError as error:
            raise aiohttp.ClientConnectorSSLError(key, error) from error
        except OSError as error:
            raise client_error(key, error) from error
        return await super()._wrap_create_connection(
            *args,
            addr_infos=addr_infos,
            req=req,
            timeout=timeout,
            client_error=client_error,
            **kwargs,
        )


async def _begin(made: socket.socket, *args: Any, **kwargs: Any) -> Any:
    loop = asyncio.get_running_loop()
    try:
        if made.family == socket.AF_UNIX:
            return await loop.create_unix_connection(*args, sock=made, **kwargs)
        return await loop.create_connection(*args, sock=made, **kwargs)
    except BaseException:
        made.close()
        raise


async def open_stream(
    made: socket.socket, **tls: Any
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Read and write on a socket that is connected already."""
    try:
        if made.family == socket.AF_UNIX:
            return await asyncio.open_unix_connection(sock=made, **tls)
        return await asyncio.open_connection(sock=made, **tls)
    except BaseException:
        made.close()
        raise

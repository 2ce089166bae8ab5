"""What arrived before a connection broke can be read."""

import asyncio
import socket
import struct
from collections.abc import Callable

import pytest
import uvloop

from minikube_py.lib.connections import connect

RESET = struct.pack("ii", 1, 0)
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


async def last_words() -> bytes:
    """Read from a server that resets the connection before anybody has read."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"last words")
        await reader.readexactly(1)
        made = writer.get_extra_info("socket")
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1")
    async with server:
        reader, writer = await connect(*server.sockets[0].getsockname())
        writer.write(b"!")
        async with asyncio.timeout(60):
            with pytest.raises(ConnectionError):
                await writer.wait_closed()
            found = await reader.read()
    return found


@pytest.mark.parametrize("loop", LOOPS)
def test_the_last_words_before_a_reset_are_read(loop: str) -> None:
    made: Callable[[], asyncio.AbstractEventLoop] = LOOPS[loop]
    with asyncio.Runner(loop_factory=made) as runner:
        assert runner.run(last_words()) == b"last words"

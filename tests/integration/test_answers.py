"""An answer is the same whichever way it goes out: the short one, or aiohttp's."""

import asyncio
import ssl

import pytest

from tests.integration.conftest import Server

GET = "GET /api/v1/namespaces/default HTTP/1.1\r\nHost: kpy\r\n"
ANSWER_SECONDS_MAX = 60.0


async def raw(server: Server, data: str) -> bytes:
    """Send bytes and return all that comes until the server closes the connection."""
    tls = server.session.connector._ssl
    assert isinstance(tls, ssl.SSLContext)
    port = int(server.url.rpartition(":")[2])
    async with asyncio.timeout(ANSWER_SECONDS_MAX):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=tls, server_hostname="127.0.0.1"
        )
        writer.write(data.encode())
        answer = await reader.read()
        writer.close()
    return answer


def parts(answer: bytes) -> tuple[bytes, dict[bytes, bytes], bytes]:
    """Return status line, headers and body."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    return status, dict(line.split(b": ", 1) for line in lines), body


def length(answer: bytes) -> int:
    """Return where the first of several answers ends."""
    head, _, _ = answer.partition(b"\r\n\r\n")
    return len(head) + 4 + int(parts(answer)[1][b"Content-Length"])


async def test_the_last_answer_of_a_connection_is_as_those_before(server: Server) -> None:
    both = await raw(server, f"{GET}\r\n{GET}Connection: close\r\n\r\n")
    cut = length(both)
    first, last = parts(both[:cut]), parts(both[cut:])
    assert last[1].pop(b"Connection") == b"close"
    assert first[0] == last[0] == b"HTTP/1.1 200 OK"
    assert list(first[1]) == list(last[1])
    assert first[2] == last[2]
    differ = {name for name in first[1] if first[1][name] != last[1][name]}
    assert differ <= {b"Date", b"Audit-Id"}


async def test_requests_in_a_row_are_answered_in_their_order(server: Server) -> None:
    missing = GET.replace("default", "missing")
    answers = await raw(server, f"{GET}\r\n{missing}\r\n{GET}Connection: close\r\n\r\n")
    codes = []
    while answers:
        codes.append(parts(answers)[0])
        answers = answers[length(answers) :]
    assert codes == [b"HTTP/1.1 200 OK", b"HTTP/1.1 404 Not Found", b"HTTP/1.1 200 OK"]


async def test_a_client_of_http_1_0_gets_the_same_and_the_end(server: Server) -> None:
    old = parts(await raw(server, f"{GET}\r\n".replace("HTTP/1.1", "HTTP/1.0")))
    new = parts(await raw(server, f"{GET}Connection: close\r\n\r\n"))
    assert old[0] == b"HTTP/1.0 200 OK"
    assert old[2] == new[2]


@pytest.mark.parametrize("agent", ["curl/8", ""])
async def test_a_client_that_leaves_early_harms_nobody(server: Server, agent: str) -> None:
    tls = server.session.connector._ssl
    assert isinstance(tls, ssl.SSLContext)
    port = int(server.url.rpartition(":")[2])
    for _ in range(5):
        _, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=tls, server_hostname="127.0.0.1"
        )
        writer.write(f"{GET}User-Agent: {agent}\r\n\r\n".encode() * 20)
        writer.transport.abort()
    assert (await server.call("GET", "/api/v1/namespaces/default")).status == 200

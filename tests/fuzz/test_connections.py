"""Bytes that are no HTTP, or barely: each gets a 4xx or an answer, and a connection that ends."""

import asyncio
import gzip
import os
import ssl
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from minikube_py.server.apiserver import listening
from tests.fuzz.conftest import Target
from tests.fuzz.operations import mutated
from tests.integration.conftest import Server, running

COUNT = int(os.environ.get("KPY_FUZZ", "40"))
SEED = int(os.environ.get("KPY_FUZZ_SEED", "1"))
IDLE = 300
"""Connections that do nothing at the same time."""
IDLE_KILOBYTES_MAX = 1_000
"""Memory of one idle connection here, where asyncio's TLS has a buffer of 256 kB at either end.

The program runs on uvloop, with some 40 kB a connection."""
HEAD = b" HTTP/1.1\r\nHost: kpy\r\nConnection: close\r\n"
GET = b"GET /api/v1/namespaces" + HEAD
POST = b"POST /api/v1/namespaces/default/configmaps" + HEAD + b"Content-Type: application/json\r\n"
OPTIONS = settings(
    max_examples=COUNT,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


async def connect(server: Server) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection as the administrator."""
    tls = server.session.connector._ssl
    assert isinstance(tls, ssl.SSLContext)
    port = int(server.url.rpartition(":")[2])
    return await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname="127.0.0.1")


async def exchange(server: Server, data: bytes) -> int:
    """Send raw bytes and the end of the stream; return the status, 0 where there is no answer."""
    reader, writer = await connect(server)
    try:
        writer.write(data)
        await writer.drain()
        answer = await reader.read(64)
    except (ConnectionError, ssl.SSLError):
        return 0
    finally:
        writer.close()
    return int(answer[9:12]) if answer.startswith(b"HTTP/") else 0


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /" + b"a" * 9_000_000 + HEAD + b"\r\n", 400),
        (GET + b"X: " + b"a" * 2_000_000 + b"\r\n\r\n", 400),
        (GET + b"".join(b"X-%d: a\r\n" % n for n in range(100_000)) + b"\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
        (b"\x00\x01\x02\x03\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET / HTTP/3.0\r\n\r\n", 400),
        (b"OPTIONS *" + HEAD + b"\r\n", 404),
        (b"CONNECT example.com:443" + HEAD + b"\r\n", 404),
        (b"GET /api/\x00" + HEAD + b"\r\n", 400),
        (b"GET /api/\xff" + HEAD + b"\r\n", 400),
        (GET + b"Name with spaces: a\r\n\r\n", 400),
        (GET + b"X: a\r\n folded\r\n\r\n", 400),
        (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: nonsense\r\n\r\n0\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n", 400),
        (POST + b"Content-Length: -5\r\n\r\n", 400),
        (POST + b"Content-Length: 99999999999999999999\r\n\r\n", 400),
        (POST + b"Content-Length: 4000000\r\n\r\n", 413),
        (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef", 400),
        (GET + b"Impersonate-User: \xff\xfe\r\n\r\n", 403),
        (GET + b"Audit-ID: \xff\xfe\r\n\r\n", 200),
        (GET + b"Accept: " + b"a/b;q=0.1," * 5000 + b"\r\n\r\n", 406),
        (b"GET /api/v1/pods?labelSelector=" + b"(" * 200_000 + HEAD + b"\r\n", 400),
        (b"GET /api/v1/pods?labelSelector=" + b"a," * 60_000 + b"a" + HEAD + b"\r\n", 200),
        (b"GET /api/v1/pods?continue=" + b"A" * 200_000 + HEAD + b"\r\n", 400),
        (b"GET /api/v1/pods?limit=" + b"9" * 5_000 + HEAD + b"\r\n", 400),
        (b"GET /api/v1/namespaces/%zz/pods/%ff%fe" + HEAD + b"\r\n", 400),
    ],
)
def test_what_is_hardly_http_is_refused(target: Target, data: bytes, status: int) -> None:
    target.errors.texts.clear()
    assert target.run(exchange(target.server, data)) == status
    assert not target.errors.texts


def post(data: bytes, media: bytes, path: bytes = b"configmaps") -> bytes:
    """Return a POST of a body."""
    head = b"POST /api/v1/namespaces/default/" + path + HEAD
    return head + b"Content-Type: %b\r\nContent-Length: %d\r\n\r\n" % (media, len(data)) + data


BOMB = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%b]\n" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 9)) for n in range(12)
)
COPIES = (
    b"["
    + b",".join(
        b'{"op":"copy","from":"/metadata","path":"/metadata/annotations"}' for _ in range(40)
    )
    + b"]"
)


@pytest.mark.parametrize(
    ("data", "statuses"),
    [
        (post(b'{"a":' * 500_000, b"application/json"), {400}),
        (post(b"[" * 500_000, b"application/yaml"), {400}),
        (post(b"- " * 500_000, b"application/yaml"), {400}),
        (post(BOMB, b"application/yaml"), {400}),
        (
            post(b"k8s\x00" + b"\x0a\xff\x7f" * 100_000, b"application/vnd.kubernetes.protobuf"),
            {400},
        ),
        (
            post(
                b'{"metadata":{"name":"a","labels":{'
                + b",".join(b'"l%d":"$"' % n for n in range(100_000))
                + b"}}}",
                b"application/json",
            ),
            {422},
        ),
        (
            post(
                b'{"metadata":{"name":"a","finalizers":[' + b",".join([b'"x"'] * 500_000) + b"]}}",
                b"application/json",
            ),
            {422},
        ),
        (post(b"k: " + b"9" * 100_000, b"application/yaml"), {201, 400, 422}),
    ],
)
def test_a_body_that_is_meant_to_grow_is_refused(
    target: Target, data: bytes, statuses: set[int]
) -> None:
    target.errors.texts.clear()
    assert target.run(exchange(target.server, data)) in statuses
    assert not target.errors.texts


def test_a_compressed_body_is_not_unpacked(target: Target) -> None:
    packed = gzip.compress(b" " * 200_000_000)
    head = POST + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    assert target.run(exchange(target.server, head + packed)) == 400


def test_a_patch_that_copies_itself_is_refused_or_small(target: Target) -> None:
    made = target.run(target.server.call("POST", "/api/v1/namespaces", {"metadata": {"name": "t"}}))
    assert made.status == 201
    head = b"PATCH /api/v1/namespaces/t" + HEAD + b"Content-Type: application/json-patch+json\r\n"
    data = head + b"Content-Length: %d\r\n\r\n" % len(COPIES) + COPIES
    assert target.run(exchange(target.server, data)) in {400, 413, 422}


VALID = (
    GET + b"Accept: application/json\r\n\r\n",
    post(b'{"metadata":{"name":"m","labels":{"a":"b"}},"data":{"k":"v"}}', b"application/json"),
    post(b"metadata:\n  name: y\ndata: {k: v}\n", b"application/yaml"),
    POST + b"Transfer-Encoding: chunked\r\n\r\n4\r\n{}  \r\n0\r\n\r\n",
)


@seed(SEED)
@OPTIONS
@given(data=mutated(st.sampled_from(VALID)))
def test_a_request_with_bytes_changed_on_the_way_breaks_nothing(
    target: Target, data: bytes
) -> None:
    async def send() -> int:
        reader, writer = await connect(target.server)
        try:
            writer.write(data)
            # What is not whole yet is not answered; who sends it goes away.
            async with asyncio.timeout(0.3):
                answer = await reader.read(64)
        except (TimeoutError, ConnectionError, ssl.SSLError):
            return 0
        finally:
            writer.close()
        return int(answer[9:12]) if answer.startswith(b"HTTP/") else 0

    target.errors.texts.clear()
    assert target.run(send()) < 500
    assert not target.errors.texts


def resident_kilobytes() -> int:
    """Return the memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4


def test_hundreds_of_connections_that_do_nothing_cost_little_and_hold_up_nobody(
    target: Target,
) -> None:
    async def idle() -> None:
        before = resident_kilobytes()
        opened = [await connect(target.server) for _ in range(IDLE)]
        try:
            grown = resident_kilobytes() - before
            assert (await target.server.call("GET", "/api/v1/namespaces")).status == 200
        finally:
            for _, writer in opened:
                writer.close()
        assert grown < IDLE * IDLE_KILOBYTES_MAX

    target.run(idle())


async def test_a_head_that_comes_too_slowly_ends_its_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "KEEPALIVE_SECONDS", 0.5)
    async with running(tmp_path) as server, asyncio.timeout(60):
        reader, writer = await connect(server)
        writer.write(b"GET /api HTTP/1.1\r\nHost: kpy\r\nX-Slow: ")
        assert await reader.read() == b""  # the server has closed it
        writer.close()


async def test_a_body_that_comes_too_slowly_ends_its_request(tmp_path: Path) -> None:
    async with running(tmp_path, request_timeout="1s") as server, asyncio.timeout(60):
        reader, writer = await connect(server)
        writer.write(POST + b"Content-Length: 100\r\n\r\n{")
        answer = await reader.read()
        assert answer.startswith((b"HTTP/1.1 504", b"HTTP/1.1 408", b"HTTP/1.1 400")), answer
        writer.close()

"""How the server is run: metrics, limits of time, slow clients, its end, its certificates."""

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import orjson
import pytest
from cryptography import x509

from minikube_py.api.core import CONFIGMAPS
from minikube_py.lib import authority, pki
from minikube_py.lib.prometheus import CONTENT_TYPE
from minikube_py.server.apiserver import listening
from tests.integration.conftest import Server, running
from tests.integration.patience import SECONDS_MAX, eventually

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


def config_map(name: str, size: int = 1) -> dict[str, object]:
    return {"metadata": {"name": name}, "data": {"text": "x" * size}}


async def make(server: Server, name: str, size: int = 1) -> None:
    """Make a config map in process, where no limit of time counts."""
    body = config_map(name, size)
    metadata = {"name": name, "namespace": "default"}
    await server.client.create(CONFIGMAPS, {**body, "metadata": metadata})


@contextlib.asynccontextmanager
async def connected(
    server: Server, receive_bytes: int = 0
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a plain connection as the administrator."""
    made = socket.socket()
    if receive_bytes:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    made.settimeout(0)
    address = "127.0.0.1", int(server.url.rpartition(":")[2])
    await asyncio.get_running_loop().sock_connect(made, address)
    reader, writer = await asyncio.open_connection(
        sock=made, ssl=admin(server), server_hostname="127.0.0.1"
    )
    try:
        yield reader, writer
    finally:
        writer.close()


def admin(server: Server) -> ssl.SSLContext:
    material = server.app.bootstrap
    context = ssl.create_default_context(cafile=str(material.cluster_ca.certificate_path))
    context.load_cert_chain(material.admin.certificate_path, material.admin.key_path)
    return context


async def head_of(reader: asyncio.StreamReader) -> str:
    async with asyncio.timeout(SECONDS_MAX):
        return (await reader.readuntil(b"\r\n\r\n")).decode()


# --- metrics --------------------------------------------------------------------------------------


async def test_requests_are_counted_under_upstreams_names(server: Server) -> None:
    for name in ("a", "b"):
        await server.call("POST", CONFIG_MAPS, config_map(name))
    await server.call("GET", f"{CONFIG_MAPS}/nothing")
    await server.call("GET", "/apis/no.such.group/v1/made-up-by-the-client")
    answer = await server.call("GET", "/metrics")
    assert answer.headers["Content-Type"] == CONTENT_TYPE
    lines = answer.raw.decode().splitlines()
    labels = (
        'component="apiserver",dry_run="",group="",resource="configmaps",scope="resource",'
        'subresource="",'
    )
    assert f'apiserver_request_total{{code="201",{labels}verb="POST",version="v1"}} 2' in lines
    assert f'apiserver_request_total{{code="404",{labels}verb="GET",version="v1"}} 1' in lines
    count = f'apiserver_request_duration_seconds_count{{{labels}verb="POST",version="v1"}} 2'
    assert count in lines
    assert "made-up-by-the-client" not in answer.raw.decode()
    of_sizes = labels.replace('dry_run="",', "")
    sizes = f"apiserver_response_sizes_count{{{of_sizes}"
    assert f'{sizes}verb="GET",version="v1"}} 1' in lines
    assert not any(line.startswith(sizes) and 'verb="POST"' in line for line in lines)
    step = 'apiserver_admission_step_admission_duration_seconds_count{operation="CREATE"'
    for kind in ("admit", "validate"):
        assert any(line.startswith(f'{step},rejected="false",type="{kind}"}}') for line in lines)
    assert any(line.startswith("apiserver_storage_size_bytes{") for line in lines)
    heads = [line.split()[2:4] for line in lines if line.startswith("# TYPE ")]
    assert len(heads) == len({name for name, _ in heads})
    assert ["process_resident_memory_bytes", "gauge"] in heads


async def test_watches_and_what_they_are_sent_are_counted(server: Server) -> None:
    async with server.session.get(f"{server.url}{CONFIG_MAPS}?watch=1&resourceVersion=0") as watch:
        await server.call("POST", CONFIG_MAPS, config_map("a"))
        async with asyncio.timeout(SECONDS_MAX):
            await watch.content.readline()
        page = (await server.call("GET", "/metrics")).raw.decode()
    assert 'resource="configmaps",scope="",subresource="",verb="WATCH",version="v1"} 1' in page
    sent = 'apiserver_watch_events_total{group="",resource="configmaps",version="v1"}'
    assert sent in page


async def test_the_state_of_every_check_is_a_metric(server: Server) -> None:
    page = (await server.call("GET", "/metrics/slis")).raw.decode()
    assert 'kubernetes_healthcheck{name="etcd",type="livez"} 1' in page
    assert 'kubernetes_healthchecks_total{name="shutdown",status="success",type="readyz"} 1' in page


async def test_tasks_are_shown_with_what_they_wait_for(server: Server) -> None:
    answer = await server.call("GET", "/debug/tasks")
    assert answer.status == 200
    assert "aggregator 0:" in answer.raw.decode()
    assert "in WorkQueue.get" in answer.raw.decode()


async def test_the_datastore_and_the_controllers_are_measured(tmp_path: Path) -> None:
    async with running(tmp_path, disable_controller_manager=False) as server:
        await server.call("POST", CONFIG_MAPS, config_map("a"))
        wanted = (
            'etcd_request_duration_seconds_count{operation="create",type="configmaps"}',
            'workqueue_adds_total{name="namespace-controller"}',
            'workqueue_work_duration_seconds_count{name="namespace-controller"}',
            'workqueue_queue_duration_seconds_count{name="namespace-controller"}',
            'workqueue_unfinished_work_seconds{name="namespace-controller"}',
            'workqueue_longest_running_processor_seconds{name="namespace-controller"}',
        )
        await eventually(
            lambda: server.call("GET", "/metrics"),
            lambda page: all(line in page.raw.decode() for line in wanted),
        )


@pytest.mark.parametrize("path", ["/metrics", "/metrics/slis", "/debug/tasks"])
async def test_pages_are_for_those_who_may(server: Server, path: str) -> None:
    assert (await server.call("GET", path, impersonate_user="jane")).status == 403


# --- limits of time -------------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["?timeout=50ms", ""])
async def test_a_body_that_does_not_come_is_not_waited_for(tmp_path: Path, query: str) -> None:
    async with (
        running(tmp_path, request_timeout="200ms") as server,
        connected(server) as (reader, writer),
    ):
        head = f"POST {CONFIG_MAPS}{query} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
        writer.write(f"{head}Content-Type: application/json\r\n\r\n{{".encode())
        answer = await head_of(reader)
        assert answer.startswith("HTTP/1.1 504 Gateway Timeout\r\n")
        length = int(answer.lower().split("content-length: ")[1].split("\r\n")[0])
        status = orjson.loads(await reader.readexactly(length))
        assert (status["reason"], status["code"]) == ("Timeout", 504)
        assert status["message"] == (
            "Timeout: request did not complete within the allotted timeout"
        )


async def test_a_limit_of_time_has_to_be_a_duration(server: Server) -> None:
    answer = await server.call("GET", f"{CONFIG_MAPS}?timeout=soon")
    assert (answer.status, answer.body["message"]) == (
        400,
        'invalid timeout specified in the request URL - time: invalid duration "soon"',
    )
    assert (await server.call("GET", f"{CONFIG_MAPS}?timeout=0s")).status == 200


async def test_watches_have_no_limit_of_time(tmp_path: Path) -> None:
    async with running(tmp_path, request_timeout="100ms") as server:
        url = f"{server.url}{CONFIG_MAPS}?watch=1&timeout=50ms"
        async with server.session.get(url) as watch:
            await asyncio.sleep(0.3)
            await make(server, "late")
            async with asyncio.timeout(SECONDS_MAX):
                event = orjson.loads(await watch.content.readline())
    assert event["object"]["metadata"]["name"] == "late"


async def test_a_reader_that_does_not_read_is_cut_off(tmp_path: Path) -> None:
    async with running(tmp_path, request_timeout="2s") as server:
        for number in range(16):
            await make(server, f"large-{number}", 900_000)
        async with connected(server, receive_bytes=64 * 1024) as (reader, writer):
            writer.write(f"GET {CONFIG_MAPS} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert (await head_of(reader)).startswith("HTTP/1.1 200 ")

            async def is_cut_off() -> bool:
                """Tell whether the connection is gone; nothing is read meanwhile."""
                try:
                    writer.write(b" ")
                    await writer.drain()
                except ConnectionError:
                    return True
                return writer.is_closing()

            await eventually(is_cut_off, bool)


# --- the end --------------------------------------------------------------------------------------


async def until_one_writes(server: Server) -> None:
    """Wait until a write is under way."""
    line = b'apiserver_current_inflight_requests{request_kind="mutating"} 1'
    await eventually(lambda: server.call("GET", "/metrics"), lambda page: line in page.raw)


async def test_a_stop_lets_requests_finish_and_ends_watches_in_good_order(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as client:
        stack = contextlib.AsyncExitStack()
        server = await stack.enter_async_context(running(tmp_path))
        session = await client.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=admin(server)))
        )
        watch = await client.enter_async_context(
            session.get(f"{server.url}{CONFIG_MAPS}?watch=1&resourceVersion=0")
        )
        reader, writer = await client.enter_async_context(connected(server))
        idle, _ = await client.enter_async_context(connected(server))
        body = orjson.dumps(config_map("in-flight"))
        head = f"POST {CONFIG_MAPS} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode())
        await until_one_writes(server)
        async with asyncio.TaskGroup() as group:
            stop = group.create_task(stack.aclose())
            async with asyncio.timeout(SECONDS_MAX):
                await watch.content.read()  # up to the last chunk, or this would raise
                assert await idle.read() == b""
                assert server.app.checks()["shutdown"]() == "process is shutting down"
                writer.write(body)
                assert (await head_of(reader)).startswith("HTTP/1.1 201 ")
                await stop
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(server.url)


async def test_a_stop_does_not_wait_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "IN_FLIGHT_SECONDS", 0.3)
    stack = contextlib.AsyncExitStack()
    server = await stack.enter_async_context(running(tmp_path))
    async with connected(server) as (reader, writer):
        writer.write(
            f"POST {CONFIG_MAPS} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n".encode()
        )
        await until_one_writes(server)
        began = time.monotonic()
        await stack.aclose()
        assert time.monotonic() - began < 8.0
        assert await reader.read() == b""


# --- certificates ---------------------------------------------------------------------------------


def serial(writer: asyncio.StreamWriter) -> int:
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return x509.load_der_x509_certificate(der).serial_number


async def serial_of(server: Server) -> int:
    async with connected(server) as (_, writer):
        return serial(writer)


async def test_a_new_serving_certificate_is_used_without_a_restart(server: Server) -> None:
    material = server.app.bootstrap
    path = material.serving.certificate_path
    async with connected(server) as (reader, writer):
        before = serial(writer)
        path.unlink()
        subject = pki.Subject(name="kube-apiserver", alternatives=("127.0.0.1", "added"))
        pki.ensure_leaf(
            path.parent, "apiserver", material.cluster_ca, subject, "server", now=datetime.now(UTC)
        )
        await eventually(lambda: serial_of(server), lambda number: number != before)
        writer.write(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await head_of(reader)).startswith("HTTP/1.1 200 ")


async def test_a_certificate_that_makes_no_sense_changes_nothing(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    path = server.app.bootstrap.serving.certificate_path
    good = x509.load_pem_x509_certificate(path.read_bytes())
    path.write_bytes(b"-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----\n")

    async def warnings() -> str:
        return caplog.text

    await eventually(warnings, lambda text: "changed certificates cannot be used" in text)
    assert await serial_of(server) == good.serial_number


async def test_another_authority_of_clients_is_trusted_without_a_restart(
    server: Server, tmp_path: Path
) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    now = datetime.now(UTC)
    other = authority.ensure_ca(folder, "ca", "other", now)
    subject = pki.Subject(name="jane", organizations=("system:masters",))
    pair = pki.ensure_leaf(folder, "jane", other, subject, "client", now=now)
    tls = ssl.create_default_context(cafile=str(server.app.bootstrap.cluster_ca.certificate_path))
    tls.load_cert_chain(pair.certificate_path, pair.key_path)
    known = server.app.bootstrap.client_ca.certificate_path
    known.write_bytes(known.read_bytes() + other.certificate_pem)
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}

    async def whoami() -> str:
        url = f"{server.url}/apis/authentication.k8s.io/v1/selfsubjectreviews"
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session:
            try:
                async with session.post(url, json=review) as answer:
                    return str((await answer.json())["status"]["userInfo"]["username"])
            except aiohttp.ClientError:
                return ""  # TLS does not know the authority yet

    assert await eventually(whoami, bool) == "jane"
    path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
    await eventually(
        lambda: server.call("GET", path),
        lambda answer: other.certificate_pem.decode() in answer.body["data"]["client-ca-file"],
    )


async def test_who_asks_for_another_name_gets_its_certificate_as_it_is_on_disk(
    tmp_path: Path,
) -> None:
    now = datetime.now(UTC)
    folder = tmp_path / "named"
    folder.mkdir()
    ca = authority.ensure_ca(folder, "ca", "ca", now)

    def made() -> pki.Pair:
        subject = pki.Subject(name="kpy", alternatives=("api.example.com",))
        return pki.ensure_leaf(folder, "named", ca, subject, "server", now=now)

    pair = made()
    value = f"{pair.certificate_path},{pair.key_path}:*.example.com"
    async with running(tmp_path / "data", tls_sni_cert_key=(value,)) as server:
        own = server.app.bootstrap.serving.certificate
        assert await shown(server, "api.example.com") == pair.certificate
        assert await shown(server, "kubernetes.default") == own
        assert await shown(server, None) == own
        assert (await server.call("GET", "/api")).status == 200
        for path in (pair.certificate_path, pair.key_path):
            path.unlink()
        newer = made()
        assert newer.certificate != pair.certificate
        await eventually(
            lambda: shown(server, "api.example.com"), lambda seen: seen == newer.certificate
        )


async def shown(server: Server, name: str | None) -> x509.Certificate:
    """Return the certificate that a client sees who asks for a name."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    port = server.app.config.https_listen_port
    _, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname=name or ""
    )
    seen = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return x509.load_der_x509_certificate(seen)

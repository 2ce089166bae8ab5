"""How admission webhooks are reached, and what they may do wrong without harm."""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from tests.integration.conftest import Server, running
from tests.integration.webhook_admission import (
    denied,
    hook,
    make,
    register,
    rule,
    setting,
)
from tests.webhook_server import WebhookServer, allow, deny, webhook_server


async def service(server: Server, **spec: Any) -> None:
    body = {"metadata": {"name": "hook"}, "spec": spec}
    answer = await server.call("POST", "/api/v1/namespaces/default/services", body)
    assert answer.status == 201, answer.body


def reference(far: WebhookServer, name: str = "hook", port: int = 0) -> dict[str, Any]:
    where = {"namespace": "default", "name": name, "path": "/a", "port": port or far.port}
    return {"service": where, "caBundle": far.bundle}


async def test_a_service_is_asked_under_its_own_name(server: Server, far: WebhookServer) -> None:
    far.replies["/a"] = deny("no")
    await service(server, type="ExternalName", externalName="localhost")
    await register(server, "validating", "c", hook(far, "/a", clientConfig=reference(far)))
    denied(await make(server, "one"), "no")
    assert far.headers[0]["Host"] == f"hook.default.svc:{far.port}"


async def test_a_service_that_is_not_there_cannot_be_asked(
    server: Server, far: WebhookServer
) -> None:
    await register(
        server, "validating", "c", hook(far, "/a", clientConfig=reference(far, port=443))
    )
    said = 'failed to call webhook: Post "https://hook.default.svc:443/a?timeout=30s": '
    assert said + 'service "hook" not found' in (await make(server, "one")).body["message"]
    await service(server, type="ExternalName", externalName="localhost")
    wrong = hook(far, "/a", clientConfig=reference(far, port=1))
    await register(server, "validating", "b", wrong)
    message = (await make(server, "one")).body["message"]
    assert "connect: connection refused" in message


async def test_a_certificate_for_another_name_is_not_taken(
    server: Server, far: WebhookServer
) -> None:
    body = {
        "metadata": {"name": "other"},
        "spec": {"type": "ExternalName", "externalName": "localhost"},
    }
    await server.call("POST", "/api/v1/namespaces/default/services", body)
    await register(server, "validating", "c", hook(far, "/a", clientConfig=reference(far, "other")))
    message = (await make(server, "one")).body["message"]
    assert (
        "x509: certificate is not valid for any names, but wanted to match other.default.svc"
        in (message)
    )


def _giant(_request: Any) -> web.Response:
    return web.Response(body=b" " * (64 << 20), content_type="application/json")


def _answer(body: bytes, status: int = 200, kind: str = "application/json") -> Any:
    return lambda _request: web.Response(body=body, status=status, content_type=kind)


MISBEHAVIOUR = {
    "closed": (lambda _request: None, ": EOF"),
    "giant": (_giant, "the answer is longer than"),
    "empty": (_answer(b""), "json parse error: unexpected end of JSON input"),
    "text": (_answer(b"hello"), "invalid character 'h' looking for beginning of value"),
    "half": (_answer(b'{"kind": "Admis'), "couldn't get version/kind; json parse error"),
    "list": (_answer(b"[1]"), "cannot unmarshal array"),
    "deep": (_answer(b"[" * 100_000), "json parse error"),
    "redirect": (
        lambda _request: web.Response(status=302, headers={"Location": "https://127.0.0.1:1/"}),
        "the server responded with the status code 302 but did not return more details",
    ),
    "missing": (
        _answer(b"404 page not found", 404, "text/plain"),
        "the server could not find the requested resource",
    ),
    "broken": (
        _answer(b"oops", 500, "text/plain"),
        'an error on the server ("oops") has prevented the request from succeeding',
    ),
    "status": (
        _answer(orjson.dumps({"kind": "Status", "message": "not today"}), 503),
        "failed to call webhook: not today",
    ),
    "binary": (_answer(b"\xff\xfe\x00"), "json parse error"),
}


@pytest.mark.parametrize("sort", MISBEHAVIOUR)
async def test_an_answer_that_is_none_fails_the_request_and_nothing_else(
    server: Server, far: WebhookServer, sort: str
) -> None:
    reply, text = MISBEHAVIOUR[sort]
    far.replies["/a"] = reply
    await register(server, "validating", "c", hook(far, "/a"))
    answer = await make(server, "one")
    assert answer.status == 500
    assert text in answer.body["message"]
    far.replies["/a"] = allow
    assert (await make(server, "two")).status == 201


HEAD = b"HTTP/1.1 200 OK\r\n"


async def endlessly(writer: asyncio.StreamWriter, start: bytes, more: bytes) -> None:
    """Write without an end, slowly, until nobody listens any more."""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        writer.write(start)
        while not writer.is_closing():
            writer.write(more)
            await writer.drain()
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("start", "more", "text"),
    [
        (HEAD + b"Content-Length: 99999\r\n\r\n", b" ", "context deadline exceeded"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n", "context deadline exceeded"),
        (HEAD, b"x-a: b\r\n", "context deadline exceeded"),
        (HEAD + b"x-a: ", b"b" * 1000, "malformed HTTP response"),
        (b"\x00\x01\x02 what is this\r\n\r\n", b"\x00", "malformed HTTP response"),
        (HEAD + b"Content-Length: -1\r\n\r\n", b" ", "malformed HTTP response"),
    ],
)
async def test_what_answers_without_an_end_is_given_up(
    server: Server, far: WebhookServer, start: bytes, more: bytes, text: str
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await endlessly(writer, start, more)
        writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=far.context)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        config = {"url": f"https://127.0.0.1:{port}/", "caBundle": far.bundle}
        slow = hook(far, "/a", clientConfig=config, timeoutSeconds=1)
        await register(server, "validating", "c", slow)
        refused = await make(server, "one")
    assert refused.status == 500
    assert text in refused.body["message"]


async def test_what_speaks_no_tls_is_told(server: Server, far: WebhookServer) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    listener = await asyncio.start_server(plain, "127.0.0.1", 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        config = {"url": f"https://127.0.0.1:{port}/", "caBundle": far.bundle}
        await register(server, "validating", "c", hook(far, "/a", clientConfig=config))
        message = (await make(server, "one")).body["message"]
    assert "tls: first record does not look like a TLS handshake" in message


async def test_calls_share_their_connections(server: Server, far: WebhookServer) -> None:
    far.replies["/a"] = allow
    await register(server, "validating", "c", hook(far, "/a"))
    for number in range(10):
        assert (await make(server, f"c{number}")).status == 201
    assert len(far.asked) == 10
    assert len(far.connections) == 1


async def test_old_reviews_are_asked_and_answered(server: Server, far: WebhookServer) -> None:
    far.replies["/a"] = lambda _request: {
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1beta1",
        "response": {"allowed": False, "status": {"message": "old"}},
    }
    await register(server, "validating", "c", hook(far, "/a", admissionReviewVersions=["v1beta1"]))
    denied(await make(server, "one"), "old")


async def test_a_server_starts_although_a_webhook_in_the_cluster_cannot_answer(
    restartable: Callable[[], contextlib.AbstractAsyncContextManager[Server]],
) -> None:
    roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
    async with restartable() as server:
        assert (await server.call("DELETE", f"{roles}/view")).status == 200
        place = {"service": {"name": "nobody", "namespace": "default"}}
        everything = rule("*/*", operations=["*"])
        unreachable = {
            "name": "hook.example.com",
            "clientConfig": place,
            "rules": [everything],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }
        await register(server, "validating", "v", unreachable)
        await register(server, "mutating", "m", unreachable)
    async with restartable() as server:
        assert (await server.call("GET", f"{roles}/view")).status == 200
        answer = await make(server, "one")
        assert answer.status == 500
        assert 'service "nobody" not found' in answer.body["message"]


@pytest.mark.parametrize("level", ["Metadata", "Request"])
async def test_what_webhooks_say_and_change_is_in_the_audit_log(tmp_path: Path, level: str) -> None:
    policy = tmp_path / "policy.json"
    rules = [{"level": level}]
    head = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy"}
    policy.write_bytes(orjson.dumps({**head, "rules": rules}))
    log = tmp_path / "audit.log"
    options = {"audit_policy_file": str(policy), "audit_log_path": str(log)}
    async with (
        running(tmp_path / "data", audit_log_mode="blocking", **options) as server,
        webhook_server(tmp_path, server.app.bootstrap.cluster_ca) as far,
    ):
        said = {"allowed": True, "auditAnnotations": {"checked": "yes"}}
        far.replies["/say"], far.replies["/change"] = lambda _request: said, setting("mutated")
        far.replies["/fail"] = lambda _request: {"kind": "Other"}
        await register(server, "mutating", "m", hook(far, "/change"))
        failing = {**hook(far, "/fail", failurePolicy="Ignore"), "name": "fail.example.com"}
        await register(server, "validating", "v", hook(far, "/say"), failing)
        answer = await make(server, "one")
        assert answer.status == 201
    events = [orjson.loads(line) for line in log.read_bytes().splitlines()]
    identifier = answer.headers["Audit-ID"]
    done = (e for e in events if e["auditID"] == identifier and e["stage"] == "ResponseComplete")
    noted = next(done)["annotations"]
    assert noted["hook.example.com/checked"] == "yes"
    key = "mutation.webhook.admission.k8s.io/round_0_index_0"
    assert orjson.loads(noted[key]) == {
        "configuration": "m",
        "webhook": "hook.example.com",
        "mutated": True,
    }
    failed = "failed-open.validating.webhook.admission.k8s.io/round_0_index_1"
    assert noted[failed] == "fail.example.com"
    assert ("patch.webhook.admission.k8s.io/round_0_index_0" in noted) is (level == "Request")

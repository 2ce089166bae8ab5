"""The HTTPS client against a small server on loopback: verbs, watches, errors, new certificates."""

import contextlib
import ssl
from dataclasses import replace
from datetime import UTC, datetime

import orjson
import pytest
from aiohttp import web

from minikube_py.api.core import CONFIGMAPS, PODS
from minikube_py.api.errors import (
    ExpiredError,
    NotFoundError,
    ServiceUnavailableError,
    StatusError,
    TooManyRequestsError,
)
from minikube_py.client.config import ClientConfig
from minikube_py.client.http import HttpClient
from minikube_py.lib import authority, pki


@contextlib.asynccontextmanager
async def serving(handler, context=None):
    """Serve one handler on loopback; yields the base URL."""
    server = web.Server(handler)
    runner = web.ServerRunner(server)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield f"{'https' if context else 'http'}://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def client_of(handler, **config):
    async with serving(handler) as url:
        client = HttpClient(ClientConfig(server=url, **config))
        try:
            yield client
        finally:
            await client.close()


def answer(document, status=200):
    return web.Response(body=orjson.dumps(document), status=status, content_type="application/json")


def pod(name, revision="7"):
    return {"metadata": {"name": name, "namespace": "d", "uid": "u", "resourceVersion": revision}}


async def test_every_verb_has_its_method_path_and_content_type():
    seen = []

    async def handler(request):
        body = await request.read()
        seen.append((request.method, request.path_qs, request.content_type if body else None, body))
        return answer(pod("p"))

    async with client_of(handler) as client:
        await client.get(PODS, "p", "d")
        await client.create(PODS, pod("p"))
        await client.create(PODS, pod("p"), subresource="binding", name="p")
        await client.update(PODS, pod("p"), subresource="status")
        await client.patch(PODS, "p", {"a": 1}, "d")
        await client.patch(
            PODS, "p", {"a": 1}, "d", patch_type="apply", field_manager="kpy", force=True
        )
        await client.delete(PODS, "p", "d", options={"gracePeriodSeconds": 0})
        await client.delete(PODS, "p", "d")
        await client.delete_collection(PODS, "d", label_selector="a=b")
    base = "/api/v1/namespaces/d/pods"
    assert [entry[:3] for entry in seen] == [
        ("GET", f"{base}/p", None),
        ("POST", base, "application/json"),
        ("POST", f"{base}/p/binding", "application/json"),
        ("PUT", f"{base}/p/status", "application/json"),
        ("PATCH", f"{base}/p", "application/merge-patch+json"),
        ("PATCH", f"{base}/p?fieldManager=kpy&force=true", "application/apply-patch+yaml"),
        ("DELETE", f"{base}/p", "application/json"),
        ("DELETE", f"{base}/p", None),
        ("DELETE", f"{base}?labelSelector=a%3Db", None),
    ]
    assert orjson.loads(seen[6][3]) == {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "gracePeriodSeconds": 0,
    }


async def test_a_listing_gives_items_with_kind_and_where_it_goes_on():
    async def handler(request):
        assert request.query["limit"] == "500"
        return answer(
            {
                "kind": "PodList",
                "metadata": {"resourceVersion": "42", "continue": "next"},
                "items": [{**pod("p"), "spec": {"nodeName": "n1"}}],
            }
        )

    async with client_of(handler) as client:
        listed = await client.list(PODS, limit=500)
    assert (listed.revision, listed.continue_) == (42, "next")
    assert listed.items[0].obj["kind"] == "Pod"
    assert listed.items[0].fields["spec.nodeName"] == "n1"
    assert listed.items[0].revision == 7


async def test_a_watch_gives_events_however_the_bytes_are_cut():
    events = [
        {"type": "ADDED", "object": {"kind": "Pod", **pod("a", "8")}},
        {"type": "MODIFIED", "object": {"kind": "Pod", **pod("ä" * 3000, "9")}},
        {"type": "BOOKMARK", "object": {"kind": "Pod", "metadata": {"resourceVersion": "20"}}},
        {"type": "DELETED", "object": {"kind": "Pod", **pod("a", "21")}},
    ]
    stream = b"".join(orjson.dumps(event) + b"\n" for event in events)

    async def handler(request):
        assert request.query["resourceVersion"] == "5"
        assert request.query["allowWatchBookmarks"] == "true"
        response = web.StreamResponse()
        await response.prepare(request)
        for start in range(0, len(stream), 1000):
            await response.write(stream[start : start + 1000])
        return response

    async with client_of(handler) as client:
        batches = [batch async for batch in client.watch(PODS, revision=5)]
    flat = [event for batch in batches for event in batch]
    assert [(e.type, e.item.revision) for e in flat] == [
        ("ADDED", 8),
        ("MODIFIED", 9),
        ("BOOKMARK", 20),
        ("DELETED", 21),
    ]


async def test_who_does_not_ask_for_managed_fields_is_given_none():
    obj = pod("p")
    managed = {**obj, "metadata": {**obj["metadata"], "managedFields": [{"manager": "m"}]}}

    async def handler(request):
        if "watch" not in request.query:
            return answer({"metadata": {"resourceVersion": "5"}, "items": [managed]})
        return web.Response(body=orjson.dumps({"type": "ADDED", "object": managed}) + b"\n")

    async with serving(handler) as url:
        for asked in (True, False):
            client = HttpClient(ClientConfig(server=url), managed_fields=asked)
            try:
                listed = (await client.list(PODS)).items
                [seen] = [event.item async for [event] in client.watch(PODS, revision=5)]
            finally:
                await client.close()
            for item in (*listed, seen):
                assert item.revision == 7
                assert item.obj["metadata"] == (managed if asked else obj)["metadata"]


async def test_an_expired_watch_raises_expired_as_status_or_as_event():
    status = {"kind": "Status", "reason": "Expired", "code": 410, "message": "too old"}

    async def refused(request):
        return answer(status, 410)

    async def ended(request):
        return web.Response(body=orjson.dumps({"type": "ERROR", "object": status}) + b"\n")

    for handler in (refused, ended):
        async with client_of(handler) as client:
            with pytest.raises(ExpiredError, match="too old"):
                [batch async for batch in client.watch(PODS, revision=1)]


@pytest.mark.parametrize(
    ("document", "code", "error"),
    [
        ({"kind": "Status", "reason": "NotFound", "code": 404, "message": "m"}, 404, NotFoundError),
        ("slow down", 429, TooManyRequestsError),
        ("proxy says no", 502, StatusError),
    ],
)
async def test_refusals_are_errors_of_their_kind(document, code, error):
    async def handler(request):
        return answer(document, code)

    async with client_of(handler) as client:
        with pytest.raises(error) as caught:
            await client.get(PODS, "p", "d")
    assert caught.value.code == code


async def test_a_server_that_is_away_is_unavailable():
    client = HttpClient(ClientConfig(server="http://127.0.0.1:9"))
    with pytest.raises(ServiceUnavailableError):
        await client.get(PODS, "p", "d")
    await client.close()


async def test_an_answer_that_breaks_off_is_unavailable():
    async def handler(request):
        request.transport.close()
        return answer({})

    async with client_of(handler) as client:
        with pytest.raises(ServiceUnavailableError):
            await client.get(PODS, "p", "d")


async def test_an_answer_that_is_no_json_is_unavailable():
    async def handler(request):
        return web.Response(text="<html>")

    async with client_of(handler) as client:
        with pytest.raises(ServiceUnavailableError, match="no JSON"):
            await client.get(CONFIGMAPS, "p", "d")


async def test_a_token_file_that_changes_is_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr("minikube_py.client.http.FILES_CHECK_SECONDS", 0.0)
    token, seen = tmp_path / "token", []

    async def handler(request):
        seen.append(request.headers["Authorization"])
        return answer(pod("p"))

    token.write_text("one\n")
    async with client_of(handler, token_file=token) as client:
        await client.get(PODS, "p", "d")
        token.unlink()
        token.write_text("three")
        await client.get(PODS, "p", "d")
    assert seen == ["Bearer one", "Bearer three"]


async def test_a_missing_token_file_is_an_error_and_not_an_anonymous_request(tmp_path):
    async def handler(request):
        raise AssertionError("reached the server")

    async with client_of(handler, token_file=tmp_path / "none") as client:
        with pytest.raises(ServiceUnavailableError):
            await client.get(PODS, "p", "d")


async def test_no_secret_shows_in_the_repr_of_a_configuration():
    config = ClientConfig(server="https://s", token="hush", key_data=b"hush", key_file=None)
    assert "hush" not in repr(config)


def issue(folder, name, ca, usage):
    subject = pki.Subject(name=name, alternatives=("127.0.0.1",))
    return pki.ensure_leaf(folder, name, ca, subject, usage, now=datetime.now(UTC))


async def test_client_certificates_prove_who_asks_from_files_and_from_memory(tmp_path):
    ca = authority.ensure_ca(tmp_path, "ca", "ca", datetime.now(UTC))
    server = issue(tmp_path, "server", ca, "server")
    user = issue(tmp_path, "user", ca, "client")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca.certificate_path)
    context.load_cert_chain(server.certificate_path, server.key_path)
    context.verify_mode = ssl.CERT_REQUIRED
    names = []

    async def handler(request):
        subject = dict(pair[0] for pair in request.get_extra_info("peercert")["subject"])
        names.append(subject["commonName"])
        return answer(pod("p"))

    in_memory = ClientConfig(
        server="",
        ca_data=ca.certificate_pem,
        certificate_data=user.certificate_pem,
        key_data=user.key_pem,
    )
    in_files = ClientConfig(
        server="",
        ca_file=ca.certificate_path,
        certificate_file=user.certificate_path,
        key_file=user.key_path,
    )
    async with serving(handler, context) as url:
        for config in (in_memory, in_files):
            client = HttpClient(replace(config, server=url))
            await client.get(PODS, "p", "d")
            await client.close()
        stranger = HttpClient(ClientConfig(server=url, ca_data=ca.certificate_pem))
        with pytest.raises(ServiceUnavailableError):
            await stranger.get(PODS, "p", "d")
        await stranger.close()
        doubter = HttpClient(replace(in_memory, server=url, ca_data=b"", ca_file=None))
        with pytest.raises(ServiceUnavailableError, match="certificate verify failed"):
            await doubter.get(PODS, "p", "d")
        await doubter.close()
    assert names == ["user", "user"]


async def test_a_client_certificate_that_is_renewed_is_used_without_a_restart(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("minikube_py.client.http.FILES_CHECK_SECONDS", 0.0)
    ca = authority.ensure_ca(tmp_path, "ca", "ca", datetime.now(UTC))
    server = issue(tmp_path, "server", ca, "server")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca.certificate_path)
    context.load_cert_chain(server.certificate_path, server.key_path)
    context.verify_mode = ssl.CERT_REQUIRED
    names = []

    async def handler(request):
        subject = dict(pair[0] for pair in request.get_extra_info("peercert")["subject"])
        names.append(subject["commonName"])
        return answer(pod("p"))

    certificate, key = tmp_path / "mine.crt", tmp_path / "mine.key"
    async with serving(handler, context) as url:
        client = HttpClient(
            ClientConfig(
                server=url,
                ca_file=ca.certificate_path,
                certificate_file=certificate,
                key_file=key,
            )
        )
        for name in ("one", "two"):
            issued = issue(tmp_path, name, ca, "client")
            for new, path in ((issued.certificate_path, certificate), (issued.key_path, key)):
                path.unlink(missing_ok=True)
                path.write_bytes(new.read_bytes())
            await client.get(PODS, "p", "d")
        await client.close()
    assert names == ["one", "two"]

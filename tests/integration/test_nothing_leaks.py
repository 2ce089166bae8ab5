"""Secrets are planted everywhere a client can put one, and looked for everywhere a reader can look.

What is searched: the program's log at its most talkative, the audit log of the default policy,
events, metrics, /debug/tasks and the database.
"""

import base64
import contextlib
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.program import Server

DATA, MERGED, APPLIED = "planted-in-data", "planted-in-a-patch", "planted-in-an-apply"
WRONG_BEARER, BAD_BODY = "planted-bearer-token", "planted-in-a-bad-body"
SIGNING = "planted-in-a-review"
SECRETS = "/api/v1/namespaces/default/secrets"


class Client:
    """The administrator, over plain urllib: what a client sends is exactly what stands here."""

    def __init__(self, server: Server) -> None:
        tls = server.folder / "data" / "server" / "tls"
        self.context = ssl.create_default_context(cafile=tls / "cluster-ca.crt")
        self.context.load_cert_chain(tls / "admin.crt", tls / "admin.key")
        self.bare = ssl.create_default_context(cafile=tls / "cluster-ca.crt")
        self.port = server.port

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        bearer: str = "",
        content: str = "application/json",
    ) -> tuple[int, str]:
        url = f"https://127.0.0.1:{self.port}{path}"
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        request = urllib.request.Request(url, data if body is not None else None, method=method)
        request.add_header("Content-Type", content)
        if bearer:
            request.add_header("Authorization", f"Bearer {bearer}")
        context = self.bare if bearer else self.context
        try:
            with urllib.request.urlopen(  # noqa: S310
                request, timeout=120, context=context
            ) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path, "--disable-scheduler", "--log-level=debug")
    made.start()
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait()


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def secret(name: str, text: str, **more: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default"}
    data = {"password": encoded(text)}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data, **more}


def plant(client: Client) -> Iterator[int]:
    """Do all that touches secrets, well and badly; yield what each was answered."""
    yield client.call("POST", SECRETS, secret("one", DATA))[0]
    yield client.call("POST", SECRETS, secret("one", DATA))[0]
    yield client.call("PUT", f"{SECRETS}/one", secret("one", MERGED, type="other"))[0]
    merge = {"data": {"more": encoded(MERGED)}}
    kind = "application/merge-patch+json"
    yield client.call("PATCH", f"{SECRETS}/one", merge, content=kind)[0]
    apply = f"{SECRETS}/two?fieldManager=tester"
    kind = "application/apply-patch+yaml"
    yield client.call("PATCH", apply, secret("two", APPLIED), content=kind)[0]
    taken = f"{SECRETS}/two?fieldManager=other"
    yield client.call("PATCH", taken, secret("two", DATA), content=kind)[0]
    yield client.call("POST", SECRETS, f'{{"data": {{"password": "{BAD_BODY}"')[0]
    yield client.call("POST", SECRETS, secret("bad name", BAD_BODY))[0]
    wrong = {"apiVersion": "v1", "kind": "Secret", "data": {"password": [BAD_BODY]}}
    yield client.call("POST", SECRETS, {**wrong, "metadata": {"name": "three"}})[0]
    yield client.call("GET", SECRETS)[0]
    yield client.call("GET", "/api", bearer=WRONG_BEARER)[0]
    yield client.call("DELETE", f"{SECRETS}/one")[0]


def review(client: Client) -> None:
    """Ask whose a token is, for one that is nobody's."""
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": SIGNING},
    }
    status, _ = client.call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", body)
    assert status == 201


def readable(server: Server, client: Client) -> dict[str, bytes]:
    """Return everything that is written somewhere, by where it is."""
    found = {
        path: client.call("GET", path)[1].encode()
        for path in ("/metrics", "/debug/tasks", "/api/v1/events", "/openapi/v3", "/logs")
    }
    found["log"] = server.log.read_bytes()
    data = server.folder / "data" / "server"
    for path in (*(data / "logs").rglob("*"), *(data / "db").iterdir()):
        if path.is_file():
            found[str(path)] = path.read_bytes()
    return found


def test_no_secret_shows_anywhere(server: Server) -> None:
    client = Client(server)
    server.kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=120s")
    assert list(plant(client)) == [201, 409, 422, 200, 201, 409, 400, 422, 400, 200, 401, 200]
    status, answer = client.call(
        "POST",
        "/api/v1/namespaces/default/serviceaccounts/default/token",
        {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}},
    )
    assert status == 201
    token = json.loads(answer)["status"]["token"]
    assert client.call("GET", "/api", bearer=token)[0] == 200
    review(client)
    join = server.kpy("token").strip().rpartition(":")[2]
    server.stop()  # whatever was held back is written now
    with contextlib.ExitStack() as stack:
        server.start()
        stack.callback(server.stop)
        places = readable(server, client)
    assert len(places["log"]) > 500
    assert any(name.endswith("audit.log") for name in places)
    planted = (DATA, MERGED, APPLIED, WRONG_BEARER, BAD_BODY, SIGNING, token, join)
    for where, content in places.items():
        for text in planted:
            for form in (text, encoded(text).rstrip("=")):
                assert form.encode() not in content, f"{text} shows in {where}"

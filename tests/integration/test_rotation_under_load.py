"""Tokens, certificates, authorities and keys change while clients write and read: none notices."""

import base64
import http.client
import json
import shutil
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.program import Server

SECONDS_MAX = 60.0
"""For a client to come round again, on the busiest machine."""
ROTATIONS = (
    ("token", "rotate"),
    ("certificate", "rotate"),
    ("secrets-encrypt", "rotate"),
    ("certificate", "rotate-ca"),
    ("secrets-encrypt", "disable"),
    ("secrets-encrypt", "enable"),
    ("token", "rotate"),
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path, "--disable-scheduler")
    made.start()
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait()


class Client:
    """Makes, reads, changes and deletes Secrets, one after the other."""

    def __init__(
        self, name: str, port: int, context: ssl.SSLContext, *, token: str = "", keeps: bool
    ) -> None:
        self.name = name
        self.rounds = 0
        self.failures: list[str] = []
        self._port = port
        self._context = context
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._keeps = keeps
        self._connection: http.client.HTTPSConnection | None = None

    def _open(self) -> http.client.HTTPSConnection:
        if self._connection is None:
            self._connection = http.client.HTTPSConnection(
                "127.0.0.1", self._port, timeout=SECONDS_MAX, context=self._context
            )
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def ask(self, wanted: int, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """Return the answer, which must have a status; each failure is kept."""
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {**self._headers, "Content-Type": kind}
        connection = self._open()
        connection.request(
            method, path, None if body is None else json.dumps(body).encode(), headers
        )
        answer = connection.getresponse()
        document: dict[str, Any] = json.loads(answer.read())
        if answer.status != wanted:
            raise AssertionError(f"{method} {path}: {answer.status} {document.get('message')}")
        if not self._keeps:
            self.close()
        return document

    def go_round(self) -> None:
        """Take one Secret from its making to its end."""
        folder = "/api/v1/namespaces/default/secrets"
        name, number = f"{self.name}-{self.rounds}", str(self.rounds)
        self.ask(201, "POST", folder, {"metadata": {"name": name}, "stringData": {"n": number}})
        found = self.ask(200, "GET", f"{folder}/{name}")
        assert base64.b64decode(found["data"]["n"]).decode() == number
        self.ask(200, "PATCH", f"{folder}/{name}", {"stringData": {"n": "changed"}})
        listed = self.ask(200, "GET", f"{folder}?fieldSelector=metadata.name%3D{name}")
        assert base64.b64decode(listed["items"][0]["data"]["n"]) == b"changed"
        self.ask(200, "DELETE", f"{folder}/{name}")
        self.rounds += 1

    def work(self, done: threading.Event) -> None:
        """Go round until told to end; the first failure ends it too."""
        try:
            while not done.is_set():
                self.go_round()
        except (OSError, http.client.HTTPException, AssertionError, ValueError) as error:
            self.failures.append(f"{self.name}: {error!r}")
        finally:
            self.close()


def clients_of(server: Server, folder: Path) -> list[Client]:
    """Return clients with credentials as they are at the beginning, which they keep."""
    tls = server.folder / "data" / "server" / "tls"
    for name in ("cluster-ca.crt", "admin.crt", "admin.key"):
        shutil.copy(tls / name, folder / name)
    server.kubectl("create", "serviceaccount", "worker")
    server.kubectl(
        "create",
        "clusterrolebinding",
        "worker",
        "--clusterrole=edit",
        "--serviceaccount=default:worker",
    )
    token = server.kubectl("create", "token", "worker").strip()
    authority = str(folder / "cluster-ca.crt")
    plain, certain = (ssl.create_default_context(cafile=authority) for _ in range(2))
    certain.load_cert_chain(folder / "admin.crt", folder / "admin.key")
    return [
        Client("certificate", server.port, certain, keeps=False),
        Client("token", server.port, plain, token=token, keeps=False),
        Client("lasting", server.port, plain, token=token, keeps=True),
    ]


@contextmanager
def working(clients: list[Client]) -> Iterator[None]:
    done = threading.Event()
    threads = [threading.Thread(target=client.work, args=(done,)) for client in clients]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()


def all_come_round(clients: list[Client]) -> None:
    """Wait until each client has made and deleted one more Secret after this moment."""
    wanted = {client.name: client.rounds + 2 for client in clients}
    deadline = time.monotonic() + SECONDS_MAX
    while any(client.rounds < wanted[client.name] for client in clients):
        assert not [failure for client in clients for failure in client.failures]
        assert time.monotonic() < deadline, {client.name: client.rounds for client in clients}
        time.sleep(0.02)


def test_nobody_notices_what_is_rotated(server: Server, tmp_path: Path) -> None:
    clients = clients_of(server, tmp_path)
    with working(clients):
        all_come_round(clients)
        for command in ROTATIONS:
            server.kpy(*command)
            all_come_round(clients)
    assert not [failure for client in clients for failure in client.failures]
    assert "enabled, by aesgcm" in server.kpy("secrets-encrypt", "status")
    server.stop()
    server.start()
    assert "worker" in server.kubectl("get", "serviceaccounts")

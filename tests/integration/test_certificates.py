"""Certificates and authorities change while requests are served, and nobody is turned away."""

import hashlib
import shutil
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.program import Server

CHANGE_SECONDS_MAX = 120.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path, "--disable-scheduler")
    made.start()
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait()


class Visitor:
    """Asks for the version again and again, with credentials as they were at some time."""

    def __init__(self, server: Server, folder: Path) -> None:
        tls = server.folder / "data" / "server" / "tls"
        for name in ("cluster-ca.crt", "admin.crt", "admin.key"):
            shutil.copy(tls / name, folder / name)
        self.port = server.port
        self.context = ssl.create_default_context(cafile=folder / "cluster-ca.crt")
        self.context.load_cert_chain(folder / "admin.crt", folder / "admin.key")
        self.answers = 0
        self.failures: list[str] = []

    def ask(self) -> None:
        url = f"https://127.0.0.1:{self.port}/api/v1/namespaces/default"
        try:
            with urllib.request.urlopen(url, timeout=20, context=self.context) as answer:
                assert answer.status == 200
            self.answers += 1
        except OSError as error:
            self.failures.append(str(error))

    @contextmanager
    def asking(self) -> Iterator[None]:
        done = threading.Event()

        def work() -> None:
            while not done.is_set():
                self.ask()

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def served(server: Server) -> str:
    """Return the fingerprint of what the server shows now."""
    pem = ssl.get_server_certificate(("127.0.0.1", server.port))
    return hashlib.sha256(pem.encode()).hexdigest()


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + CHANGE_SECONDS_MAX
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.05)


def test_leaves_are_renewed_under_load(server: Server, tmp_path: Path) -> None:
    visitor, before = Visitor(server, tmp_path), served(server)
    kubeconfig = (tmp_path / "kubeconfig").read_bytes()
    with visitor.asking():
        assert "renewed" in server.kpy("certificate", "rotate")
        eventually(lambda: served(server) != before)
        eventually(lambda: (tmp_path / "kubeconfig").read_bytes() != kubeconfig)
    assert not visitor.failures
    assert visitor.answers
    assert "default" in server.kubectl("get", "namespaces")


def test_authorities_are_replaced_under_load(server: Server, tmp_path: Path) -> None:
    visitor, before = Visitor(server, tmp_path), served(server)
    old_kubeconfig = tmp_path / "kubeconfig.old"
    shutil.copy(tmp_path / "kubeconfig", old_kubeconfig)
    published = (
        "get",
        "configmap",
        "kube-root-ca.crt",
        "-o",
        'go-template={{index .data "ca.crt"}}',
    )
    eventually(lambda: "kube-root-ca.crt" in server.kubectl("get", "configmaps"))
    root = server.kubectl(*published)
    with visitor.asking():
        assert "stays trusted" in server.kpy("certificate", "rotate-ca")
        eventually(lambda: served(server) != before)
        eventually(lambda: server.kubectl(*published) != root)
        visitor.ask()
    assert not visitor.failures
    assert root in server.kubectl(*published)
    assert "default" in server.kubectl("--kubeconfig", str(old_kubeconfig), "get", "namespaces")
    token = server.kpy("token")
    server.stop()
    server.start()
    assert "default" in server.kubectl("get", "namespaces")
    assert server.kpy("token") != ""
    assert token.startswith("K10")


def test_forgotten_authorities_let_nobody_in(server: Server, tmp_path: Path) -> None:
    visitor = Visitor(server, tmp_path)
    old = (tmp_path / "kubeconfig").read_bytes()
    server.kpy("certificate", "rotate-ca")
    eventually(lambda: (tmp_path / "kubeconfig").read_bytes() != old)
    assert "forgotten" in server.kpy("certificate", "forget-ca")

    def is_refused() -> bool:
        visitor.failures.clear()
        visitor.ask()
        return bool(visitor.failures)

    eventually(is_refused)
    server.stop()
    server.start()
    assert "default" in server.kubectl("get", "namespaces")


def test_the_table_says_what_ends_when(server: Server) -> None:
    table = server.kpy("certificate", "check").splitlines()
    assert table[0].split() == ["CERTIFICATE", "SUBJECT", "ENDS", "STATE"]
    assert len(table) == 8
    assert any("O=system:masters" in line and "is renewed on" in line for line in table)

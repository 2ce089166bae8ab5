"""Secrets at rest: the database never holds them in plain text, and keys change while it runs."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.program import Server

PLANTED = "planted-in-a-secret"
"""As it stands in the data of the Secret below, in base64: what a reader of the file would find."""
MANIFEST = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "login"},
    "stringData": {"password": PLANTED},
}
ENCODED = b"cGxhbnRlZC1pbi1hLXNlY3JldA=="


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path, "--disable-scheduler")
    made.start()
    (tmp_path / "secret.yaml").write_text(yaml.safe_dump(MANIFEST))
    made.kubectl("apply", "-f", str(tmp_path / "secret.yaml"))
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait()


def is_planted(server: Server) -> bool:
    return ENCODED in stored(server)


def apply(server: Server, kind: dict[str, object]) -> None:
    path = server.folder / "applied.yaml"
    path.write_text(yaml.safe_dump(kind))
    server.kubectl("apply", "-f", str(path))


def password(server: Server) -> str:
    text = "go-template={{.data.password | base64decode}}"
    return server.kubectl("get", "secret", "login", "-o", text)


def stored(server: Server) -> bytes:
    """Return the bytes of the database, its log included."""
    folder = server.folder / "data" / "server" / "db"
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file())


def test_the_database_holds_no_secret_in_plain_text(server: Server) -> None:
    assert ENCODED not in stored(server)
    assert b"k8s:enc:aesgcm:v1:key1:" in stored(server)
    assert password(server) == PLANTED
    assert "secrets: enabled, by aesgcm key1" in server.kpy("secrets-encrypt", "status")
    server.stop()
    server.start()
    assert password(server) == PLANTED


def test_keys_change_while_requests_are_served(server: Server) -> None:
    seen: list[str] = []
    done = threading.Event()

    def read_on() -> None:
        while not done.is_set():
            seen.append(password(server))

    reader = threading.Thread(target=read_on)
    reader.start()
    try:
        for number in (2, 1, 2):
            assert "finished" in server.kpy("secrets-encrypt", "rotate")
            assert f"by aesgcm key{number}\n" in server.kpy("secrets-encrypt", "status")
        assert "finished" in server.kpy("secrets-encrypt", "disable")
        assert "secrets: disabled" in server.kpy("secrets-encrypt", "status")
        assert ENCODED in stored(server)
        assert "finished" in server.kpy("secrets-encrypt", "enable")
    finally:
        done.set()
        reader.join()
    assert set(seen) == {PLANTED}
    server.stop()
    server.start()
    assert password(server) == PLANTED


def test_a_server_that_is_killed_in_a_rotation_finishes_it_at_its_next_start(
    server: Server,
) -> None:
    assert server.process is not None
    server.process.kill()
    server.process.wait()
    assert "when it is started" in server.kpy("secrets-encrypt", "rotate")
    assert "not begun" in server.kpy("secrets-encrypt", "status")
    server.start()
    assert password(server) == PLANTED
    assert "secrets: enabled, by aesgcm key2" in server.kpy("secrets-encrypt", "status")


def test_nothing_of_an_old_value_is_left_when_keys_have_changed(server: Server) -> None:
    """Not in the history, nor in pages of the file that hold nothing now."""
    assert "finished" in server.kpy("secrets-encrypt", "disable")
    assert is_planted(server)
    large = {**MANIFEST, "metadata": {"name": "large"}, "data": {"more": "AAAA" * 5000}}
    apply(server, large)
    apply(server, {**large, "data": {"more": "BBBB" * 5000}})
    server.kubectl("delete", "secret", "large")
    apply(server, {**MANIFEST, "stringData": {"password": "another"}})
    assert is_planted(server)
    assert "finished" in server.kpy("secrets-encrypt", "enable")
    assert not is_planted(server)
    assert b"k8s:enc:aesgcm:v1:key1:" in stored(server)
    assert "finished" in server.kpy("secrets-encrypt", "rotate")
    assert b"k8s:enc:aesgcm:v1:key1:" not in stored(server)
    assert b"k8s:enc:aesgcm:v1:key2:" in stored(server)
    path = "/kpy.io/history/api/v1/namespaces/default/secrets/login?values=true"
    assert ENCODED.decode() in server.kubectl("get", "--raw", path)
    assert password(server) == "another"

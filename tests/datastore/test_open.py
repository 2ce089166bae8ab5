"""Opening: what is made, with which rights, and what is refused in which words."""

import sqlite3
import stat
from pathlib import Path

import pytest

from minikube_py.datastore.kv import DatastoreError
from minikube_py.datastore.open import FILE, open_backend
from minikube_py.datastore.sql import FORMAT


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_nobody_else_can_read_the_store(tmp_path: Path) -> None:
    backend = await open_backend("", data_dir=tmp_path)
    await backend.create("/secret", b"")
    path = tmp_path / FILE
    assert mode(path.parent) == 0o700
    assert {mode(file) for file in path.parent.iterdir()} == {0o600}
    await backend.close()
    assert mode(path) == 0o600


async def test_the_store_is_there_again_after_a_restart(tmp_path: Path) -> None:
    backend = await open_backend("", data_dir=tmp_path)
    await backend.create("/a", b"1", lease=7)
    await backend.update("/a", b"2", revision=1, lease=8)
    await backend.create("/b", b"3")
    await backend.delete("/b", revision=3)
    before = await backend.list("")
    await backend.close()
    backend = await open_backend("", data_dir=tmp_path)
    assert await backend.list("") == before
    assert before.revision == 4
    assert before.items[0].lease == 8
    await backend.close()


async def test_a_second_server_on_the_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minikube_py.datastore.sql.BUSY_SECONDS", 0.05)
    backend = await open_backend("", data_dir=tmp_path)
    with pytest.raises(DatastoreError, match="another kpy server uses it"):
        await open_backend("", data_dir=tmp_path)
    await backend.create("/a", b"")
    await backend.close()


async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / FILE
    path.parent.mkdir(parents=True)
    path.write_bytes(b"precious " * 1000)
    with pytest.raises(DatastoreError, match=r"state\.db: file is not a database"):
        await open_backend("", data_dir=tmp_path)
    assert path.read_bytes() == b"precious " * 1000


async def test_the_database_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / FILE
    path.parent.mkdir(parents=True)
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE kine (id INTEGER PRIMARY KEY)")
    other.close()
    with pytest.raises(DatastoreError, match="the database of another program"):
        await open_backend("", data_dir=tmp_path)


async def test_a_file_of_a_newer_kpy_is_refused(tmp_path: Path) -> None:
    await (await open_backend("", data_dir=tmp_path)).close()
    later = sqlite3.connect(tmp_path / FILE)
    later.execute(f"PRAGMA user_version = {FORMAT + 1}")
    later.close()
    with pytest.raises(DatastoreError, match="use a newer kpy"):
        await open_backend("", data_dir=tmp_path)


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "server").write_text("a file in the way")
    with pytest.raises(DatastoreError, match=r"datastore .*state\.db: Not a directory"):
        await open_backend("", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        ("postgres://u:secret@127.0.0.1:1/kpy", r"u:\*\*\*@127.0.0.1:1/kpy: .*[Rr]efused|failed"),
        ("mysql://u:secret@tcp(127.0.0.1:1)/kpy", r"u:\*\*\*@127.0.0.1:1/kpy: .*Can't connect"),
        ("postgres://u:secret@/kpy", "postgres://: it names no host"),
        ("postgres://u:secret@db/kpy?sslmode=maybe", "sslmode=maybe is not known"),
        ("postgres://u:secret@db/kpy?ssl=1", "option 'ssl' is not known; known are host, ssl"),
        ("mysql://u:secret@db/kpy?tls=maybe", "tls=maybe is not known"),
        ("etcd://127.0.0.1:1", "no member of etcd can be reached: 127.0.0.1:1"),
        ("https://u:secret@a,http://b", "http:// among its members; all are reached by TLS or"),
        ("etcd://u:secret@", "it names no host"),
        ("etcd://u:secret@a:b", "Port could not be cast"),
        ("https://a/registry", "'/registry' after a member; only hosts and ports"),
        ("floppy://a", "'floppy' is not known; leave it empty for SQLite"),
        ("state.db", "not known"),
    ],
)
async def test_an_endpoint_that_cannot_be_served_is_refused_by_name(
    tmp_path: Path, endpoint: str, message: str
) -> None:
    with pytest.raises(DatastoreError, match=message) as refusal:
        await open_backend(endpoint, data_dir=tmp_path)
    assert "secret" not in str(refusal.value)

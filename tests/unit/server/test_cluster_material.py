"""Servers on one datastore share their keys: the first makes them, a later one takes them."""

from pathlib import Path

import pytest

from minikube_py.datastore.kv import Backend
from minikube_py.datastore.memory import MemoryBackend
from minikube_py.lib.errors import StartError
from minikube_py.server import cluster_material
from minikube_py.server.cluster_material import COMING, FILES, KEY, join, publish, read

SECRET = "correct-horse"


@pytest.fixture(autouse=True)
def _cheap_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_material, "SCRYPT_COST", 16)


@pytest.fixture
def backend() -> Backend:
    return MemoryBackend()


def server(folder: Path, content: str = "", token: str = SECRET) -> Path:
    """Make the folder of a server, with keys of its own where content is given."""
    (folder / "tls").mkdir(parents=True)
    for name in FILES[:4] if content else ():
        (folder / name).write_text(f"{content} {name}")
    if content:
        (folder / "token").write_text(f"K10ab::server:{token}\n")
    return folder


async def test_a_later_server_takes_over_with_the_token_alone(
    backend: Backend, tmp_path: Path
) -> None:
    first, second = server(tmp_path / "1", "one"), server(tmp_path / "2")
    await join(backend, first, "")
    assert await publish(backend, first)
    await join(backend, second, f"K10ab::server:{SECRET}")
    assert read(second) == read(first)
    assert {p.stat().st_mode & 0o777 for p in second.rglob("*") if p.is_file()} == {0o600}


async def test_without_the_right_token_nothing_is_given(backend: Backend, tmp_path: Path) -> None:
    await publish(backend, server(tmp_path / "1", "one"))
    second = server(tmp_path / "2")
    with pytest.raises(StartError, match="--token is not that of the cluster"):
        await join(backend, second, "wrong-secret")
    with pytest.raises(StartError, match="pass its join token as --token"):
        await join(backend, second, "")
    assert read(second) == {}


async def test_the_datastore_alone_tells_no_key(backend: Backend, tmp_path: Path) -> None:
    await publish(backend, server(tmp_path / "1", "precious"))
    stored = await backend.get(KEY)
    assert stored is not None
    assert b"precious" not in stored.value
    assert SECRET.encode() not in stored.value


async def test_a_server_of_another_cluster_is_refused_and_keeps_its_keys(
    backend: Backend, tmp_path: Path
) -> None:
    await publish(backend, server(tmp_path / "1", "one"))
    other = server(tmp_path / "2", "other")
    before = read(other)
    with pytest.raises(StartError, match="are not those of the cluster in the datastore"):
        await join(backend, other, SECRET)
    assert read(other) == before
    await join(backend, other, SECRET, yields=True)  # it made them a moment ago
    assert read(other) != before


async def test_who_publishes_second_is_told_to_join(backend: Backend, tmp_path: Path) -> None:
    await publish(backend, server(tmp_path / "1", "one"))
    assert not await publish(backend, server(tmp_path / "2", "other"))


async def test_what_one_server_changed_the_others_take_over(
    backend: Backend, tmp_path: Path
) -> None:
    first, second = server(tmp_path / "1", "one"), server(tmp_path / "2")
    await publish(backend, first)
    await join(backend, second, SECRET)
    (second / FILES[0]).write_text("rotated")
    (second / "token").write_text(f"K10ab::server:{SECRET}\n")
    await join(backend, second, "")
    assert (second / FILES[0]).read_text() == "rotated"  # what it changed it keeps
    assert await publish(backend, second)
    await join(backend, first, "")
    assert read(first) == read(second)
    revision = await backend.revision()
    assert await publish(backend, first)
    assert await backend.revision() == revision  # nothing to say


async def test_where_both_changed_neither_is_thrown_away(backend: Backend, tmp_path: Path) -> None:
    first, second = server(tmp_path / "1", "one"), server(tmp_path / "2")
    await publish(backend, first)
    await join(backend, second, SECRET)
    (first / FILES[0]).write_text("mine")
    (second / FILES[0]).write_text("yours")
    assert await publish(backend, first)
    (second / "token").write_text(f"K10ab::server:{SECRET}\n")
    assert not await publish(backend, second)
    with pytest.raises(StartError, match="are not those of the cluster"):
        await join(backend, second, "")


async def test_a_rotated_token_lets_in_and_the_old_one_does_not(
    backend: Backend, tmp_path: Path
) -> None:
    first = server(tmp_path / "1", "one")
    await publish(backend, first)
    (first / "token").write_text("K10ab::server:another-secret\n")
    assert await publish(backend, first)
    with pytest.raises(StartError, match="--token is not that"):
        await join(backend, server(tmp_path / "2"), SECRET)
    third = server(tmp_path / "3")
    await join(backend, third, "another-secret")
    assert read(third) == read(first)


async def test_taking_over_goes_on_where_it_was_killed(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = server(tmp_path / "1", "one"), server(tmp_path / "2", "old")
    await publish(backend, first)
    write, written = cluster_material.write_atomic, []

    def dies(path: Path, data: bytes) -> None:
        if path.name != COMING and len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        write(path, data)

    monkeypatch.setattr(cluster_material, "write_atomic", dies)
    with pytest.raises(KeyboardInterrupt):
        await join(backend, second, SECRET, yields=True)
    monkeypatch.undo()
    monkeypatch.setattr(cluster_material, "SCRYPT_COST", 16)
    assert read(second) != read(first)
    await join(backend, second, SECRET)
    assert read(second) == read(first)
    assert not (second / COMING).exists()

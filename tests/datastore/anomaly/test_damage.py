"""Damage to the SQLite file is found when it is opened, never served, and never overwritten."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minikube_py.datastore import damage
from minikube_py.datastore.kv import DamagedError, KeyValue
from minikube_py.datastore.retention import Retention
from minikube_py.datastore.sqlite import SqliteBackend

PAGE = 4096


async def made(path: Path, count: int = 400) -> list[KeyValue]:
    """Make a database of some 50 pages, closed well; return what is in it."""
    backend = await SqliteBackend.open(path)
    for n in range(count):
        await backend.create(f"/registry/k/{n:04}", b"v%d" % n * 100)
    items = list((await backend.list("")).items)
    await backend.close()
    return items


async def opened_and_read(path: Path) -> list[KeyValue]:
    backend = await SqliteBackend.open(path)
    try:
        return list((await backend.list("")).items)
    finally:
        await backend.close()


def zero_header(data: bytearray) -> None:
    data[:100] = bytes(100)


def zero_pages(data: bytearray) -> None:
    for start in range(PAGE * 3, len(data), PAGE * 7):
        data[start : start + PAGE] = bytes(PAGE)


def cut_in_half(data: bytearray) -> None:
    del data[len(data) // 2 // PAGE * PAGE :]


def overwrite_roots(data: bytearray) -> None:
    data[100:200] = b"\xff" * 100


@pytest.mark.parametrize("harm", [zero_header, zero_pages, cut_in_half, overwrite_roots])
async def test_damage_is_found_when_the_file_is_opened(
    tmp_path: Path, harm: Callable[[bytearray], None]
) -> None:
    path = tmp_path / "state.db"
    await made(path)
    data = bytearray(path.read_bytes())
    harm(data)
    path.write_bytes(data)
    with pytest.raises(DamagedError, match=f"datastore {path}"):
        await SqliteBackend.open(path)
    assert path.read_bytes() == data


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15, derandomize=True
)
@given(data=st.data())
async def test_a_flipped_structure_is_found_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """What SQLite does not notice changes values at most: no key is lost, none is invented."""
    path = tmp_path_factory.mktemp("flipped") / "state.db"
    items = await made(path, 60)
    content = bytearray(path.read_bytes())
    page = data.draw(st.integers(1, len(content) // PAGE - 1), "page")
    content[page * PAGE + data.draw(st.integers(0, 11), "byte of its header")] ^= 0xFF
    path.write_bytes(content)
    try:
        found = await opened_and_read(path)
    except DamagedError:
        return
    assert [kv.key for kv in found] == [kv.key for kv in items]


async def test_a_log_that_was_cut_off_leaves_what_was_written_first(tmp_path: Path) -> None:
    """SQLite takes the whole transactions of its log, up to the first that is not."""
    path, copy = tmp_path / "state.db", tmp_path / "copy" / "state.db"
    copy.parent.mkdir()
    backend = await SqliteBackend.open(path)
    for n in range(50):
        await backend.create(f"/registry/k/{n:04}", b"v" * 1000)
    everything = list((await backend.list("")).items)
    base = path.read_bytes()
    log = (tmp_path / "state.db-wal").read_bytes()
    await backend.close()
    lengths = set()
    for part in (len(log), len(log) * 3 // 4, len(log) // 2, len(log) // 3, 40):
        copy.write_bytes(base)
        copy.with_name("state.db-wal").write_bytes(log[:part])
        found = await opened_and_read(copy)
        assert found == everything[: len(found)]
        lengths.add(len(found))
    assert max(lengths) == 50


async def test_a_large_file_that_was_closed_well_is_not_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, looked = tmp_path / "state.db", list[Path]()
    look = damage.look

    def watched(
        connection: sqlite3.Connection, looked_at: Path, values: str, is_sound: damage.Sound
    ) -> None:
        looked.append(looked_at)
        look(connection, looked_at, values, is_sound)

    await made(path, 10)
    monkeypatch.setattr(damage, "look", watched)
    monkeypatch.setattr(damage, "ALWAYS_BYTES", 0)
    await opened_and_read(path)
    assert looked == []
    damage.mark(path, damage.SUSPECT)
    await opened_and_read(path)
    assert looked == [path]
    await opened_and_read(path)
    assert looked == [path]


async def test_damage_that_is_met_while_serving_is_looked_for_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.db"
    await made(path)
    monkeypatch.setattr(damage, "ALWAYS_BYTES", 0)
    data = bytearray(path.read_bytes())
    for start in range(PAGE * 20, len(data), PAGE):
        data[start : start + 8] = b"\xff" * 8
    path.write_bytes(data)
    with pytest.raises(DamagedError):
        await opened_and_read(path)
    assert damage.mark_of(path).read_text() == damage.SUSPECT


async def test_a_recovery_that_was_cut_off_is_begun_again(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    await made(path, 3)
    damage.mark(path, damage.RECOVERING)
    with pytest.raises(DamagedError, match="was cut off"):
        await SqliteBackend.open(path)


def flip(path: Path, text: bytes) -> None:
    """Change one bit of the only place where a text stands in a file."""
    content = bytearray(path.read_bytes())
    assert content.count(text) == 1
    content[content.index(text)] ^= 1
    path.write_bytes(content)


async def test_a_bit_that_flips_inside_a_value_is_found_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    await made(path)
    flip(path, b"v123" * 100)
    with pytest.raises(DamagedError, match="/registry/k/0123 is not what was written"):
        await opened_and_read(path)
    assert damage.mark_of(path).read_text() == damage.SUSPECT
    # The server that met it has ended; the next one looks before it uses the file.
    with pytest.raises(DamagedError, match="/registry/k/0123 is not what was written"):
        await SqliteBackend.open(path)


async def test_a_damaged_old_version_costs_nothing_but_itself(tmp_path: Path) -> None:
    path, keeps = tmp_path / "state.db", Retention(1 << 20)
    backend = await SqliteBackend.open(path, retention=keeps)
    first = await backend.create("/a", b"older" * 20)
    await backend.update("/a", b"newer", revision=first)
    await backend.compact(2)
    await backend.close()
    flip(path, b"older" * 20)
    backend = await SqliteBackend.open(path, retention=keeps)
    assert [kv.value for kv in (await backend.list("")).items] == [b"newer"]
    with pytest.raises(DamagedError, match="revision 1 of /a"):
        await backend.history.versions("/a")
    await backend.close()
    assert [kv.value for kv in await opened_and_read(path)] == [b"newer"]
    assert not damage.mark_of(path).exists()


async def test_a_damaged_value_can_be_deleted(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    await made(path)
    flip(path, b"v123" * 100)
    backend = await SqliteBackend.open(path)
    await backend.delete("/registry/k/0123", revision=0)
    assert len((await backend.list("")).items) == 399
    await backend.close()

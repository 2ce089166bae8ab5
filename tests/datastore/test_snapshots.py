"""Snapshots: whole, of one revision, verified; and stores filled from them."""

import asyncio
import fcntl
import io
import json
import os
import tarfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.datastore import content, loading
from minikube_py.datastore.kv import (
    Backend,
    CompactedError,
    DatastoreError,
    KeyValue,
    NotEmptyError,
    UnavailableError,
)
from minikube_py.datastore.loading import BUMP, Place
from minikube_py.datastore.memory import MemoryBackend
from minikube_py.datastore.snapshots.errors import PassphraseError, SnapshotError
from minikube_py.datastore.snapshots.file import read, verify
from minikube_py.datastore.snapshots.manifest import Manifest
from minikube_py.datastore.snapshots.saving import (
    Source,
    remove_partials,
    save,
    snapshots_in,
)
from minikube_py.datastore.snapshots.sealing import Terms
from tests.datastore.etcd_server import LEASES

FILES = {"token": b"K10::secret", "tls/ca.key": b"key", "empty": b""}


def about(name: str = "one") -> Manifest:
    return Manifest(name=name, created="2026-01-01T00:00:00+00:00", node="n", revision=0)


async def fill(backend: Backend, count: int = 200) -> None:
    """Write keys of which some are changed, and some deleted and made again."""
    revisions = [await backend.create(f"/registry/k/{n:04}", b"v%d" % n) for n in range(count)]
    for n in range(0, count, 3):
        await backend.update(
            f"/registry/k/{n:04}", bytes(n), revision=revisions[n], lease=LEASES[0]
        )
    for n in range(0, count, 7):
        await backend.delete(f"/registry/k/{n:04}", revision=0)
    await backend.create("/registry/k/0000", b"again")


async def saved(backend: Backend, folder: Path, passphrase: str = "") -> Path:
    await save(Source(backend, lambda: FILES, passphrase), folder, about())
    return folder / "one.tar"


def keys_in(path: Path, passphrase: str = "") -> list[KeyValue]:
    return [kv for part in read(path, passphrase) if isinstance(part, list) for kv in part]


async def pages(items: Sequence[KeyValue], size: int = 50) -> AsyncIterator[Sequence[KeyValue]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


async def test_a_snapshot_of_any_store_has_all_keys_as_they_are(
    backend: Backend, tmp_path: Path
) -> None:
    await fill(backend)
    path = await saved(backend, tmp_path)
    assert keys_in(path) == list((await backend.list("")).items)
    assert dict(p for p in read(path) if isinstance(p, tuple)) == FILES
    manifest = verify(path)
    assert manifest.revision == await backend.revision()
    assert path.stat().st_mode & 0o777 == 0o600


async def test_any_store_that_keeps_revisions_goes_on_where_a_snapshot_ends(
    endpoint: str, tmp_path: Path
) -> None:
    source = MemoryBackend()
    await fill(source)
    path = await saved(source, tmp_path)
    there, place = keys_in(path), Place(endpoint, tmp_path)
    revision = await source.revision()
    written = await loading.load(place, pages(there), revision + BUMP)
    assert await loading.check(place, written, revision + BUMP) == revision + BUMP
    target = await place.open()
    try:
        assert list((await target.list("")).items) == there
        with pytest.raises(CompactedError):
            await anext(aiter(target.watch("", after=revision + 1)))
        watch = aiter(target.watch("", after=revision + BUMP))
        gone = await target.delete(there[0].key, revision=there[0].revision)
        assert gone == revision + BUMP + 1
        ((event,), changed) = await anext(watch), there[1]
        assert (event.value, event.deleted) == (there[0].value, True)
        await target.update(changed.key, b"new", revision=changed.revision)
        await target.compact(await target.revision())
        now = await target.get(changed.key)
        assert now is not None
        assert (now.value, now.create_revision) == (b"new", changed.create_revision)
    finally:
        await target.close()
    again = await place.open()
    assert await again.revision() == revision + BUMP + 2
    await again.close()


async def test_a_store_that_holds_something_is_not_filled(endpoint: str, tmp_path: Path) -> None:
    place = Place(endpoint, tmp_path)
    backend = await place.open()
    await fill(backend, 3)
    before = await backend.list("")
    await backend.close()
    with pytest.raises(NotEmptyError):
        await loading.load(place, pages(before.items), 1000)
    backend = await place.open()
    assert await backend.list("") == before
    await backend.close()


async def test_a_store_is_filled_whole_or_not_at_all(endpoint: str, tmp_path: Path) -> None:
    place = Place(endpoint, tmp_path)

    async def failing() -> AsyncIterator[Sequence[KeyValue]]:
        yield [KeyValue("/a", b"1", 1, 1)]
        raise UnavailableError("the snapshot is gone")

    with pytest.raises(UnavailableError):
        await loading.load(place, failing(), 10)
    items = [KeyValue("/b", b"2", 2, 2)]
    await loading.load(place, pages(items), 10)
    backend = await place.open()
    assert (await backend.list("")).items == tuple(items)
    await backend.close()


async def test_what_comes_out_otherwise_is_noticed(tmp_path: Path) -> None:
    place = Place("", tmp_path)
    written = await loading.load(place, pages([KeyValue("/b", b"2", 2, 2)]), 10)
    written.add([KeyValue("/c", b"3", 3, 3)])
    with pytest.raises(DatastoreError, match="do not use it"):
        await loading.check(place, written, 10)


async def test_stores_with_revisions_of_their_own_are_filled_key_by_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = MemoryBackend()

    async def opened(_: Place) -> Backend:
        return target

    async def kept() -> None:
        """Stay open, to be looked into."""

    monkeypatch.setattr(Place, "open", opened)
    monkeypatch.setattr(target, "close", kept)
    source = MemoryBackend()
    await fill(source)
    place, there = Place("memory://", tmp_path), (await source.list("")).items
    written = await loading.load(place, pages(there), 10_000)
    await loading.check(place, written, 10_000)
    found = (await target.list("")).items
    assert [(kv.key, kv.value) for kv in found] == [(kv.key, kv.value) for kv in there]
    with pytest.raises(NotEmptyError):
        await loading.load(place, pages(there), 10_000)


async def test_a_snapshot_is_of_one_revision_while_others_write(
    backend: Backend, tmp_path: Path
) -> None:
    await fill(backend)
    shown: list[int] = []

    async def write() -> None:
        for n in range(60):
            await backend.create(f"/registry/new/{n}", b"")
            await backend.delete(f"/registry/k/{n * 3 + 1:04}", revision=0) if n % 7 == 1 else None
            shown.append(n)

    (path, _) = await asyncio.gather(saved(backend, tmp_path), write())
    assert len(shown) == 60
    revision = verify(path).revision
    expected = (await backend.list("", revision=revision)).items
    assert keys_in(path) == list(expected)


async def test_a_snapshot_that_compaction_overtakes_begins_again(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(backend)
    walk, overtaken = content.walk, []

    async def slow(source: Backend, revision: int) -> AsyncIterator[Sequence[KeyValue]]:
        async for items in walk(source, revision):
            if not overtaken:
                overtaken.append(revision)
                newest = await source.create("/registry/x", b"")
                await source.compact(newest)
            yield items

    monkeypatch.setattr(content, "walk", slow)
    path = await saved(backend, tmp_path)
    assert verify(path).revision == await backend.revision() == overtaken[0] + 1
    assert keys_in(path) == list((await backend.list("")).items)


async def test_a_sealed_snapshot_opens_with_its_passphrase_only(tmp_path: Path) -> None:
    backend = MemoryBackend()
    await fill(backend)
    path = await saved(backend, tmp_path, "correct horse")
    assert keys_in(path, "correct horse") == list((await backend.list("")).items)
    assert b"registry" not in path.read_bytes()
    for wrong in ("", "battery staple"):
        with pytest.raises(PassphraseError):
            verify(path, wrong)


@pytest.fixture(scope="module", params=["", "secret"])
def whole(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[bytes, str]:
    """Return a snapshot's bytes, and its passphrase, which is quick to try."""

    async def make(folder: Path) -> Path:
        backend = MemoryBackend()
        await fill(backend, 40)
        return await saved(backend, folder, request.param)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Terms, "fresh", lambda: Terms(bytes(16), bytes(7), cost=2))
        path = asyncio.run(make(tmp_path_factory.mktemp("whole")))
    return path.read_bytes(), request.param


@given(data=st.data())
def test_a_changed_byte_of_the_content_is_noticed(
    whole: tuple[bytes, str], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content_at, end = 512 + 4096 + 512, 2 * 512
    changed, passphrase = bytearray(whole[0]), whole[1]
    size = json.loads(changed[512:4608])["content_bytes"]
    at = data.draw(st.integers(content_at, content_at + size - 1), "byte")
    changed[at] ^= 1 << data.draw(st.integers(0, 7), "bit")
    assert len(changed) >= content_at + size + end
    path = tmp_path_factory.getbasetemp() / "changed.tar"
    path.write_bytes(changed)
    with pytest.raises(SnapshotError):
        verify(path, passphrase)


@given(data=st.data())
def test_a_snapshot_that_was_cut_off_is_noticed(
    whole: tuple[bytes, str], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    size = json.loads(whole[0][512:4608])["content_bytes"]
    path = tmp_path_factory.getbasetemp() / "cut.tar"
    path.write_bytes(whole[0][: data.draw(st.integers(0, 512 + 4096 + 512 + size - 1))])
    with pytest.raises(SnapshotError):
        verify(path, whole[1])


async def test_a_snapshot_is_a_tar_in_a_tar(tmp_path: Path) -> None:
    backend = MemoryBackend()
    await fill(backend, 10)
    path = await saved(backend, tmp_path)
    with tarfile.open(path) as outer:
        assert outer.getnames() == ["manifest.json", "content.tar.gz"]
        inner = outer.extractfile("content.tar.gz")
        assert inner is not None
        with tarfile.open(fileobj=io.BytesIO(inner.read())) as tar:
            expected = [*(f"server/{name}" for name in sorted(FILES)), "entries/00000001.jsonl"]
            assert tar.getnames() == [*expected, "summary.json"]
            lines = tar.extractfile("entries/00000001.jsonl")
            assert lines is not None
            assert json.loads(lines.readline())["key"] == "/registry/k/0000"


def test_what_a_killed_writer_left_is_removed_and_a_living_one_is_not(
    tmp_path: Path,
) -> None:
    (tmp_path / ".one.abc.partial").write_bytes(b"half")
    with (tmp_path / ".two.abc.partial").open("wb") as living:
        fcntl.flock(living, fcntl.LOCK_EX)
        remove_partials(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == [".two.abc.partial"]


async def test_a_snapshot_that_fails_leaves_nothing(tmp_path: Path) -> None:
    class Broken(MemoryBackend):
        async def list(self, *_: object, **__: object) -> object:  # type: ignore[override]
            raise UnavailableError("away")

    backend = Broken()
    await backend.create("/a", b"")
    with pytest.raises(UnavailableError):
        await saved(backend, tmp_path)
    assert os.listdir(tmp_path) == []  # noqa: PTH208 -- a path would block
    with pytest.raises(SnapshotError, match="no such file"):
        await saved(MemoryBackend(), tmp_path / "nowhere")


async def test_a_file_that_is_no_snapshot_is_listed_as_such(tmp_path: Path) -> None:
    await saved(MemoryBackend(), tmp_path)
    (tmp_path / "photos.tar").write_bytes(b"holiday")
    damaged, good = snapshots_in(tmp_path)
    assert (damaged.manifest, good.path.stem) == (None, "one")
    assert "no snapshot" in damaged.problem

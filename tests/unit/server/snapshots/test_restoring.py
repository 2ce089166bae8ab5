"""Restores: whole or begun again, and what was there stays."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minikube_py.datastore.kv import DatastoreError
from minikube_py.datastore.loading import BUMP, Place
from minikube_py.lib.clock import SystemClock
from minikube_py.lib.errors import StartError
from minikube_py.lib.fsutil import FolderLock
from minikube_py.server.config import ServerConfig
from minikube_py.server.snapshots import restoring
from minikube_py.server.snapshots.restoring import BEFORE, RESTORING, Restore, refuse_unfinished
from minikube_py.server.snapshots.service import Snapshots

CLOCK = SystemClock()


class CutError(Exception):
    """The process ended here."""


async def cluster(data_dir: Path, keys: int = 300) -> Path:
    """Make the folder of a server that has run; return a snapshot of it."""
    (data_dir / "server/tls").mkdir(parents=True)
    (data_dir / "server/tls/cluster-ca.key").write_text("a key")
    (data_dir / "server/token").write_text("K10::token")
    (data_dir / "server/.hidden").write_text("a lock")
    backend = await Place("", data_dir).open()
    for n in range(keys):
        await backend.create(f"/registry/k/{n:04}", b"%d" % n)
    _, path = await Snapshots(ServerConfig(data_dir=data_dir), backend, CLOCK).save("test")
    await backend.close()
    return path


async def keys_of(data_dir: Path) -> tuple[int, int]:
    """Return how many keys a server has, and its revision."""
    backend = await Place("", data_dir).open()
    try:
        return len((await backend.list("")).items), await backend.revision()
    finally:
        await backend.close()


async def test_a_blank_machine_becomes_the_cluster(tmp_path: Path) -> None:
    path = await cluster(tmp_path / "old")
    new = tmp_path / "new"
    done = await Restore(path, Place("", new)).run(CLOCK)
    assert (done.revision, done.moved) == (300 + BUMP, None)
    assert await keys_of(new) == (300, 300 + BUMP)
    assert (new / "server/tls/cluster-ca.key").read_text() == "a key"
    assert (new / "server/token").read_text() == "K10::token"
    assert (new / "server/token").stat().st_mode & 0o777 == 0o600
    assert not (new / "server/.hidden").exists()


async def test_what_is_there_is_moved_aside_and_only_if_asked_to(tmp_path: Path) -> None:
    path = await cluster(tmp_path)
    (tmp_path / "server/token").write_text("another")
    with pytest.raises(StartError, match="pass --force"):
        await Restore(path, Place("", tmp_path)).run(CLOCK)
    done = await Restore(path, Place("", tmp_path), force=True).run(CLOCK)
    assert done.moved is not None
    assert done.moved.name.startswith(BEFORE)
    assert (done.moved / "token").read_text() == "another"
    assert (tmp_path / "server/token").read_text() == "K10::token"
    assert await keys_of(tmp_path) == (300, 300 + BUMP)


async def test_nothing_is_moved_from_under_a_server(tmp_path: Path) -> None:
    path = await cluster(tmp_path)
    lock = FolderLock(tmp_path / "server")
    with pytest.raises(StartError, match="is in use by process"):
        await Restore(path, Place("", tmp_path), force=True).run(CLOCK)
    lock.release()
    assert not (tmp_path / RESTORING).exists()


async def test_a_damaged_snapshot_changes_nothing(tmp_path: Path) -> None:
    path = await cluster(tmp_path)
    path.write_bytes(path.read_bytes()[:-1500])
    before = sorted(os.listdir(tmp_path))  # noqa: PTH208 -- of a test
    with pytest.raises(DatastoreError, match="damaged"):
        await Restore(path, Place("", tmp_path), force=True).run(CLOCK)
    assert sorted(os.listdir(tmp_path)) == before  # noqa: PTH208
    assert await keys_of(tmp_path) == (300, 300)


def cut_at(monkeypatch: pytest.MonkeyPatch, number: int) -> Callable[[], bool]:
    """End the restore at its n-th change of the disk; return whether it came so far."""
    count = 0

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            if count == number:
                raise CutError
            return real(*arguments, **named)

        return wrapped

    monkeypatch.setattr(restoring.material, "write", counted(restoring.material.write))
    monkeypatch.setattr(restoring, "load", counted(restoring.load))
    monkeypatch.setattr(restoring, "check", counted(restoring.check))
    monkeypatch.setattr(restoring, "flush_dir", counted(restoring.flush_dir))
    monkeypatch.setattr(Path, "rename", counted(Path.rename))
    return lambda: count >= number


async def test_a_restore_that_is_cut_off_anywhere_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, number, cut = await cluster(tmp_path / "original", 40), 0, True
    while cut:
        number += 1
        data_dir = tmp_path / str(number)
        await cluster(data_dir, 3)
        restore = Restore(original, Place("", data_dir), force=True)
        with monkeypatch.context() as patch:
            reached = cut_at(patch, number)
            with contextlib.suppress(CutError):
                await restore.run(CLOCK)
            cut = reached()
        if not (data_dir / "server").exists():
            with pytest.raises(StartError, match="was cut off"):
                refuse_unfinished(data_dir)
        await restore.run(CLOCK)
        refuse_unfinished(data_dir)
        assert await keys_of(data_dir) == (40, 40 + BUMP)
        assert any(data_dir.glob(f"{BEFORE}-*/db/state.db"))
    assert number > 5

"""The disk is full: writes are refused with the reason, reads go on, and so do writes after it."""

import subprocess
import sys
from pathlib import Path

import pytest

from minikube_py.datastore.kv import UnavailableError
from minikube_py.datastore.sqlite import SqliteBackend


async def limit(backend: SqliteBackend, pages: int) -> None:
    await backend._database.execute_fetchall(f"PRAGMA max_page_count = {pages}")


async def test_a_full_disk_refuses_writes_until_there_is_room_again(tmp_path: Path) -> None:
    backend = await SqliteBackend.open(tmp_path / "state.db", lazy_prefixes=("/lazy/",))
    lazy = await backend.create("/lazy/a", b"")
    lazy = await backend.update("/lazy/a", b"reserves", revision=lazy)
    await limit(backend, 60)
    revisions = []
    with pytest.raises(UnavailableError, match="database or disk is full"):  # noqa: PT012
        while True:
            revisions.append(await backend.create(f"/{len(revisions):03}", b"v" * 4000))
    assert len(revisions) > 20
    assert await backend.revision() == revisions[-1]
    assert await backend.update("/lazy/a", b"still", revision=lazy) == revisions[-1] + 1
    await limit(backend, 100_000)
    await backend.create("/room", b"v" * 40_000)
    before = await backend.list("")
    assert len(before.items) == len(revisions) + 2
    await backend.close()
    backend = await SqliteBackend.open(tmp_path / "state.db")
    assert await backend.list("") == before
    await backend.close()


async def test_a_full_disk_can_be_compacted(tmp_path: Path) -> None:
    backend = await SqliteBackend.open(tmp_path / "state.db")
    revision = await backend.create("/a", b"v" * 4000)
    await limit(backend, 60)
    with pytest.raises(UnavailableError, match="full"):  # noqa: PT012
        while True:
            revision = await backend.update("/a", b"v" * 4000, revision=revision)
    await backend.compact(revision)
    for _ in range(20):
        revision = await backend.update("/a", b"w" * 4000, revision=revision)
    await backend.close()


LIMITED = """
import asyncio, resource, signal, sys
from pathlib import Path
from minikube_py.datastore.kv import UnavailableError
from minikube_py.datastore.open import open_backend

async def main():
    backend = await open_backend("", data_dir=Path(sys.argv[1]))
    done = 0
    try:
        while True:
            await backend.create(f"/{done:04}", b"v" * 4000)
            done += 1
    except UnavailableError as error:
        print(done, error, flush=True)
    assert len((await backend.list("")).items) == done

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, 2 << 20))
asyncio.run(main())
"""


async def test_a_file_that_may_not_grow_loses_nothing(tmp_path: Path) -> None:
    ended = subprocess.run(  # noqa: ASYNC221 -- nothing else runs here
        [sys.executable, "-c", LIMITED, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    done, _, reason = ended.stdout.strip().partition(" ")
    assert int(done) > 100
    assert "the datastore failed" in reason
    backend = await SqliteBackend.open(tmp_path / "server/db/state.db")
    assert len((await backend.list("")).items) == int(done)
    await backend.create("/more", b"v" * 100_000)
    await backend.close()

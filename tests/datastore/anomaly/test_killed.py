"""The process is killed with -9 while it writes: everything it acknowledged is there."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from minikube_py.datastore.open import open_backend

WRITER = """
import asyncio, os, sys
from pathlib import Path
from minikube_py.datastore.kv import DatastoreError
from minikube_py.datastore.open import open_backend

async def client(backend, number):
    key, lazy = f"/own/{number}", f"/lazy/{number}"
    revision = await backend.create(key, b"0")
    beat = await backend.create(lazy, b"0")
    n = 0
    while True:
        n += 1
        value = str(n).encode()
        revision = await backend.update(key, value, revision=revision)
        os.write(1, f"{key} {revision} {n}\\n".encode())
        beat = await backend.update(lazy, value, revision=beat)
        os.write(1, f"{lazy} {beat} {n}\\n".encode())
        if n % 7 == 0:
            gone = await backend.create(f"/gone/{number}", b"")
            end = await backend.delete(f"/gone/{number}", revision=gone)
            os.write(1, f"/gone/{number} {end} {n}\\n".encode())

async def compact(backend):
    while True:
        await asyncio.sleep(0.01)
        await backend.compact(max(await backend.revision() - 50, 0))

async def main():
    backend = await open_backend("", data_dir=Path(sys.argv[1]), lazy_prefixes=("/lazy/",))
    await asyncio.gather(compact(backend), *(client(backend, number) for number in range(8)))

asyncio.run(main())
"""


@pytest.mark.parametrize("lines", [1, 40, 300, 2000])
async def test_nothing_acknowledged_is_lost_and_no_revision_repeats(
    tmp_path: Path, lines: int
) -> None:
    acknowledged = _write_until_killed(tmp_path, lines)
    backend = await open_backend("", data_dir=tmp_path, lazy_prefixes=("/lazy/",))
    found = {item.key: item for item in (await backend.list("")).items}
    newest = 0
    for key, (revision, n) in acknowledged.items():
        newest = max(newest, revision)
        if key.startswith("/own/"):
            assert found[key].revision >= revision
            assert int(found[key].value) >= n
        if key.startswith("/gone/"):
            assert key not in found or found[key].create_revision > revision
    assert await backend.revision() >= newest
    assert await backend.create("/after", b"") > newest
    await backend.compact(await backend.revision())
    kept = {item.key: item for item in (await backend.list("")).items}
    assert {key: item for key, item in kept.items() if key != "/after"} == found
    await backend.close()


def _write_until_killed(data_dir: Path, lines: int) -> dict[str, tuple[int, int]]:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(data_dir)], stdout=subprocess.PIPE, text=True
    )
    acknowledged: dict[str, tuple[int, int]] = {}
    assert writer.stdout is not None
    with writer, writer.stdout as output:
        for count, line in enumerate(output, start=1):
            if line.endswith("\n"):
                key, revision, n = line.split()
                acknowledged[key] = (int(revision), int(n))
            if count == lines:
                os.kill(writer.pid, signal.SIGKILL)
    assert writer.returncode == -signal.SIGKILL
    return acknowledged

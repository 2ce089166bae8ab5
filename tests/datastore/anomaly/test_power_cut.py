"""The power goes at any point, and the disk has lost or torn what was not synced."""

import asyncio
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from minikube_py.datastore.kv import DatastoreError
from minikube_py.datastore.sqlite import SqliteBackend
from tests.datastore.proof import aftermath, power
from tests.datastore.proof.history import History, parsed
from tests.datastore.proof.power import Deed, Disk, Kind

CUTS = int(os.environ.get("KPY_CRASH_CUTS", "60"))
"""Points at which the power goes; five things may then be on the disk. `make crash`: thousands."""
SEED = os.environ.get("KPY_CRASH_SEED", "7")
DATABASE = "server/db/state.db"
LINES = "lines"
MEMORY = "/dev/shm"
"""The disk after a cut lies here, where there is nothing to wait for."""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return power.build(tmp_path_factory.mktemp("power"))


def lived(folder: Path, library: Path, *options: str) -> list[Deed]:
    """Let a process write to a store; return what it did to the disk, its lines among it."""
    data, journal = folder / "data", folder / "journal"
    data.mkdir(mode=0o700)
    life = [sys.executable, "-m", "tests.datastore.proof.life", f"--seed={SEED}", *options]
    command = [*life, "--data-dir", str(data), "--lines", str(data / LINES)]
    environment = {**os.environ, **power.environment(library, data, journal)}
    subprocess.run(command, env=environment, check=True, timeout=120)
    return list(power.deeds(journal))


def cut_points(deeds: Sequence[Deed], choose: random.Random) -> set[int]:
    """Return points: half of them anywhere, half where the file itself is written to."""
    disk = [n for n, deed in enumerate(deeds) if deed.name != LINES]
    file = [n for n in disk if deeds[n].name == DATABASE and deeds[n].kind is not Kind.SYNCED]
    chosen = choose.sample(disk, min(CUTS // 2, len(disk)))
    return {*chosen, *choose.sample(file, min(CUTS - len(chosen), len(file)))}


async def check_cuts(deeds: Sequence[Deed]) -> int:
    """Cut the power at some points; return how many acknowledged writes were looked for."""
    choose = random.Random(SEED)  # noqa: S311
    points = cut_points(deeds, choose)
    disk, looked_for = Disk(), 0
    for n, deed in enumerate(deeds):
        disk.play(deed)
        if n not in points:
            continue
        lines = parsed(b"".join(d.data for d in deeds[: n + 1] if d.name == LINES))
        for number, fate in enumerate(power.fates(choose)):
            files = {name: text for name, text in disk.cut(fate).items() if name != LINES}
            history = History(lines)
            looked_for += history.acknowledged
            try:
                await check_cut(files, history)
            except (AssertionError, DatastoreError) as error:
                raise AssertionError(f"cut after {n}, fate {number}: {error}") from error
    return looked_for


async def check_cut(files: Mapping[str, bytes], history: History) -> None:
    """Start on what the disk has, with what its clients were told."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        power.lay_out(files, Path(folder))
        backend = await SqliteBackend.open(Path(folder, DATABASE))
        try:
            await aftermath.check(backend, history)
        finally:
            await backend.close()


async def test_a_power_cut_loses_nothing_that_was_acknowledged(
    tmp_path: Path, library: Path
) -> None:
    deeds = await asyncio.to_thread(
        lived, tmp_path, library, "--steps=80", "--size=900", "--restless"
    )
    kinds = {(deed.kind, deed.name) for deed in deeds}
    assert (Kind.WRITTEN, DATABASE) in kinds, "no checkpoint"
    assert (Kind.TRUNCATED, DATABASE) in kinds, "no vacuum"
    assert await check_cuts(deeds) > CUTS


async def test_a_store_that_does_not_wait_for_the_disk_is_found_out(
    tmp_path: Path, library: Path
) -> None:
    deeds = await asyncio.to_thread(lived, tmp_path, library, "--steps=20", "--careless")
    with pytest.raises(AssertionError, match="cut after"):
        await check_cuts(deeds)

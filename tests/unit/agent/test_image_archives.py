"""Images that come with a node are imported, also when the runtime dies under it."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from minikube_py.agent import image_archives
from minikube_py.agent.cri.errors import CriError
from minikube_py.agent.image_archives import ImageArchives, Imported

PAUSE = "elsewhere/pause:1"


class Store:
    """The images of a runtime that may be away; `run` is its command."""

    def __init__(self) -> None:
        self.away = False
        self.cut_short = 0
        """So many imports fail half-way."""
        self.names: set[str] = {PAUSE}
        self.runs = 0

    async def status(self, name: str) -> str | None:
        if self.away:
            raise CriError("connection refused", "UNAVAILABLE")
        return name if name in self.names else None

    async def run(self, command: list[str]) -> tuple[int, str]:
        self.runs += 1
        if self.cut_short or self.away:
            self.cut_short = max(self.cut_short - 1, 0)
            return 1, "ctr: error reading from server: EOF: unavailable"
        self.names.add(Path(command[-1]).stem)
        return 0, ""


class Waits:
    """A clock that does not wait; the runtime is back after some of its sleeps."""

    def __init__(self, store: Store, back_after: int = 0) -> None:
        self.store = store
        self.back_after = back_after
        self.seconds: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self.store.away = len(self.seconds) < self.back_after


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    made = Store()
    monkeypatch.setattr(image_archives, "run_program", made.run)
    return made


def archives(folder: Path, store: Store, *names: str) -> ImageArchives:
    for name in names:
        data = json.dumps([{"RepoTags": [name]}]).encode()
        with tarfile.open(folder / f"{name}.tar", "w") as tar:
            info = tarfile.TarInfo("manifest.json")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    images: Any = store
    return ImageArchives(folder, PAUSE, folder / "socket", images)


async def test_an_import_that_was_cut_short_is_begun_again_and_none_is_done_twice(tmp_path, store):
    made = archives(tmp_path, store, "a", "b")
    store.cut_short = 1
    assert await made.import_all() == Imported(done=1, failed=1)
    assert await made.import_all() == Imported(done=1, failed=0)
    assert store.names == {"a", "b", PAUSE}
    assert store.runs == 3
    assert await made.import_all() == Imported(done=0, failed=0)
    assert store.runs == 3


async def test_what_failed_while_the_runtime_was_away_is_tried_again(tmp_path, store):
    made = archives(tmp_path, store, "a")
    store.away = True
    assert (await made.import_all()).failed == 2  # the image of the sandbox is one of them
    waits = Waits(store, back_after=2)
    await made.try_again(waits)  # type: ignore[arg-type]
    assert waits.seconds == [1, 2]
    assert store.names == {"a", PAUSE}


async def test_what_is_broken_is_not_tried_for_ever(tmp_path, store):
    (tmp_path / "broken.tar").write_bytes(b"no archive")
    made = archives(tmp_path, store, "a")
    waits = Waits(store)
    await made.try_again(waits)  # type: ignore[arg-type]
    assert waits.seconds == [1, 2, 4, 8, 16, 30]
    assert store.names == {"a", PAUSE}


async def test_a_full_disk_fails_an_import_and_nothing_else(tmp_path, store, monkeypatch):
    made = archives(tmp_path, store, "a")

    def refuse(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(image_archives, "write_atomic", refuse)
    assert await made.import_all() == Imported(done=0, failed=1)

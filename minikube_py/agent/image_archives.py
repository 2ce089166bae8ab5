"""Images that come with the node: archives in a folder, imported into containerd when missing.

An archive is imported again when its size or time changed, or when one of its images is gone. What
was imported is remembered beside the archives, so that a start does not unpack anything twice; an
import that was cut short is not remembered, and begun again. What fails because the runtime died
meanwhile is tried again in the background, a few times: a broken archive stays broken.
"""

import asyncio
import json
import logging
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from minikube_py.agent.containerd import run_program
from minikube_py.agent.cri.errors import CriError
from minikube_py.agent.cri.images import Images
from minikube_py.lib.backoff import Backoff
from minikube_py.lib.clock import Clock
from minikube_py.lib.fsutil import read_if_there, write_atomic

log = logging.getLogger(__name__)
PAUSE = Path(__file__).parent / "pause.tar"
"""Made by the build from packaging/images/pause.c."""
RECORD = "imported.json"
APPEAR_SECONDS = 10.0
"""The image store follows containerd's events; it is milliseconds behind."""
NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
INDEX_BYTES_MAX = 4 << 20
TRIES = 6
RETRY = Backoff(first_seconds=1.0, max_seconds=30.0)


def names_in(archive: Path) -> list[str]:
    """Return the names of the images in an OCI or docker archive.

    Raises:
        ValueError: it is neither.

    """
    try:
        with tarfile.open(archive) as tar:
            return sorted(_names(tar))
    except (tarfile.TarError, OSError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"{archive} is no image archive: {error}") from error


def _names(tar: tarfile.TarFile) -> Iterator[str]:
    members = {member.name.removeprefix("./"): member for member in tar}
    if "index.json" in members:
        for manifest in _read(tar, members["index.json"])["manifests"]:
            annotations = manifest.get("annotations") or {}
            yield from (annotations[name] for name in NAMES[:1] if name in annotations)
    elif "manifest.json" in members:
        for image in _read(tar, members["manifest.json"]):
            yield from image.get("RepoTags") or ()


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Any:
    file = tar.extractfile(member)
    return {} if file is None else json.loads(file.read(INDEX_BYTES_MAX))


def _archives(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.tar"))


def _stamp(archive: Path) -> list[int]:
    stat = archive.stat()
    return [stat.st_size, stat.st_mtime_ns]


class Imported(NamedTuple):
    """What became of some archives."""

    done: int
    failed: int


async def import_archives(folder: Path, socket: Path, images: Images) -> Imported:
    """Import what is new in the folder.

    A broken archive is logged and left out: the rest of the node does not depend on it.
    """
    record_path = folder / RECORD
    record: dict[str, Any] = json.loads(read_if_there(record_path) or b"{}")
    imported, failed = 0, 0
    for archive in _archives(folder):
        stamp = _stamp(archive)
        try:
            names = await asyncio.to_thread(names_in, archive)
            if record.get(archive.name) == stamp and await _all_here(images, names):
                continue
            await _import(archive, socket, images, names)
            record[archive.name] = stamp
            write_atomic(record_path, orjson.dumps(record))
        except (ValueError, CriError, OSError) as error:  # OSError: no room, or it took too long
            log.error("image archive not imported archive=%s error=%s", archive, error)  # noqa: TRY400
            failed += 1
            continue
        imported += 1
    return Imported(imported, failed)


async def import_pause(name: str, socket: Path, images: Images) -> bool:
    """Import the image of the pod sandbox that comes with kpy, where it is missing and meant."""
    if await images.status(name) is not None or not PAUSE.exists():
        return False
    names = await asyncio.to_thread(names_in, PAUSE)
    if name not in names:
        return False  # the user named another one, which the runtime has to pull
    await _import(PAUSE, socket, images, names)
    return True


class ImageArchives:
    """The images that come with a node: those in a folder, and that of the pod sandbox."""

    def __init__(self, folder: Path, pause: str, socket: Path, images: Images) -> None:
        self._folder = folder
        self._pause = pause
        self._socket = socket
        self._images = images

    async def import_all(self) -> Imported:
        """Import what is missing."""
        done = await import_archives(self._folder, self._socket, self._images)
        try:
            await import_pause(self._pause, self._socket, self._images)
        except (ValueError, CriError, OSError) as error:
            log.warning("image of the sandbox not imported error=%s", error)
            return done._replace(failed=done.failed + 1)
        return done

    async def try_again(self, clock: Clock) -> None:
        """Import what could not be imported before, until nothing fails or it is no use."""
        for attempt in range(1, TRIES + 1):
            await clock.sleep(RETRY.wait_seconds(attempt))
            if not (await self.import_all()).failed:
                return


async def _all_here(images: Images, names: Iterable[str]) -> bool:
    for name in names:
        if await images.status(name) is None:
            return False
    return True


async def _import(archive: Path, socket: Path, images: Images, names: list[str]) -> None:
    command = ["ctr", "-a", str(socket), "-n", "k8s.io", "images", "import", str(archive)]
    status, output = await run_program(command)
    if status:
        raise ValueError(output.splitlines()[-1] if output else f"ctr ended with {status}")
    async with asyncio.timeout(APPEAR_SECONDS):
        while not await _all_here(images, names):  # noqa: ASYNC110 -- CRI tells of no images
            await asyncio.sleep(0.02)
    log.info("images imported archive=%s names=%s", archive.name, ",".join(names))
